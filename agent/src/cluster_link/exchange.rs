//! Configurations follow from node to node while no management server is there: the higher version wins.
//!
//! Only what both nodes hold is compared, so a module that was removed from a node does not come back by itself; and
//! what is taken goes through the same checks as a push of the server's.

use super::message::{ModuleStatus, Status, status};
use super::request;
use crate::agent::Agent;
use crate::control::{Answer, Request};
use anyhow::{Result, bail, ensure};
use holdfast_api::state::ModuleState;
use holdfast_core::output::EventLevel;
use quinn::Connection;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What was refused is tried again after this time, and at once when the reason may be gone: see [`Tried`].
const AGAIN: Duration = Duration::from_secs(600);

/// A configuration that another node has in a higher version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Newer {
    /// Of the cluster, in this version.
    Cluster(u64),
    /// Of a module, in this version.
    Module(String, u64),
}

/// What was tried, while modules ran here or not, and under which cluster configuration.
type Tried = (Newer, bool, u64);

/// What this node should take from another one.
pub fn newer(own: &Status, theirs: &Status) -> Vec<Newer> {
    // A server decides what is wanted; its push comes to the other node as well, or waits there until it may.
    if own.server || theirs.server {
        return Vec::new();
    }
    if theirs.cluster.version > own.cluster.version {
        return vec![Newer::Cluster(theirs.cluster.version)];
    }
    let version = |module: &ModuleStatus| module.config.as_ref().map(|config| config.version);
    let wanted = |theirs: &ModuleStatus| {
        let own = own.modules.iter().find(|own| own.report.module == theirs.report.module)?;
        let (held, offered) = (version(own)?, version(theirs)?);
        let takes = offered > held && own.report.id == theirs.report.id && own.report.state == ModuleState::Stop;
        takes.then(|| Newer::Module(theirs.report.module.clone(), offered))
    };
    theirs.modules.iter().filter_map(wanted).collect()
}

/// Follows what another node says for as long as the connection lives.
pub(super) async fn follow(
    agent: &Arc<Agent>,
    node: &str,
    connection: &Connection,
    mut statuses: watch::Receiver<Option<Status>>,
) -> Result<()> {
    let mut refused = BTreeMap::<Tried, Instant>::new();
    loop {
        statuses.changed().await?;
        let Some(theirs) = statuses.borrow_and_update().clone() else {
            continue;
        };
        refused.retain(|_, when| when.elapsed() < AGAIN);
        let own = status(agent).await;
        let runs = own.modules.iter().any(|module| module.report.state != ModuleState::Stop);
        for what in newer(&own, &theirs) {
            let tried = (what.clone(), runs, own.cluster.version);
            if refused.contains_key(&tried) {
                continue;
            }
            // On a task of its own: a connection lost in between must not leave a configuration half taken.
            let taking = take(Arc::clone(agent), node.to_owned(), connection.clone(), what);
            if !tokio::spawn(taking).await? {
                refused.insert(tried, Instant::now());
            }
        }
    }
}

/// Takes a configuration; whether that went well.
async fn take(agent: Arc<Agent>, node: String, connection: Connection, what: Newer) -> bool {
    let words = match &what {
        Newer::Cluster(version) => format!("cluster config (version {version} of {node})"),
        Newer::Module(module, version) => format!("config -m {module} (version {version} of {node})"),
    };
    let entry = agent.commands.start("cluster link", &words);
    match fetch(&agent, &node, &connection, &what).await {
        Ok(text) => {
            tracing::info!(node, "no management server is connected; taken from another node: {text}");
            if let Newer::Module(module, version) = &what {
                let text = format!("configuration {version} taken from {node}, as no management server is connected");
                let _ = agent.print(module, EventLevel::Info, &text).await;
            }
            entry.end(Ok(&text));
            true
        }
        Err(error) => {
            let reason = format!("{error:#}");
            tracing::warn!(node, "its newer configuration is not taken: {reason}");
            entry.end(Err(&reason));
            false
        }
    }
}

async fn fetch(agent: &Arc<Agent>, node: &str, connection: &Connection, what: &Newer) -> Result<String> {
    let request = match what {
        Newer::Cluster(_) => Request::ClusterGive,
        Newer::Module(module, _) => Request::ModuleGive { module: module.clone() },
    };
    match (request::ask(connection, "cluster link", request).await?, what) {
        (Answer::ClusterGiven { config }, Newer::Cluster(_)) => agent.configure_cluster(config).await,
        (Answer::ModuleGiven { config }, Newer::Module(module, _)) => {
            ensure!(config.name == *module, "{node} gave {} instead of {module}", config.name);
            agent.configure(config).await
        }
        (Answer::Refused { reason }, _) => bail!("{node} refused: {reason}"),
        _ => bail!("{node} gave another answer than asked for"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Newer, newer};
    use crate::cluster_link::message::{Mark, ModuleStatus, Status};
    use crate::report::blank;
    use holdfast_api::ids::ModuleId;
    use holdfast_api::state::ModuleState;

    fn mark(version: u64) -> Mark {
        Mark { version, ..Mark::default() }
    }

    fn module(name: &str, id: u16, version: u64, state: ModuleState) -> ModuleStatus {
        let mut report = blank(name, ModuleId(id), "n", version, "");
        report.state = state;
        ModuleStatus { report, config: Some(mark(version)) }
    }

    fn status(cluster: u64, modules: Vec<ModuleStatus>) -> Status {
        Status { version: String::new(), cluster: mark(cluster), server: false, modules }
    }

    #[test]
    fn higher_versions_of_stopped_modules_are_taken_and_never_lower_ones() {
        let stop = ModuleState::Stop;
        let own = status(
            3,
            vec![
                module("a", 1, 4, stop),
                module("b", 2, 4, stop),
                module("c", 3, 4, ModuleState::Prim),
                module("d", 4, 4, stop),
            ],
        );
        let theirs = status(
            3,
            vec![
                module("a", 1, 5, ModuleState::Prim),
                module("b", 2, 3, stop),
                module("c", 3, 9, stop),
                module("d", 5, 9, stop),
                module("e", 6, 1, stop),
            ],
        );
        assert_eq!(newer(&own, &theirs), [Newer::Module("a".into(), 5)]);
        assert_eq!(newer(&theirs, &own), [Newer::Module("b".into(), 4)]);
    }

    #[test]
    fn cluster_comes_before_modules_and_nothing_is_taken_while_a_server_is_there() {
        let own = status(3, vec![module("a", 1, 4, ModuleState::Stop)]);
        let mut theirs = status(4, vec![module("a", 1, 5, ModuleState::Stop)]);
        assert_eq!(newer(&own, &theirs), [Newer::Cluster(4)]);
        assert_eq!(newer(&theirs, &own), []);
        theirs.server = true;
        assert_eq!(newer(&own, &theirs), []);
    }
}
