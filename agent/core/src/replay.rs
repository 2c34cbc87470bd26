//! Which authentic datagrams are believed: a recorded one must not pass for the peer.
//!
//! Incarnation counts rise with each start of an agent, sequence numbers with each datagram. The first datagram of a
//! new incarnation is believed only if it echoes this node's own incarnation, which nothing recorded earlier can do.

use crate::heartbeat::{Heartbeat, Incarnation};

/// What is known of the peer's datagrams.
#[derive(Clone, Debug)]
pub struct Replay {
    own: Incarnation,
    believed: Option<Incarnation>,
    /// Highest count seen, believed or not: what is echoed, so that a restarted peer can prove itself.
    echo: Incarnation,
    newest: u64,
    on_link: Vec<u64>,
}

/// What to make of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// Say nothing, believe nothing.
    Refused(&'static str),
    /// The peer lives on this link, but something newer was already heard from it.
    Alive,
    /// The newest word of the peer.
    Newest,
    /// The newest word of the peer, and the first since its agent started anew.
    Restarted,
}

impl Replay {
    /// Nothing heard yet.
    pub fn new(own: Incarnation, links: usize) -> Self {
        Self {
            own,
            believed: None,
            echo: Incarnation::default(),
            newest: 0,
            on_link: vec![0; links],
        }
    }

    /// The peer's incarnation to echo in our heartbeats (zero: none heard yet).
    pub fn echo(&self) -> Incarnation {
        self.echo
    }

    /// The incarnation that is believed.
    pub fn believed(&self) -> Option<Incarnation> {
        self.believed
    }

    /// Judges a datagram whose tag was right.
    pub fn judge(&mut self, link: usize, heartbeat: &Heartbeat) -> Belief {
        let incarnation = heartbeat.incarnation;
        if link >= self.on_link.len() {
            return Belief::Refused("on a link that is not configured");
        }
        if self.believed != Some(incarnation) {
            if self
                .believed
                .is_some_and(|believed| incarnation.count <= believed.count)
            {
                return Belief::Refused("of an older start of the peer's agent");
            }
            if self.echo == Incarnation::default() || incarnation.count > self.echo.count {
                self.echo = incarnation;
            }
            if heartbeat.echo != self.own {
                return Belief::Refused("of an unproven start of the peer's agent");
            }
            let first = self.believed.is_none();
            self.believed = Some(incarnation);
            self.echo = incarnation;
            self.newest = heartbeat.sequence;
            self.on_link.fill(0);
            self.on_link[link] = heartbeat.sequence;
            return if first {
                Belief::Newest
            } else {
                Belief::Restarted
            };
        }
        if heartbeat.sequence <= self.on_link[link] {
            return Belief::Refused("already heard");
        }
        self.on_link[link] = heartbeat.sequence;
        if heartbeat.sequence <= self.newest {
            return Belief::Alive;
        }
        self.newest = heartbeat.sequence;
        Belief::Newest
    }
}
