//! The floor of one write: one file, one thread, nothing but the write and a round trip.

use super::{Head, WRITE, receive, send};
use anyhow::{Context, Result};
use holdfast_replica::front::reply::{Channel, FOPEN_KEEP_CACHE, Reply, Ttl};
use holdfast_replica::front::wire::{BUFFER_SIZE, MINOR_MAX, PAYLOAD_MAX, Request, flag, parse};
use holdfast_replica::tree::Status;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use std::fs::File;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The file's name.
pub const FILE: &str = "file";
/// The root's node and the file's.
const NODES: [u64; 2] = [1, 2];
/// Nobody else changes the file.
const TTL: Ttl = Ttl(3600);

/// Mounts over `directory`, which holds [`FILE`], and serves until the mount is taken away.
///
/// # Errors
/// No right to mount, or the connection fails.
pub fn serve(directory: &Path, peer: TcpStream) -> Result<()> {
    peer.set_nodelay(true)?;
    let root = File::open(directory)?;
    let file = File::options().read(true).write(true).open(directory.join(FILE))?;
    let device = rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions,max_read={PAYLOAD_MAX}",
        device.as_raw_fd()
    );
    let options = std::ffi::CString::new(options)?;
    rustix::mount::mount("floor", directory, "fuse.floor", MountFlags::empty(), options.as_c_str())
        .context("cannot mount the floor")?;
    let mut floor = Floor { channel: Channel::new(device), root, file, peer, number: 0, room: vec![0; PAYLOAD_MAX] };
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        match rustix::io::read(floor.channel.fd(), &mut buffer) {
            Ok(length) => floor.handle(&buffer[..length])?,
            Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// Takes the floor's mount away.
pub fn unmount(directory: &Path) {
    // It may be gone already.
    let _ = rustix::mount::unmount(directory, UnmountFlags::DETACH);
}

struct Floor {
    channel: Channel,
    root: File,
    file: File,
    peer: TcpStream,
    number: u64,
    room: Vec<u8>,
}

impl Floor {
    fn handle(&mut self, bytes: &[u8]) -> Result<()> {
        let Ok((header, request)) = parse(bytes, false) else { return Ok(()) };
        let unique = header.unique;
        let reply = match request {
            Request::Forget { .. } | Request::BatchForget { .. } => return Ok(()),
            Request::Init { minor, .. } => {
                let flags = flag::ASYNC_READ | flag::BIG_WRITES | flag::MAX_PAGES | flag::EXPLICIT_INVAL_DATA;
                Ok(Reply::init(minor.min(MINOR_MAX), PAYLOAD_MAX as u32, flags, PAYLOAD_MAX as u32))
            }
            Request::Lookup { name } if name.to_bytes() == FILE.as_bytes() => {
                Status::of(&self.file).map(|status| Reply::entry(NODES[1], Some(&status), TTL))
            }
            Request::Lookup { .. } => Ok(Reply::entry(0, None, TTL)),
            Request::GetAttr => self.status(header.node).map(|status| Reply::attr(&status, TTL)),
            Request::Open { .. } => Ok(Reply::done().open(0, FOPEN_KEEP_CACHE)),
            Request::Release { .. } => Ok(Reply::done()),
            Request::Read { offset, size } => {
                let count = self.file.read_at(&mut self.room[..size as usize], offset)?;
                self.channel.send_data(unique, &self.room[..count]);
                return Ok(());
            }
            Request::Write { offset, data, .. } => Ok(self.write(offset, data)?),
            _ => Err(Errno::NOSYS),
        };
        self.channel.send(unique, reply);
        Ok(())
    }

    fn status(&self, node: u64) -> Result<Status, Errno> {
        if node == NODES[0] { Status::of(&self.root) } else { Status::of(&self.file) }
    }

    /// The write travels while it is applied here.
    fn write(&mut self, offset: u64, data: &[u8]) -> Result<Reply> {
        self.number += 1;
        let head = Head { kind: WRITE, length: u32::try_from(data.len())?, number: self.number, file: 0, offset };
        send(&self.peer, head, data)?;
        self.file.write_all_at(data, offset)?;
        receive(&self.peer)?;
        Ok(Reply::size(u32::try_from(data.len())?))
    }
}
