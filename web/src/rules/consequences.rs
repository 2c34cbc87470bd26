//! What a command will do to a module on a node, in sentences that are read before it is given.

use super::actions::Situation;
use crate::language::{t, tf};
use holdfast_api::agent::ModuleCommand;
use holdfast_api::state::{ModuleState, Readiness};

impl Situation<'_> {
    /// What `command` will do, in sentences; empty when it needs no asking.
    pub fn consequences(&self, command: ModuleCommand) -> Vec<String> {
        let me = self.name;
        let peer = if self.peer_name.is_empty() { t!("the other node") } else { self.peer_name };
        match command {
            ModuleCommand::Stop => self.of_stop(me, peer),
            ModuleCommand::Restart => vec![tf!("The application is stopped and started on {me}. Clients are interrupted meanwhile; there is no failover.", me)],
            ModuleCommand::Swap => {
                let (from, to) = if self.state() == ModuleState::Prim { (me, peer) } else { (peer, me) };
                vec![tf!("The application stops on {from} and starts on {to}; {from} then follows as SECOND.", from, to), t!("Clients are interrupted while the scripts run. No data is lost.").to_owned()]
            }
            ModuleCommand::StopStart if self.state() == ModuleState::Prim && self.follows() => vec![tf!("The application moves to {peer}; {me} comes back as SECOND after a resync.", peer, me)],
            ModuleCommand::StopStart => vec![tf!("The module stops completely on {me}, then starts again.", me)],
            ModuleCommand::Prim => vec![
                tf!("{me} becomes primary with the data it holds, and its copy becomes the reference.", me),
                tf!("When {peer} is started as secondary, everything that differs there is overwritten by {me}'s copy.", peer, me),
            ],
            ModuleCommand::PrimFullSync => vec![
                tf!("{me} becomes primary with the data it holds, and its copy becomes the reference.", me),
                tf!("When {peer} is started as secondary, every file there is compared with {me}'s, whatever is known of what differs. This takes as long as reading everything.", peer, me),
            ],
            ModuleCommand::Second => vec![
                tf!("Everything in the replicated directories of {me} that differs from {peer} is overwritten or deleted.", me, peer),
                t!("Make a copy of these directories first if you are not sure which node holds the newest data.").to_owned(),
            ],
            ModuleCommand::SecondFullSync => vec![
                tf!("Every file in the replicated directories of {me} is compared with {peer}'s; what differs is overwritten, what {peer} does not have is deleted.", me, peer),
                t!("Use it when you do not trust what is known of the differences: it takes as long as reading everything. `holdfast secondforce -d` on the node does the same.").to_owned(),
            ],
            ModuleCommand::PrimForce => vec![
                tf!("{me} becomes primary whatever state its data is in, and its copy becomes the reference.", me),
                tf!("Changes that only {peer} has are lost when {peer} follows. Be sure that {peer} does not serve now: nobody asks it or the witness.", peer),
            ],
            ModuleCommand::ForceStop => vec![
                tf!("The module stops on {me} at once, without an orderly stop of the application.", me),
                t!("Use it when Stop has no effect. What the application has not written may be lost.").to_owned(),
            ],
            _ => Vec::new(),
        }
    }

    /// True if the other node can take over now.
    fn follows(&self) -> bool {
        matches!(self.peer_state(), Some((ModuleState::Second, Readiness::Ready)))
    }

    fn of_stop(&self, me: &str, peer: &str) -> Vec<String> {
        match self.state() {
            ModuleState::Prim if self.follows() => vec![
                tf!("The application stops on {me} and starts on {peer}, which becomes ALONE.", me, peer),
                t!("Clients are interrupted while the scripts run. Until this node is started again there is no redundancy.").to_owned(),
            ],
            ModuleState::Prim | ModuleState::Alone => vec![tf!("The application stops on {me}, and no other node can take over: it will run nowhere until a node is started.", me)],
            ModuleState::Up => vec![tf!("The application stops on {me}.", me)],
            ModuleState::Second => vec![tf!("{me} stops following. The application goes on on {peer}, without redundancy.", me, peer)],
            _ => vec![tf!("{me} gives up what it is doing and stops.", me)],
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
mod tests {
    use crate::rules::actions::Situation;
    use crate::rules::actions::tests::on_node;
    use holdfast_api::agent::ModuleCommand;
    use holdfast_api::console::{ModuleOnNode, UserRole};
    use holdfast_api::state::{ModuleState, Readiness};

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
