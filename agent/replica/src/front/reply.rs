//! Our side of the FUSE protocol: replies built into a small buffer, and the way of a reply to the kernel.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::tree::Status;

/// Room for the longest reply without payload (create: header, entry and open).
const SMALL_MAX: usize = 16 + 128 + 16;
const OUT_HEADER_SIZE: usize = 16;

/// Keep the page cache of this file.
pub const FOPEN_KEEP_CACHE: u32 = 1 << 1;
/// Bypass the page cache of this file.
pub const FOPEN_DIRECT_IO: u32 = 1 << 0;
/// Cache the listing of this directory.
pub const FOPEN_CACHE_DIR: u32 = 1 << 3;

/// How long the kernel may keep what we told it, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl(pub u64);

/// A reply without payload.
#[derive(Clone, Copy)]
pub struct Reply {
    bytes: [u8; SMALL_MAX],
    length: usize,
}

impl Reply {
    /// Success, with nothing to tell.
    pub fn done() -> Reply {
        Reply { bytes: [0; SMALL_MAX], length: OUT_HEADER_SIZE }
    }

    /// An object behind a name. `node` 0 with a TTL: there is none, and that may be kept.
    pub fn entry(node: u64, status: Option<&Status>, ttl: Ttl) -> Reply {
        let mut reply = Reply::done();
        for value in [node, 0, ttl.0, ttl.0, 0] {
            reply.u64(value);
        }
        match status {
            Some(status) => reply.attributes(status),
            None => reply.length += 88,
        }
        reply
    }

    /// Attributes of an object.
    pub fn attr(status: &Status, ttl: Ttl) -> Reply {
        let mut reply = Reply::done();
        reply.u64(ttl.0);
        reply.u64(0);
        reply.attributes(status);
        reply
    }

    /// An open file or directory, appended to an entry for CREATE.
    pub fn open(mut self, handle: u64, flags: u32) -> Reply {
        self.u64(handle);
        self.u32(flags);
        self.u32(0);
        self
    }

    /// How much was written, or how long an attribute is.
    pub fn size(size: u32) -> Reply {
        let mut reply = Reply::done();
        reply.u32(size);
        reply.u32(0);
        reply
    }

    /// A position in a file.
    pub fn position(offset: u64) -> Reply {
        let mut reply = Reply::done();
        reply.u64(offset);
        reply
    }

    /// What the file system has room for.
    pub fn statfs(statvfs: &rustix::fs::StatVfs) -> Reply {
        let mut reply = Reply::done();
        let s = statvfs;
        for value in [s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree] {
            reply.u64(value);
        }
        for value in [s.f_bsize, s.f_namemax, s.f_frsize] {
            reply.u32(u32::try_from(value).unwrap_or(u32::MAX));
        }
        reply.length += 4 + 24;
        reply
    }

    /// Our half of the negotiation.
    pub fn init(minor: u32, readahead_max: u32, flags: u64, payload_max: u32) -> Reply {
        let mut reply = Reply::done();
        for value in [7, minor, readahead_max, flags as u32] {
            reply.u32(value);
        }
        reply.u32(64 | 48 << 16); // most background requests, congestion threshold
        reply.u32(payload_max);
        reply.u32(1); // granularity of times, in nanoseconds
        reply.u32(payload_max / 4096); // most pages of one request; no map alignment
        reply.u32((flags >> 32) as u32);
        reply.length += 28;
        reply
    }

    fn attributes(&mut self, s: &Status) {
        for value in [s.ino, s.size, s.blocks] {
            self.u64(value);
        }
        for time in [s.accessed, s.modified, s.changed] {
            self.u64(time.seconds.cast_unsigned());
        }
        for time in [s.accessed, s.modified, s.changed] {
            self.u32(time.nanoseconds);
        }
        // The kernel's 32-bit device number is the low half of ours.
        for value in [s.mode, s.links, s.uid, s.gid, s.rdev as u32, s.block_size, 0] {
            self.u32(value);
        }
    }

    fn u32(&mut self, value: u32) {
        self.bytes[self.length..self.length + 4].copy_from_slice(&value.to_ne_bytes());
        self.length += 4;
    }

    fn u64(&mut self, value: u64) {
        self.bytes[self.length..self.length + 8].copy_from_slice(&value.to_ne_bytes());
        self.length += 8;
    }

    /// The bytes after the header (an entry, for a directory listing).
    pub fn body(&self) -> &[u8] {
        &self.bytes[OUT_HEADER_SIZE..self.length]
    }

    fn finished(mut self, unique: u64) -> Reply {
        let header = out_header(self.length, 0, unique);
        self.bytes[..OUT_HEADER_SIZE].copy_from_slice(&header);
        self
    }
}

/// The connection to the kernel.
#[derive(Debug)]
pub struct Channel {
    fd: OwnedFd,
}

impl Channel {
    /// Around an open `/dev/fuse`.
    pub fn new(fd: OwnedFd) -> Channel {
        Channel { fd }
    }

    /// The descriptor requests are read from.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Sends a reply, or the error.
    pub fn send(&self, unique: u64, reply: Result<Reply, Errno>) {
        match reply {
            Ok(reply) => {
                let reply = reply.finished(unique);
                self.write(&[IoSlice::new(&reply.bytes[..reply.length])]);
            }
            Err(error) => self.write(&[IoSlice::new(&out_header(OUT_HEADER_SIZE, -error.raw_os_error(), unique))]),
        }
    }

    /// Sends payload.
    pub fn send_data(&self, unique: u64, data: &[u8]) {
        let header = out_header(OUT_HEADER_SIZE + data.len(), 0, unique);
        self.write(&[IoSlice::new(&header), IoSlice::new(data)]);
    }

    /// Has the kernel hand out again what was read and not answered. Before anything is read.
    ///
    /// # Errors
    /// The kernel does not know how, or the connection has ended.
    pub fn resend(&self) -> Result<(), Errno> {
        const RESEND: i32 = 7;
        rustix::io::write(&self.fd, &out_header(OUT_HEADER_SIZE, RESEND, 0)).map(drop)
    }

    fn write(&self, parts: &[IoSlice<'_>]) {
        match rustix::io::writev(&self.fd, parts) {
            // Nobody waits any more, or the mount is gone: no one is left to tell.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV | Errno::CONNABORTED) => {}
            Err(error) => {
                tracing::error!(%error, "the kernel refused a reply of the file-system front")
            }
        }
    }
}

fn out_header(length: usize, error: i32, unique: u64) -> [u8; OUT_HEADER_SIZE] {
    let mut header = [0; OUT_HEADER_SIZE];
    header[..4].copy_from_slice(&(length as u32).to_ne_bytes());
    header[4..8].copy_from_slice(&error.to_ne_bytes());
    header[8..].copy_from_slice(&unique.to_ne_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_the_lengths_the_kernel_expects() {
        let status = Status::of(std::fs::File::open("/").unwrap()).unwrap();
        let ttl = Ttl(1);
        assert_eq!(Reply::entry(2, Some(&status), ttl).body().len(), 128);
        assert_eq!(Reply::entry(0, None, ttl).body().len(), 128);
        assert_eq!(Reply::entry(2, Some(&status), ttl).open(0, 0).body().len(), 144);
        assert_eq!(Reply::attr(&status, ttl).body().len(), 104);
        assert_eq!(Reply::init(45, 0, 0, 1 << 20).body().len(), 64);
        assert_eq!(Reply::statfs(&rustix::fs::statvfs("/").unwrap()).body().len(), 80);
        assert_eq!(Reply::size(1).body().len(), 8);
        assert_eq!(Reply::position(1).body().len(), 8);
    }
}
