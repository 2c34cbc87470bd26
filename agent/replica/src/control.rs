//! The control socket between agent and replica: message types and their framing (u32 little-endian length + JSON).
//!
//! The agent starts `holdfast-replica --control-fd N` with one end of a Unix stream socketpair, sends one
//! [`ToReplica::Configure`] and then commands; the replica answers with events, and tells once a second that it goes on,
//! with [`Stats`] while it serves or follows. When the socket closes the replica ends, unless it serves or follows and was
//! told how to go on without an agent ([`Orphan`]): then it listens, and an agent that connects says [`ToReplica::Hello`],
//! hears [`FromReplica::Found`], and goes on as if it had started it. An agent on an asynchronous runtime uses [`encode`]
//! and [`Decoder`]; blocking code uses [`send`] and [`receive`].

use crate::resync::Limits;
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::userconfig::Exclusion;
use holdfast_core::covered::{self, Covered};
use holdfast_core::replica::{Plane, ReplicaCommand, ReplicaEvent};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Version of this protocol; a replica refuses a `Configure` of another.
pub const PROTOCOL: u32 = 5;

/// Most threads of a resync.
pub const RESYNC_THREADS_MAX: u32 = 64;

/// Longest frame accepted, in bytes, without its length field.
pub const FRAME_MAX: usize = 1 << 20;

/// What the agent sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToReplica {
    /// The first message of the agent that started it, exactly once.
    Configure(Box<Configure>),
    /// As the first message instead of `Configure`: take over the mounts that a replica which ended has left with their
    /// holder (`keep`). Answered by `Found`; or it ends, and so do the mounts.
    Resume(Box<Configure>),
    /// The first message of an agent that finds it: what it would be started with now. Answered by `Found` or `Refused`.
    Hello(Box<Configure>),
    /// End in order: writers are refused, mounts are taken away. Also as the first message of an agent that finds it.
    End,
    /// Everything after it, executed in the order given.
    Command(ReplicaCommand),
    /// (Serving) compare both copies; (neither serving nor following) compare the copy here with the serving peer's.
    /// Nothing is changed. Answered by `Verify` reports.
    Verify,
}

/// What the replica sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromReplica {
    /// For the core.
    Event(ReplicaEvent),
    /// A command was carried out, or refused; told once for each, after its other answers.
    Done,
    /// Answer to `Hello` and `Resume`: what is running. What came before it on this connection is part of that.
    Found(Plane),
    /// Answer to `Hello`: it does not obey this agent, for this reason.
    Refused(String),
    /// For the console; once a second while serving or following.
    Stats(Stats),
    /// It goes on; once a second while there are no [`Stats`] to tell.
    Alive,
    /// How far a comparison of both copies is; the last one is not `running`.
    Verify(VerifyReport),
}

/// When a write counts as applied on a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AsyncMode {
    /// `async="second"`: in the page cache of both nodes; fsync reaches both disks.
    #[default]
    Second,
    /// `async="none"`: on both disks before the application hears of it.
    None,
}

/// What a replica must know before its first command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// Name of the module, for messages.
    pub module: String,
    /// Number of the module; both ends of a stream must agree.
    pub module_id: ModuleId,
    /// The replicated directories, absolute, in the same order on both nodes.
    pub directories: Vec<PathBuf>,
    /// Names below them that are each node's own.
    #[serde(default)]
    pub exclusions: Vec<Exclusion>,
    /// What was covered when this copy was last in step, as the ledger says; `None`: the same, or that is not known. No
    /// part of the configuration: the next agent's may say more.
    #[serde(default, with = "covered::shared")]
    pub covered: Option<Arc<Covered>>,
    /// Paths that must be there before replication starts.
    #[serde(default)]
    pub required: Vec<PathBuf>,
    /// Where the serving replica accepts its peer (port 0: any; told in the log only).
    pub listen: SocketAddr,
    /// Where the following replica connects to.
    pub peer: SocketAddr,
    /// This node.
    pub node: NodeId,
    /// The other node.
    pub peer_node: NodeId,
    /// PEM file with this node's private key.
    pub key_file: PathBuf,
    /// PEM file with this node's certificate.
    pub certificate_file: PathBuf,
    /// Lower-case hex SHA-256 of the peer's SubjectPublicKeyInfo (DER).
    pub peer_fingerprint: String,
    /// TLS 1.3 with both keys pinned (`true`), or plain TCP with an authenticated greeting for trusted links.
    pub encryption: bool,
    /// The cluster's secret, 64 hex digits: keys the greeting when `encryption` is off (unused with TLS).
    #[serde(default)]
    pub secret: String,
    /// When a write counts as applied.
    #[serde(default)]
    pub async_mode: AsyncMode,
    /// Folder this replica may keep its own files in.
    pub state_dir: PathBuf,
    /// Contents of the node's boot-id file: a stream is never resumed across a boot of either node.
    pub boot_id: String,
    /// Longest time a frame may wait to be taken or acknowledged by the peer, in milliseconds.
    #[serde(default = "default_send_timeout_ms")]
    pub send_timeout_ms: u64,
    /// How long a broken stream may take to resume before it is reported lost, in milliseconds.
    #[serde(default = "default_resume_window_ms")]
    pub resume_window_ms: u64,
    /// Threads of a resync that compare contents.
    #[serde(default = "default_resync_threads")]
    pub resync_threads: u32,
    /// Bytes per second that a resync may send; 0: any number.
    #[serde(default)]
    pub resync_bytes_per_s: u64,
    /// Time between two marks of a resync, in milliseconds: from the last one an interrupted resync goes on.
    #[serde(default = "default_resync_mark_ms")]
    pub resync_mark_ms: u64,
    /// How it goes on when its agent is gone; `None`: it ends with it.
    #[serde(default)]
    pub orphan: Option<Orphan>,
}

