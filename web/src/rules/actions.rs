//! Which commands a module on a node takes now, and why not the others.

use crate::language::{t, tf};
use holdfast_api::agent::ModuleCommand;
use holdfast_api::console::{ModuleOnNode, UserRole};
use holdfast_api::state::{DataState, ModuleState, Readiness};

/// What is known when a menu is drawn.
pub struct Situation<'a> {
    /// The module on the node the menu is of.
    pub me: &'a ModuleOnNode,
    /// Name of that node.
    pub name: &'a str,
    /// The module on the other node, if there is one.
    pub peer: Option<&'a ModuleOnNode>,
    /// Name of the other node.
    pub peer_name: &'a str,
    /// The page is connected to the server.
    pub live: bool,
    /// What the user may do.
    pub role: UserRole,
    /// The module runs on one node: it has no primary and secondary.
    pub light: bool,
}

/// The commands of a node's menu, in order.
pub const COMMANDS: [ModuleCommand; 12] = [
    ModuleCommand::Start,
    ModuleCommand::Stop,
    ModuleCommand::Restart,
    ModuleCommand::Swap,
    ModuleCommand::StopStart,
    ModuleCommand::Prim,
    ModuleCommand::Second,
    ModuleCommand::PrimFullSync,
    ModuleCommand::SecondFullSync,
    ModuleCommand::PrimForce,
    ModuleCommand::ForceStop,
    ModuleCommand::BootAuto,
];

/// What a command is called.
pub fn label(command: ModuleCommand) -> &'static str {
    match command {
        ModuleCommand::Start => t!("Start"),
        ModuleCommand::Stop => t!("Stop"),
        ModuleCommand::Restart => t!("Restart the application"),
        ModuleCommand::Swap => t!("Swap roles"),
        ModuleCommand::StopStart => t!("Stop, then start"),
        ModuleCommand::Prim => t!("Start as primary"),
        ModuleCommand::PrimForce => t!("Start as primary by force"),
        ModuleCommand::PrimFullSync => t!("Start as primary, full copy"),
        ModuleCommand::Second => t!("Start as secondary"),
        ModuleCommand::SecondFullSync => t!("Start as secondary, full copy"),
        ModuleCommand::ForceStop => t!("Stop by force"),
        ModuleCommand::BootOn => t!("Start at boot"),
        ModuleCommand::BootOff => t!("Do not start at boot"),
        ModuleCommand::BootAuto => t!("Start at boot if it was running"),
        ModuleCommand::FailoverOn => t!("Fail over by itself"),
        ModuleCommand::FailoverOff => t!("Fail over by order only"),
    }
}

/// The word a command is known by on the command line and in `data-testid`s.
pub fn word(command: ModuleCommand) -> &'static str {
    match command {
        ModuleCommand::Start => "start",
        ModuleCommand::Stop => "stop",
        ModuleCommand::Restart => "restart",
        ModuleCommand::Swap => "swap",
        ModuleCommand::StopStart => "stopstart",
        ModuleCommand::Prim => "prim",
        ModuleCommand::PrimForce => "primforce",
        ModuleCommand::PrimFullSync => "prim-fullsync",
        ModuleCommand::SecondFullSync => "second-fullsync",
        ModuleCommand::ForceStop => "forcestop",
        ModuleCommand::Second => "second",
        ModuleCommand::BootOn => "boot-on",
        ModuleCommand::BootOff => "boot-off",
        ModuleCommand::BootAuto => "boot-auto",
        ModuleCommand::FailoverOn => "failover-on",
        ModuleCommand::FailoverOff => "failover-off",
    }
}

