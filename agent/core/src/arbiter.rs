//! Who may be primary: pure decisions from what this node knows of itself and has heard of its peer.

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
    /// An operator's `prim` or `primforce`.
    pub forced: Option<Force>,
    /// A wait rule keeps this node from any role.
    pub held: bool,
    /// What the directories hold.
    pub inventory: Inventory,
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
        matches!(self, Self::Listening | Self::PeerNotOffering | Self::Promise | Self::Witness | Self::Checks)
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
    if s.agreed || data == DataState::Inconsistent {
        return Verdict { mark: None, decision: follow() };
    }
    if data == DataState::Diverged && !s.settings.broken.overwrite_diverged {
        return Verdict { mark: None, decision: Decision::Wait(Wait::Diverged) };
    }
    let descends = matches!(relation_to(s.durable, peer), Relation::Equal | Relation::Ahead) && !solo;
    let decision = if s.durable.generation.number == 0 || data == DataState::Unknown {
        if s.inventory.entries == 0 { follow() } else { Decision::Wait(Wait::AgreeToOverwrite) }
    } else if relation_to(s.durable, peer) == Relation::Behind {
        // It serves an ancestor of this copy, so it has not heard of it yet: it gives way when it does.
        Decision::Wait(Wait::PeerGivesWay)
    } else if descends || s.settings.broken.overwrite_diverged {
        // It has served on while this copy was not following.
        let newer = peer.generation != s.durable.generation && data == DataState::UpToDate;
        return Verdict { mark: newer.then_some(DataState::Outdated), decision: follow() };
    } else {
        // Solo beside a serving peer, or not its ancestor: writes acknowledged here are missing there. Even a peer
        // whose history names our generation was then forced by an operator; nothing here is overwritten unasked.
        return Verdict { mark: Some(DataState::Diverged), decision: Decision::Wait(Wait::Diverged) };
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

/// (c) Silence decides, for a node that is in sync or solo; a ping witness has to answer first.
///
/// A solo node does not ask it: nobody else can have served since. It is asked once in a silence: if the network around
/// it changed while nodes are apart, a second answer could let both serve.
fn by_silence(s: &Situation<'_>) -> Decision {
    let number = grant::number_beyond(s.durable, s.peer);
    if s.settings.witness != Witness::Ping || s.durable.solo {
        return Decision::Promote { source: Source::Silence, number };
    }
    match s.word(0) {
        Word::Granted => Decision::Promote { source: Source::Ping, number },
        Word::Nothing => Decision::AskWitness { number: 0 },
        Word::Asking => Decision::Wait(Wait::Witness),
        Word::Taken | Word::Hidden | Word::Later => Decision::Wait(Wait::PingHidden),
    }
}

/// (b) The register decides, for any copy that is up to date: whoever went on from it without this node's saved promise,
/// which would have made it out of date, was granted this very number.
fn by_register(s: &Situation<'_>) -> Verdict {
    let mut number = grant::number_of_register(s.durable);
    if s.settings.broken.ask_beyond {
        number = number.max(s.talk.refused() + 1);
    }
    let decision = match s.word(number) {
        Word::Granted => Decision::Promote { source: Source::Register, number },
        Word::Taken => {
            // Solo, it holds writes of its own, whoever was granted more: they are not declared out of date unseen.
            let mark = (!s.durable.solo).then_some(DataState::Outdated);
            return Verdict { mark, decision: Decision::Wait(Wait::RegisterRefused) };
        }
        Word::Asking => Decision::Wait(Wait::Witness),
        Word::Later | Word::Hidden => Decision::Wait(Wait::RegisterLater),
        _ if !s.long_silent => Decision::Wait(Wait::Listening),
        Word::Nothing => Decision::AskWitness { number },
    };
    Verdict { mark: None, decision }
}

/// (d) An operator's order. A register has to learn of it, or a copy that was left behind could be granted more.
///
/// `prim` goes no further than what is safe: with the peer heard (and not serving) any whole copy; with the peer
/// silent only an up to date copy, or one at its first start, may ask, for the number after its own. `primforce` asks for
/// a number beyond all others, and goes on if the register cannot be asked; it is told later.
fn by_order(s: &Situation<'_>, force: Force) -> Decision {
    let heard = s.peer.filter(|_| s.heard);
    if force == Force::Prim && heard.is_some_and(|peer| prim_unsafe(s.durable, peer)) {
        return Decision::Wait(Wait::PrimForceNeeded);
    }
    let beyond = grant::number_beyond(s.durable, s.peer);
    let promote = |number| Decision::Promote { source: Source::Force, number };
    if s.settings.witness != Witness::Register {
        return promote(beyond);
    }
    let cautious = force == Force::Prim && !s.heard;
    if cautious && !matches!(s.durable.data, DataState::UpToDate | DataState::Unknown) {
        return Decision::Wait(Wait::PrimForceNeeded);
    }
    // The number after all that is known and no other: if it is taken, the peer's word was older than the register's.
    let number = match (force, heard) {
        (Force::PrimForce, _) => beyond.max(s.talk.refused().saturating_add(1)),
        (Force::Prim, Some(_)) => grant::number_to_ask(s.durable, heard),
        (Force::Prim, None) => grant::number_of_register(s.durable),
    };
    match s.word(number) {
        Word::Granted => promote(number),
        Word::Asking => Decision::Wait(Wait::Witness),
        Word::Later | Word::Hidden if force == Force::PrimForce => promote(number),
        Word::Later | Word::Hidden => Decision::Wait(Wait::RegisterLater),
        Word::Taken => Decision::Wait(Wait::PrimForceNeeded),
        Word::Nothing => Decision::AskWitness { number },
    }
}

/// Among two equal copies of which neither serves, the node that goes first: compared field by field, the greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    up_to_date: bool,
    running: bool,
    in_sync_second: bool,
    was_primary: bool,
    lower_id: std::cmp::Reverse<u16>,
}

