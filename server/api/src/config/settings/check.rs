//! Everything that can be seen to be wrong with the wizard's form.

use super::{
    CHECKERS_MAX, CheckerKind, CheckerSettings, ModuleMode, ModuleSettings, PROCESSES_MAX, SCRIPT_BYTES_MAX,
    SCRIPT_NAMES, WitnessKind,
};
use crate::checker::{CheckAction, When};
use crate::config::{check_address, check_directories, check_name};
use crate::problem::FieldProblem;
use crate::witness::Endpoint;
use std::collections::BTreeSet;

/// Most virtual addresses of a module.
const ADDRESSES_MAX: usize = 32;
/// Most addresses to ping, or members of etcd.
const WITNESSES_MAX: usize = 8;

impl ModuleSettings {
    /// Everything wrong with the form; field paths as the form names them.
    pub fn validate(&self) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        if let Err(message) = check_name(&self.name) {
            problems.push(FieldProblem::new("name", message));
        }
        self.check_numbers(&mut problems);
        self.check_networks(&mut problems);
        problems.extend(check_directories("directories", &self.directories));
        self.check_addresses(&mut problems);
        self.check_processes(&mut problems);
        self.check_checkers(&mut problems);
        self.check_witness(&mut problems);
        self.check_scripts(&mut problems);
        if self.macros.iter().any(|one| one.value.len() > 4096 || one.value.contains('\0')) {
            problems.push(FieldProblem::new("macros", "at most 4096 bytes, without a zero byte"));
        }
        problems
    }

    fn check_numbers(&self, problems: &mut Vec<FieldProblem>) {
        if !(50..=60_000).contains(&self.pulse_ms) {
            problems.push(FieldProblem::new("pulse_ms", "between 50 and 60000 milliseconds"));
        }
        if self.timeout_ms > 3_600_000 || u64::from(self.timeout_ms) < 3 * u64::from(self.pulse_ms) {
            let message = "at least three pulses, so that one lost heartbeat is no failover; at most an hour";
            problems.push(FieldProblem::new("timeout_ms", message));
        }
        if self.maxloop > 1000 {
            problems.push(FieldProblem::new("maxloop", "at most 1000"));
        }
        if self.loop_interval_h > 8760 {
            problems.push(FieldProblem::new("loop_interval_h", "at most a year of hours (8760)"));
        }
        if self.polltimer_s == 0 || self.polltimer_s > 3600 {
            problems.push(FieldProblem::new("polltimer_s", "between 1 and 3600 seconds"));
        }
    }

    fn check_networks(&self, problems: &mut Vec<FieldProblem>) {
        if self.mode == ModuleMode::Light {
            let second = [
                ("networks", self.networks.is_empty() && self.flow.is_empty()),
                ("directories", self.directories.is_empty()),
                ("addresses", self.addresses.is_empty()),
                ("witness", self.witness.kind == WitnessKind::None),
            ];
            let message = "a light module runs on one node and has none of these";
            problems
                .extend(second.iter().filter(|(_, none)| !none).map(|(field, _)| FieldProblem::new(*field, message)));
            return;
        }
        if self.networks.is_empty() {
            problems.push(FieldProblem::new("networks", "choose at least one network for the heartbeats"));
        } else if !self.networks.contains(&self.flow) {
            problems
                .push(FieldProblem::new("flow", "choose the network of the replication among those of the heartbeats"));
        }
        let mut seen = BTreeSet::new();
        for (i, lan) in self.networks.iter().enumerate() {
            if !seen.insert(lan) {
                problems.push(FieldProblem::new(format!("networks[{i}]"), "this network is chosen twice"));
            }
        }
    }

    fn check_addresses(&self, problems: &mut Vec<FieldProblem>) {
        if self.addresses.len() > ADDRESSES_MAX {
            problems.push(FieldProblem::new("addresses", format!("at most {ADDRESSES_MAX} virtual addresses")));
            return;
        }
        let mut seen = BTreeSet::new();
        for (i, address) in self.addresses.iter().enumerate() {
            let field = format!("addresses[{i}].addr");
            if let Err(message) = check_address(&address.addr) {
                problems.push(FieldProblem::new(field, message));
            } else if !seen.insert(&address.addr) {
                problems.push(FieldProblem::new(field, "this address is given twice"));
            }
            let most = if address.addr.contains(':') { 128 } else { 32 };
            if address.prefix.is_some_and(|prefix| prefix == 0 || prefix > most) {
                problems.push(FieldProblem::new(format!("addresses[{i}].prefix"), format!("between 1 and {most}")));
            }
            let name = &address.interface;
            if name.len() > 15 || name.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control()) {
                let message = "the interface's name as `ip link` shows it, at most 15 bytes";
                problems.push(FieldProblem::new(format!("addresses[{i}].interface"), message));
            }
        }
    }

    fn check_processes(&self, problems: &mut Vec<FieldProblem>) {
        if self.processes.len() > PROCESSES_MAX {
            problems.push(FieldProblem::new("processes", format!("at most {PROCESSES_MAX} process checkers")));
            return;
        }
        for (i, process) in self.processes.iter().enumerate() {
            let bad_name = process.name.chars().any(|c| c.is_control() || c == '/');
            if process.name.is_empty() && process.argregex.is_empty() {
                problems.push(FieldProblem::new(format!("processes[{i}].name"), "give the command's name"));
            } else if process.name.len() > 15 || bad_name {
                let message = "the command's name without path, at most 15 bytes (what `ps -o comm` shows)";
                problems.push(FieldProblem::new(format!("processes[{i}].name"), message));
            }
            if process.argregex.len() > 1024 {
                problems.push(FieldProblem::new(format!("processes[{i}].argregex"), "at most 1024 bytes"));
            }
            if process.atleast == 0 || process.atleast > 10_000 {
                problems.push(FieldProblem::new(format!("processes[{i}].atleast"), "between 1 and 10000"));
            }
            if !is_plain(&process.class) {
                let message = "write prim, second, both, sec, pre, or a name of 1 to 64 letters, digits, dots, dashes \
                               or underscores";
                problems.push(FieldProblem::new(format!("processes[{i}].class"), message));
            }
        }
    }

    fn check_checkers(&self, problems: &mut Vec<FieldProblem>) {
        if self.checkers.len() > CHECKERS_MAX {
            problems.push(FieldProblem::new("checkers", format!("at most {CHECKERS_MAX} checkers")));
            return;
        }
        let mut seen = BTreeSet::new();
        for (i, checker) in self.checkers.iter().enumerate() {
            let mut wrong = |part: &str, message: &str| {
                problems.push(FieldProblem::new(format!("checkers[{i}].{part}"), message));
            };
            if let Some((part, message)) = checker.problem(self.mode) {
                wrong(part, &message);
            } else if !seen.insert(checker.resource()) {
                wrong("ident", "another checker of this kind has this name");
            }
        }
    }

    fn check_witness(&self, problems: &mut Vec<FieldProblem>) {
        let addresses = &self.witness.addresses;
        let one = |(i, address): (usize, &String)| {
            let problem = match self.witness.kind {
                WitnessKind::Ping => check_address(address).err(),
                WitnessKind::Etcd => Endpoint::parse(address).err(),
                WitnessKind::None | WitnessKind::Register => Some("this witness has no addresses".to_owned()),
            };
            Some(FieldProblem::new(format!("witness.addresses[{i}]"), problem?))
        };
        problems.extend(addresses.iter().enumerate().filter_map(one));
        let wanted = matches!(self.witness.kind, WitnessKind::Ping | WitnessKind::Etcd);
        if wanted && !(1..=WITNESSES_MAX).contains(&addresses.len()) {
            problems.push(FieldProblem::new("witness.addresses", format!("give 1 to {WITNESSES_MAX} of them")));
        }
    }

    fn check_scripts(&self, problems: &mut Vec<FieldProblem>) {
        for (name, text) in self.scripts.iter().take(64) {
            let field = format!("scripts.{name}");
            if !SCRIPT_NAMES.contains(&name.as_str()) {
                let message = format!(
                    "no script of this name is called; they are {}: save any other as a file in bin/",
                    SCRIPT_NAMES.join(", ")
                );
                problems.push(FieldProblem::new(field, message));
            } else if text.len() > SCRIPT_BYTES_MAX {
                problems.push(FieldProblem::new(field, format!("at most {SCRIPT_BYTES_MAX} bytes")));
            } else if text.contains('\0') {
                problems.push(FieldProblem::new(field, "the script has a zero byte in it"));
            } else if !text.is_empty() && !text.starts_with("#!") {
                problems.push(FieldProblem::new(field, "the first line must name the interpreter, such as #!/bin/sh"));
            } else if text.lines().next().is_some_and(|line| line.starts_with("#!")) && text.contains("\r\n") {
                problems.push(FieldProblem::new(field, "the script has Windows line ends; use line feeds only"));
            }
        }
    }
}

