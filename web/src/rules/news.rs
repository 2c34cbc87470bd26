//! What of a module is news, and what only moves: figures that change with every report though nothing has happened.

use holdfast_api::agent::{NodeModuleReport, ReplicationReport, ResourceReport};
use holdfast_api::console::{ModuleLive, ModuleOnNode};
use holdfast_api::ids::NodeId;

/// How the resources begin and end that tell what the replication moves.
const MOVES: (&str, &str) = ("rfs.", "_bandwidth");
/// One of these that is news: what a resync is allowed or does, told by the module itself.
const RESYNC: &str = "rfs.rei_bandwidth";

/// What moves of a module on a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// Where.
    pub node: NodeId,
    /// What its data plane did in the last second.
    pub replication: Option<ReplicationReport>,
    /// The same as resources.
    pub resources: Vec<ResourceReport>,
}

/// Takes out of a module what only moves, for each node in its order.
pub fn settle(module: &mut ModuleLive) -> Vec<Figures> {
    let moves = |resource: &mut ResourceReport| {
        let name = resource.name.as_str();
        name.starts_with(MOVES.0) && name.ends_with(MOVES.1) && name != RESYNC
    };
    let settle = |on: &mut ModuleOnNode| {
        // When a node was heard last matters once it is no longer heard.
        if on.fresh {
            on.reported_unix_ms = 0;
        }
        let (replication, resources) = on.report.as_mut().map_or_else(Default::default, |report| {
            (report.replication.take(), report.resources.extract_if(.., moves).collect())
        });
        Figures { node: on.node, replication, resources }
    };
    module.nodes.iter_mut().map(settle).collect()
}

/// The resources of a module on a node with those that move, in the order of their names.
pub fn with_moving(resources: &[ResourceReport], figures: &[Figures], node: NodeId) -> Vec<ResourceReport> {
    let moving = figures.iter().filter(|figures| figures.node == node).flat_map(|figures| &figures.resources);
    let mut all: Vec<ResourceReport> = resources.iter().chain(moving).cloned().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// A module on a node without its resources: what changes seldom.
pub fn bare(on: &ModuleOnNode) -> ModuleOnNode {
    let report = on.report.as_ref().map(|report| NodeModuleReport { resources: Vec::new(), ..report.clone() });
    ModuleOnNode { report, pending: on.pending.clone(), ..*on }
}

#[cfg(test)]
mod tests {
    use super::{settle, with_moving};
    use crate::rules::actions::tests::{module_on, on_node};
    use holdfast_api::agent::{ReplicationReport, ResourceReport};
    use holdfast_api::ids::NodeId;
    use holdfast_api::resource::ResourceValue;
    use holdfast_api::state::{ModuleState, Readiness};

    fn resource(name: &str, value: &str) -> ResourceReport {
        let value = ResourceValue::Other(value.into());
        ResourceReport { name: name.into(), value, since_unix_ms: 1, by: "replication".into() }
    }

    #[test]
    fn what_only_moves_is_taken_out_and_nothing_else() {
        let told = |value: &str, bytes_per_s| {
            let mut on = on_node(1, ModuleState::Prim, Readiness::Ready);
            on.reported_unix_ms = bytes_per_s;
            let report = on.report.as_mut().expect("a report");
            report.resources = vec![
                resource("rfs.netin_bandwidth", value),
                resource("rfs.rei_bandwidth", "7"),
                resource("rfs.rep_bandwidth", value),
                resource("tcp.web", "up"),
            ];
            report.replication = Some(ReplicationReport { bytes_per_s, ..ReplicationReport::default() });
            module_on(vec![on])
        };
        let (mut before, mut after) = (told("1", 1024), told("2", 2048));
        assert_ne!(before, after);
        let (was, is) = (settle(&mut before), settle(&mut after));
        assert_eq!(before, after);
        assert_ne!(was, is);
        let kept = &before.nodes[0].report.as_ref().expect("a report").resources;
        let names = |all: &[ResourceReport]| all.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(kept), ["rfs.rei_bandwidth", "tcp.web"]);
        let all = with_moving(kept, &is, NodeId(1));
        assert_eq!(names(&all), ["rfs.netin_bandwidth", "rfs.rei_bandwidth", "rfs.rep_bandwidth", "tcp.web"]);
        assert_eq!(with_moving(kept, &is, NodeId(2)).len(), 2);
    }
}
