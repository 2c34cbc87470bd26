//! TLS 1.3 with both keys pinned, over one blocking TCP connection that one writer and one reader share.
//!
//! Without encryption both ends prove that they know the cluster's secret before anything else is said; what follows then
//! travels in the clear.

mod channel;
mod patience;
pub mod pin;

pub use channel::{Channel, Inbox, take_traffic};

use rustix::net::sockopt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::frame::{FrameReader, Message, encode};

/// How long an unfinished handshake is borne.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Why keys could not be used or a peer not be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or holds something else.
    #[error("{path}: {reason}; the agent writes this file at its first start, enrol the node again if it is lost")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A fingerprint that is none.
    #[error("the peer's key fingerprint {0:?} is not 64 lower-case hex digits: correct the cluster configuration")]
    Fingerprint(String),
    /// A secret that is none.
    #[error("the cluster's secret must be 64 hex digits when encryption is off: save the cluster configuration again")]
    Secret,
    /// The library refuses key and certificate.
    #[error("key and certificate cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// How connections of one module are protected.
#[derive(Clone, Debug)]
pub struct Protection(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Tls { server: Arc<ServerConfig>, client: Arc<ClientConfig> },
    Plain { key: [u8; 32] },
}

impl Protection {
    /// TLS with this node's key, for a peer whose key has `peer_fingerprint`.
    pub fn tls(key: &Path, certificate: &Path, peer_fingerprint: &str) -> Result<Self, TlsError> {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if peer_fingerprint.len() != 64 || !peer_fingerprint.bytes().all(hex) {
            return Err(TlsError::Fingerprint(peer_fingerprint.into()));
        }
        let file = |path: &Path, reason: String| TlsError::File { path: path.into(), reason };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| file(certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(file(certificate, "no certificate in it".into()));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| file(key, error.to_string()))?;
        let server = pin::server(chain.clone(), private.clone_key(), vec![peer_fingerprint.into()])?;
        let client = pin::client(chain, private, peer_fingerprint)?;
        Ok(Self(Kind::Tls { server: Arc::new(server), client: Arc::new(client) }))
    }

    /// No encryption: for trusted links. Both ends prove that they know the cluster's `secret` (64 hex digits).
    pub fn plain(secret: &str, module: u16) -> Result<Self, TlsError> {
        let digit = |at: usize| secret.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let bytes: Option<Vec<u8>> = (0..32).map(|i| digit(2 * i)).collect();
        let bytes = bytes.filter(|_| secret.len() == 64).ok_or(TlsError::Secret)?;
        let mut material = bytes;
        material.extend_from_slice(&module.to_le_bytes());
        Ok(Self(Kind::Plain { key: blake3::derive_key("holdfast replication greeting v1", &material) }))
    }

    /// Makes a connected socket a channel: handshake as the end that `accepted` it or the end that connected.
    pub fn channel(&self, socket: TcpStream, accepted: bool, send_timeout: Duration) -> io::Result<Channel> {
        tune(&socket, send_timeout)?;
        socket.set_read_timeout(Some(HANDSHAKE))?;
        let channel = match &self.0 {
            Kind::Tls { server, client } => {
                let mut tls: Connection = if accepted {
                    ServerConnection::new(server.clone()).map_err(io::Error::other)?.into()
                } else {
                    let name = ServerName::try_from("replica.holdfast").map_err(io::Error::other)?;
                    ClientConnection::new(client.clone(), name).map_err(io::Error::other)?.into()
                };
                tls.set_buffer_limit(None);
                while tls.is_handshaking() {
                    tls.complete_io(&mut &socket)?;
                }
                Channel::new(socket, Some(tls))
            }
            Kind::Plain { key } => {
                let channel = Channel::new(socket, None);
                prove(&channel, key, accepted)?;
                channel
            }
        };
        Ok(channel)
    }
}

/// Socket options of a stream: no delay, half-open peers noticed, no send waits longer than `timeout`.
fn tune(socket: &TcpStream, timeout: Duration) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(timeout))?;
    sockopt::set_tcp_user_timeout(socket, timeout.as_millis().try_into().unwrap_or(u32::MAX))?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(1))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(1))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    Ok(())
}

/// Each end draws a challenge and answers the other's, with its own side of the connection in the answer so that none
/// can be sent back as it came.
fn prove(channel: &Channel, key: &[u8; 32], accepted: bool) -> io::Result<()> {
    let mut mine = [0; 32];
    getrandom::fill(&mut mine).map_err(|error| io::Error::other(error.to_string()))?;
    let answer = |challenge: &[u8; 32], side: bool| {
        *blake3::keyed_hash(key, &[challenge.as_slice(), &[u8::from(side)]].concat()).as_bytes()
    };
    let mut scratch = Vec::new();
    let mut reader = FrameReader::default();
    channel.send(&encode(&Message::Challenge(mine), &[]), &mut scratch)?;
    let Message::Challenge(theirs) = channel.expect_message(&mut reader)? else {
        return Err(io::Error::other(
            "the peer did not begin with a challenge: encryption is off here, is it on there?",
        ));
    };
    channel.send(&encode(&Message::Proof(answer(&theirs, accepted)), &[]), &mut scratch)?;
    match channel.expect_message(&mut reader)? {
        // Compared as hashes, in constant time.
        Message::Proof(proof) if blake3::Hash::from(proof) == blake3::Hash::from(answer(&mine, !accepted)) => Ok(()),
        _ => {
            Err(io::Error::other("the peer does not know the cluster's secret: push the cluster configuration to both"))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