/// 1 to 64 letters, digits, dots, dashes or underscores.
fn is_plain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=64).contains(&text.len()) && text.chars().all(plain)
}

impl CheckerSettings {
    /// The first field that is wrong, and how to mend it.
    fn problem(&self, mode: ModuleMode) -> Option<(&'static str, String)> {
        let by_name = self.kind == CheckerKind::Module && self.ident.is_empty();
        if !by_name && !is_plain(&self.ident) {
            return Some(("ident", "give it a name: letters, digits, dots, dashes or underscores".to_owned()));
        }
        let target = match self.kind {
            CheckerKind::Tcp | CheckerKind::Ping | CheckerKind::Intf | CheckerKind::Ip => check_address(&self.target),
            CheckerKind::Custom => check_program(&self.target),
            CheckerKind::Module if is_plain(&self.target) => Ok(()),
            CheckerKind::Module => Err("give the other module's name".to_owned()),
        };
        if let Err(message) = target {
            return Some(("target", message));
        }
        if self.kind == CheckerKind::Module && !self.arg.is_empty() {
            if let Err(message) = check_address(&self.arg) {
                return Some(("arg", message));
            }
        } else if self.arg.len() > 4096 || self.arg.contains('\0') {
            return Some(("arg", "at most 4096 bytes, without a zero byte".to_owned()));
        }
        let away = self.kind == CheckerKind::Module && !self.arg.is_empty();
        if (self.kind == CheckerKind::Tcp || away) && self.port == 0 {
            return Some(("port", "between 1 and 65535".to_owned()));
        }
        let looks = !matches!(self.kind, CheckerKind::Intf | CheckerKind::Custom);
        if looks && !(100..=3_600_000).contains(&self.interval_ms) {
            return Some(("interval_ms", "between 100 milliseconds and an hour".to_owned()));
        }
        let answers = matches!(self.kind, CheckerKind::Tcp | CheckerKind::Ping | CheckerKind::Module);
        if answers && !(100..=3_600_000).contains(&self.timeout_ms) {
            return Some(("timeout_ms", "between 100 milliseconds and an hour".to_owned()));
        }
        self.time_problem(mode)
    }

