//! What nodes set aside of copies that diverged.

use super::{Answer, BASE, get, send_for_nothing};
use gloo_net::http::Method;
use holdfast_api::agent::{AsideCopy, AsidePage};
use holdfast_api::ids::{ModuleId, NodeId};

/// What a node set aside of copies of a module that diverged, oldest first.
pub async fn set_aside(module: ModuleId, node: NodeId) -> Answer<Vec<AsideCopy>> {
    get(&set_aside_path(module, node)).await
}

/// A page of what one of these copies holds.
pub async fn set_aside_page(module: ModuleId, node: NodeId, copy: &str, from: u64, limit: u32) -> Answer<AsidePage> {
    get(&format!("{}/{copy}?from={from}&limit={limit}", set_aside_path(module, node))).await
}

/// Deletes one of these copies.
pub async fn remove_set_aside(module: ModuleId, node: NodeId, copy: &str) -> Answer<()> {
    send_for_nothing(Method::DELETE, &format!("{}/{copy}", set_aside_path(module, node))).await
}

/// Where one of these copies is had as a zip.
pub fn set_aside_href(module: ModuleId, node: NodeId, copy: &str) -> String {
    format!("{BASE}{}/{copy}/copy.zip", set_aside_path(module, node))
}

fn set_aside_path(module: ModuleId, node: NodeId) -> String {
    format!("/modules/{}/nodes/{}/diverged", module.0, node.0)
}
