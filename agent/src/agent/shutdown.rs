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

/// Longest time systemd may take to say what it is doing.
const SYSTEMD: std::time::Duration = std::time::Duration::from_secs(2);

/// Whether systemd ends this agent only to start it again (`systemctl restart`, an upgrade). If it does not say so in
/// time, the agent ends in order: that is right in any case.
pub(super) async fn is_restarted() -> bool {
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(unit) = unit_of(&cgroup).filter(|_| std::env::var_os("INVOCATION_ID").is_some()) else {
        return false;
    };
    let mut ask = tokio::process::Command::new("systemctl");
    ask.args(["list-jobs", "--no-legend", "--plain", "--no-pager"])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    match tokio::time::timeout(SYSTEMD, ask.output()).await {
        Ok(Ok(answer)) => is_restart(&String::from_utf8_lossy(&answer.stdout), unit),
        Ok(Err(error)) => {
            tracing::warn!("systemctl cannot be run ({error}): the agent ends in order");
            false
        }
        Err(_) => {
            tracing::warn!("systemd does not say what it is doing: the agent ends in order");
            false
        }
    }
}

/// The service whose control group this is, in the words of `/proc/self/cgroup`.
fn unit_of(cgroup: &str) -> Option<&str> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.split('/').rev().find(|part| part.ends_with(".service"))
}

/// Whether one of these jobs (number, unit, type, state) restarts the unit.
fn is_restart(jobs: &str, unit: &str) -> bool {
    jobs.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some(unit) && words.next() == Some("restart")
    })
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

#[cfg(test)]
mod tests {
    use super::{is_restart, unit_of};

    #[test]
    fn only_a_restart_job_of_this_very_unit_is_a_restart() {
        let unit = unit_of("0::/system.slice/holdfast-agent.service/modules/bank\n").unwrap();
        assert_eq!(unit, "holdfast-agent.service");
        assert_eq!(unit_of("0::/user.slice/session-1.scope\n"), None);
        assert!(is_restart("  88 holdfast-agent.service restart running\n", unit));
        assert!(!is_restart("88 holdfast-agent.service stop running\n89 other.service restart waiting\n", unit));
        assert!(!is_restart("No jobs running.\n", unit));
    }
}
