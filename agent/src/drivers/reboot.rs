//! Reboots the machine, where a module wants that instead of a stopstart.

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// Runs the command of the agent's `--reboot-command`, words separated by blanks.
///
/// # Errors
/// It cannot be run, or it refused.
pub async fn reboot(command: &str) -> Result<()> {
    let mut words = command.split_whitespace();
    let program = words.next().context("--reboot-command is empty: give the command that reboots this machine")?;
    let status = Command::new(program).args(words).status().await;
    let status = status.with_context(|| format!("cannot run {program}: give another --reboot-command"))?;
    ensure!(
        status.success(),
        "`{command}` did not reboot the machine ({status}): reboot it by hand, or start the module"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::reboot;

    #[tokio::test]
    async fn the_command_is_run_and_its_refusal_told() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("rebooted");
        reboot(&format!("touch {}", mark.display())).await.unwrap();
        assert!(mark.exists());
        assert!(reboot("false").await.unwrap_err().to_string().contains("by hand"));
        assert!(reboot("").await.is_err() && reboot("/no/such/program").await.is_err());
    }
}
