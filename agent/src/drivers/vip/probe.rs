//! Asks the network who has an address, and tells it who has it now.

use super::frames::{Mac, announcements, claimant, probe};
use super::netlink::Interface;
use super::socket::FrameSocket;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Questions asked within the time given.
const QUESTIONS: u32 = 3;
/// Times an announcement is sent in a row: a frame may be lost.
pub(super) const BURST: usize = 3;

/// What is known of who had the addresses before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nothing: whoever has them gets time to answer.
    Unknown,
    /// The peer, which has let go or is silent: somebody else would be a surprise, and every millisecond is downtime.
    Peer,
}

impl Holder {
    /// How long answers are waited for. A host of the same network answers within a few milliseconds.
    pub fn patience(self) -> Duration {
        match self {
            Self::Unknown => Duration::from_millis(200),
            Self::Peer => Duration::from_millis(30),
        }
    }
}

/// Asks who has the addresses, all of the same family, on one interface; the first claim ends it.
///
/// # Errors
/// Frames cannot be sent or received.
pub fn conflict(
    interface: &Interface,
    own: Mac,
    addresses: &[IpAddr],
    patience: Duration,
) -> io::Result<Option<(IpAddr, Mac)>> {
    let Some(first) = addresses.first() else {
        return Ok(None);
    };
    let socket = FrameSocket::open(interface, *first)?;
    for _ in 0..QUESTIONS {
        for addr in addresses {
            socket.send(&probe(*addr, own))?;
        }
        let end = Instant::now() + patience / QUESTIONS;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let Some(frame) = socket.receive(left)? else {
                continue;
            };
            let found = addresses.iter().find_map(|addr| Some((*addr, claimant(&frame, *addr, own)?)));
            if found.is_some() {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

/// Announces an address, several times in a row.
///
/// # Errors
/// Frames cannot be sent.
pub fn announce(interface: &Interface, own: Mac, addr: IpAddr) -> io::Result<()> {
    let socket = FrameSocket::open(interface, addr)?;
    for _ in 0..BURST {
        for frame in announcements(addr, own) {
            socket.send(&frame)?;
        }
    }
    Ok(())
}