    /// Whether its time and its action suit each other, its kind and the module.
    fn time_problem(&self, mode: ModuleMode) -> Option<(&'static str, String)> {
        let told = |part, text: &str| Some((part, text.to_owned()));
        match (self.kind, self.when, self.action) {
            (CheckerKind::Intf | CheckerKind::Module, When::Pre, CheckAction::Wait) => None,
            (CheckerKind::Intf | CheckerKind::Module, When::Pre, _) => told("action", "its rule waits: choose wait"),
            (CheckerKind::Intf | CheckerKind::Module, ..) => {
                told("when", "it looks from before the start on: choose pre")
            }
            (CheckerKind::Ip, When::Prim | When::Both, _) if self.action != CheckAction::StopStart => {
                told("action", "its rule stops and starts the module: choose stopstart")
            }
            (CheckerKind::Ip, When::Pre | When::Second | When::Sec, _) => told("when", "choose prim or both"),
            (_, When::Prim | When::Second | When::Sec, _) if mode == ModuleMode::Light => {
                told("when", "a light module has no primary and secondary: choose both or pre")
            }
            (CheckerKind::Ip, ..) | (_, _, CheckAction::NoAction) | (_, When::Pre, CheckAction::Wait) => None,
            (_, When::Pre, _) => told("action", "it looks while the module waits: choose wait or noaction"),
            (_, _, CheckAction::Wait) => told("action", "the wait would never end: choose another, or when pre"),
            (_, _, CheckAction::Swap) => told("action", "choose restart, stopstart, stop or noaction"),
            _ => None,
        }
    }
}

fn check_program(path: &str) -> Result<(), String> {
    if path.is_empty() || path.len() > 1024 || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("give the path of a program below the module's bin folder".to_owned());
    }
    Ok(())
}
