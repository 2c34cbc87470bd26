//! The checkers and the process checker of one module: which of them look now, and who may switch them.
//!
//! Each looks in the background and hands in what it finds as `ResourceSet`; what follows is decided by the rules (or,
//! for a process, by its own action). Switched off, checkers say `unknown`: no rule fires on that, and none waits for it.

mod custom;
mod intf;
mod ip;
mod module;
mod tcp;

use super::errd::{self, ClassWatch};
use super::vip::set_for;
use super::watch::{Teller, Watch, periodically};
use super::{Inbox, icmp, script};
use crate::logs::ModuleLog;
use crate::report::Reports;
use holdfast_api::resource::ResourceValue;
use holdfast_api::userconfig::{Check, Checker, Errd, Probe, When};
use holdfast_core::input::Input;
use holdfast_core::output::EventLevel;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Names are resolved within this time.
const RESOLVE: Duration = Duration::from_secs(5);

/// What an operator may switch off on a module; kept over restarts of the module and of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// The checkers of `<check>` and of `<vip>`.
    pub checkers: bool,
    /// The process checker.
    pub errd: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self { checkers: true, errd: true }
    }
}

/// What an operator or a script asks of the checkers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Switch the checkers on or off.
    Checkers(bool),
    /// Switch the process checker on or off.
    Errd(bool),
    /// Watch the processes of a class.
    Enable(String),
    /// Watch them no longer.
    Disable(String),
    /// List the processes that are to run.
    List,
}

impl Order {
    /// The order as a command line would say it; `None` for a question.
    pub fn words(&self) -> Option<String> {
        let switch = |on: bool| if on { "on" } else { "off" };
        Some(match self {
            Self::Checkers(on) => format!("checker {}", switch(*on)),
            Self::Errd(on) => format!("errd {}", switch(*on)),
            Self::Enable(class) => format!("errd enable {class}"),
            Self::Disable(class) => format!("errd disable {class}"),
            Self::List => return None,
        })
    }
}

/// What the checkers of a module are to look at, and with what.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Name of the module.
    pub module: String,
    /// `<check>`.
    pub check: Check,
    /// `<errd>`.
    pub errd: Errd,
    /// Folder, environment and log of custom checkers and handlers; `None` without `<user>`.
    pub programs: Option<script::Setting>,
    /// What the modules of this node are.
    pub reports: Reports,
    /// The module log.
    pub log: ModuleLog,
    /// The agent's run folder, where it stands which virtual addresses are set.
    pub run_dir: PathBuf,
}

impl Setting {
    /// Something that needs somebody, though it is no failure of what is looked at.
    pub(super) fn warn(&self, text: &str) {
        tracing::warn!(module = self.module, "{text}");
        self.log.write(EventLevel::Warning, &self.reports.status(&self.module).unwrap_or_default(), text);
    }

    fn classes(&self) -> BTreeSet<&str> {
        self.errd.procs.iter().map(|proc| proc.class.as_str()).collect()
    }
}

/// The checkers of a module.
#[derive(Debug)]
pub struct Checks {
    setting: Arc<Setting>,
    switches: Switches,
    inbox: Inbox,
    /// Times at which the module is now, as started and not stopped.
    active: BTreeSet<When>,
    /// Classes of processes that are to be watched.
    classes: BTreeSet<String>,
    /// What looks, or was told to end, by resource or by class.
    checkers: BTreeMap<String, Watch>,
    class_watches: BTreeMap<String, Watch>,
}

impl Checks {
    /// Nothing looks yet; what is switched off is said.
    pub fn new(setting: Setting, switches: Switches, inbox: Inbox) -> Self {
        let checks = Self {
            setting: Arc::new(setting),
            switches,
            inbox,
            active: BTreeSet::new(),
            classes: BTreeSet::new(),
            checkers: BTreeMap::new(),
            class_watches: BTreeMap::new(),
        };
        checks.say_switches("configuration");
        checks
    }

    /// A time has come: its checkers look, and the processes of the class of the same name are watched.
    pub fn start(&mut self, when: When) {
        if self.active.insert(when) {
            self.start_checkers(when);
        }
        self.enable(when.as_str());
    }

