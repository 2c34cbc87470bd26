//! Frames of the replication stream: a fixed header, a body of bounded length, a checksum over both.
//!
//! ```text
//! length u32 (of the body) │ version u16 │ kind u16 │ sequence u64 │ crc32 u32 │ body
//! ```
//! All numbers little-endian. Frames of the primary that change the secondary carry a sequence number, one higher than
//! the one before; all others carry 0. Decoding never panics and never allocates more than a frame's length.

mod body;
mod named;
pub use body::{CheckStep, Checked, NAMED_BYTES_MAX, NAMED_MAX};
pub use body::{Decoded, Entry, Hello, Message, ResyncStep};
pub use named::{Told, ToldWhat};

/// Version of the stream; frames of another version are refused.
pub const VERSION: u16 = 4;

/// Longest payload of one operation, in bytes.
pub const PAYLOAD_MAX: usize = 1 << 20;

/// Longest body accepted, in bytes: a payload and what belongs to it.
pub const BODY_MAX: usize = PAYLOAD_MAX + (16 << 10);

/// Length of the header, in bytes.
pub const HEADER: usize = 20;

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Another version of the stream.
    #[error(
        "the peer speaks version {0} of the replication stream and this node version {VERSION}: \
         install the same release on both nodes"
    )]
    Version(u16),
    /// The body is longer than [`BODY_MAX`].
    #[error("a frame of {0} bytes was refused, the most is {BODY_MAX}: the peer is not a replica of this release")]
    TooLong(usize),
    /// The checksum does not fit.
    #[error("a frame arrived damaged (checksum): the link changes data, check network cards and cables")]
    Checksum,
    /// The body is not what its kind says.
    #[error("a frame of kind {kind} is malformed ({what}): the peer is not a replica of this release")]
    Malformed {
        /// Kind as in the header.
        kind: u16,
        /// What does not fit.
        what: &'static str,
    },
}

/// Encodes one frame without its sequence number; [`number`] completes it.
pub fn encode(message: &Message, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + 640 + payload.len());
    frame.resize(HEADER, 0);
    let kind = body::encode(message, &mut frame);
    frame.extend_from_slice(payload);
    let length = frame.len() - HEADER;
    debug_assert!(length <= BODY_MAX, "callers cut their payloads");
    frame[0..4].copy_from_slice(&(length as u32).to_le_bytes());
    frame[4..6].copy_from_slice(&VERSION.to_le_bytes());
    frame[6..8].copy_from_slice(&kind.to_le_bytes());
    let sum = head_sum(&frame) ^ crc32fast::hash(&frame[HEADER..]);
    frame[16..20].copy_from_slice(&sum.to_le_bytes());
    frame
}

/// Gives an encoded frame its sequence number. The checksum is that of the head mixed with that of the body, so that
/// numbering (which happens under the sender's lock) costs nothing per byte.
pub fn number(frame: &mut [u8], sequence: u64) {
    let before = head_sum(frame);
    frame[8..16].copy_from_slice(&sequence.to_le_bytes());
    let sum = u32::from_le_bytes([frame[16], frame[17], frame[18], frame[19]]) ^ before ^ head_sum(frame);
    frame[16..20].copy_from_slice(&sum.to_le_bytes());
}

fn head_sum(frame: &[u8]) -> u32 {
    crc32fast::hash(&frame[..16])
}

/// One received frame, borrowed from its reader.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Position in the stream, or 0.
    pub sequence: u64,
    /// What it says.
    pub message: Message,
    /// Its payload (empty for most).
    pub payload: &'a [u8],
    /// Length on the wire, in bytes.
    pub length: usize,
}

/// Cuts received bytes into frames. Holds at most one unfinished frame beyond what one `push` brought.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    /// Room to read into; tell [`FrameReader::filled`] how much was read.
    pub fn room(&mut self, least: usize) -> &mut Vec<u8> {
        if self.start > 0 && (self.start == self.buffer.len() || self.buffer.capacity() - self.buffer.len() < least) {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(least);
        &mut self.buffer
    }

    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one. After an error the stream is of no more use.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let rest = &self.buffer[self.start..];
        let Some(head) = rest.first_chunk::<HEADER>() else { return Ok(None) };
        let version = u16::from_le_bytes([head[4], head[5]]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if length > BODY_MAX {
            return Err(FrameError::TooLong(length));
        }
        if rest.len() < HEADER + length {
            return Ok(None);
        }
        let kind = u16::from_le_bytes([head[6], head[7]]);
        let sequence =
            u64::from_le_bytes([head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15]]);
        let sum = u32::from_le_bytes([head[16], head[17], head[18], head[19]]);
        let body_start = self.start + HEADER;
        let body = &self.buffer[body_start..body_start + length];
        if crc32fast::hash(&head[..16]) ^ crc32fast::hash(body) != sum {
            return Err(FrameError::Checksum);
        }
        self.start = body_start + length;
        let Decoded { message, payload } = body::decode(kind, body)?;
        Ok(Some(Frame { sequence, message, payload, length: HEADER + length }))
    }
}

#[cfg(test)]
mod tests;
