//! The kernel's side of the FUSE protocol: requests parsed from a buffer into a typed value, bounded, never panicking.

use std::ffi::CStr;

/// Newest protocol (major 7) this layer speaks; the kernel's, if older, is spoken instead.
pub const MINOR_MAX: u32 = 45;
/// Oldest protocol it speaks (kernel 5.4; Debian's 5.10 speaks 7.32).
pub const MINOR_MIN: u32 = 31;
/// Length of the header of each request.
pub const HEADER_SIZE: usize = 40;
/// Most payload of one read or write, in bytes.
pub const PAYLOAD_MAX: usize = 1 << 20;
/// Buffer a request always fits in.
pub const BUFFER_SIZE: usize = PAYLOAD_MAX + 4096;

/// Flags of the INIT negotiation.
pub mod flag {
    #![allow(missing_docs)] // named as in the kernel's uapi/linux/fuse.h
    pub const ASYNC_READ: u64 = 1 << 0;
    pub const BIG_WRITES: u64 = 1 << 5;
    pub const DONT_MASK: u64 = 1 << 6;
    pub const DO_READDIRPLUS: u64 = 1 << 13;
    pub const READDIRPLUS_AUTO: u64 = 1 << 14;
    pub const PARALLEL_DIROPS: u64 = 1 << 18;
    pub const POSIX_ACL: u64 = 1 << 20;
    pub const MAX_PAGES: u64 = 1 << 22;
    pub const CACHE_SYMLINKS: u64 = 1 << 23;
    pub const EXPLICIT_INVAL_DATA: u64 = 1 << 25;
    pub const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub const SETXATTR_EXT: u64 = 1 << 29;
    pub const INIT_EXT: u64 = 1 << 30;
    pub const DIRECT_IO_ALLOW_MMAP: u64 = 1 << 36;
    pub const HAS_RESEND: u64 = 1 << 39;
}

/// Bits of [`SetAttr::valid`].
pub mod valid {
    #![allow(missing_docs)] // named as in the kernel's uapi/linux/fuse.h
    pub const MODE: u32 = 1 << 0;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const ATIME_NOW: u32 = 1 << 7;
    pub const MTIME_NOW: u32 = 1 << 8;
    pub const KILL_SUIDGID: u32 = 1 << 11;
}

/// A write is to clear set-uid and set-gid ([`Request::Write::flags`]).
pub const WRITE_KILL_SUIDGID: u32 = 1 << 2;
/// An access ACL is to clear set-gid ([`Request::SetXattr::kill_sgid`]).
const SETXATTR_ACL_KILL_SGID: u32 = 1 << 0;
const FSYNC_FDATASYNC: u32 = 1 << 0;

/// A request that does not follow the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The buffer is shorter than the header or than the length it tells.
    #[error("a request of {0} bytes is cut off")]
    Short(usize),
    /// The body of this operation is not as it must be.
    #[error("the body of operation {0} is malformed")]
    Body(u32),
}

/// Header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What is asked, as a number.
    pub opcode: u32,
    /// The reply repeats it.
    pub unique: u64,
    /// Object concerned; 1 is the root of the mount.
    pub node: u64,
    /// Caller's file-system uid.
    pub uid: u32,
    /// Caller's file-system gid.
    pub gid: u32,
    /// Caller's process (0 if the kernel itself).
    pub pid: u32,
}

/// Attributes to set; which of them, tells `valid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // named as in `stat`
pub struct SetAttr {
    pub valid: u32,
    pub size: u64,
    pub atime: (i64, u32),
    pub mtime: (i64, u32),
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// What the kernel asks. Names are one path component, checked to be neither empty nor to hold a `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are told by their variant
pub enum Request<'a> {
    Init {
        major: u32,
        minor: u32,
        readahead_max: u32,
        flags: u64,
    },
    Destroy,
    Interrupt,
    Lookup {
        name: &'a CStr,
    },
    Forget {
        count: u64,
    },
    /// Pairs of (object, count), 16 bytes each.
    BatchForget {
        pairs: &'a [u8],
    },
    GetAttr,
    SetAttr(SetAttr),
    ReadLink,
    Symlink {
        name: &'a CStr,
        target: &'a CStr,
    },
    Mknod {
        name: &'a CStr,
        mode: u32,
        device: u32,
        umask: u32,
    },
    Mkdir {
        name: &'a CStr,
        mode: u32,
        umask: u32,
    },
    Unlink {
        name: &'a CStr,
    },
    Rmdir {
        name: &'a CStr,
    },
    Rename {
        name: &'a CStr,
        new_parent: u64,
        new_name: &'a CStr,
        flags: u32,
    },
    Link {
        object: u64,
        name: &'a CStr,
    },
    Open {
        flags: u32,
    },
    Create {
        name: &'a CStr,
        flags: u32,
        mode: u32,
        umask: u32,
    },
    /// A file without a name (O_TMPFILE).
    CreateUnnamed {
        flags: u32,
        mode: u32,
        umask: u32,
    },
    Read {
        offset: u64,
        size: u32,
    },
    Fallocate {
        offset: u64,
        length: u64,
        mode: u32,
    },
    CopyRange {
        offset: u64,
        target: u64,
        target_offset: u64,
        length: u64,
    },
    Write {
        offset: u64,
        flags: u32,
        data: &'a [u8],
    },
    Release {
        flags: u32,
    },
    Fsync {
        data_only: bool,
    },
    Lseek {
        offset: u64,
        whence: u32,
    },
    OpenDir,
    ReadDir {
        handle: u64,
        offset: u64,
        size: u32,
        plus: bool,
    },
    ReleaseDir {
        handle: u64,
    },
    FsyncDir {
        data_only: bool,
    },
    SyncFs,
    StatFs,
    GetXattr {
        name: &'a CStr,
        size: u32,
    },
    ListXattr {
        size: u32,
    },
    SetXattr {
        name: &'a CStr,
        value: &'a [u8],
        flags: u32,
        kill_sgid: bool,
    },
    RemoveXattr {
        name: &'a CStr,
    },
    /// Any operation this file system does not have.
    Unsupported,
}

