//! How the command line shows the cluster: nodes × modules, and the nodes' configurations with their differences.

use super::show::{date, table};
use crate::cluster_link::members::Member;
use crate::cluster_link::message::Mark;
use crate::control::ModuleInfo;
use anyhow::Result;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Write, stdout};

/// Digits of a signature that are shown to people.
const SIGNATURE_SHOWN: usize = 12;

/// A configuration of one node, for comparing.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Configuration {
    /// Name of the node.
    node: String,
    /// `cluster`, or the module's name.
    of: String,
    /// What it is.
    #[serde(flatten)]
    mark: Mark,
}

fn link(member: &Member) -> String {
    let since = date(member.since_unix_ms);
    match (member.here, member.reachable, member.heard_unix_ms) {
        (true, ..) => format!("this node, since {since}"),
        (_, true, _) => format!("{} since {since}", member.address.as_deref().unwrap_or("connected")),
        (_, false, Some(heard)) => format!("lost, last heard {}", date(heard)),
        (_, false, None) => "never heard".to_owned(),
    }
}

/// Nodes × modules.
pub(super) fn states(members: &[Member]) -> Result<()> {
    let statuses = members.iter().filter_map(|member| member.status.as_ref());
    let modules: BTreeSet<&str> =
        statuses.flat_map(|status| status.modules.iter().map(|module| module.report.module.as_str())).collect();
    let head = ["NODE", "LINK", "VERSION", "CLUSTER"].into_iter().map(str::to_owned);
    let mut rows = vec![head.chain(modules.iter().map(|module| module.to_uppercase())).collect::<Vec<_>>()];
    for member in members {
        // What was heard before a node was lost says nothing about now.
        let status = member.status.as_ref().filter(|_| member.reachable);
        let of = |module: &&str| match status {
            None => "?".to_owned(),
            Some(status) => status
                .modules
                .iter()
                .find(|found| found.report.module == **module)
                .map_or_else(|| "-".to_owned(), |found| format!("{} {}", found.report.state, found.report.readiness)),
        };
        let mut row = vec![
            member.node.clone(),
            link(member),
            status.map_or_else(|| "?".to_owned(), |status| status.version.clone()),
            status.map_or_else(|| "?".to_owned(), |status| status.cluster.version.to_string()),
        ];
        row.extend(modules.iter().map(of));
        rows.push(row);
    }
    table(&rows)?;
    for member in members.iter().filter(|member| !member.reachable) {
        writeln!(stdout(), "{}: {}", member.node, member.why)?;
    }
    Ok(())
}

/// The configurations of all nodes, as last heard.
pub(super) fn configurations(members: &[Member]) -> Vec<Configuration> {
    let mut all = Vec::new();
    for member in members {
        let Some(status) = &member.status else {
            continue;
        };
        let mut push = |of: &str, mark: &Mark| {
            all.push(Configuration { node: member.node.clone(), of: of.to_owned(), mark: mark.clone() });
        };
        push("cluster", &status.cluster);
        for module in &status.modules {
            push(&module.report.module, &module.config.clone().unwrap_or_default());
        }
    }
    all.sort_by(|a, b| (a.of != "cluster", &a.of, &a.node).cmp(&(b.of != "cluster", &b.of, &b.node)));
    all
}

/// What is not equal on all nodes that have it.
pub(super) fn differences(all: &[Configuration]) -> Vec<String> {
    let mut things: BTreeMap<&str, Vec<&Configuration>> = BTreeMap::new();
    for configuration in all {
        things.entry(configuration.of.as_str()).or_default().push(configuration);
    }
    let mut found = Vec::new();
    for (of, nodes) in things {
        let versions: BTreeSet<u64> = nodes.iter().map(|node| node.mark.version).collect();
        let contents: BTreeSet<&str> = nodes.iter().map(|node| node.mark.signature.as_str()).collect();
        let of = if of == "cluster" { "the cluster configuration".to_owned() } else { format!("module {of}") };
        if versions.len() > 1 {
            let list = nodes.iter().map(|node| format!("{} has version {}", node.node, node.mark.version));
            found.push(format!("{of} differs: {}", list.collect::<Vec<_>>().join(", ")));
        } else if contents.len() > 1 {
            let names: Vec<&str> = nodes.iter().map(|node| node.node.as_str()).collect();
            found.push(format!("{of} has one version but different contents on {}: save it again", names.join(", ")));
        }
    }
    found
}

/// Version, signature and date of every configuration of every node.
pub(super) fn confinfo(members: &[Member]) -> Result<()> {
    let all = configurations(members);
    let head = ["CONFIGURATION", "NODE", "VERSION", "SIGNATURE", "SINCE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for Configuration { node, of, mark } in &all {
        let signature: String = mark.signature.chars().take(SIGNATURE_SHOWN).collect();
        let since = if mark.version == 0 { "not usable there".to_owned() } else { date(mark.unix_ms) };
        rows.push(vec![of.clone(), node.clone(), mark.version.to_string(), signature, since]);
    }
    table(&rows)?;
    for member in members.iter().filter(|member| !member.reachable) {
        let heard = if member.status.is_some() { "as last heard" } else { "nothing is known" };
        writeln!(stdout(), "{} is not reachable ({heard}): {}", member.node, member.why)?;
    }
    for difference in differences(&all) {
        writeln!(stdout(), "{difference}")?;
    }
    Ok(())
}

/// A module's configuration in use beside its files as edited.
pub(super) fn module_info(info: &ModuleInfo) -> Result<()> {
    let row = |what: &str, mark: &Option<Mark>| {
        let mark = mark.clone().unwrap_or_default();
        let version = if mark.version == 0 { "-".to_owned() } else { mark.version.to_string() };
        let since = if mark.unix_ms == 0 { "-".to_owned() } else { date(mark.unix_ms) };
        vec![what.to_owned(), version, mark.signature.chars().take(SIGNATURE_SHOWN).collect(), since]
    };
    let head = ["CONFIGURATION", "VERSION", "SIGNATURE", "SINCE"];
    table(&[head.map(str::to_owned).to_vec(), row("in use", &info.used), row("as edited", &info.edited)])?;
    if let (Some(used), Some(edited)) = (&info.used, &info.edited)
        && used.signature != edited.signature
    {
        writeln!(stdout(), "the edited files are not in use: `holdfast config -m {}`", info.module)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{configurations, differences};
    use crate::cli::remote::tests::member;
    use crate::cluster_link::members::Member;
    use crate::cluster_link::message::{Mark, ModuleStatus, Status};
    use crate::report::blank;
    use holdfast_api::ids::ModuleId;

    fn with(number: u16, cluster: u64, module: (u64, &str)) -> Member {
        let mark = |version, signature: &str| Mark { version, signature: signature.to_owned(), unix_ms: 0 };
        let report = blank("web", ModuleId(1), "n", module.0, "");
        let modules = vec![ModuleStatus { report, config: Some(mark(module.0, module.1)) }];
        let status = Status { version: String::new(), cluster: mark(cluster, "c"), server: false, modules };
        Member { status: Some(status), ..member(number) }
    }

    #[test]
    fn differences_are_named_with_nodes_and_versions() {
        let of = |members: &[Member]| differences(&configurations(members));
        assert!(of(&[with(1, 3, (2, "a")), with(2, 3, (2, "a")), member(3)]).is_empty());
        let found = of(&[with(1, 3, (2, "a")), with(2, 4, (2, "b"))]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("node1 has version 3, node2 has version 4"), "{found:?}");
        assert!(found[1].contains("module web") && found[1].contains("different contents"), "{found:?}");
    }
}
