//! The WebSocket to the management server.
use crate::agent::Agent;
use std::sync::Arc;
/// Runs for ever.
pub async fn run(_agent: Arc<Agent>) {
    std::future::pending::<()>().await;
}
