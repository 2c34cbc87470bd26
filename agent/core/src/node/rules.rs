//! Resources and rules of a node: what it says of itself, what checkers say, and what the failover machine makes of it.

use super::{After, Node};
use crate::arbiter::{self, Contest, Wait};
use crate::automaton;
use crate::heartbeat::{RESOURCES_SAID_MAX, fits};
use crate::input::CheckAction;
use crate::machine::{Due, Facts, each_selector, selects};
use crate::output::EventLevel;
use crate::relation::Relation;
use crate::resources::{self, Resources};
use crate::settings::Witness;
use holdfast_api::checker::When;
use holdfast_api::resource::ResourceValue;
use holdfast_api::rules::Selector;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use holdfast_api::userconfig::{Boot, Mode};
use std::borrow::Cow;

/// Who speaks for the module itself.
pub(super) const SELF: &str = "holdfast";

/// Class of resources that are counts.
const COUNTED: &str = "connections.";

impl Node {
    /// Every resource, with its history.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    fn facts(&self) -> Facts<'_> {
        let peer = self.heard_peer().filter(|peer| peer.state != ModuleState::Stop);
        Facts { local: &self.resources, remote: peer.map(|peer| peer.resources.as_slice()) }
    }

    /// A checker, a script or an operator says what a resource is.
    pub(super) fn on_resource_set(&mut self, name: &str, value: ResourceValue, by: &str) {
        // On its way when its checkers stopped looking: nobody would ever take it back.
        let late = |(other, when): &(String, When)| other == name && !self.looks(*when);
        if self.settings.checkers.iter().any(late) {
            return;
        }
        match resources::check_foreign(name, &value) {
            Ok(()) => self.set_resource(name, value, by),
            Err(reason) => self.event(EventLevel::Warning, format!("refused from {by}: {reason}")),
        }
    }

    pub(super) fn set_resource(&mut self, name: &str, value: ResourceValue, by: &str) {
        let other_reason = value == ResourceValue::Down && self.resources.get(name).is_some_and(|held| held.by != by);
        match self.resources.set(name, value.clone(), by, self.now) {
            Ok(Some(before)) if by != SELF => self.tell_resource(name, &value, &before, by),
            Ok(Some(before)) => self.tell_peer(name, &value, &before),
            Ok(None) if other_reason => {
                self.event(EventLevel::Debug, format!("resource {name} is still {value}, says {by}"))
            }
            Ok(None) => {}
            Err(reason) => self.event(EventLevel::Warning, format!("refused from {by}: {reason}")),
        }
    }

    /// The line of the log for what a checker, a script or an operator says.
    fn tell_resource(&mut self, name: &str, value: &ResourceValue, before: &ResourceValue, by: &str) {
        let level = match value {
            // It changes at every look; its history has it.
            _ if name.starts_with(COUNTED) => return,
            ResourceValue::Down => EventLevel::Warning,
            ResourceValue::Up => EventLevel::Event,
            _ => EventLevel::Info,
        };
        self.event(level, format!("resource {name} is {value} (was {before}), says {by}"));
    }

    /// The line of the log for what this node hears of the peer, once it has heard anything.
    fn tell_peer(&mut self, name: &str, value: &ResourceValue, before: &ResourceValue) {
        let peer = &self.settings.peer_name;
        let silence = match self.settings.link_times.as_slice() {
            [] => format!("for {} ms on any network", self.settings.timeout_ms),
            _ => "within the timeout of any network".to_owned(),
        };
        let (level, text) = match (name, value) {
            ("state.remote", ResourceValue::Unknown) if *before == ResourceValue::Init => {
                (EventLevel::Event, format!("{peer} is not heard: no heartbeat {silence}, since this agent started"))
            }
            ("state.remote", ResourceValue::Unknown) if self.links.alive(self.now) => {
                let text = format!(
                    "{peer} lives and says nothing new (it was {before}): it waits for the disk that holds its agent's data \
                     folder; see what keeps that disk busy"
                );
                (EventLevel::Warning, text)
            }
            ("state.remote", ResourceValue::Unknown) => {
                (EventLevel::Warning, format!("{peer} is not heard any more: no heartbeat {silence} (it was {before})"))
            }
            ("state.remote", _) if self.stays_in_contest() => (
                EventLevel::Warning,
                format!(
                    "{peer} is {value} too: both nodes served apart from each other; this node stays primary, {peer} stops \
                     its application and keeps what it wrote until `second` is ordered there"
                ),
            ),
            ("state.remote", _) => (EventLevel::Event, format!("{peer} is {value} (was {before})")),
            ("rfs.degraded", ResourceValue::Up) => (
                EventLevel::Warning,
                format!(
                    "writes go to this node only while {peer} runs: look at the log of {peer}; its resync ends this"
                ),
            ),
            _ if *before == ResourceValue::Init => return,
            (name, ResourceValue::Down) if name.starts_with("heartbeat.") => (
                EventLevel::Warning,
                format!("{name} is down: {peer} is not heard on this network; check its cable and ports"),
            ),
            (name, ResourceValue::Up) if name.starts_with("heartbeat.") => {
                (EventLevel::Event, format!("{name} is up: {peer} is heard on this network"))
            }
            _ => return,
        };
        self.event(level, text);
    }

    /// Whether both nodes have served apart from each other and this one is to stay.
    fn stays_in_contest(&self) -> bool {
        let serves_here = matches!(self.status.0, ModuleState::Alone | ModuleState::Prim);
        self.heard_peer().is_some_and(|peer| {
            serves_here
                && arbiter::serves(peer)
                && matches!(arbiter::relation_to(&self.durable, peer), Relation::Diverged | Relation::Unrelated)
                && arbiter::contest(&self.settings, &self.durable, peer) == Contest::Stay
        })
    }

    /// Every checker's resource is there, and nothing is known of it.
    pub(super) fn init_resources(&mut self) {
        for (name, _) in self.settings.checkers.clone() {
            if self.resources.get(&name).is_none() {
                self.set_resource(&name, ResourceValue::Init, SELF);
            }
        }
        self.say_resources();
    }

    /// The checkers of this level look no longer.
    pub(super) fn forget_checks(&mut self, level: When) {
        for (name, when) in self.settings.checkers.clone() {
            if when == level {
                self.set_resource(&name, ResourceValue::Init, SELF);
            }
        }
    }

    /// Brings the resources that the module speaks for itself up to date.
    pub(super) fn say_resources(&mut self) {
        let up = |up: bool| if up { ResourceValue::Up } else { ResourceValue::Down };
        let on = |on: bool| word(if on { "on" } else { "off" });
        let boot = match self.settings.boot {
            Boot::Ignore if self.durable.boot_auto => "auto",
            Boot::Ignore if self.durable.boot_start => "on",
            Boot::Ignore => "off",
            Boot::On => "on",
            Boot::Off => "off",
            Boot::Auto => "auto",
        };
        let peer_lives = self.heard_peer().is_some_and(|peer| peer.running);
        let degraded = self.degraded && peer_lives && self.status.0 == ModuleState::Alone;
        let mut said: Vec<(Cow<'static, str>, ResourceValue)> = vec![
            ("state.local".into(), word(&self.status.to_string())),
            ("usersetting.boot".into(), word(boot)),
            ("heart.maxloop".into(), word(if self.exhausted { "true" } else { "false" })),
            ("heart.stopstartloop".into(), word(&self.budget.count().to_string())),
        ];
        if self.settings.mode == Mode::Mirror {
            let remote = self.heard_peer().map(|peer| word(&format!("{} {}", peer.state, peer.readiness)));
            said.push(("state.remote".into(), remote.unwrap_or(ResourceValue::Unknown)));
            said.push(("usersetting.failover".into(), on(self.settings.failover)));
            said.push(("rfs.uptodate".into(), up(self.durable.data == DataState::UpToDate)));
            said.push(("rfs.degraded".into(), up(degraded)));
            if self.settings.witness != Witness::None {
                said.push(("splitbrain.uptodate".into(), self.splitbrain_uptodate()));
            }
            for link in 0..self.settings.links {
                let ident = self.settings.link_idents.get(link).cloned().unwrap_or_else(|| link.to_string());
                said.push((format!("heartbeat.{ident}").into(), up(self.links.link_passes(link, self.now))));
            }
        }
        for (name, value) in said {
            self.set_resource(&name, value, SELF);
        }
    }

    /// What keeps this node from any role: a wait rule that holds, or a checker one reads that has not looked yet.
    pub(super) fn held(&self) -> Option<Wait> {
        if self.status.0 != ModuleState::Wait || self.settings.rules.rules.is_empty() {
            return None;
        }
        if self.wait_rule().is_some() {
            return Some(Wait::Rule);
        }
        (!self.unchecked().is_empty()).then_some(Wait::Checks)
    }

    /// A wait rule, or a path that is missing, keeps this node from any role, for who knows how long: the peer need not wait for it. For the first
    /// results of checkers it waits, so that after a power loss of both nodes the roles are what they were.
    pub(super) fn blocked_by_rule(&self) -> bool {
        self.found.missing.is_some() || self.held() == Some(Wait::Rule)
    }

    /// The wait rule that holds, in plain words.
    pub(super) fn wait_rule(&self) -> Option<String> {
        self.facts().wait_rule(&self.settings.rules.rules)
    }

    /// For what a node waits that is kept from any role.
    pub(super) fn held_text(&self, wait: Wait) -> String {
        if wait == Wait::Checks {
            return format!("waits for the first result of {}", self.unchecked().join(", "));
        }
        let rule = self.wait_rule().unwrap_or_default();
        format!("waits until this no longer holds: {rule}; repair what it names, and the module goes on by itself")
    }

    /// `pre` checkers that a wait rule reads and that have not looked yet. Others look only once the application runs.
    pub(super) fn unchecked(&self) -> Vec<String> {
        let mut names = self.facts().unchecked(&self.settings.rules.rules);
        let pre =
            |name: &String| self.settings.checkers.iter().any(|(other, when)| other == name && *when == When::Pre);
        names.retain(pre);
        names
    }

    /// Lets the failover machine look, and does what is due. Not while something is under way: it looks again after that.
    pub(super) fn run_rules(&mut self) {
        if self.settings.rules.rules.is_empty()
            || self.is_mute()
            || self.status == automaton::STOP
            || self.procedure.is_some()
        {
            return;
        }
        let mut machine = self.machine.clone();
        let due = machine.evaluate(self.now, &self.settings.rules, self.facts());
        for said in machine.tell() {
            self.event(EventLevel::Debug, said);
        }
        self.machine = machine;
        if let Some(Due { action, reason }) = due {
            self.apply_rule(action, &reason);
        }
    }

    fn apply_rule(&mut self, action: CheckAction, reason: &str) {
        let in_role = self.status.0 != ModuleState::Wait;
        let by = format!("{action} by {reason}", action = action.as_str());
        match action {
            CheckAction::Stop => self.begin_stop(&by, After::Stay),
            CheckAction::Wait if in_role => self.counted_wait(&by),
            CheckAction::StopStart if in_role => self.counted_stopstart(&by),
            CheckAction::Restart if self.status.1 == Readiness::Ready => self.counted_restart(&by, &[]),
            CheckAction::Swap if self.status == automaton::PRIM => {
                if let Err(why) = self.begin_swap(&by) {
                    self.event(EventLevel::Warning, format!("{by} cannot be carried out: {why}"));
                }
            }
            _ => {}
        }
    }

    fn counted_wait(&mut self, reason: &str) {
        if self.spend_restart() {
            self.begin_wait(reason);
        } else {
            self.begin_stop(&self.exhausted_text(reason), After::Stay);
        }
    }

    /// The resources that the peer's rules read, as far as they fit into a heartbeat: the rules are the same there.
    pub(super) fn said_resources(&self) -> Vec<(String, ResourceValue)> {
        let mut remote: Vec<&Selector> = Vec::new();
        for rule in &self.settings.rules.rules {
            each_selector(&rule.condition, &mut |selector| {
                if selector.remote {
                    remote.push(selector);
                }
            });
        }
        if remote.is_empty() {
            return Vec::new();
        }
        let named = self.resources.iter().filter(|(name, _)| remote.iter().any(|selector| selects(selector, name)));
        let said = named.map(|(name, resource)| (name.to_owned(), resource.value.clone()));
        said.filter(|(name, value)| fits(name, value)).take(RESOURCES_SAID_MAX).collect()
    }
}

fn word(text: &str) -> ResourceValue {
    ResourceValue::from(text.to_owned())
}