/// Parses one request; `setxattr_ext` tells whether [`flag::SETXATTR_EXT`] was agreed on.
///
/// # Errors
/// [`WireError`] if it is cut off or malformed; with the header, if that much was there, so that it can be answered.
pub fn parse(buffer: &[u8], setxattr_ext: bool) -> Result<(Header, Request<'_>), (Option<Header>, WireError)> {
    let short = (None, WireError::Short(buffer.len()));
    let mut cursor = Cursor(buffer);
    let (Some(length), Some(header)) = (cursor.u32(), parse_header(&mut cursor)) else {
        return Err(short);
    };
    let length = length as usize;
    if length < HEADER_SIZE || length > buffer.len() {
        return Err(short);
    }
    let mut body = Cursor(&buffer[HEADER_SIZE..length]);
    match parse_body(header.opcode, &mut body, setxattr_ext) {
        Some(request) => Ok((header, request)),
        None => Err((Some(header), WireError::Body(header.opcode))),
    }
}

/// The pairs of [`Request::BatchForget`].
pub fn forget_pairs(pairs: &[u8]) -> impl Iterator<Item = (u64, u64)> {
    pairs.chunks_exact(16).filter_map(|pair| {
        let mut cursor = Cursor(pair);
        Some((cursor.u64()?, cursor.u64()?))
    })
}

fn parse_header(cursor: &mut Cursor<'_>) -> Option<Header> {
    let header = Header {
        opcode: cursor.u32()?,
        unique: cursor.u64()?,
        node: cursor.u64()?,
        uid: cursor.u32()?,
        gid: cursor.u32()?,
        pid: cursor.u32()?,
    };
    cursor.u32()?; // length of extensions (none is agreed on) and padding
    Some(header)
}

fn parse_body<'a>(opcode: u32, c: &mut Cursor<'a>, setxattr_ext: bool) -> Option<Request<'a>> {
    Some(match opcode {
        26 => {
            let (major, minor, readahead_max, low) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
            let high = if u64::from(low) & flag::INIT_EXT != 0 { c.u32().unwrap_or(0) } else { 0 };
            Request::Init { major, minor, readahead_max, flags: u64::from(high) << 32 | u64::from(low) }
        }
        1 => Request::Lookup { name: c.name()? },
        2 => Request::Forget { count: c.u64()? },
        42 => {
            let (count, _) = (c.u32()? as usize, c.u32()?);
            Request::BatchForget { pairs: c.bytes(count.checked_mul(16)?)? }
        }
        3 => Request::GetAttr,
        4 => Request::SetAttr(parse_setattr(c)?),
        5 => Request::ReadLink,
        6 => Request::Symlink { name: c.name()?, target: c.text()? },
        8 | 9 | 10 | 11 | 12 | 13 | 45 | 35 | 51 => return parse_namespace(opcode, c),
        14 => Request::Open { flags: c.u32()? },
        15 | 16 | 18 | 20 | 30 | 43 | 46 | 47 => return parse_data(opcode, c),
        27 => Request::OpenDir,
        28 | 44 => {
            let (handle, offset, size) = (c.u64()?, c.u64()?, c.u32()?);
            Request::ReadDir { handle, offset, size, plus: opcode == 44 }
        }
        29 => Request::ReleaseDir { handle: c.u64()? },
        17 => Request::StatFs,
        50 => Request::SyncFs,
        21 => {
            let (size, flags) = (c.u32()? as usize, c.u32()?);
            let more = if setxattr_ext { c.u64()? as u32 } else { 0 };
            let kill_sgid = more & SETXATTR_ACL_KILL_SGID != 0;
            Request::SetXattr { name: c.text()?, value: c.bytes(size)?, flags, kill_sgid }
        }
        22 => {
            let (size, _) = (c.u32()?, c.u32()?);
            Request::GetXattr { name: c.text()?, size }
        }
        23 => Request::ListXattr { size: c.u32()? },
        24 => Request::RemoveXattr { name: c.text()? },
        36 => Request::Interrupt,
        38 => Request::Destroy,
        _ => Request::Unsupported,
    })
}