    /// A time is over.
    pub fn stop(&mut self, when: When) {
        self.active.remove(&when);
        for checker in self.setting.check.checkers.iter().filter(|checker| checker.when == when) {
            if let Some(watch) = self.checkers.get_mut(&checker.resource()) {
                watch.stop();
            }
        }
        self.disable(when.as_str());
        if self.active.is_empty() {
            // The module is stopped: its own classes are for its scripts to enable anew.
            for class in std::mem::take(&mut self.classes) {
                self.disable(&class);
            }
        }
    }

    /// Looks at other things from now on.
    pub fn set(&mut self, check: Check, errd: Errd, programs: Option<script::Setting>) {
        self.stop_all();
        self.setting = Arc::new(Setting { check, errd, programs, ..Setting::clone(&self.setting) });
        self.start_all();
    }

    /// Carries out an order; a switch has been saved before.
    ///
    /// # Errors
    /// Why not, and the cure.
    pub fn order(&mut self, order: &Order, by: &str) -> Result<String, String> {
        let module = self.setting.module.clone();
        match order {
            Order::Checkers(on) => {
                self.switch(Switches { checkers: *on, ..self.switches }, by);
                Ok(format!("the checkers of {module} are {} on this node", word(*on)))
            }
            Order::Errd(on) => {
                self.switch(Switches { errd: *on, ..self.switches }, by);
                Ok(format!("the process checker of {module} is {} on this node", word(*on)))
            }
            Order::Enable(class) => {
                self.known(class)?;
                self.enable(class);
                Ok(format!("processes of class {class} of {module} are watched"))
            }
            Order::Disable(class) => {
                self.known(class)?;
                self.disable(class);
                Ok(format!("processes of class {class} of {module} are not watched"))
            }
            Order::List => Ok(self.list()),
        }
    }

    fn known(&self, class: &str) -> Result<(), String> {
        let classes = self.setting.classes();
        if classes.contains(class) {
            return Ok(());
        }
        let known: Vec<&str> = classes.into_iter().collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(format!("module {} has no <proc class=\"{class}\">; its classes: {known}", self.setting.module))
    }

    fn switch(&mut self, switches: Switches, by: &str) {
        self.stop_all();
        self.switches = switches;
        self.say_switches(by);
        self.start_all();
    }

    fn stop_all(&mut self) {
        self.checkers.values_mut().chain(self.class_watches.values_mut()).for_each(Watch::stop);
    }

    fn start_all(&mut self) {
        for when in self.active.clone() {
            self.start_checkers(when);
        }
        for class in self.classes.clone() {
            self.enable(&class);
        }
    }

    fn start_checkers(&mut self, when: When) {
        let setting = Arc::clone(&self.setting);
        for checker in setting.check.checkers.iter().filter(|checker| checker.when == when) {
            let before = self.checkers.remove(&checker.resource());
            let watch = if self.switches.checkers { self.look(checker, before) } else { self.rest(checker, before) };
            self.checkers.insert(checker.resource(), watch);
        }
    }

    /// A checker that is switched off.
    fn rest(&self, checker: &Checker, before: Option<Watch>) -> Watch {
        let mut teller = self.teller(checker.resource(), "checker off");
        Watch::start(before, |stopped| async move {
            teller.say(ResourceValue::Unknown, None).await;
            let _ = stopped.await;
            teller.say(ResourceValue::Init, None).await;
        })
    }

    fn teller(&self, resource: String, by: &'static str) -> Teller {
        Teller::new(&self.inbox, resource, by)
    }