fn outranks(ours: &Rank, theirs: &Rank) -> bool {
    ours > theirs
}

/// The rank of this node, as its heartbeat shows it.
pub fn rank_own(s: &Situation<'_>) -> Rank {
    let up_to_date = s.durable.data == DataState::UpToDate;
    Rank {
        up_to_date,
        running: s.durable.running && !s.held,
        // With failover off on either node the one that was primary goes first, always.
        in_sync_second: s.settings.failover
            && s.peer.is_none_or(|peer| peer.failover)
            && up_to_date
            && s.state == ModuleState::Second,
        was_primary: s.durable.was_primary,
        lower_id: std::cmp::Reverse(s.settings.node.0),
    }
}

/// The rank of the peer.
pub fn rank_of(settings: &Settings, peer: &Heartbeat) -> Rank {
    let up_to_date = peer.data == DataState::UpToDate;
    Rank {
        up_to_date,
        running: peer.running,
        in_sync_second: settings.failover && peer.failover && up_to_date && peer.state == ModuleState::Second,
        was_primary: peer.was_primary,
        lower_id: std::cmp::Reverse(peer.from.0),
    }
}

/// Whether this node, which neither serves nor is about to, promises the peer the number it asks for.
pub fn may_promise(s: &Situation<'_>, peer: &Heartbeat) -> bool {
    let durable = s.durable;
    // A peer with another configuration gets the promise too: giving way is always safe, and must not depend on it.
    if peer.asks <= durable.generation.number || peer.asks <= durable.outdated_since {
        return false;
    }
    if !whole(durable.data) || s.agreed {
        return true;
    }
    match relation_to(durable, peer) {
        Relation::Ahead => !durable.solo,
        Relation::Equal if durable.solo => false,
        Relation::Equal => serves(peer) || !outranks(&rank_own(s), &rank_of(s.settings, peer)),
        // It does not know yet that this copy is newer, or another: it will hear.
        Relation::Behind | Relation::Diverged | Relation::Unrelated => false,
    }
}

/// The peer holds a later generation of this very data: whatever happens next, this copy is not the newest.
pub fn superseded(durable: &Durable, peer: &Heartbeat) -> bool {
    peer.data == DataState::UpToDate && !durable.solo && relation_to(durable, peer) == Relation::Ahead
}

/// What a serving node makes of a peer that serves too, or whose copy descends from its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contest {
    /// This node stays.
    Stay,
    /// The peer's copy holds all that was acknowledged here: give way, and follow later.
    Superseded,
    /// Both copies hold writes of their own, and the peer stays.
    Lost,
}

/// Two nodes serve and hear each other: the one whose generation was gained while serving stays (tie: the lower id).
pub fn contest(settings: &Settings, durable: &Durable, peer: &Heartbeat) -> Contest {
    let relation = relation_to(durable, peer);
    if !serves(peer) {
        // A later generation was served, if not at present: this one ended without this node knowing.
        let later = relation == Relation::Ahead && peer.data == DataState::UpToDate && !durable.solo;
        return if later { Contest::Superseded } else { Contest::Stay };
    }
    match relation {
        // The same generation cannot be served twice; if it seems so the word is stale.
        Relation::Equal | Relation::Behind => Contest::Stay,
        Relation::Ahead if !durable.solo => Contest::Superseded,
        Relation::Ahead => Contest::Lost,
        Relation::Diverged | Relation::Unrelated => {
            let key = |continued: bool, id: u16| (!continued, id);
            if key(durable.continued, settings.node.0) < key(peer.continued, peer.from.0) {
                Contest::Stay
            } else {
                Contest::Lost
            }
        }
    }
}
