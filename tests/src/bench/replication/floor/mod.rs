//! The floor: the least that synchronous replication over FUSE can do, to hold Holdfast against.
//!
//! Nothing is encrypted, ordered, resumed or compared. `single` serves one file by one thread that sends a write to the
//! peer, writes it, waits for the peer's answer and replies. `whole` puts a round trip below our own front, for programs
//! that need a whole file system; a sync runs on a copy at the peer at the same time. `peer` answers both.

pub mod peer;
pub mod single;
pub mod whole;

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;

/// Length of a frame's header.
pub const HEADER: usize = 32;
/// Length of an answer: the frame's number and padding.
pub const ANSWER: usize = 16;
/// The answer comes at once.
pub const NOTE: u32 = 0;
/// As [`NOTE`]; a copying peer writes the payload first.
pub const WRITE: u32 = 1;
/// A copying peer syncs the file first, without holding back answers to later frames.
pub const SYNC: u32 = 2;

/// One frame's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// [`NOTE`], [`WRITE`] or [`SYNC`].
    pub kind: u32,
    /// Length of the payload that follows, in bytes.
    pub length: u32,
    /// Comes back in the answer.
    pub number: u64,
    /// The file.
    pub file: u64,
    /// Where in the file.
    pub offset: u64,
}

impl Head {
    /// As it travels.
    pub fn bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.length.to_le_bytes());
        for (at, value) in [(8, self.number), (16, self.file), (24, self.offset)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// As it came.
    pub fn parse(bytes: &[u8; HEADER]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at + 4)) << 32 | u64::from(word(at));
        Self { kind: word(0), length: word(4), number: long(8), file: long(16), offset: long(24) }
    }
}

/// Sends a frame in one system call if the socket takes it.
///
/// # Errors
/// The socket's.
pub fn send(mut socket: &TcpStream, head: Head, payload: &[u8]) -> io::Result<()> {
    let bytes = head.bytes();
    let sent = socket.write_vectored(&[IoSlice::new(&bytes), IoSlice::new(payload)])?;
    if sent < HEADER {
        socket.write_all(&bytes[sent..])?;
    }
    socket.write_all(&payload[sent.saturating_sub(HEADER)..])
}

/// Waits for an answer; the number of the frame it is for.
///
/// # Errors
/// The socket's.
pub fn receive(mut socket: &TcpStream) -> io::Result<u64> {
    let mut answer = [0; ANSWER];
    socket.read_exact(&mut answer)?;
    let mut number = [0; 8];
    number.copy_from_slice(&answer[..8]);
    Ok(u64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn a_header_survives_the_way() {
        let head = Head { kind: 2, length: 3, number: 1 << 40, file: 5, offset: 1 << 33 };
        assert_eq!(Head::parse(&head.bytes()), head);
    }
}
