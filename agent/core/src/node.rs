//! One module on one node, as a value: `handle` an input, get the effects.
//!
//! What a node does falls into three parts that run side by side: the *procedure* under way (`steps`: scripts,
//! addresses, mounts in their order; `answers`: what they wait for), the *serving* side (`serving`: from whom the right
//! to acknowledge writes comes; `held`: when it is in doubt) and the *role* of a node that does not serve (`role`: wait,
//! follow, ask, take over).

mod adopt;
mod answers;
mod awake;
mod commands;
mod data;
mod effects;
mod fullsync;
mod held;
mod leaving;
mod peer;
mod preferred;
mod progress;
mod role;
mod rules;
mod saving;
mod scripts;
mod serving;
mod standing;
mod steps;
mod texts;
mod unsaved;
mod witness;

use crate::arbiter::{Force, Wait};
use crate::automaton::{self, Status};
use crate::durable::Durable;
use crate::heartbeat::{Heartbeat, Incarnation};
use crate::input::Input;
use crate::liveness::Liveness;
use crate::machine::Machine;
use crate::output::{Act, Output};
use crate::pulses::Pulses;
use crate::replay::Replay;
use crate::replica::{ReplicaCommand, ReplicaEvent, ResyncProgress};
use crate::resources::Resources;
use crate::retry::Budget;
use crate::settings::Settings;
use crate::time::{Instant, Moment};
use crate::witness::Talk;
use awake::Awake;
use holdfast_api::state::{DataState, ModuleState};
use leaving::After;
use role::Following;
use saving::Rollback;
use scripts::{Application, Call};
use serving::Serving;
use std::sync::Arc;
use steps::Running;

/// One module on one node.
#[derive(Clone, Debug)]
pub struct Node {
    /// Shared: the node is copied with every input, so that a save that fails can be taken back.
    settings: Arc<Settings>,
    durable: Durable,
    /// See [`Heartbeat::origin`].
    origin: Incarnation,
    status: Status,
    since: Instant,
    born: Instant,
    now: Instant,
    nonce: u64,
    /// A gap means a suspension.
    awake: Awake,
    /// End of the last suspension longer than the timeout.
    slept_until: Option<Instant>,

    links: Liveness,
    /// (Adopted) When the peer would have been silent for the timeout if no agent had ended; see `Node::apart_from`.
    apart_from: Option<Instant>,
    replay: Replay,
    peer: Option<Heartbeat>,
    talk: Talk,
    /// The highest number the register is known to have recorded in this life of it.
    told: u64,

    procedure: Option<Running>,
    after_stop: After,
    /// The agent ends: what is stopped stays saved as running, for its next start. The peer hears that it does not run.
    keeps_running: bool,
    /// The agent was told to end once more: no script of the stop under way may take long any more.
    hurried: bool,
    serving: Serving,
    following: Option<Following>,
    /// See [`Situation::live`].
    live: bool,
    agreed: bool,
    /// An operator ordered that everything is compared (`fullsync`), and the data plane was not told yet.
    compare_all: bool,
    forced: Option<Force>,
    /// The number asked of the peer at present.
    asking: Option<u64>,
    waiting: Option<Wait>,

    healthy: bool,
    addresses_set: bool,
    /// Addresses were dropped after a suspension, until it is sure that this node still is the primary.
    addresses_dropped: bool,
    /// The act that releases them then, until it is done.
    dropping: Option<u64>,
    /// The act that sets them again.
    restoring: Option<u64>,
    app: Application,
    /// The data plane may hold directories or mounts.
    data_plane_used: bool,
    releases_pending: u32,
    script: Option<Call>,
    runs: u64,
    budget: Budget,
    /// The budget was used up, and no operator has stepped in since.
    exhausted: bool,
    resources: Resources,
    machine: Machine,
    /// Lost its secondary, and serves on; while the peer lives, replication is what was lost (`rfs.degraded`).
    degraded: bool,
    /// Was primary when it was last stopped, and has not been primary since.
    claims: bool,
    /// The last pairing in which the role was handed to the preferred node.
    preferred_session: u64,
    found: data::Found,
    /// Whether what this copy would lose is set aside.
    aside: data::Aside,
    /// It has been primary since its last start.
    served: bool,
    resync: Option<ResyncProgress>,
    /// When the resync was told as resources last.
    progress_told: Option<Instant>,
    /// (Serving) resyncs in a row that ended early: the next is offered later and later.
    failed_resyncs: u32,
    /// (Following) why the last stream ended, until the next resync is complete.
    stream_ended: Option<String>,

    /// A swap asked of the primary, and when to give up.
    swap_request: Option<(u64, Instant)>,
    swap_handled: u64,
    saving: unsaved::Saving,
    /// The ledger may hold something else than `durable`.
    save_anyway: bool,
    /// For tests of the simulator only, see `BrokenRules::promise_without_saving`.
    unsaved_promise: u64,

    sequence: u64,
    sent: Option<Heartbeat>,
    pulses: Pulses,
    rollback: Option<Rollback>,
    out: Output,
}

