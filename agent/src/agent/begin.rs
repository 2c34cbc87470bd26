//! The beginning of an engine: with what the last agent left running, or from STOP, once nothing of it is left.

use crate::clock;
use crate::drivers::script::Scripts;
use crate::drivers::vip;
use crate::engine::Drivers;
use crate::logs::ModuleLog;
use crate::settled::Record;
use holdfast_core::durable::Durable;
use holdfast_core::node::Node;
use holdfast_core::output::EventLevel;
use holdfast_core::settings::Settings;
use std::path::PathBuf;
use std::time::Duration;

/// Time between two attempts to end what is left.
const AGAIN: Duration = Duration::from_secs(1);

/// What a node is made of, and what an engine is made of beside it.
pub(super) struct Parts {
    pub(super) settings: Settings,
    pub(super) durable: Durable,
    pub(super) run_dir: PathBuf,
    pub(super) record: Record,
    pub(super) drivers: Drivers,
    pub(super) log: ModuleLog,
}

/// Makes the node.
pub(super) async fn begin(parts: &mut Parts) -> Node {
    let Parts { settings, durable, run_dir, record, drivers, log } = parts;
    let replica = &mut drivers.replica;
    let module = settings.module.clone();
    let left = match record.take() {
        Ok(left) => left,
        Err(error) => {
            tracing::error!(module, "what the last agent left cannot be read: {error:#}");
            None
        }
    };
    let found = replica.find().await;
    if let Some(settled) = left {
        let plane = found.as_ref().map(|found| found.as_ref().map_or_else(Clone::clone, |found| found.plane.clone()));
        match Node::adopt(settings.clone(), durable.clone(), &settled, plane.as_ref(), clock::moment()) {
            Ok(node) => {
                if let Some(Ok(found)) = found {
                    replica.take_over(found);
                }
                // What runs is on record as before.
                record.unfinished(settings.boot_id);
                return node;
            }
            Err(reason) => {
                let text = format!("the agent cannot go on with what the last one left running: {reason}");
                log.write(EventLevel::Warning, "STOP NotReady", &text);
            }
        }
    }
    drop(found);
    let unfinished = record.unfinished(settings.boot_id);
    if unfinished {
        end_scripts(drivers.scripts.as_ref(), log).await;
    }
    // Not before it is gone: it may still hold the mount, and acknowledge by a right that this node will not know of.
    while let Err(error) = replica.end_left().await {
        tracing::error!(module, "{error:#}");
        tokio::time::sleep(AGAIN).await;
    }
    match vip::release_of(run_dir, &module) {
        Ok(addresses) if addresses.is_empty() => {}
        Ok(addresses) => tracing::info!(module, "released what the last agent has left: {addresses:?}"),
        Err(error) => tracing::error!(module, "cannot release what the last agent has left: {error:#}"),
    }
    let mut node = Node::new(settings.clone(), durable.clone(), clock::moment());
    if unfinished {
        node.finish_stop();
    }
    node
}

/// A script that goes on would start the application behind the back of the node, or stop what the node starts.
async fn end_scripts(scripts: Option<&Scripts>, log: &ModuleLog) {
    let Some(scripts) = scripts else { return };
    let ended = scripts.end_left().await;
    if !ended.is_empty() {
        let text = format!("ended {}, which the last agent had left running", ended.join(" and "));
        log.write(EventLevel::Warning, "STOP NotReady", &text);
    }
}
