//! Extended attributes of objects of the backing tree, through any descriptor (also `O_PATH`).

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::Result;
use super::handle::proc_path;

/// Longest value and longest list of names the kernel knows, in bytes.
pub const SIZE_MAX: usize = 65536;

/// The value of attribute `name`.
///
/// # Errors
/// `ENODATA` if there is none.
pub fn get(fd: impl AsFd, name: &CStr) -> Result<Vec<u8>> {
    let fd = fd.as_fd();
    read_growing(|buffer| match rustix::fs::fgetxattr(fd, name, &mut *buffer) {
        // `O_PATH`: through its link, which costs a walk along a path.
        Err(Errno::BADF) => rustix::fs::getxattr(proc_path(fd).as_c_str(), name, buffer),
        done => done,
    })
}

/// Length of the value of attribute `name`.
pub fn get_size(fd: impl AsFd, name: &CStr) -> Result<usize> {
    let mut nothing: [u8; 0] = [];
    match rustix::fs::fgetxattr(fd.as_fd(), name, &mut nothing) {
        Err(Errno::BADF) => rustix::fs::getxattr(proc_path(fd.as_fd()).as_c_str(), name, &mut nothing),
        done => done,
    }
}

/// The names, each ended by NUL.
pub fn list_raw(fd: impl AsFd) -> Result<Vec<u8>> {
    let path = proc_path(fd.as_fd());
    read_growing(|buffer| rustix::fs::listxattr(path.as_c_str(), buffer))
}

/// Names and values; an attribute that vanishes meanwhile is left out.
pub fn all(fd: impl AsFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let names = match list_raw(fd.as_fd()) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        match get(fd.as_fd(), name) {
            Ok(value) => found.push((name.to_bytes().to_vec(), value)),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Sets attribute `name`.
pub fn set(fd: impl AsFd, name: &CStr, value: &[u8], flags: XattrFlags) -> Result<()> {
    rustix::fs::setxattr(proc_path(fd.as_fd()).as_c_str(), name, value, flags)
}

/// Removes attribute `name`.
pub fn remove(fd: impl AsFd, name: &CStr) -> Result<()> {
    rustix::fs::removexattr(proc_path(fd.as_fd()).as_c_str(), name)
}

fn read_growing(mut read: impl FnMut(&mut [u8]) -> Result<usize>) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < SIZE_MAX => buffer.resize(SIZE_MAX, 0),
            Err(error) => return Err(error),
        }
    }
}
