//! Which authentic datagrams are believed: a recorded one must not pass for the peer.
//!
//! Incarnation counts rise with each start of an agent, sequence numbers with each datagram. The first datagram of a
//! new incarnation is believed only if it echoes this node's own incarnation, which nothing recorded earlier can do.
//!
//! A peer whose clock ran ahead once, and that was restored from an image since, counts lower than before. Once the one
//! that was believed is silent, this node takes another incarnation: a start with a lower count that echoes this very one
//! speaks now, whatever was recorded before.

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
    /// `own` is newer than every word believed: what echoes it was said since.
    challenged: bool,
    /// The start that one with a lower count has replaced.
    replaced: Option<Incarnation>,
}

/// What to make of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// Say nothing, believe nothing.
    Refused(&'static str),
    /// Believe nothing: of a start that counts no higher than the one believed, and has not proven that it is later.
    Older,
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
            challenged: false,
            replaced: None,
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

    /// Whether a start with a lower count could prove itself at present.
    pub fn challenged(&self) -> bool {
        self.challenged
    }

    /// From now on this node says another incarnation: whatever echoes it speaks now.
    pub fn challenge(&mut self, own: Incarnation) {
        self.own = own;
        self.challenged = true;
    }

    /// Judges a datagram whose tag was right.
    pub fn judge(&mut self, link: usize, heartbeat: &Heartbeat) -> Belief {
        let incarnation = heartbeat.incarnation;
        if link >= self.on_link.len() {
            return Belief::Refused("on a link that is not configured");
        }
        if self.believed != Some(incarnation) {
            let older = self.believed.is_some_and(|believed| incarnation.count <= believed.count);
            if older && !(self.challenged && heartbeat.echo == self.own) {
                return Belief::Older;
            }
            if self.replaced == Some(incarnation) {
                return Belief::Refused("of a start of the peer's agent that another has replaced");
            }
            if self.echo == Incarnation::default() || incarnation.count > self.echo.count {
                self.echo = incarnation;
            }
            if heartbeat.echo != self.own {
                return Belief::Refused("of an unproven start of the peer's agent");
            }
            let first = self.believed.is_none();
            if older {
                self.replaced = self.believed;
            }
            self.challenged = false;
            self.believed = Some(incarnation);
            self.echo = incarnation;
            self.newest = heartbeat.sequence;
            self.on_link.fill(0);
            self.on_link[link] = heartbeat.sequence;
            return if first { Belief::Newest } else { Belief::Restarted };
        }
        if heartbeat.sequence <= self.on_link[link] {
            return Belief::Refused("already heard");
        }
        self.on_link[link] = heartbeat.sequence;
        self.challenged = false;
        // A word that was sent before a sign of life, and comes after it on another link, is news all the same.
        if heartbeat.saving || heartbeat.sequence <= self.newest {
            return Belief::Alive;
        }
        self.newest = heartbeat.sequence;
        Belief::Newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_api::ids::{Generation, NodeId};
    use holdfast_api::state::{DataState, ModuleState, Readiness};

    const OWN: Incarnation = Incarnation { count: 5, id: 55 };
    const PEER: Incarnation = Incarnation { count: 3, id: 33 };

    fn word(incarnation: Incarnation, sequence: u64, echo: Incarnation) -> Heartbeat {
        Heartbeat {
            from: NodeId(2),
            boot_id: 1,
            incarnation,
            origin: incarnation,
            sequence,
            echo,
            saving: false,
            hears_you: true,
            signature: 0,
            state: ModuleState::Stop,
            readiness: Readiness::NotReady,
            running: false,
            data: DataState::Unknown,
            generation: Generation::default(),
            history: Vec::new(),
            solo: false,
            outdated_since: 0,
            continued: false,
            was_primary: false,
            claims: false,
            failover: true,
            asks: 0,
            session: 0,
            swap_request: 0,
            inventory: crate::replica::Inventory::default(),
            resources: Vec::new(),
        }
    }

    #[test]
    fn a_new_speaker_is_believed_only_if_it_echoes_us() {
        let mut replay = Replay::new(OWN, 2);
        assert!(matches!(replay.judge(0, &word(PEER, 9, Incarnation::default())), Belief::Refused(_)));
        assert_eq!(replay.echo(), PEER, "it is echoed, so that it can prove itself");
        assert_eq!(replay.judge(0, &word(PEER, 10, OWN)), Belief::Newest);
    }

    #[test]
    fn a_recorded_datagram_is_refused() {
        let mut replay = Replay::new(OWN, 2);
        assert_eq!(replay.judge(0, &word(PEER, 10, OWN)), Belief::Newest);
        assert!(matches!(replay.judge(0, &word(PEER, 10, OWN)), Belief::Refused(_)));
        assert!(matches!(replay.judge(0, &word(PEER, 9, OWN)), Belief::Refused(_)));
        assert_eq!(replay.judge(1, &word(PEER, 10, OWN)), Belief::Alive, "the same word over another link");
        assert!(matches!(replay.judge(1, &word(PEER, 10, OWN)), Belief::Refused(_)));
        assert!(matches!(replay.judge(7, &word(PEER, 11, OWN)), Belief::Refused(_)), "no such link");
    }

    #[test]
    fn a_restarted_peer_replaces_the_older_one_for_good() {
        let mut replay = Replay::new(OWN, 1);
        let newer = Incarnation { count: 4, id: 44 };
        assert_eq!(replay.judge(0, &word(PEER, 10, OWN)), Belief::Newest);
        assert!(matches!(replay.judge(0, &word(newer, 1, Incarnation::default())), Belief::Refused(_)));
        assert_eq!(replay.judge(0, &word(PEER, 11, OWN)), Belief::Newest, "not proven yet: the older one still counts");
        assert_eq!(replay.judge(0, &word(newer, 2, OWN)), Belief::Restarted);
        assert_eq!(replay.judge(0, &word(PEER, 12, OWN)), Belief::Older);
        let twin = Incarnation { count: 4, id: 45 };
        assert_eq!(replay.judge(0, &word(twin, 1, OWN)), Belief::Older, "the same count twice");
    }

    #[test]
    fn a_start_that_counts_lower_is_believed_once_it_echoes_what_was_said_after_the_last_word_believed() {
        let mut replay = Replay::new(OWN, 1);
        let (restored, later) = (Incarnation { count: 1, id: 11 }, Incarnation { count: 6, id: 66 });
        assert_eq!(replay.judge(0, &word(PEER, 10, OWN)), Belief::Newest);
        assert_eq!(replay.judge(0, &word(restored, 1, OWN)), Belief::Older);
        replay.challenge(later);
        assert_eq!(replay.judge(0, &word(restored, 1, OWN)), Belief::Older, "recorded before");
        assert_eq!(replay.judge(0, &word(restored, 2, later)), Belief::Restarted);
        assert_eq!(replay.echo(), restored);
        assert!(matches!(replay.judge(0, &word(PEER, 11, OWN)), Belief::Refused(_)), "replaced for good");
        assert_eq!(replay.echo(), restored, "and not echoed, or the next start could not prove itself");
        assert_eq!(replay.judge(0, &word(Incarnation { count: 2, id: 22 }, 1, later)), Belief::Restarted);
    }

    #[test]
    fn a_challenge_ends_when_the_start_that_was_believed_speaks_again() {
        let mut replay = Replay::new(OWN, 1);
        let (clone, later) = (Incarnation { count: 1, id: 11 }, Incarnation { count: 6, id: 66 });
        assert_eq!(replay.judge(0, &word(PEER, 10, OWN)), Belief::Newest);
        replay.challenge(later);
        assert_eq!(replay.judge(0, &word(PEER, 11, OWN)), Belief::Newest, "it has proven itself long since");
        assert_eq!(replay.judge(0, &word(clone, 1, later)), Belief::Older);
    }
}