fn parse_namespace<'a>(opcode: u32, c: &mut Cursor<'a>) -> Option<Request<'a>> {
    Some(match opcode {
        8 => {
            let (mode, device, umask, _) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
            Request::Mknod { name: c.name()?, mode, device, umask }
        }
        9 => {
            let (mode, umask) = (c.u32()?, c.u32()?);
            Request::Mkdir { name: c.name()?, mode, umask }
        }
        10 => Request::Unlink { name: c.name()? },
        11 => Request::Rmdir { name: c.name()? },
        12 => {
            let new_parent = c.u64()?;
            Request::Rename { name: c.name()?, new_parent, new_name: c.name()?, flags: 0 }
        }
        13 => {
            let object = c.u64()?;
            Request::Link { object, name: c.name()? }
        }
        45 => {
            let (new_parent, flags, _) = (c.u64()?, c.u32()?, c.u32()?);
            Request::Rename { name: c.name()?, new_parent, new_name: c.name()?, flags }
        }
        35 => {
            let (flags, mode, umask, _) = (c.u32()?, c.u32()?, c.u32()?, c.u32()?);
            Request::Create { name: c.name()?, flags, mode, umask }
        }
        // The name that follows means nothing.
        51 => Request::CreateUnnamed { flags: c.u32()?, mode: c.u32()?, umask: c.u32()? },
        _ => return None,
    })
}

fn parse_data<'a>(opcode: u32, c: &mut Cursor<'a>) -> Option<Request<'a>> {
    c.u64()?; // file handle: we keep none
    Some(match opcode {
        15 => Request::Read { offset: c.u64()?, size: c.u32()? },
        16 => {
            let (offset, size, flags) = (c.u64()?, c.u32()? as usize, c.u32()?);
            c.bytes(16)?; // lock owner, open flags, padding
            if size > PAYLOAD_MAX {
                return None;
            }
            Request::Write { offset, flags, data: c.bytes(size)? }
        }
        18 => Request::Release { flags: c.u32()? },
        20 => Request::Fsync { data_only: c.u32()? & FSYNC_FDATASYNC != 0 },
        30 => Request::FsyncDir { data_only: c.u32()? & FSYNC_FDATASYNC != 0 },
        43 => Request::Fallocate { offset: c.u64()?, length: c.u64()?, mode: c.u32()? },
        47 => {
            let (offset, target) = (c.u64()?, c.u64()?);
            c.u64()?; // its file handle
            let (target_offset, length, _flags) = (c.u64()?, c.u64()?, c.u64()?);
            Request::CopyRange { offset, target, target_offset, length }
        }
        46 => Request::Lseek { offset: c.u64()?, whence: c.u32()? },
        _ => return None,
    })
}

fn parse_setattr(c: &mut Cursor<'_>) -> Option<SetAttr> {
    let valid = c.u32()?;
    c.bytes(12)?; // padding, file handle
    let size = c.u64()?;
    c.u64()?; // lock owner
    let (atime, mtime, _ctime) = (c.u64()?.cast_signed(), c.u64()?.cast_signed(), c.u64()?);
    let (atime_ns, mtime_ns, _ctime_ns) = (c.u32()?, c.u32()?, c.u32()?);
    let (mode, _unused) = (c.u32()?, c.u32()?);
    let (uid, gid) = (c.u32()?, c.u32()?);
    if atime_ns >= 1_000_000_000 || mtime_ns >= 1_000_000_000 {
        return None;
    }
    Some(SetAttr { valid, size, atime: (atime, atime_ns), mtime: (mtime, mtime_ns), mode, uid, gid })
}

/// The rest of a buffer; every read is checked.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_ne_bytes(self.bytes(8)?.try_into().ok()?))
    }

    /// Text ended by NUL.
    fn text(&mut self) -> Option<&'a CStr> {
        let text = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = &self.0[text.count_bytes() + 1..];
        Some(text)
    }

    /// A path component.
    fn name(&mut self) -> Option<&'a CStr> {
        let name = self.text()?;
        let bytes = name.to_bytes();
        let plain = !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/');
        plain.then_some(name)
    }
}

#[cfg(test)]
mod tests;
