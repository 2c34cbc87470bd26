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

/// The machines on the network of one interface, asked and told about addresses of one family.
#[derive(Debug)]
pub struct Neighbours {
    interface: Interface,
    own: Mac,
    socket: FrameSocket,
    v4: bool,
}

impl Neighbours {
    /// Those that `addr` has on this interface; `None`: it has none that can be asked.
    ///
    /// # Errors
    /// Frames cannot be sent there.
    pub fn of(interface: &Interface, addr: IpAddr) -> io::Result<Option<Self>> {
        let Some(own) = interface.mac else {
            return Ok(None);
        };
        let socket = FrameSocket::open(interface, addr)?;
        Ok(Some(Self { interface: interface.clone(), own, socket, v4: addr.is_ipv4() }))
    }

    /// Name of the interface.
    pub fn interface(&self) -> &str {
        &self.interface.name
    }

    /// Whether `addr` on this interface has the same ones.
    pub fn are_those_of(&self, interface: &Interface, addr: IpAddr) -> bool {
        self.interface.index == interface.index && self.v4 == addr.is_ipv4()
    }

    /// Asks who has the addresses; the first claim ends it.
    ///
    /// # Errors
    /// Frames cannot be sent or received.
    pub fn conflict(&self, addresses: &[IpAddr], patience: Duration) -> io::Result<Option<(IpAddr, Mac)>> {
        for _ in 0..QUESTIONS {
            for addr in addresses {
                self.socket.send(&probe(*addr, self.own))?;
            }
            let end = Instant::now() + patience / QUESTIONS;
            while let Some(left) = end.checked_duration_since(Instant::now()) {
                let Some(frame) = self.socket.receive(left)? else {
                    continue;
                };
                let found = addresses.iter().find_map(|addr| Some((*addr, claimant(&frame, *addr, self.own)?)));
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
    pub fn announce(&self, addr: IpAddr) -> io::Result<()> {
        for _ in 0..BURST {
            for frame in announcements(addr, self.own) {
                self.socket.send(&frame)?;
            }
        }
        Ok(())
    }
}
