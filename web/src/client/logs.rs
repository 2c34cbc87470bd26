//! What nodes have written down: logs, page by page.

use super::{Answer, BASE, get};
use crate::rules::log::Filter;
use holdfast_api::agent::{LogKind, LogPage};
use holdfast_api::ids::{ModuleId, NodeId};

/// The last lines of a node's command log.
pub async fn command_log(node: NodeId, limit: u32) -> Answer<LogPage> {
    get(&format!("/nodes/{}/commands?limit={limit}", node.0)).await
}

/// Which page of a log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LogPlace {
    /// The newest lines.
    Last,
    /// What follows a position.
    From(u64),
    /// The lines before a position.
    Before(u64),
}

/// A page of a log; only the lines that pass `filter`.
pub async fn log(
    module: ModuleId,
    node: NodeId,
    which: LogKind,
    place: LogPlace,
    filter: &Filter,
    limit: u32,
) -> Answer<LogPage> {
    let place = match place {
        LogPlace::Last => String::new(),
        LogPlace::From(from) => format!("&from={from}"),
        LogPlace::Before(before) => format!("&before={before}"),
    };
    let levels = if filter.levels.is_empty() { String::new() } else { format!("&levels={}", filter.levels) };
    let holding = match filter.holding.as_str() {
        "" => String::new(),
        text => format!("&holding={}", String::from(js_sys::encode_uri_component(text))),
    };
    let (id, which) = (module.0, log_word(which));
    get(&format!("/modules/{id}/nodes/{}/log?which={which}&limit={limit}{place}{levels}{holding}", node.0)).await
}

/// Where a whole log is had as text.
pub fn log_text_href(module: ModuleId, node: NodeId, which: LogKind) -> String {
    format!("{BASE}/modules/{}/nodes/{}/log.txt?which={}", module.0, node.0, log_word(which))
}

/// The word of a log in addresses and file names.
pub fn log_word(which: LogKind) -> &'static str {
    match which {
        LogKind::Module => "module",
        LogKind::Application => "application",
    }
}