impl Situation<'_> {
    /// State of the module here; `STOP` when nothing is reported.
    pub(super) fn state(&self) -> ModuleState {
        self.me.report.as_ref().map_or(ModuleState::Stop, |report| report.state)
    }

    /// State and readiness of the other node: as it reports itself, else as this node hears it.
    pub(super) fn peer_state(&self) -> Option<(ModuleState, Readiness)> {
        let reported = self
            .peer
            .filter(|peer| peer.fresh)
            .and_then(|peer| peer.report.as_ref())
            .map(|report| (report.state, report.readiness));
        let heard = || {
            self.me.report.as_ref()?.peer.as_ref().filter(|peer| peer.heard).map(|peer| (peer.state, peer.readiness))
        };
        reported.or_else(heard)
    }

    fn peer_is_primary(&self) -> bool {
        matches!(self.peer_state(), Some((ModuleState::Prim | ModuleState::Alone, _)))
    }

    /// Why `command` cannot be given now; `None` when it can.
    pub fn refusal(&self, command: ModuleCommand) -> Option<String> {
        if !self.role.may(UserRole::Control) {
            return Some(t!("Your role may look, not command.").to_owned());
        }
        if !self.live {
            return Some(t!("The page is not connected to the server.").to_owned());
        }
        if self.me.held.is_none() {
            return Some(tf!("The module is not configured on {0}.", 0 = self.name));
        }
        if !self.me.fresh || self.me.report.is_none() {
            return Some(tf!(
                "{0} is not connected to the server; `holdfast` works on the node itself.",
                0 = self.name
            ));
        }
        self.refusal_by_state(command)
    }

    fn refusal_by_state(&self, command: ModuleCommand) -> Option<String> {
        use ModuleCommand::{ForceStop, Prim, PrimForce, PrimFullSync, Restart, Second, SecondFullSync, Start, Swap};
        let state = self.state();
        if self.light && matches!(command, Swap | Prim | PrimForce | PrimFullSync | Second | SecondFullSync) {
            return Some(t!("A light module has no primary and secondary.").to_owned());
        }
        if command == ForceStop && state == ModuleState::Stop {
            return Some(t!("It is stopped.").to_owned());
        }
        let startable = matches!(state, ModuleState::Stop | ModuleState::Wait);
        match command {
            Start if state == ModuleState::Wait => Some(self.waits()),
            Start if state != ModuleState::Stop => Some(t!("It is started already.").to_owned()),
            ModuleCommand::Stop | ModuleCommand::StopStart if state == ModuleState::Stop => {
                Some(t!("It is stopped.").to_owned())
            }
            Restart => self.refusal_of_restart(state),
            Swap => {
                let pair = matches!(
                    (state, self.peer_state()),
                    (ModuleState::Prim, Some((ModuleState::Second, Readiness::Ready)))
                        | (ModuleState::Second, Some((ModuleState::Prim, Readiness::Ready)))
                );
                (!(self.is_ready() && pair))
                    .then(|| t!("Roles are swapped only between PRIM and SECOND, both ready.").to_owned())
            }
            Prim | PrimFullSync | PrimForce => self.refusal_of_prim(command, state, startable),
            Second | SecondFullSync if state == ModuleState::Second => Some(t!("It is secondary already.").to_owned()),
            Second | SecondFullSync if !startable => Some(t!("Stop it first.").to_owned()),
            Second | SecondFullSync if !self.peer_is_primary() => {
                Some(t!("No node is primary: a secondary needs one to copy from.").to_owned())
            }
            _ => None,
        }
    }

    fn is_ready(&self) -> bool {
        self.me.report.as_ref().is_some_and(|report| report.readiness == Readiness::Ready)
    }

    /// That it is started and waits, and for what.
    fn waits(&self) -> String {
        match self.me.report.as_ref().and_then(|report| report.waiting_for.as_ref()) {
            Some(what) => tf!("It is started already, and {what}", what),
            None => t!("It is started already.").to_owned(),
        }
    }

    fn refusal_of_restart(&self, state: ModuleState) -> Option<String> {
        match state {
            ModuleState::Prim | ModuleState::Alone | ModuleState::Up if self.is_ready() => None,
            ModuleState::Prim | ModuleState::Alone | ModuleState::Up => {
                Some(t!("It is changing its state; wait until that has ended.").to_owned())
            }
            _ => Some(t!("The application runs on the primary only.").to_owned()),
        }
    }

    fn refusal_of_prim(&self, command: ModuleCommand, state: ModuleState, startable: bool) -> Option<String> {
        let peer = if self.peer_name.is_empty() { t!("the other node") } else { self.peer_name };
        if matches!(state, ModuleState::Prim | ModuleState::Alone | ModuleState::Up) {
            return Some(t!("It is primary already.").to_owned());
        }
        if self.peer_is_primary() {
            return Some(tf!("{peer} is primary: swap the roles, or stop it there first.", peer));
        }
        if !startable {
            return Some(t!("Stop it first.").to_owned());
        }
        let torn = self.me.report.as_ref().is_some_and(|report| report.data == DataState::Inconsistent);
        (torn && command != ModuleCommand::PrimForce).then(|| {
            tf!(
                "Its copy is half overwritten by a resync that did not end. Start {peer}, which holds the whole copy.",
                peer
            )
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::{COMMANDS, Situation};
    use holdfast_api::agent::{ModuleCommand, NodeModuleReport};
    use holdfast_api::console::{ModuleLive, ModuleOnNode, ModuleView, UserRole};
    use holdfast_api::ids::{Generation, ModuleId, NodeId};
    use holdfast_api::state::{DataState, ModuleState, Readiness};

    /// A module on a node that is connected and reports this.
    pub fn on_node(node: u16, state: ModuleState, readiness: Readiness) -> ModuleOnNode {
        let report = NodeModuleReport {
            module: "mirror".into(),
            id: ModuleId(1),
            node: format!("node{node}"),
            state,
            readiness,
            data: DataState::UpToDate,
            generation: Generation::default(),
            since_unix_ms: 0,
            waiting_for: None,
            detail: String::new(),
            boot_start: false,
            running: state != ModuleState::Stop,
            peer: None,
            resync: None,
            inventory: None,
            version: 1,
            resources: Vec::new(),
            replication: None,
            scrub: None,
            set_aside: 0,
        };
        ModuleOnNode {
            node: NodeId(node),
            held: Some(1),
            fresh: true,
            reported_unix_ms: 1,
            report: Some(report),
            pending: String::new(),
        }
    }

    /// A configured module on these nodes.
    pub fn module_on(nodes: Vec<ModuleOnNode>) -> ModuleLive {
        let module = ModuleView {
            id: ModuleId(1),
            name: "bank".into(),
            template: String::new(),
            version: 1,
            desired: Some(1),
            author: String::new(),
            saved_unix_ms: 0,
        };
        ModuleLive { module, nodes, facts: None, register: None }
    }

    fn allowed(me: &ModuleOnNode, peer: Option<&ModuleOnNode>) -> Vec<ModuleCommand> {
        let situation = Situation {
            me,
            name: "node1",
            peer,
            peer_name: "node2",
            live: true,
            role: UserRole::Control,
            light: false,
        };
        COMMANDS.into_iter().filter(|command| situation.refusal(*command).is_none()).collect()
    }

    #[test]
    fn a_stopped_node_can_be_started_in_each_role_its_peer_leaves_free() {
        let me = on_node(1, ModuleState::Stop, Readiness::NotReady);
        let stopped = on_node(2, ModuleState::Stop, Readiness::NotReady);
        assert_eq!(
            allowed(&me, Some(&stopped)),
            [
                ModuleCommand::Start,
                ModuleCommand::Prim,
                ModuleCommand::PrimFullSync,
                ModuleCommand::PrimForce,
                ModuleCommand::BootAuto,
            ]
        );
        let alone = on_node(2, ModuleState::Alone, Readiness::Ready);
        assert_eq!(
            allowed(&me, Some(&alone)),
            [ModuleCommand::Start, ModuleCommand::Second, ModuleCommand::SecondFullSync, ModuleCommand::BootAuto,]
        );
    }

    #[test]
    fn roles_are_swapped_only_between_two_ready_nodes() {
        let me = on_node(1, ModuleState::Prim, Readiness::Ready);
        let second = on_node(2, ModuleState::Second, Readiness::Ready);
        assert!(allowed(&me, Some(&second)).contains(&ModuleCommand::Swap));
        assert!(allowed(&second, Some(&me)).contains(&ModuleCommand::Swap));
        let resyncing = on_node(2, ModuleState::Second, Readiness::Transient);
        assert!(!allowed(&me, Some(&resyncing)).contains(&ModuleCommand::Swap));
    }

    #[test]
    fn every_refusal_says_why() {
        for state in [ModuleState::Stop, ModuleState::Wait, ModuleState::Alone, ModuleState::Prim, ModuleState::Second]
        {
            let me = on_node(1, state, Readiness::Ready);
            let situation = Situation {
                me: &me,
                name: "node1",
                peer: None,
                peer_name: "",
                live: true,
                role: UserRole::Admin,
                light: false,
            };
            for command in COMMANDS {
                assert!(situation.refusal(command).is_none_or(|why| why.ends_with('.')), "{state} {command:?}");
            }
        }
    }

    #[test]
    fn what_ends_or_overwrites_something_is_asked_before_and_a_light_module_has_no_roles() {
        let me = on_node(1, ModuleState::Up, Readiness::Ready);
        let situation = Situation {
            me: &me,
            name: "node1",
            peer: None,
            peer_name: "",
            live: true,
            role: UserRole::Admin,
            light: true,
        };
        for command in COMMANDS.into_iter().filter(|command| situation.is_dangerous(*command)) {
            assert!(!situation.consequences(command).is_empty(), "{command:?}");
        }
        for command in [ModuleCommand::Swap, ModuleCommand::Prim, ModuleCommand::PrimForce, ModuleCommand::Second] {
            assert!(situation.refusal(command).is_some_and(|why| why.contains("light")), "{command:?}");
        }
        assert_eq!(situation.refusal(ModuleCommand::Restart), None);
    }

    #[test]
    fn nothing_is_commanded_without_contact_role_or_configuration() {
        let mut me = on_node(1, ModuleState::Prim, Readiness::Ready);
        let blocked = |me: &ModuleOnNode, live, role| {
            let situation = Situation { me, name: "node1", peer: None, peer_name: "", live, role, light: false };
            COMMANDS.into_iter().all(|command| situation.refusal(command).is_some())
        };
        assert!(blocked(&me, true, UserRole::Monitor));
        assert!(blocked(&me, false, UserRole::Admin));
        assert!(!blocked(&me, true, UserRole::Admin));
        me.fresh = false;
        assert!(blocked(&me, true, UserRole::Admin));
        me.fresh = true;
        me.held = None;
        assert!(blocked(&me, true, UserRole::Admin));
    }

    #[test]
    fn a_node_that_waits_says_for_what_and_a_torn_copy_is_primary_by_force_only() {
        let mut me = on_node(1, ModuleState::Wait, Readiness::NotReady);
        me.report.as_mut().unwrap().waiting_for = Some("waits for node2".into());
        let of = |me: &ModuleOnNode, command| {
            let role = UserRole::Control;
            Situation { me, name: "node1", peer: None, peer_name: "node2", live: true, role, light: false }
                .refusal(command)
        };
        assert!(of(&me, ModuleCommand::Start).is_some_and(|why| why.contains("waits for node2")));
        assert_eq!(of(&me, ModuleCommand::Prim), None);
        me.report.as_mut().unwrap().data = DataState::Inconsistent;
        assert!(of(&me, ModuleCommand::Prim).is_some_and(|why| why.contains("half overwritten")));
        assert!(of(&me, ModuleCommand::PrimFullSync).is_some());
        assert_eq!(of(&me, ModuleCommand::PrimForce), None);
        let changing = on_node(1, ModuleState::Prim, Readiness::Transient);
        assert!(of(&changing, ModuleCommand::Restart).is_some_and(|why| why.contains("changing")));
    }
}
