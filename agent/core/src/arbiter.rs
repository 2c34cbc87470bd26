//! Who may be primary: pure decisions from what this node knows of itself and has heard of its peer.

mod precedence;
mod without_peer;

pub use precedence::{Contest, Rank, contest, may_promise, rank_of, rank_own, superseded};

use crate::durable::Durable;
use crate::grant::{self, Source};
use crate::heartbeat::Heartbeat;
use crate::relation::{Lineage, Relation, relation};
use crate::replica::Inventory;
use crate::settings::{Settings, Witness};
use crate::time::Instant;
use crate::witness::{Talk, Word};
use holdfast_api::ids::Generation;
use holdfast_api::state::{DataState, ModuleState};
use precedence::outranks;
use without_peer::{by_order, by_register, by_silence, by_stranger};

/// All that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// Settings.
    pub settings: &'a Settings,
    /// What is saved.
    pub durable: &'a Durable,
    /// Present state (STOP, WAIT or SECOND where a role is decided).
    pub state: ModuleState,
    /// In this life of the agent, without a long sleep, this node has been in sync with its peer at its generation and
    /// neither has promised nor been told that somebody else may serve since: nobody can serve a higher generation
    /// without either this node's promise or this node's silence.
    pub live: bool,
    /// An operator's `second`: this copy may be overwritten.
    pub agreed: bool,
    /// What this copy holds and the serving peer's lacks is set aside, complete.
    pub set_aside: bool,
    /// This node has been primary since its last start: a divergence met now may be resolved by itself.
    pub yields: bool,
    /// An operator's `prim` or `primforce`.
    pub forced: Option<Force>,
    /// A wait rule keeps this node from any role.
    pub held: bool,
    /// What the directories hold.
    pub inventory: Inventory,
    /// What of it this node's configuration covers and its copy's did not when it was last in step.
    pub uncovered: Inventory,
    /// The peer's newest word, however old.
    pub peer: Option<&'a Heartbeat>,
    /// The peer was heard within the timeout.
    pub heard: bool,
    /// The peer was silent on all links for the timeout.
    pub silent: bool,
    /// It was so for half a pulse more: a secondary lets the primary ask the register first.
    pub long_silent: bool,
    /// The talk with the witness.
    pub talk: &'a Talk,
    /// Now.
    pub now: Instant,
    /// A witness that could not be asked is asked again after this time.
    pub retry_ms: u64,
}

impl Situation<'_> {
    fn word(&self, number: u64) -> Word {
        self.talk.word(number, self.now, self.retry_ms)
    }
}

/// How much an operator's order is to force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// `prim`: what is not known to be unsafe.
    Prim,
    /// `primforce`: whatever it costs.
    PrimForce,
}

/// What to do where no role is held, and what the copy has turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Save this data state first.
    pub mark: Option<DataState>,
    /// Then do this.
    pub decision: Decision,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Become primary under this grant.
    Promote {
        /// Where the right comes from.
        source: Source,
        /// The generation's number.
        number: u64,
    },
    /// Ask the peer to promise this number.
    Ask {
        /// The number.
        number: u64,
    },
    /// Ask the witness for this number (0: a ping), once nothing is followed any more.
    AskWitness {
        /// The number.
        number: u64,
    },
    /// Set aside what this copy holds and the serving peer's lacks, then decide again.
    SetAside,
    /// Follow the serving peer.
    Follow {
        /// The session it offers.
        session: u64,
        /// Its generation.
        generation: Generation,
    },
    /// Wait, and say for what.
    Wait(Wait),
}

