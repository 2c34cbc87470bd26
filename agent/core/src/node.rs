//! One module on one node, as a value: `handle` an input, get the effects.

use crate::durable::Durable;
use crate::input::Input;
use crate::output::Output;
use crate::settings::Settings;
use crate::time::{Instant, Moment};
use crate::view::View;
use holdfast_api::state::{ModuleState, Readiness};

/// One module on one node.
pub struct Node {
    settings: Settings,
    durable: Durable,
    now: Instant,
}

impl Node {
    /// A node as it is when its agent starts: in STOP, with what its ledger held (`Durable::default()` if nothing).
    ///
    /// The driver hands in a `Start` command by "agent restart" if `durable.running` and the boot id is the same, or by
    /// "boot" if `durable.boot_start` and the boot id is new.
    pub fn new(settings: Settings, durable: Durable, moment: Moment) -> Self {
        Self {
            settings,
            durable,
            now: moment.now,
        }
    }

    /// Handles one input. The driver hands in the next input of this module only when `persist` of this output is
    /// durable (or hands in `SaveFailed`).
    pub fn handle(&mut self, moment: Moment, _input: Input) -> Output {
        self.now = moment.now;
        Output::default()
    }

    /// When `Ticked` is to be handed in at the latest.
    pub fn next_deadline(&self) -> Instant {
        self.now.after(self.settings.pulse_ms)
    }

    /// What reports, pages and the command line show.
    pub fn view(&self) -> View {
        View {
            node: self.settings.node_name.clone(),
            state: ModuleState::Stop,
            readiness: Readiness::NotReady,
            since: self.now,
            waiting_for: None,
            detail: String::new(),
            data: self.durable.data,
            generation: self.durable.generation,
            solo: self.durable.solo,
            healthy: false,
            boot_start: self.durable.boot_start,
            running: self.durable.running,
            peer: None,
            resync: None,
            inventory: None,
            links_heard: vec![false; self.settings.links],
        }
    }

    /// The durable state as it stands after the last `handle`.
    pub fn durable(&self) -> &Durable {
        &self.durable
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
