//! What a node must know about itself and its module before anything happens: its settings, fixed for its life.

use crate::covered::Covered;
use crate::heartbeat::Incarnation;
use crate::output::Script;
use holdfast_api::checker::When;
use holdfast_api::ids::NodeId;
use holdfast_api::rules::Rule;
use holdfast_api::userconfig::{Boot, DefaultPrim, Mode};
use std::sync::Arc;

/// Settings of one module on one node. The driver makes a new [`crate::node::Node`] when what both nodes must agree on
/// changes, and hands the rest to `Node::apply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the module, for messages.
    pub module: String,
    /// What kind of module it is. A light one has neither peer nor links nor data.
    pub mode: Mode,
    /// This node.
    pub node: NodeId,
    /// Its name, for messages.
    pub node_name: String,
    /// The other node.
    pub peer: NodeId,
    /// Its name, for messages.
    pub peer_name: String,
    /// Number of heartbeat links; `HeartbeatReceived::link` is below it.
    pub links: usize,
    /// Their idents, for the resources `heartbeat.<ident>`.
    pub link_idents: Vec<String>,
    /// Milliseconds between two heartbeats; where the links differ, on the one that has most of them.
    pub pulse_ms: u64,
    /// Milliseconds of silence on every link after which the peer is lost. Where the links differ, the shortest: with
    /// the others cut before, a peer may count this node as lost after it, so what this node may still believe of itself
    /// after a gap follows from it.
    pub timeout_ms: u64,
    /// Each link's own times, where they differ; empty: those above hold for every link.
    pub link_times: Vec<LinkTimes>,
    /// Restarts by checkers and counted commands allowed within `loop_interval_ms`; one more stops the module.
    pub maxloop: u32,
    /// See `maxloop`.
    pub loop_interval_ms: u64,
    /// A secondary takes over by itself (`<service failover="on">`); an operator's word in the durable state wins.
    pub failover: bool,
    /// Who is primary once both nodes are in sync.
    pub defaultprim: DefaultPrim,
    /// A `stopstart` that nobody ordered reboots the machine instead of starting the module again.
    pub automatic_reboot: bool,
    /// Whether the module starts at boot, if its configuration decides that.
    pub boot: Boot,
    /// The scripts that the module has: one that is absent costs no round trip. None without `<user>`.
    pub scripts: Vec<Script>,
    /// The resources of its checkers, and when they look.
    pub checkers: Vec<(String, When)>,
    /// Failover rules.
    pub rules: Rules,
    /// What is replicated.
    pub covered: Arc<Covered>,
    /// Hash of the parts of the configuration that must be equal on both nodes.
    pub signature: u64,
    /// Hash of the kernel's boot id.
    pub boot_id: u64,
    /// This start of the agent.
    pub incarnation: Incarnation,
    /// Who is asked when every link is silent.
    pub witness: Witness,
    /// Milliseconds after which a witness that has not answered counts as unreachable.
    pub witness_timeout_ms: u64,
    /// Milliseconds that a save of the state may take while nobody waits for this node.
    pub save_limit_ms: u64,
    /// Rules broken on purpose, to prove that the simulator finds them. Always the default outside tests.
    pub broken: BrokenRules,
}

/// Times of one link, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTimes {
    /// Between two heartbeats.
    pub pulse_ms: u64,
    /// Of silence on this link after which it counts as lost.
    pub timeout_ms: u64,
}

impl Settings {
    /// The times of link `link`.
    pub fn times_of(&self, link: usize) -> LinkTimes {
        let module = LinkTimes { pulse_ms: self.pulse_ms, timeout_ms: self.timeout_ms };
        self.link_times.get(link).copied().unwrap_or(module)
    }

    /// The times of every link.
    pub fn times(&self) -> Vec<LinkTimes> {
        (0..self.links).map(|link| self.times_of(link)).collect()
    }

    /// Milliseconds between two heartbeats on each link; without a link there is one, which only keeps time.
    pub fn pulses_ms(&self) -> impl Iterator<Item = u64> {
        (0..self.links.max(1)).map(|link| self.times_of(link).pulse_ms)
    }

    /// Milliseconds after which a peer that is alive has been heard, whichever link still passes; what waits for its
    /// word, or for certainty of its silence, waits so long.
    pub fn patience_ms(&self) -> u64 {
        self.link_times.iter().map(|times| times.timeout_ms).fold(self.timeout_ms, u64::max)
    }