/// What a node waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It has not been awake long enough to know whether the peer speaks.
    Listening,
    /// The peer has a different configuration.
    Signature,
    /// First start: nobody has chosen the reference.
    FirstChoice,
    /// The peer serves but does not offer a session yet.
    PeerNotOffering,
    /// The peer serves an older generation than this copy's, and has not heard of it yet.
    PeerGivesWay,
    /// The peer holds the reference (or the newer copy) and does not serve.
    PeerHoldsData,
    /// Up to date, but the peer may have served since: it is silent.
    PeerMayBeNewer,
    /// The other node takes over or starts first.
    PeerPreferred,
    /// This copy is out of date and the peer is silent.
    Outdated,
    /// This copy is half overwritten.
    Inconsistent,
    /// Files here would be overwritten by a copy they have nothing to do with.
    AgreeToOverwrite,
    /// This copy holds writes that the serving peer lacks.
    Diverged,
    /// What would be lost is being set aside.
    SettingAside,
    /// What would be lost cannot be set aside.
    NotSetAside,
    /// Neither node serves and each copy holds writes the other lacks.
    BothDiverged,
    /// `failover="off"`: only an operator promotes this node.
    FailoverOff,
    /// An operator ordered `second` and nobody is primary.
    NoPrimary,
    /// Asked the peer for its promise.
    Promise,
    /// A wait rule holds.
    Rule,
    /// A checker that a wait rule reads has not looked yet.
    Checks,
    /// Asked the witness.
    Witness,
    /// The ping witness does not answer here: this side is the isolated one.
    PingHidden,
    /// The register cannot be asked, or may not grant yet.
    RegisterLater,
    /// The register has granted the number to somebody else.
    RegisterRefused,
    /// `prim` alone is not enough: the peer is silent, and may serve for all that is known.
    PrimForceNeeded,
}

impl Wait {
    /// The witness's word, or its absence, keeps this node from serving.
    pub fn of_witness(self) -> bool {
        matches!(self, Self::PingHidden | Self::RegisterLater | Self::RegisterRefused)
    }

    /// Whether it passes without anybody's doing.
    pub fn passes(self) -> bool {
        matches!(
            self,
            Self::Listening | Self::PeerNotOffering | Self::Promise | Self::Witness | Self::Checks | Self::SettingAside
        )
    }
}

/// The peer holds, or is taking, or is giving up a role that gets writes acknowledged.
pub fn serves(heartbeat: &Heartbeat) -> bool {
    matches!(heartbeat.state, ModuleState::Prim | ModuleState::Alone)
}

/// A copy that is whole: a candidate, if not the newest.
pub fn whole(data: DataState) -> bool {
    matches!(data, DataState::UpToDate | DataState::Outdated)
}

/// What the peer's copy is to ours.
pub fn relation_to(durable: &Durable, peer: &Heartbeat) -> Relation {
    relation(
        Lineage { generation: durable.generation, history: &durable.history },
        Lineage { generation: peer.generation, history: &peer.history },
    )
}

/// The peer's word, as heard, grants `number` to this node: rule (a).
///
/// Its promise alone is not enough: its copy must be one that cannot be newer than ours.
pub fn granted(durable: &Durable, peer: &Heartbeat, number: u64) -> bool {
    peer.outdated_since >= number
        && !serves(peer)
        && (!whole(peer.data) || matches!(relation_to(durable, peer), Relation::Equal | Relation::Behind))
}

/// Decides the role of a node in WAIT or SECOND.
pub fn decide(s: &Situation<'_>) -> Verdict {
    let wait = |wait| Verdict { mark: None, decision: Decision::Wait(wait) };
    let heard = s.peer.filter(|_| s.heard);
    if let Some(peer) = heard
        && peer.signature != s.settings.signature
        && !s.settings.broken.ignore_signature
    {
        return wait(Wait::Signature);
    }
    match heard {
        Some(peer) if serves(peer) => beside_primary(s, peer),
        _ if (s.heard || s.silent)
            && let Some(force) = s.forced =>
        {
            Verdict { mark: None, decision: by_order(s, force) }
        }
        _ if s.agreed && (s.heard || s.silent) => wait(Wait::NoPrimary),
        Some(peer) => nobody_serves(s, peer),
        None => out_of_hearing(s),
    }
}

/// Why `prim` would not be safe while the peer is heard: it holds newer data, or has this node's promise and may become
/// primary at any moment.
pub fn prim_unsafe(durable: &Durable, peer: &Heartbeat) -> bool {
    if !whole(peer.data) {
        return false;
    }
    let relation = relation_to(durable, peer);
    let outdated_beside = durable.data == DataState::Outdated && peer.data == DataState::UpToDate;
    let promised = durable.outdated_since > durable.generation.number;
    relation == Relation::Ahead || (outdated_beside && relation == Relation::Equal) || promised
}

