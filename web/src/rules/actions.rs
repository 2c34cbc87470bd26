//! Which commands a module on a node takes now, why not the others, and what each will do.

use crate::language::{t, tf};
use holdfast_api::agent::ModuleCommand;
use holdfast_api::console::{ModuleOnNode, UserRole};
use holdfast_api::state::{ModuleState, Readiness};

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

/// Commands for all nodes of a module at once, in order.
pub const ALL_NODES: [ModuleCommand; 4] =
    [ModuleCommand::Start, ModuleCommand::Stop, ModuleCommand::Swap, ModuleCommand::ForceStop];

/// The commands of a node's menu, in order.
pub const COMMANDS: [ModuleCommand; 11] = [
    ModuleCommand::Start,
    ModuleCommand::Stop,
    ModuleCommand::Restart,
    ModuleCommand::Swap,
    ModuleCommand::StopStart,
    ModuleCommand::Prim,
    ModuleCommand::Second,
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
    fn state(&self) -> ModuleState {
        self.me.report.as_ref().map_or(ModuleState::Stop, |report| report.state)
    }

    /// State and readiness of the other node: as it reports itself, else as this node hears it.
    fn peer_state(&self) -> Option<(ModuleState, Readiness)> {
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
        use ModuleCommand::{ForceStop, Prim, PrimForce, Second, SecondFullSync, Swap};
        let state = self.state();
        if self.light && matches!(command, Swap | Prim | PrimForce | Second | SecondFullSync) {
            return Some(t!("A light module has no primary and secondary.").to_owned());
        }
        if command == ForceStop && state == ModuleState::Stop {
            return Some(t!("It is stopped.").to_owned());
        }
        let primary = matches!(state, ModuleState::Prim | ModuleState::Alone | ModuleState::Up);
        let startable = matches!(state, ModuleState::Stop | ModuleState::Wait);
        let peer = if self.peer_name.is_empty() { t!("the other node") } else { self.peer_name };
        match command {
            ModuleCommand::Start if state != ModuleState::Stop => Some(t!("It is started already.").to_owned()),
            ModuleCommand::Stop | ModuleCommand::StopStart if state == ModuleState::Stop => {
                Some(t!("It is stopped.").to_owned())
            }
            ModuleCommand::Restart if !primary => Some(t!("The application runs on the primary only.").to_owned()),
            ModuleCommand::Swap => {
                let ready = self.me.report.as_ref().map(|report| report.readiness) == Some(Readiness::Ready);
                let pair = matches!(
                    (state, self.peer_state()),
                    (ModuleState::Prim, Some((ModuleState::Second, Readiness::Ready)))
                        | (ModuleState::Second, Some((ModuleState::Prim, Readiness::Ready)))
                );
                (!(ready && pair)).then(|| t!("Roles are swapped only between PRIM and SECOND, both ready.").to_owned())
            }
            ModuleCommand::Prim if primary => Some(t!("It is primary already.").to_owned()),
            ModuleCommand::Prim if self.peer_is_primary() => Some(tf!("{peer} is primary; use Swap roles.", peer)),
            ModuleCommand::Prim | ModuleCommand::PrimForce if !startable => Some(t!("Stop it first.").to_owned()),
            Second | SecondFullSync if state == ModuleState::Second => Some(t!("It is secondary already.").to_owned()),
            Second | SecondFullSync if !startable => Some(t!("Stop it first.").to_owned()),
            Second | SecondFullSync if !self.peer_is_primary() => {
                Some(t!("No node is primary: a secondary needs one to copy from.").to_owned())
            }
            _ => None,
        }
    }

    /// What `command` will do, in sentences; empty when it needs no asking.
    pub fn consequences(&self, command: ModuleCommand) -> Vec<String> {
        let me = self.name;
        let peer = if self.peer_name.is_empty() { t!("the other node") } else { self.peer_name };
        let state = self.state();
        let ready_second = matches!(self.peer_state(), Some((ModuleState::Second, Readiness::Ready)));
        match (command, state) {
            (ModuleCommand::Stop, ModuleState::Prim) if ready_second => vec![
                tf!("The application stops on {me} and starts on {peer}, which becomes ALONE.", me, peer),
                t!("Clients are interrupted while the scripts run. Until this node is started again there is no redundancy.").to_owned(),
            ],
            (ModuleCommand::Stop, ModuleState::Prim | ModuleState::Alone) => vec![tf!("The application stops on {me}, and no other node can take over: it will run nowhere until a node is started.", me)],
            (ModuleCommand::Stop, ModuleState::Up) => vec![tf!("The application stops on {me}.", me)],
            (ModuleCommand::Stop, ModuleState::Second) => vec![tf!("{me} stops following. The application goes on on {peer}, without redundancy.", me, peer)],
            (ModuleCommand::Stop, _) => vec![tf!("{me} gives up what it is doing and stops.", me)],
            (ModuleCommand::Restart, _) => vec![tf!("The application is stopped and started on {me}. Clients are interrupted meanwhile; there is no failover.", me)],
            (ModuleCommand::Swap, _) => {
                let (from, to) = if state == ModuleState::Prim { (me, peer) } else { (peer, me) };
                vec![tf!("The application stops on {from} and starts on {to}; {from} then follows as SECOND.", from, to), t!("Clients are interrupted while the scripts run. No data is lost.").to_owned()]
            }
            (ModuleCommand::StopStart, ModuleState::Prim) if ready_second => vec![tf!("The application moves to {peer}; {me} comes back as SECOND after a resync.", peer, me)],
            (ModuleCommand::StopStart, _) => vec![tf!("The module stops completely on {me}, then starts again.", me)],
            (ModuleCommand::Prim, _) => vec![
                tf!("{me} becomes primary with the data it holds, and its copy becomes the reference.", me),
                tf!("When {peer} is started as secondary, everything that differs there is overwritten by {me}'s copy.", peer, me),
            ],
            (ModuleCommand::Second, _) => vec![
                tf!("Everything in the replicated directories of {me} that differs from {peer} is overwritten or deleted.", me, peer),
                t!("Make a copy of these directories first if you are not sure which node holds the newest data.").to_owned(),
            ],
            (ModuleCommand::SecondFullSync, _) => vec![
                tf!("Every file in the replicated directories of {me} is copied from {peer} again; what {peer} does not have is deleted.", me, peer),
                t!("This takes as long as copying everything. Start as secondary copies only what differs.").to_owned(),
            ],
            (ModuleCommand::PrimForce, _) => vec![
                tf!("{me} becomes primary whatever state its data is in, and its copy becomes the reference.", me),
                tf!("Changes that only {peer} has are lost when {peer} follows. Be sure that {peer} does not serve now: nobody asks it or the witness.", peer),
            ],
            (ModuleCommand::ForceStop, _) => vec![
                tf!("The module stops on {me} at once, without an orderly stop of the application.", me),
                t!("Use it when Stop has no effect. What the application has not written may be lost.").to_owned(),
            ],
            _ => Vec::new(),
        }
    }

    /// True if `command` ends or overwrites something.
    pub fn is_dangerous(&self, command: ModuleCommand) -> bool {
        match command {
            ModuleCommand::Stop => matches!(self.state(), ModuleState::Prim | ModuleState::Alone | ModuleState::Up),
            ModuleCommand::Second
            | ModuleCommand::SecondFullSync
            | ModuleCommand::PrimForce
            | ModuleCommand::ForceStop => true,
            _ => false,
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::{COMMANDS, Situation};
    use holdfast_api::agent::{ModuleCommand, NodeModuleReport};
    use holdfast_api::console::{ModuleOnNode, UserRole};
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
            [ModuleCommand::Start, ModuleCommand::Prim, ModuleCommand::PrimForce, ModuleCommand::BootAuto]
        );
        let alone = on_node(2, ModuleState::Alone, Readiness::Ready);
        assert_eq!(
            allowed(&me, Some(&alone)),
            [
                ModuleCommand::Start,
                ModuleCommand::Second,
                ModuleCommand::SecondFullSync,
                ModuleCommand::PrimForce,
                ModuleCommand::BootAuto,
            ]
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
    fn stopping_a_primary_names_who_takes_over_or_that_nobody_does() {
        let me = on_node(1, ModuleState::Prim, Readiness::Ready);
        let second = on_node(2, ModuleState::Second, Readiness::Ready);
        let said = |peer: Option<&ModuleOnNode>| {
            Situation {
                me: &me,
                name: "node1",
                peer,
                peer_name: "node2",
                live: true,
                role: UserRole::Admin,
                light: false,
            }
            .consequences(ModuleCommand::Stop)
            .join(" ")
        };
        assert!(said(Some(&second)).contains("starts on node2"));
        assert!(said(None).contains("it will run nowhere"));
    }
}