    /// The shortest timeout of a link: what a peer with the best connection takes for death.
    pub fn shortest_timeout_ms(&self) -> u64 {
        self.times().iter().map(|times| times.timeout_ms).min().unwrap_or(self.timeout_ms)
    }

    /// Milliseconds that a save may take while somebody waits for this node: half of what the peer takes for death, within
    /// bounds that a busy disk and a waiting peer can live with.
    pub fn urgent_save_ms(&self) -> u64 {
        (self.shortest_timeout_ms() / 2).clamp(500, 5000)
    }

    /// A gap between two calls of `handle` longer than this means that the machine, or the agent, was suspended: three
    /// pulses or a second, but never so long that a nap could pass for half of the silence that decides.
    pub fn suspend_gap_ms(&self) -> u64 {
        self.pulse_ms.saturating_mul(3).max(1000).min(self.timeout_ms / 2)
    }
}

/// Longest that a save may take while nobody waits, in milliseconds, unless set otherwise.
pub const SAVE_LIMIT_MS: u64 = 10_000;

/// Failover rules and how they are evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The default rules, those generated for checkers, and the user's.
    pub rules: Vec<Rule>,
    /// Milliseconds between two evaluations.
    pub period_ms: u64,
    /// Milliseconds for which the same action must hold before it is taken.
    pub handle_time_ms: u64,
}

/// Who is asked when every link is silent, and so what an isolated node may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Witness {
    /// Nobody: silence on all links for `timeout` lets a node in sync go on alone; two nodes may serve while every
    /// link is cut, and only then.
    #[default]
    None,
    /// Addresses that isolation hides from one side: silence counts only for a node that one of them answers.
    Ping,
    /// A record that grants each generation once: silence alone grants nothing, and at most one node serves at any time.
    Register,
}

/// Deliberately broken rules: each must be found by the simulator (`tests/sim/tests/sim.rs`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokenRules {
    /// A primary whose stream is lost goes on alone without the peer's word or silence.
    pub continue_without_asking: bool,
    /// The resync is completed without giving up `solo` first.
    pub complete_while_solo: bool,
    /// Silence goes on counting through a suspension, and a long sleeper still believes it is in sync.
    pub ignore_suspension: bool,
    /// An interrupted resync is taken for a whole copy.
    pub promote_inconsistent: bool,
    /// The peer is promised "Outdated" without saving it.
    pub promise_without_saving: bool,
    /// A restarted node that is up to date starts alone after silence, though it is not solo.
    pub start_alone_when_not_solo: bool,
    /// A diverged copy follows without the operator's word.
    pub overwrite_diverged: bool,
    /// Files that a new configuration covers are overwritten without the operator's word.
    pub overwrite_uncovered: bool,
    /// A peer whose agent counts its starts lower than before is never heard again.
    pub refuse_older_for_good: bool,
    /// A grant is acted upon before it is saved.
    pub act_before_saving: bool,
    /// An answer of the witness is believed whenever it comes, and to whichever ask.
    pub believe_old_answers: bool,
    /// Silence grants although there is a register.
    pub silence_despite_register: bool,
    /// Nodes with unequal configurations pair all the same.
    pub ignore_signature: bool,
    /// A restarted node goes on as if it were still in sync.
    pub resume_across_reboot: bool,
    /// A node asks the register for whatever number is free, not for the one after its own.
    pub ask_beyond: bool,
    /// A node that is asked by a restarted register keeps what it asked or was granted in the earlier life.
    pub keep_old_grants: bool,
    /// A restarted agent goes on as if it had never been away, however long it was.
    pub adopt_as_if_never_away: bool,
    /// A restarted agent counts the silence of its peer from its own start.
    pub adopt_counting_silence_anew: bool,
    /// A restarted agent believes what its predecessor wrote down long before it ended.
    pub adopt_what_was_left: bool,
    /// A node that was suspended while it saved says that it lives all the same.
    pub sleep_while_saving: bool,
    /// A save is waited for however long it takes, whoever waits for the node.
    pub save_for_ever: bool,
    /// After a save that failed the module starts again without saving what it knows.
    pub start_without_saving_again: bool,
    /// What could not be begun counts as done, unless something was to be saved with it.
    pub dropped_counts_as_done: bool,
    /// The promise of a peer that is not the machine this copy was in step with counts as that one's, despite a register.
    pub believe_strangers: bool,
    /// A register grants in a new life before anybody has reported (obeyed by the simulator's register).
    pub grant_unarmed: bool,
}