    fn look(&self, checker: &Checker, before: Option<Watch>) -> Watch {
        let resource = checker.resource();
        let ms = Duration::from_millis;
        match checker.probe.clone() {
            Probe::Tcp { addr, port, interval_ms, timeout_ms } => {
                let teller = self.teller(resource, "tcpcheck");
                Watch::start(before, move |stopped| async move {
                    periodically(teller, ms(interval_ms), stopped, || tcp::look(&addr, port, ms(timeout_ms))).await;
                })
            }
            Probe::Ping { addr, interval_ms, timeout_ms } => {
                let teller = self.teller(resource, "pingcheck");
                Watch::start(before, move |stopped| async move {
                    periodically(teller, ms(interval_ms), stopped, || icmp::answers(&addr, ms(timeout_ms))).await;
                })
            }
            Probe::Intf { local_addr, interface } => {
                let teller = self.teller(resource, "intfcheck");
                // Without either, what it is named after is a network of the virtual addresses.
                let address = local_addr.unwrap_or_else(|| checker.ident.clone());
                Watch::start(before, move |stopped| async move {
                    let look = || intf::look(interface.clone(), address.clone());
                    periodically(teller, intf::INTERVAL, stopped, look).await;
                })
            }
            Probe::Ip { addr, interval_ms } => {
                let (teller, setting) = (self.teller(resource, "ipcheck"), Arc::clone(&self.setting));
                Watch::start(before, move |stopped| async move {
                    let look = || ip::look(&addr, set_for(&setting.run_dir, &setting.module, &addr));
                    periodically(teller, ms(interval_ms), stopped, look).await;
                })
            }
            Probe::Custom { exec, arg } => {
                let (teller, setting) = (self.teller(resource, "customcheck"), Arc::clone(&self.setting));
                Watch::start(before, move |stopped| custom::run(setting, exec, arg, teller, stopped))
            }
            Probe::Module { name, addr, port, interval_ms, timeout_ms } => {
                let (teller, setting) = (self.teller(resource, module::BY), Arc::clone(&self.setting));
                let target = module::Target { name, addr, port, interval: ms(interval_ms), timeout: ms(timeout_ms) };
                let inbox = self.inbox.clone();
                Watch::start(before, move |stopped| module::run(setting, inbox, target, teller, stopped))
            }
        }
    }

    fn enable(&mut self, class: &str) {
        let procs: Vec<_> = self.setting.errd.procs.iter().filter(|proc| proc.class == class).cloned().collect();
        if procs.is_empty() {
            return;
        }
        self.classes.insert(class.to_owned());
        if self.switches.errd {
            let before = self.class_watches.remove(class);
            let watch = ClassWatch::new(Arc::clone(&self.setting), procs, &self.inbox);
            self.class_watches.insert(class.to_owned(), Watch::start(before, |stopped| watch.run(stopped)));
        }
    }

    fn disable(&mut self, class: &str) {
        self.classes.remove(class);
        if let Some(watch) = self.class_watches.get_mut(class) {
            watch.stop();
        }
    }

    /// One line for each process that is to run.
    fn list(&self) -> String {
        let report = self.setting.reports.get(&self.setting.module);
        let resources = report.map(|report| report.resources).unwrap_or_default();
        let mut lines = vec![format!("process checker: {}", word(self.switches.errd))];
        for proc in &self.setting.errd.procs {
            let watched = self.switches.errd && self.classes.contains(&proc.class);
            let name = errd::resource(proc);
            let value = resources.iter().find(|resource| resource.name == name);
            lines.push(format!(
                "{name} class={} {} action={} {} {}",
                proc.class,
                errd::wanted(proc),
                proc.action.as_str(),
                if watched { "watched" } else { "not watched" },
                value.map_or(&ResourceValue::Init, |resource| &resource.value),
            ));
        }
        lines.join("\n")
    }

    fn say_switches(&self, by: &str) {
        let Switches { checkers, errd } = self.switches;
        let (inbox, by) = (self.inbox.clone(), by.to_owned());
        tokio::spawn(async move {
            for (name, on) in [("usersetting.checker", checkers), ("usersetting.errd", errd)] {
                let value = ResourceValue::Other(word(on).to_owned());
                let input = Input::ResourceSet { name: name.to_owned(), value, by: by.clone() };
                // A failure means that the engine has ended.
                let _ = inbox.send(input).await;
            }
        });
    }
}

/// The addresses of what a checker looks at, which may be a name.
async fn resolve(addr: &str) -> Result<Vec<IpAddr>, String> {
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((addr, 0))).await;
    let found = found.map_err(|_| format!("{addr} is not resolved within {} s", RESOLVE.as_secs()))?;
    let found = found.map_err(|error| format!("{addr} is neither an address nor a known name: {error}"))?;
    let addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    if addresses.is_empty() { Err(format!("{addr} has no address")) } else { Ok(addresses) }
}

fn word(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

#[cfg(test)]
mod tests;
