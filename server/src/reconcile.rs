//! What a node is to be sent, from what it should hold and what it holds: a pure function.

use crate::tasks::Thing;
use holdfast_api::ids::ModuleId;
use std::collections::BTreeMap;

/// What one node should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Version of the cluster configuration; none: the node is not in the cluster.
    pub cluster: Option<u64>,
    /// Configured modules: number, name, version.
    pub modules: Vec<(ModuleId, String, u64)>,
    /// Modules that were removed: number and name.
    pub removed: Vec<(ModuleId, String)>,
}

/// What it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Version of the cluster configuration; 0: none.
    pub cluster: u64,
    /// Modules: name and version.
    pub modules: BTreeMap<ModuleId, (String, u64)>,
}

/// What to do about the difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to send, in this order.
    pub pushes: Vec<Thing>,
    /// What sending cannot mend, for people.
    pub problems: Vec<String>,
}

/// Plans. Modules follow only once the node has the cluster; a node never gets an older version than it holds, and
/// never loses a module that this server does not know.
pub fn plan(wanted: &Wanted, held: &Held) -> Plan {
    let mut plan = Plan::default();
    for (id, name) in &wanted.removed {
        if held.modules.get(id).is_some_and(|(held_name, _)| held_name == name) {
            plan.pushes.push(Thing::Removal(*id));
        }
    }
    let Some(cluster) = wanted.cluster else {
        if held.cluster > 0 {
            plan.problems.push("the node holds a cluster configuration but is not in the saved cluster; add it".into());
        }
        return plan;
    };
    if held.cluster < cluster {
        plan.pushes.push(Thing::Cluster(cluster));
        return plan;
    }
    if held.cluster > cluster {
        plan.problems.push(format!(
            "the node holds version {} of the cluster configuration, newer than the server's {cluster} (was the server \
             restored from a backup?); check the configuration and save it again: it gets a higher version",
            held.cluster
        ));
    }
    for (id, name, version) in &wanted.modules {
        match held.modules.get(id) {
            Some((held_name, _)) if held_name != name => plan.problems.push(format!(
                "the node holds a module {held_name} under number {} where the server has {name}; remove it there with \
                 `holdfast module remove -m {held_name}`",
                id.0
            )),
            Some((_, held_version)) if held_version > version => plan.problems.push(format!(
                "the node holds version {held_version} of {name}, newer than the server's {version}; save the module \
                 again and configure it: it gets a higher version"
            )),
            Some((_, held_version)) if held_version == version => {}
            _ => plan.pushes.push(Thing::Module(*id, *version)),
        }
    }
    for (id, (name, version)) in &held.modules {
        let known = wanted.modules.iter().any(|(known, ..)| known == id)
            || wanted.removed.iter().any(|(known, removed)| known == id && removed == name);
        if !known {
            plan.problems
                .push(format!("the node holds {name} (version {version}), which this server has not configured"));
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const M1: ModuleId = ModuleId(1);

    fn wanted(cluster: u64, version: u64) -> Wanted {
        Wanted { cluster: Some(cluster), modules: vec![(M1, "mirror".into(), version)], removed: vec![] }
    }

    fn held(cluster: u64, version: u64) -> Held {
        let modules = (version > 0).then(|| (M1, ("mirror".to_owned(), version)));
        Held { cluster, modules: modules.into_iter().collect() }
    }

    #[test]
    fn a_fresh_node_gets_the_cluster_then_its_modules() {
        assert_eq!(plan(&wanted(2, 3), &held(0, 0)).pushes, [Thing::Cluster(2)]);
        assert_eq!(plan(&wanted(2, 3), &held(2, 0)).pushes, [Thing::Module(M1, 3)]);
        assert_eq!(plan(&wanted(2, 3), &held(2, 3)), Plan::default());
    }

    #[test]
    fn a_node_never_gets_an_older_version() {
        let plan = plan(&wanted(2, 3), &held(4, 5));
        assert_eq!(plan.pushes, []);
        assert_eq!(plan.problems.len(), 2);
    }

    #[test]
    fn a_removed_module_is_forgotten_but_an_unknown_one_is_only_told() {
        let mut wanted = wanted(1, 1);
        wanted.modules.clear();
        assert_eq!(plan(&wanted, &held(1, 1)).pushes, []);
        assert_eq!(plan(&wanted, &held(1, 1)).problems.len(), 1);
        wanted.removed.push((M1, "mirror".into()));
        assert_eq!(plan(&wanted, &held(1, 1)).pushes, [Thing::Removal(M1)]);
        wanted.removed[0].1 = "other".into();
        assert_eq!(plan(&wanted, &held(1, 1)).pushes, []);
    }

    #[test]
    fn a_node_outside_the_cluster_gets_nothing() {
        let wanted = Wanted { cluster: None, ..wanted(1, 1) };
        assert_eq!(plan(&wanted, &held(0, 0)), Plan::default());
    }

    proptest! {
        /// Sending what is planned, again and again, ends with nothing left to send.
        #[test]
        fn pushes_converge(cluster in 1u64..5, version in 1u64..5, has in 0u64..5, has_module in 0u64..5) {
            let (wanted, mut held) = (wanted(cluster, version), held(has, has_module));
            for _ in 0..4 {
                for push in plan(&wanted, &held).pushes {
                    match push {
                        Thing::Cluster(v) => { prop_assert!(v > held.cluster); held.cluster = v; }
                        Thing::Module(id, v) => {
                            prop_assert!(held.modules.get(&id).is_none_or(|(_, old)| v > *old));
                            held.modules.insert(id, ("mirror".into(), v));
                        }
                        Thing::Removal(id) => { held.modules.remove(&id); }
                    }
                }
            }
            prop_assert_eq!(plan(&wanted, &held).pushes, vec![]);
        }
    }
}
