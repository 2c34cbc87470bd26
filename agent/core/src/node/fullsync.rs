//! `prim fullsync` and `second fullsync`: everything is compared at the next resync, whatever is known.

use super::Node;
use super::serving::Serving;
use crate::arbiter::Force;
use crate::output::EventLevel;
use crate::replica::ReplicaCommand;
use holdfast_api::state::ModuleState;

impl Node {
    /// `prim fullsync`: as `prim`; a node that is primary already only forgets what it knows.
    pub(super) fn prim_full(&mut self, by: &str) -> Result<String, String> {
        let primary = matches!(self.status.0, ModuleState::Alone | ModuleState::Prim);
        if primary && matches!(self.serving, Serving::Accepting { .. }) {
            return Err(format!(
                "a resync of {} is running: order it again when it has ended, or stop the module there first",
                self.settings.peer_name
            ));
        }
        let answer = self.prim(Force::Prim, by)?;
        self.compare_all = true;
        if primary {
            self.tell_compare_all();
            return Ok(format!("{answer}; the next resync of {} compares everything", self.settings.peer_name));
        }
        Ok(format!("{answer}; the resync of {} compares everything", self.settings.peer_name))
    }

    /// `second fullsync`: as `second`, and everything is compared.
    pub(super) fn second_full(&mut self, by: &str) -> Result<String, String> {
        if self.status.0 == ModuleState::Second {
            return Err(format!(
                "{} is secondary already: stop it here first, then order `second fullsync`",
                self.settings.node_name
            ));
        }
        let answer = self.second(by)?;
        self.compare_all = true;
        Ok(format!("{answer}; everything is compared"))
    }

    /// Before the data plane serves or follows: what an operator ordered of it.
    pub(super) fn tell_compare_all(&mut self) {
        if std::mem::take(&mut self.compare_all) {
            self.event(
                EventLevel::Event,
                "everything is compared at the next resync, as ordered (fullsync)".to_owned(),
            );
            self.replica(ReplicaCommand::CompareAll);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::automaton;
    use crate::durable::Durable;
    use crate::heartbeat::Heartbeat;
    use crate::input::{Command, Input, ModuleCommand};
    use crate::node::held::tests::{handle, orders, said_by_peer};
    use crate::node::witness::tests::node;
    use crate::output::Output;
    use holdfast_api::ids::Generation;
    use holdfast_api::state::DataState;

    fn order(node: &mut Node, at: u64, kind: ModuleCommand) -> Output {
        let command = Command { id: at, kind, actor: "admin".into(), counted: false };
        handle(node, at, Input::CommandReceived(command))
    }

    fn offered(node: &Node, sequence: u64) -> Input {
        let heartbeat = Heartbeat {
            state: ModuleState::Alone,
            data: DataState::UpToDate,
            generation: Generation { number: 6, id: 66 },
            history: vec![Generation { number: 4, id: 44 }],
            solo: true,
            session: 9,
            outdated_since: 0,
            ..said_by_peer(node, sequence)
        };
        Input::HeartbeatReceived { link: 0, heartbeat }
    }

    #[test]
    fn second_fullsync_has_everything_compared_once() {
        let generation = Generation { number: 4, id: 44 };
        let durable = Durable { generation, data: DataState::Outdated, running: true, ..Durable::default() };
        let mut node = node(durable);
        node.status = automaton::WAIT;
        let output = order(&mut node, 1, ModuleCommand::SecondFullSync);
        assert!(orders(&output).is_empty(), "there is no primary yet: {output:?}");
        let input = offered(&node, 1);
        let output = handle(&mut node, 2, input);
        assert!(
            matches!(orders(&output)[..], [.., ReplicaCommand::CompareAll, ReplicaCommand::Follow { session: 9, .. }]),
            "{output:?}"
        );
        assert!(!node.compare_all);
    }

    #[test]
    fn a_stop_takes_the_order_back() {
        let durable = Durable { data: DataState::UpToDate, running: true, ..Durable::default() };
        let mut node = node(durable);
        node.status = automaton::WAIT;
        order(&mut node, 1, ModuleCommand::SecondFullSync);
        assert!(node.compare_all);
        order(&mut node, 2, ModuleCommand::Stop);
        assert!(!node.compare_all);
    }
}