impl Node {
    /// A node as it is when its agent starts: in STOP, with what its ledger held (`Durable::default()` if nothing).
    ///
    /// The driver hands in a `Start` command by "agent restart" if `durable.running` and the boot id is the same, or by
    /// "boot" if `durable.boot_start` and the boot id is new.
    pub fn new(mut settings: Settings, durable: Durable, moment: Moment) -> Self {
        settings.failover = durable.failover.unwrap_or(settings.failover);
        let mut node = Self {
            origin: settings.incarnation,
            status: automaton::STOP,
            since: moment.now,
            born: moment.now,
            now: moment.now,
            nonce: moment.nonce,
            awake: Awake::new(moment.now),
            slept_until: None,
            links: Liveness::new(settings.times().iter().map(|times| times.timeout_ms).collect(), moment.now),
            apart_from: None,
            replay: Replay::new(settings.incarnation, settings.links),
            peer: None,
            talk: Talk::default(),
            told: 0,
            procedure: None,
            after_stop: After::Stay,
            keeps_running: false,
            hurried: false,
            serving: Serving::No,
            following: None,
            live: false,
            agreed: false,
            compare_all: false,
            forced: None,
            asking: None,
            waiting: None,
            healthy: false,
            addresses_set: false,
            addresses_dropped: false,
            dropping: None,
            restoring: None,
            app: Application::default(),
            data_plane_used: false,
            releases_pending: 0,
            script: None,
            runs: 0,
            budget: Budget::new(settings.maxloop, settings.loop_interval_ms),
            exhausted: false,
            resources: Resources::default(),
            machine: Machine::default(),
            degraded: false,
            claims: false,
            preferred_session: 0,
            found: data::Found::default(),
            aside: data::Aside::No,
            served: false,
            resync: None,
            progress_told: None,
            failed_resyncs: 0,
            stream_ended: None,
            swap_request: None,
            swap_handled: 0,
            saving: unsaved::Saving::Works,
            save_anyway: false,
            unsaved_promise: 0,
            sequence: 0,
            sent: None,
            pulses: Pulses::new(settings.pulses_ms(), moment.now),
            rollback: None,
            out: Output::default(),
            settings: Arc::new(settings),
            durable,
        };
        node.limit_covered();
        node.init_resources();
        node
    }

    /// Handles one input. The driver hands in the next input of this module only when `persist` of this output is
    /// durable (or hands in `SaveFailed`).
    pub fn handle(&mut self, moment: Moment, input: Input) -> Output {
        self.handle_later(moment, moment.now, input)
    }

    /// Handles an input that arrived while this node was saving, and was kept in a [`crate::backlog::Backlog`].
    pub fn handle_later(&mut self, moment: Moment, arrived: Instant, input: Input) -> Output {
        let rollback = self.rollback.take().filter(|_| matches!(input, Input::SaveFailed { .. }));
        let lost_replies = rollback.map_or_else(Vec::new, |rollback| self.take_back(rollback));
        let mut before = self.clone();
        before.note_fact(&input);
        self.pass_time(moment);
        self.awake.arrived = arrived.min(self.now);
        let command = matches!(input, Input::CommandReceived(_));
        match input {
            Input::Ticked => {}
            Input::HeartbeatReceived { link, heartbeat } => self.on_heartbeat(link, heartbeat),
            Input::CommandReceived(command) => self.on_command(command),
            Input::ScriptExited { run, outcome } => self.on_script_exited(run, outcome),
            Input::Replica(event) => self.on_replica(event),
            Input::AddressesDone { run, error } => self.on_addresses_done(run, error),
            Input::ProcessMissing { problem, action, services, .. } => {
                self.on_process_missing(&problem, action, &services);
            }
            Input::LoopOrdered { id, order, by } => self.on_loop_order(id, order, &by),
            Input::ResourceSet { name, value, by } => self.on_resource_set(&name, value, &by),
            Input::WitnessAnswered { ask, answer } => self.on_witness_answered(ask, answer),
            Input::RegisterRestarted { life } => self.on_register_restarted(life),
            Input::ShutdownOrdered { id, by, hurry } => self.on_shutdown_ordered(id, &by, hurry),
            Input::DirectoriesCounted { inventory } => self.on_directories_counted(inventory),
            Input::SaveFailed { reason } => self.on_save_failed(&reason, &lost_replies),
        }
        self.settle();
        self.finish(before, command)
    }

    /// What has ended stays ended, even if what followed from it could not be saved.
    fn note_fact(&mut self, input: &Input) {
        match input {
            Input::ScriptExited { run, .. } if self.script.is_some_and(|call| call.run == *run) => self.script = None,
            Input::Replica(ReplicaEvent::Released) => self.releases_pending = self.releases_pending.saturating_sub(1),
            Input::Replica(ReplicaEvent::Exited { .. }) => self.releases_pending = 0,
            Input::AddressesDone { run, .. } => drop(self.dropping.take_if(|dropping| dropping == run)),
            _ => {}
        }
    }

