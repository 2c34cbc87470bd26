//! The commands for all nodes of a module at once: what they are called, why not now, and what each node will do.

use crate::language::{self, t, tf};
use holdfast_api::agent::ModuleCommand;
use holdfast_api::console::{ModuleOnNode, UserRole};
use holdfast_api::state::{ModuleState, Readiness};

/// The commands, in order.
pub const ALL_NODES: [ModuleCommand; 4] =
    [ModuleCommand::Start, ModuleCommand::Stop, ModuleCommand::Swap, ModuleCommand::ForceStop];

/// What is known when the menu is drawn.
pub struct Nodes<'a> {
    /// The module on each of its nodes, with the node's name.
    pub all: &'a [(ModuleOnNode, String)],
    /// The page is connected to the server.
    pub live: bool,
    /// What the user may do.
    pub role: UserRole,
}

/// What a command for all nodes is called.
pub fn label(command: ModuleCommand) -> &'static str {
    match command {
        ModuleCommand::Start => t!("Start on all nodes"),
        ModuleCommand::Swap => t!("Swap roles"),
        ModuleCommand::ForceStop => t!("Stop by force on all nodes"),
        _ => t!("Stop on all nodes"),
    }
}

impl Nodes<'_> {
    /// State and readiness of each node in contact.
    fn states(&self) -> impl Iterator<Item = (ModuleState, Readiness, &str)> {
        self.all.iter().filter(|(on, _)| on.fresh).filter_map(|(on, name)| {
            let report = on.report.as_ref()?;
            Some((report.state, report.readiness, name.as_str()))
        })
    }

    fn named(&self, wanted: impl Fn(ModuleState) -> bool) -> Vec<String> {
        self.states().filter(|(state, ..)| wanted(*state)).map(|(_, _, name)| name.to_owned()).collect()
    }

    fn has(&self, state: ModuleState) -> bool {
        self.states().any(|(is, readiness, _)| is == state && readiness == Readiness::Ready)
    }

    /// Why `command` cannot be given now; `None` when it can.
    pub fn refusal(&self, command: ModuleCommand) -> Option<String> {
        if !self.role.may(UserRole::Control) {
            return Some(t!("Your role may look, not command.").to_owned());
        }
        if !self.live {
            return Some(t!("The page is not connected to the server.").to_owned());
        }
        if self.states().next().is_none() {
            return Some(t!("No node of the module is in contact.").to_owned());
        }
        let stopped = |state: ModuleState| state == ModuleState::Stop;
        match command {
            ModuleCommand::Start if self.named(stopped).is_empty() => {
                Some(t!("It is started on every node.").to_owned())
            }
            ModuleCommand::Stop | ModuleCommand::ForceStop if self.named(|state| !stopped(state)).is_empty() => {
                Some(t!("It is stopped on every node.").to_owned())
            }
            ModuleCommand::Swap if !(self.has(ModuleState::Prim) && self.has(ModuleState::Second)) => {
                Some(t!("Roles are swapped only between PRIM and SECOND, both ready.").to_owned())
            }
            _ => None,
        }
    }

    /// What `command` will do, in sentences; empty when it needs no asking.
    pub fn consequences(&self, command: ModuleCommand) -> Vec<String> {
        let running = language::list(&self.named(|state| state != ModuleState::Stop));
        let mut said = match command {
            ModuleCommand::Swap => self.of_swap(),
            ModuleCommand::ForceStop => vec![tf!(
                "The module stops on {running} at once, without an orderly stop of the application. It runs nowhere until it is started again.",
                running
            )],
            ModuleCommand::Stop => vec![tf!(
                "The module stops on {running}. No node takes over: the application runs nowhere until it is started again.",
                running
            )],
            _ => return Vec::new(),
        };
        let away: Vec<String> = self.all.iter().filter(|(on, _)| !on.fresh).map(|(_, name)| name.clone()).collect();
        if !away.is_empty() && command != ModuleCommand::Swap {
            said.push(tf!(
                "{0} is not in contact and is not stopped by this; it may serve when the others have stopped.",
                0 = language::list(&away)
            ));
        }
        said
    }

    fn of_swap(&self) -> Vec<String> {
        let of = |wanted: ModuleState| self.named(move |state| state == wanted).into_iter().next().unwrap_or_default();
        let (from, to) = (of(ModuleState::Prim), of(ModuleState::Second));
        vec![
            tf!("The application stops on {from} and starts on {to}; {from} then follows as SECOND.", from, to),
            t!("Clients are interrupted while the scripts run. No data is lost.").to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{ALL_NODES, Nodes};
    use crate::rules::actions::tests::on_node;
    use holdfast_api::agent::ModuleCommand;
    use holdfast_api::console::{ModuleOnNode, UserRole};
    use holdfast_api::state::{ModuleState, Readiness};

    fn pair(first: ModuleState, second: ModuleState) -> Vec<(ModuleOnNode, String)> {
        let on = |node: u16, state| (on_node(node, state, Readiness::Ready), format!("node{node}"));
        vec![on(1, first), on(2, second)]
    }

    fn allowed(all: &[(ModuleOnNode, String)]) -> Vec<ModuleCommand> {
        let nodes = Nodes { all, live: true, role: UserRole::Control };
        ALL_NODES.into_iter().filter(|command| nodes.refusal(*command).is_none()).collect()
    }

    #[test]
    fn what_every_node_does_already_is_not_offered() {
        use ModuleCommand::{ForceStop, Start, Stop, Swap};
        assert_eq!(allowed(&pair(ModuleState::Stop, ModuleState::Stop)), [Start]);
        assert_eq!(allowed(&pair(ModuleState::Prim, ModuleState::Second)), [Stop, Swap, ForceStop]);
        assert_eq!(allowed(&pair(ModuleState::Alone, ModuleState::Stop)), [Start, Stop, ForceStop]);
    }

    #[test]
    fn nothing_is_offered_without_contact_or_role() {
        let mut all = pair(ModuleState::Prim, ModuleState::Second);
        for (live, role) in [(false, UserRole::Admin), (true, UserRole::Monitor)] {
            let nodes = Nodes { all: &all, live, role };
            assert!(ALL_NODES.into_iter().all(|command| nodes.refusal(command).is_some_and(|why| why.ends_with('.'))));
        }
        all.iter_mut().for_each(|(on, _)| on.fresh = false);
        assert_eq!(allowed(&all), []);
    }

    #[test]
    fn a_stop_of_all_names_who_stops_and_who_is_out_of_reach() {
        let mut all = pair(ModuleState::Alone, ModuleState::Second);
        all[1].0.fresh = false;
        let nodes = Nodes { all: &all, live: true, role: UserRole::Admin };
        let said = nodes.consequences(ModuleCommand::Stop).join(" ");
        assert!(said.contains("stops on node1.") && said.contains("node2 is not in contact"), "{said}");
        assert_eq!(nodes.consequences(ModuleCommand::Start), Vec::<String>::new());
        let all = pair(ModuleState::Second, ModuleState::Prim);
        let nodes = Nodes { all: &all, live: true, role: UserRole::Admin };
        assert!(nodes.consequences(ModuleCommand::Swap)[0].contains("stops on node2 and starts on node1"));
    }
}
