//! What the core asks of the data plane and hears from it. The agent carries these to `holdfast-replica` unchanged.
//!
//! The replica acknowledges an application's write either because the peer has applied it or because it holds an
//! explicit grant for its generation ([`ReplicaCommand::Serve`], [`ReplicaCommand::ContinueAlone`]). Losing the stream
//! freezes writes until the core decides.

use holdfast_api::ids::Generation;
use serde::{Deserialize, Serialize};

/// An order to the data plane, executed in the order given; but `Refuse` and `Release { abort: true }` overtake whatever
/// hangs, first of all a graceful `Release`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaCommand {
    /// Start the process if it does not run, take the directories' handles, count what is in them; answers `Inspected`.
    Inspect,
    /// Mount read-write and acknowledge alone under `generation`; answers `Serving`. From PRIM's side of a promotion.
    Serve {
        /// Grant under which writes are acknowledged alone.
        generation: Generation,
    },
    /// (Serving) let the peer connect for `session` and resync it; ends in `ResyncCopied`. Also replaces an older session.
    AcceptPeer {
        /// Session both sides have saved.
        session: u64,
    },
    /// (Serving, after `ResyncCopied`) every write waits for the peer already; tell the peer that it has everything.
    /// The peer syncs and answers; ends in `PeerUpToDate`.
    CompleteResync,
    /// (Serving) go on without the peer: everything held back is acknowledged, the stream is closed for good.
    ContinueAlone {
        /// Grant for a generation higher than the one served so far; or the very one served, when the stream broke
        /// before `CompleteResync` (the grant to acknowledge alone was never given up).
        generation: Generation,
    },
    /// Mount read-only, connect to the serving peer for `session` and apply what it sends; `Following` when connected.
    /// Keeps trying to connect until ordered otherwise (the peer may be told of the session a little later), and
    /// replaces an older session.
    Follow {
        /// Session both sides have saved.
        session: u64,
        /// Generation of the primary that is followed.
        generation: Generation,
    },
    /// (Neither serving nor following) copy aside what differs here from the serving peer's copy, before that overwrites
    /// it; answers `SetAside` or `NotSetAside`.
    SetAside {
        /// Comes back in the answer.
        run: u64,
        /// Generation of the copy here.
        generation: Generation,
    },
    /// Forget what is known of what may differ, durably: the next resync compares everything. It has no answer.
    CompareAll,
    /// (Following, after `CaughtUp`) the agent has saved UpToDate: answer the primary.
    ConfirmUpToDate,
    /// (Following) accept nothing more from the stream, apply all that was received; answers `Fenced`.
    Fence,
    /// (Serving) answer EIO to everything held back and to every later change; the mount stays. Answers `Refusing`.
    Refuse,
    /// Unmount (`abort`: abort the connection first, so that no stuck process can hold it); answers `Released`, each one
    /// once. If the process is gone, the agent unmounts what it left and answers.
    Release {
        /// Do not wait for processes that still use the mount.
        abort: bool,
    },
}

/// What happened in the data plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaEvent {
    /// Answer to `Inspect`.
    Inspected {
        /// What the replicated directories hold now.
        inventory: Inventory,
        /// What of it the configuration did not cover when this copy was last in step.
        #[serde(default)]
        uncovered: Inventory,
    },
    /// (After `Inspect`) this path must be there before replication starts (`<tocheck>`) and is not: `Inspected` follows
    /// when all are.
    Missing {
        /// The absolute path.
        path: String,
    },
    /// Answer to `Serve`: mounted read-write.
    Serving,
    /// The peer's replica connected for this session; resync begins.
    PeerConnected {
        /// The session.
        session: u64,
    },
    /// (Both sides) how far the resync is.
    ResyncProgress {
        /// The figures.
        progress: ResyncProgress,
    },
    /// (Serving) all was copied, and from now every write waits for the peer.
    ResyncCopied {
        /// The session.
        session: u64,
    },
    /// (Serving) the peer has saved UpToDate.
    PeerUpToDate {
        /// The session.
        session: u64,
    },
    /// (Either side) the stream of this session is gone and cannot be resumed. Serving: writes are held back.
    StreamLost {
        /// The session.
        session: u64,
        /// In plain words.
        reason: String,
    },
    /// (Following) connected to the primary.
    Following {
        /// The session.
        session: u64,
    },
    /// (Following) everything received before the primary's "complete" is applied and synced to disk.
    CaughtUp {
        /// The session.
        session: u64,
    },
    /// Answer to `SetAside`: what differs is on disk, complete.
    SetAside {
        /// As ordered.
        run: u64,
        /// Files and other objects that differ.
        entries: u64,
        /// Their bytes.
        bytes: u64,
        /// Where they are; empty if nothing differs.
        folder: String,
    },
    /// Answer to `SetAside`: nothing may overwrite this copy.
    NotSetAside {
        /// As ordered.
        run: u64,
        /// In plain words.
        reason: String,
    },
    /// Answer to `Fence`.
    Fenced,
    /// Answer to `Refuse`.
    Refusing,
    /// Answer to `Release`: nothing is mounted any more.
    Released,
    /// A command could not be carried out (mount refused, directory missing, …); the text names the cure.
    Failed {
        /// In plain words, with what to do.
        reason: String,
    },
    /// The process is gone; its mounts are dead.
    Exited {
        /// How it ended.
        reason: String,
    },
}

/// What the replicated directories of a node hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Files and directories below the replicated directories.
    pub entries: u64,
    /// Sum of file sizes, in bytes.
    pub bytes: u64,
    /// Latest change (mtime) of any file, in Unix milliseconds; 0 if there is none.
    pub changed_unix_ms: u64,
}

/// Progress of a resync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResyncProgress {
    /// Entries compared so far.
    pub entries_done: u64,
    /// Entries found by the count at the start (may grow).
    pub entries_total: u64,
    /// Bytes compared so far.
    pub bytes_done: u64,
    /// Bytes found by the count at the start (may grow).
    pub bytes_total: u64,
    /// Bytes that differed and were sent.
    pub bytes_sent: u64,
    /// Milliseconds since the resync began.
    pub elapsed_ms: u64,
    /// Bytes compared per second, of late.
    #[serde(default)]
    pub bytes_per_s: u64,
    /// Milliseconds that it will go on for, as it goes; `None`: nobody knows yet.
    #[serde(default)]
    pub left_ms: Option<u64>,
}

impl std::fmt::Display for ResyncProgress {
    /// The figures of a resync that has ended, for the module log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { entries_done, bytes_done, bytes_sent, elapsed_ms, .. } = self;
        write!(f, "{entries_done} entries and {bytes_done} bytes compared, {bytes_sent} bytes sent in {elapsed_ms} ms")
    }
}

/// What a data plane tells an agent that finds it running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plane {
    /// Mounted read-write.
    Serving {
        /// The grant it knows.
        generation: Generation,
        /// On whose word it acknowledges.
        acknowledges: Acknowledges,
        /// The session for which the peer is expected or connected.
        session: Option<u64>,
        /// The peer has connected for it.
        connected: bool,
    },
    /// Mounted read-only, applying the stream of this session.
    Following {
        /// The session.
        session: u64,
        /// The stream has ended, and cannot be resumed.
        lost: bool,
    },
    /// Anything else: there is nothing to go on with.
    Nothing,
}

/// On whose word a serving data plane acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Acknowledges {
    /// On that of its grant.
    Alone,
    /// On the peer's.
    Paired,
    /// On nobody's: the stream is lost.
    Frozen {
        /// For how long already.
        held_ms: u64,
    },
}