    /// When `Ticked` is to be handed in at the latest.
    pub fn next_deadline(&self) -> Instant {
        let mut deadline = self.now.after(self.settings.pulse_ms);
        let candidates = [
            self.pulses.next(),
            Some(self.links.silent_from()).filter(|at| *at > self.now),
            Some(self.apart_from()).filter(|at| *at > self.now),
            self.serving_deadline(),
            self.procedure.as_ref().and_then(Running::deadline),
            self.script.and_then(Call::deadline),
            self.swap_request.map(|(_, until)| until),
            Some(self.machine.next_at()).filter(|at| *at > self.now && !self.settings.rules.rules.is_empty()),
            self.witness_deadline(),
            self.aside_deadline(),
            self.saving_deadline(),
        ];
        for at in candidates.into_iter().flatten() {
            deadline = deadline.min(at);
        }
        deadline.max(self.now.after(1))
    }

    /// The module was configured anew while it runs: its scripts, checkers, rules and limits are these from now on. What
    /// both nodes must agree on (mode, links, peer, signature) changes only while the module is stopped, with a new node.
    pub fn apply(&mut self, mut settings: Settings) {
        debug_assert_eq!((settings.mode, settings.signature), (self.settings.mode, self.settings.signature));
        let known = |name: &str| settings.checkers.iter().any(|(other, _)| other == name);
        let gone: Vec<String> =
            self.settings.checkers.iter().map(|(name, _)| name.clone()).filter(|name| !known(name)).collect();
        self.budget.limit(settings.maxloop, settings.loop_interval_ms);
        settings.failover = self.durable.failover.unwrap_or(settings.failover);
        self.settings = Arc::new(settings);
        for name in gone {
            self.resources.remove(&name);
        }
        self.machine = Machine::default();
        self.rollback = None;
        self.init_resources();
    }

    /// Nothing could be saved: until it is started again it only takes away, and says nothing. The driver carries that
    /// out even if it cannot take back what it left for the next agent.
    pub fn gives_up(&self) -> bool {
        self.is_mute()
    }

    /// State and readiness.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The durable state as it stands after the last `handle`.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Carries on whatever the new situation allows, until nothing moves.
    fn settle(&mut self) {
        if let Some((_, until)) = self.swap_request
            && self.now >= until
        {
            self.swap_request = None;
        }
        self.drop_order();
        self.check_script_deadline();
        self.check_step_deadline();
        self.witness_overdue();
        self.save_again();
        for _ in 0..8 {
            let before = (self.status, self.procedure.is_some(), self.serving.clone(), self.waiting);
            if self.serving.holds_role() {
                self.serve();
            } else if self.procedure.is_none() && !self.is_mute() && self.status != automaton::STOP {
                self.choose_role();
            }
            if before == (self.status, self.procedure.is_some(), self.serving.clone(), self.waiting) {
                break;
            }
        }
        self.prefer();
        self.say_resources();
        self.run_rules();
        self.accompany();
        self.say_resources();
        self.tell_register();
        self.restore_addresses();
        self.show_health();
        self.talk.let_go();
    }

    fn finish(&mut self, before: Node, command: bool) -> Output {
        if self.durable.data != DataState::UpToDate {
            // Caught up, and out of date by a promise in the same breath: the word is not given.
            self.out.acts.retain(|act| *act != Act::Replica(ReplicaCommand::ConfirmUpToDate));
        }
        // A node that could not save stays silent and saves nothing unless somebody asks for it.
        let save_anyway = std::mem::take(&mut self.save_anyway);
        let changed = self.durable != before.durable && !self.settings.broken.act_before_saving;
        if save_anyway || (changed && (!self.is_mute() || command)) {
            let running = self.durable.running || self.keeps_running;
            self.out.persist = Some(Durable { running, ..self.durable.clone() });
            self.saved_while_mute();
        }
        let mut heartbeat = self.heartbeat();
        let mut due = self.pulses.due(self.now);
        let speaks = !self.is_mute() && self.settings.links > 0;
        if speaks && self.sent.as_ref() != Some(&heartbeat) {
            due = (0..self.settings.links).collect();
        }
        if speaks && !due.is_empty() {
            self.sent = Some(heartbeat.clone());
            self.sequence += 1;
            heartbeat.sequence = self.sequence;
            self.out.send = Some(heartbeat);
            self.out.send_on.clone_from(&due);
        }
        // A secondary keeps to its primary's pulse, see `speak_after_primary`.
        let in_step = self.status.0 != ModuleState::Second;
        due.into_iter().for_each(|link| self.pulses.beat(link, self.now, in_step));
        let out = std::mem::take(&mut self.out);
        // Without anything to save, the driver may still fail to take back what it left for the next agent.
        let begins_something = !out.acts.is_empty() || !out.replies.is_empty();
        if out.persist.is_some() || (begins_something && !self.settings.broken.dropped_counts_as_done) {
            let save = out.persist.is_some().then(|| self.begin_save(&before, &out));
            let replies = out.replies.iter().map(|reply| reply.id).collect();
            self.rollback = Some(Rollback { before: Box::new(before), replies, save });
        }
        out
    }
}
