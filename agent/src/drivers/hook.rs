//! Runs a module's own small programs that answer a question (`level`, `state`, `confcheck`, `config`) or are told of
//! something (`update`, `postconfig`, `deconfig`).

use super::left::{self, Purpose};
use super::script::{Setting, command, end_group, group_of, note};
use crate::cgroup::Group;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// All there are.
const NAMES: [&str; 7] = ["level", "state", "confcheck", "config", "postconfig", "deconfig", "update"];
/// Longest run.
const LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of its output that are kept.
const OUTPUT_MAX: u64 = 64 * 1024;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code; none: ended by a signal, or ran too long.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub text: String,
}

/// Asks the program `name` of the module's `bin`; `None` if the module has none. Its errors go to the application log.
///
/// # Errors
/// It cannot be started.
pub async fn ask(setting: &Setting, name: &str) -> std::io::Result<Option<Outcome>> {
    let Some((mut command, whole)) = program(setting, name)? else {
        return Ok(None);
    };
    finish(command.stdout(Stdio::piped()).spawn()?, whole).await.map(Some)
}

/// Tells the program `name` of the module's `bin` something, if the module has one; all it says goes to the application
/// log.
///
/// # Errors
/// It cannot be started.
pub async fn tell(setting: &Setting, name: &str, arguments: &[&str]) -> std::io::Result<()> {
    let Some((mut command, whole)) = program(setting, name)? else {
        return Ok(());
    };
    note(setting, &format!("{name} {}", arguments.join(" ")));
    let outcome = finish(command.args(arguments).spawn()?, whole).await?;
    let code = outcome.code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
    note(setting, &format!("{name} ended: {code}"));
    Ok(())
}

fn program(setting: &Setting, name: &str) -> std::io::Result<Option<(Command, Option<Group>)>> {
    let path = setting.bin.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let (mut command, whole) = command(setting, &path)?;
    left::mark(setting, Purpose::Hook, &mut command);
    Ok(Some((command, whole)))
}

/// Ends the hooks that a former agent has left running, which nobody waits for and nobody would end: those of all modules
/// with their programs below the folder `data`. Not while this agent runs any.
pub async fn end_left_behind(data: PathBuf) {
    let _ = tokio::task::spawn_blocking(move || left::end_hooks(&data, &NAMES)).await;
}

/// Waits for its end, for [`LIMIT`] at most, and takes what it says if that comes this way.
async fn finish(mut child: Child, whole: Option<Group>) -> std::io::Result<Outcome> {
    let group = group_of(&child);
    let output = child.stdout.take();
    let mut bytes = Vec::new();
    let answered = async {
        if let Some(output) = output {
            output.take(OUTPUT_MAX).read_to_end(&mut bytes).await?;
        }
        child.wait().await
    };
    let code = match tokio::time::timeout(LIMIT, answered).await {
        Ok(status) => status?.code(),
        Err(_) => {
            end_group(&mut child, group, whole.as_ref()).await;
            None
        }
    };
    Ok(Outcome { code, text: String::from_utf8_lossy(&bytes).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::{Outcome, ask, tell};
    use crate::drivers::script::Setting;
    use crate::logs::LogFile;
    use holdfast_api::userconfig::User;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_guide_names_every_script_and_every_hook() {
        let guide = holdfast_api::userconfig::UserConfig::guide();
        let scripts = holdfast_core::output::Script::ALL.map(holdfast_core::output::Script::file_name);
        for name in scripts.into_iter().chain(super::NAMES) {
            assert!(guide.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[tokio::test]
    async fn a_hook_answers_with_its_output_and_code_and_a_missing_one_with_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("level");
        std::fs::write(&path, "#!/bin/sh\necho \"$SAFEMODULE:$1\"\nexit 3\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        let user = User {
            nicestop_timeout_ms: 1000,
            forcestop_timeout_ms: 1000,
            logging: true,
            log_size_bytes: 100_000,
            vars: Vec::new(),
        };
        let env = vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("SAFEMODULE".to_owned(), "m".to_owned())];
        let log = LogFile::new(dir.path(), "application", 100_000);
        let setting = Setting { bin: dir.path().to_owned(), env, user, log, runs: None };
        let outcome = ask(&setting, "level").await.unwrap();
        assert_eq!(outcome, Some(Outcome { code: Some(3), text: "m:\n".to_owned() }));
        assert_eq!(ask(&setting, "confcheck").await.unwrap(), None);
        tell(&setting, "level", &["x"]).await.unwrap();
        let log = std::fs::read_to_string(setting.log.path()).unwrap();
        assert!(log.contains("\nm:x\n") && log.contains("exit code 3"), "{log}");
    }
}