/// The peer serves: follow it, unless that would destroy something.
fn beside_primary(s: &Situation<'_>, peer: &Heartbeat) -> Verdict {
    let (data, solo) = (s.durable.data, s.durable.solo);
    // A peer that serves a number as low as ours, from another lineage, has yet to take a higher one.
    let higher = peer.generation == s.durable.generation || peer.generation.number > s.durable.generation.number;
    let follow = || match peer.session {
        // A primary that is not solo waits for a secondary in sync: its session is that one's, not an offer. Overwriting
        // under it would leave neither copy electable if it dies.
        0 => Decision::Wait(Wait::PeerNotOffering),
        _ if !higher || !peer.solo => Decision::Wait(Wait::PeerNotOffering),
        session => Decision::Follow { session, generation: peer.generation },
    };
    let descends = matches!(relation_to(s.durable, peer), Relation::Equal | Relation::Ahead) && !solo;
    let diverged = data == DataState::Diverged;
    // Once it is offered: until then there is nobody to compare with.
    let saved = || match follow() {
        Decision::Follow { .. } if !s.set_aside && !s.settings.broken.overwrite_diverged => Decision::SetAside,
        decision => decision,
    };
    // Files that were this node's own until the configuration changed, as those at the first start.
    let in_danger = s.uncovered.entries > 0 && !s.agreed && !s.settings.broken.overwrite_uncovered;
    let follow_if_agreed = || if in_danger { Decision::Wait(Wait::AgreeToOverwrite) } else { follow() };
    if data == DataState::Inconsistent {
        return Verdict { mark: None, decision: follow_if_agreed() };
    }
    if s.agreed {
        let own = whole(data) && s.durable.generation.number > 0 && !descends;
        // Said, so that a primary of a lower number may take a higher one beside this copy. One that serves an ancestor
        // of it has to hear that it is newer.
        let mark = own && relation_to(s.durable, peer) != Relation::Behind;
        let decision = if diverged || own { saved() } else { follow() };
        return Verdict { mark: mark.then_some(DataState::Diverged), decision };
    }
    if diverged && !s.settings.broken.overwrite_diverged {
        let decision = if s.yields { saved() } else { Decision::Wait(Wait::Diverged) };
        return Verdict { mark: None, decision };
    }
    let decision = if s.durable.generation.number == 0 || data == DataState::Unknown {
        if s.inventory.entries == 0 { follow() } else { Decision::Wait(Wait::AgreeToOverwrite) }
    } else if relation_to(s.durable, peer) == Relation::Behind {
        // It serves an ancestor of this copy, so it has not heard of it yet: it gives way when it does.
        Decision::Wait(Wait::PeerGivesWay)
    } else if descends || s.settings.broken.overwrite_diverged {
        // It has served on while this copy was not following.
        let newer = peer.generation != s.durable.generation && data == DataState::UpToDate;
        return Verdict { mark: newer.then_some(DataState::Outdated), decision: follow_if_agreed() };
    } else {
        // Solo beside a serving peer, or not its ancestor: writes acknowledged here are missing there. Even a peer
        // whose history names our generation was then forced by an operator; nothing here is overwritten unasked, unless
        // it is set aside and the copy diverged before this node's eyes.
        let decision = if s.yields { saved() } else { Decision::Wait(Wait::Diverged) };
        return Verdict { mark: Some(DataState::Diverged), decision };
    };
    Verdict { mark: None, decision }
}

