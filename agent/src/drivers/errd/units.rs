//! systemd units: is a service running?

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// systemd answers at once; one that does not is too busy to be asked.
const TIMEOUT: Duration = Duration::from_secs(10);
/// There while systemd runs this machine.
const BOOTED: &str = "/run/systemd/system";

/// Whether the unit runs, or is on its way there.
///
/// # Errors
/// In plain words: systemd cannot be asked.
pub(super) async fn is_running(unit: &str) -> Result<bool, String> {
    if !Path::new(BOOTED).is_dir() {
        return Err("systemd does not run on this node".to_owned());
    }
    let mut command = Command::new("systemctl");
    command.args(["show", "--property=LoadState,ActiveState,SubState", "--", unit]).stdin(Stdio::null());
    let output = tokio::time::timeout(TIMEOUT, command.kill_on_drop(true).output()).await;
    match output {
        Ok(Ok(output)) if output.status.success() => Ok(runs(&String::from_utf8_lossy(&output.stdout))),
        Ok(Ok(output)) => Err(format!("systemctl: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Ok(Err(error)) => Err(format!("systemctl cannot be run: {error}")),
        Err(_) => Err(format!("systemd does not answer within {} s", TIMEOUT.as_secs())),
    }
}

/// What `systemctl show` says of a unit. A unit that systemd starts again after a failure is "activating" while it
/// waits: it does not run then.
fn runs(properties: &str) -> bool {
    let value = |name: &str| {
        let found = properties.lines().find_map(|line| line.split_once('=').filter(|(key, _)| *key == name));
        found.map_or("", |(_, value)| value)
    };
    match value("ActiveState") {
        // Also "active (exited)": distributions have such units stand for a group of services.
        "active" | "reloading" | "refreshing" => true,
        "activating" => value("SubState") != "auto-restart",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{BOOTED, is_running, runs};

    #[test]
    fn states_of_a_unit_are_told_apart() {
        let show = |active: &str, sub: &str| runs(&format!("LoadState=loaded\nActiveState={active}\nSubState={sub}\n"));
        assert!(show("active", "running") && show("reloading", "reload") && show("activating", "start"));
        assert!(!show("activating", "auto-restart") && !show("failed", "failed") && !show("inactive", "dead"));
        assert!(!show("deactivating", "stop-sigterm"));
        assert!(!runs("LoadState=not-found\nActiveState=inactive\nSubState=dead\n") && !runs(""));
    }

    #[tokio::test]
    async fn a_machine_without_systemd_says_so() {
        if !std::path::Path::new(BOOTED).is_dir() {
            assert!(is_running("ssh").await.unwrap_err().contains("systemd does not run"));
        }
    }
}
