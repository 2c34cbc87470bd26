//! The agent's orderly end: every module stops and hands over to its peer, and stays saved as running for the next start.

use super::Agent;
use crate::engine::ToEngine;
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

/// The signals that end the agent.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they no longer end the process by themselves.
    pub(super) fn listen() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Name of the next one.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

impl Agent {
    /// Stops every module. Each step of a stop has its own limit (those of the scripts, that of the unmount), so no other
    /// is needed; a second signal cuts short what is waited for, a third ends the agent at once.
    pub(super) async fn shut_down(self: &Arc<Self>, signal: &'static str, signals: &mut Signals) {
        self.ending.store(true, Ordering::Release);
        let mut changes = self.reports.changes();
        tracing::info!("{signal}: the modules stop, and go on when the agent is back");
        self.order_stops(signal, false).await;
        let mut hurried = false;
        loop {
            let running = self.running(&*self.inner.lock().await);
            if running.is_empty() {
                tracing::info!("every module is stopped");
                return;
            }
            tokio::select! {
                _ = changes.changed() => {}
                again = signals.next() => {
                    let modules = running.join(", ");
                    if hurried {
                        tracing::warn!("{again} for the third time: ended without waiting for {modules}");
                        return;
                    }
                    hurried = true;
                    tracing::warn!("{again} again: what {modules} waits for is cut short");
                    self.order_stops(again, true).await;
                }
            }
        }
    }

    async fn order_stops(self: &Arc<Self>, by: &'static str, hurry: bool) {
        let mut orders = JoinSet::new();
        let inner = self.inner.lock().await;
        let started = inner.modules.iter().filter(|(_, held)| held.engine.is_some());
        let names: Vec<String> = started.map(|(name, _)| name.clone()).collect();
        drop(inner);
        for name in names {
            let agent = Arc::clone(self);
            orders.spawn(async move {
                let request = |reply| ToEngine::Shutdown { by: by.to_owned(), hurry, reply };
                if let Err(reason) = agent.ask(&name, request).await {
                    tracing::error!(module = name, "not stopped in order: {reason}");
                }
            });
        }
        orders.join_all().await;
    }
}