/// The peer is heard and does not serve.
fn nobody_serves(s: &Situation<'_>, peer: &Heartbeat) -> Verdict {
    let durable = s.durable;
    let wait = |wait| Verdict { mark: None, decision: Decision::Wait(wait) };
    match durable.data {
        DataState::Unknown if peer.generation.number > 0 => return wait(Wait::PeerHoldsData),
        DataState::Unknown => return wait(Wait::FirstChoice),
        DataState::Inconsistent if !s.settings.broken.promote_inconsistent => {
            return wait(Wait::Inconsistent);
        }
        DataState::Diverged => return wait(Wait::Diverged),
        DataState::UpToDate | DataState::Outdated | DataState::Inconsistent => {}
    }
    let outdated = durable.data == DataState::Outdated;
    let relation = relation_to(durable, peer);
    if peer.data == DataState::Diverged && relation == Relation::Ahead {
        // It gave up its role to somebody, but holds all that is here and more.
        return wait(Wait::PeerHoldsData);
    }
    if whole(peer.data) {
        match relation {
            Relation::Equal if !outranks(&rank_own(s), &rank_of(s.settings, peer)) => {
                return wait(Wait::PeerPreferred);
            }
            Relation::Equal => {}
            Relation::Behind if !outdated => {}
            Relation::Behind => return wait(Wait::Outdated),
            Relation::Ahead if durable.solo => return wait(Wait::BothDiverged),
            Relation::Ahead => {
                let mark = (!outdated).then_some(DataState::Outdated);
                return Verdict { mark, decision: Decision::Wait(Wait::PeerHoldsData) };
            }
            Relation::Diverged | Relation::Unrelated => return wait(Wait::BothDiverged),
        }
    } else if outdated {
        return wait(Wait::Outdated);
    }
    let number = grant::number_to_ask(durable, Some(peer));
    if granted(durable, peer, number) {
        let partner = durable.solo || outdated || (whole(peer.data) && relation == Relation::Equal);
        let register = s.settings.witness == Witness::Register;
        if register && !partner && !s.settings.broken.believe_strangers {
            return by_stranger(s, number);
        }
        return Verdict { mark: None, decision: Decision::Promote { source: Source::Peer, number } };
    }
    // A primary whose copy is out of date has lost its right to this node: it never comes back by itself.
    let given_up = peer.data == DataState::Outdated && relation == Relation::Equal && !outdated;
    if !s.settings.failover && !durable.was_primary && !given_up {
        return wait(Wait::FailoverOff);
    }
    Verdict { mark: None, decision: Decision::Ask { number } }
}

/// The peer is not heard: silent, or this node has not listened long enough.
fn out_of_hearing(s: &Situation<'_>) -> Verdict {
    let wait = |wait| Verdict { mark: None, decision: Decision::Wait(wait) };
    if !s.silent {
        return wait(Wait::Listening);
    }
    let durable = s.durable;
    let take = || Verdict { mark: None, decision: by_silence(s) };
    let register = s.settings.witness == Witness::Register && !s.settings.broken.silence_despite_register;
    match durable.data {
        DataState::Unknown => wait(Wait::FirstChoice),
        DataState::Inconsistent if s.settings.broken.promote_inconsistent => take(),
        DataState::Inconsistent => wait(Wait::Inconsistent),
        DataState::Diverged => wait(Wait::Diverged),
        DataState::Outdated => wait(Wait::Outdated),
        DataState::UpToDate if s.live && !s.settings.failover && !durable.was_primary => wait(Wait::FailoverOff),
        DataState::UpToDate if s.settings.broken.start_alone_when_not_solo => take(),
        DataState::UpToDate if register && !s.settings.failover && !durable.was_primary => wait(Wait::FailoverOff),
        DataState::UpToDate if register || s.live || durable.solo => {
            match s.peer.map(|peer| (peer.data, relation_to(durable, peer))) {
                // The last that was heard is a copy with writes of its own: the operator is asked to choose, and silence
                // does not choose for him.
                Some((data, Relation::Diverged | Relation::Unrelated)) if whole(data) => wait(Wait::BothDiverged),
                Some((data, Relation::Ahead)) if whole(data) && durable.solo => wait(Wait::BothDiverged),
                Some((data, Relation::Ahead)) if whole(data) => wait(Wait::PeerMayBeNewer),
                _ if register => by_register(s),
                _ => take(),
            }
        }
        DataState::UpToDate => wait(Wait::PeerMayBeNewer),
    }
}