/// How a replica goes on without an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orphan {
    /// Where it listens for the next agent.
    pub socket: PathBuf,
    /// How long it goes on, and how long it holds a change back, in milliseconds: by then the peer may serve.
    pub limit_ms: u64,
    /// After this time, in milliseconds, `release` is run: the peer will want the virtual addresses.
    pub addresses_ms: u64,
    /// Program and arguments that take the module's virtual addresses away; empty: there are none.
    #[serde(default)]
    pub release: Vec<String>,
}

fn default_send_timeout_ms() -> u64 {
    5000
}

impl Configure {
    pub(crate) fn resync_limits(&self) -> Limits {
        let threads = self.resync_threads.clamp(1, RESYNC_THREADS_MAX) as usize;
        Limits {
            threads,
            bytes_per_s: self.resync_bytes_per_s,
            mark_period: Duration::from_millis(self.resync_mark_ms),
        }
    }
}

fn default_resync_mark_ms() -> u64 {
    Limits::default().mark_period.as_millis() as u64
}

fn default_resync_threads() -> u32 {
    Limits::default().threads as u32
}

fn default_resume_window_ms() -> u64 {
    700
}

/// A comparison of both copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// It goes on.
    pub running: bool,
    /// Entries compared.
    pub entries: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Differences found.
    pub differences: u64,
    /// (Before a resync) bytes that it would send.
    #[serde(default)]
    pub bytes_to_copy: u64,
    /// The first of them, each `path: what, the primary's value first`.
    pub named: Vec<String>,
    /// Why it did not come to its end.
    pub failed: Option<String>,
}

/// Figures of the last second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Bytes of payload sent (serving) or applied (following).
    pub bytes_per_s: u64,
    /// Operations sent or applied.
    pub ops_per_s: u64,
    /// Median time from sending a frame to its acknowledgement, in microseconds; 0 without any.
    pub ack_p50_us: u64,
    /// 99th percentile of the same.
    pub ack_p99_us: u64,
    /// Changes whose answer is held back now, waiting for the peer or for a decision.
    pub held_back: u64,
    /// Bytes on the wire to the peer, encryption, resync and acknowledgements included.
    #[serde(default)]
    pub sent_per_s: u64,
    /// The same from the peer.
    #[serde(default)]
    pub received_per_s: u64,
}

/// Why a control message could not be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket failed.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
    /// A length field above [`FRAME_MAX`].
    #[error("control frame of {0} bytes refused: the most is {FRAME_MAX}; agent and replica must be of one version")]
    TooLong(usize),
    /// Not the JSON of the expected message.
    #[error("control message not understood ({0}); agent and replica must be of one version")]
    Malformed(#[from] serde_json::Error),
}

/// The bytes of one message, with its length in front.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, ControlError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    if length > FRAME_MAX {
        return Err(ControlError::TooLong(length));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// Sends one message.
pub fn send<T: Serialize>(mut socket: impl Write, message: &T) -> Result<(), ControlError> {
    socket.write_all(&encode(message)?)?;
    Ok(())
}

/// Receives one message; `None` when the other end has closed between two messages.
pub fn receive<T: DeserializeOwned>(mut socket: impl Read) -> Result<Option<T>, ControlError> {
    let mut length = [0; 4];
    if socket.read(&mut length[..1])? == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut length[1..])?;
    let length = checked_length(length)?;
    let mut body = vec![0; length];
    socket.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

fn checked_length(bytes: [u8; 4]) -> Result<usize, ControlError> {
    let length = u32::from_le_bytes(bytes) as usize;
    if length > FRAME_MAX { Err(ControlError::TooLong(length)) } else { Ok(length) }
}

/// Cuts a stream of bytes into messages, for readers that cannot block.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Takes bytes as they came from the socket.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if there is one. After an error the socket is of no more use.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ControlError> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let end = 4 + checked_length(*head)?;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.buffer[4..end])?;
        self.buffer.drain(..end);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::ids::Generation;

    fn serve() -> ToReplica {
        ToReplica::Command(ReplicaCommand::Serve { generation: Generation { number: 3, id: 9 } })
    }

    #[test]
    fn messages_survive_the_socket_in_any_pieces() {
        let bytes: Vec<u8> = [encode(&serve()).unwrap(), encode(&serve()).unwrap()].concat();
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for byte in &bytes {
            decoder.push(&[*byte]);
            while let Some(message) = decoder.next_message::<ToReplica>().unwrap() {
                seen.push(message);
            }
        }
        assert_eq!(seen, [serve(), serve()]);
        let mut reader = bytes.as_slice();
        assert_eq!(receive::<ToReplica>(&mut reader).unwrap(), Some(serve()));
        assert_eq!(receive::<ToReplica>(&mut reader).unwrap(), Some(serve()));
        assert_eq!(receive::<ToReplica>(&mut reader).unwrap(), None);
    }

    #[test]
    fn oversized_and_foreign_frames_are_refused_with_a_cure() {
        let huge = u32::MAX.to_le_bytes();
        let error = receive::<ToReplica>(huge.as_slice()).unwrap_err().to_string();
        assert!(error.contains("must be of one version"), "{error}");
        let mut decoder = Decoder::default();
        decoder.push(&huge);
        assert!(decoder.next_message::<ToReplica>().is_err());
        let mut foreign = encode(&"hello").unwrap();
        assert!(receive::<ToReplica>(foreign.as_slice()).is_err());
        foreign.truncate(6);
        assert!(receive::<ToReplica>(foreign.as_slice()).is_err());
    }
}
