//! A program of the module's `bin` that is no script: custom checkers and handlers of `<proc>`.
//!
//! It runs in a process group of its own, with the scripts' environment, its output in the application log. What it is
//! for stands in its environment, so that a copy left behind by an agent that was killed is found and ended (`left`).

use super::left::{Purpose, mark};
use super::script::{Setting, command, end_group, group_of, note};
use crate::cgroup::Group;
use rustix::process::Pid;
use std::path::PathBuf;
use std::process::ExitStatus;
use tokio::process::Child;

/// A program that runs.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    group: Option<Pid>,
    whole: Option<Group>,
}

/// The program `exec` of a module: below its `bin`, or absolute.
pub(super) fn path(setting: &Setting, exec: &str) -> PathBuf {
    setting.bin.join(exec)
}

impl Program {
    /// Starts a program on behalf of a resource of the module: its arguments are module, resource and `arguments`.
    pub(super) fn start(
        setting: &Setting,
        module: &str,
        resource: &str,
        exec: &str,
        arguments: &[&str],
    ) -> std::io::Result<Self> {
        let (mut command, whole) = command(setting, &path(setting, exec))?;
        command.args([module, resource]).args(arguments).kill_on_drop(true);
        mark(setting, Purpose::Resource(module, resource), &mut command);
        note(setting, format!("{exec} {module} {resource} {}", arguments.join(" ")).trim_end());
        let child = command.spawn()?;
        let group = group_of(&child);
        Ok(Self { child, group, whole })
    }

    /// Waits for its own end.
    pub(super) async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it with its whole group: asks, then forces.
    pub(super) async fn end(mut self) {
        end_group(&mut self.child, self.group, self.whole.as_ref()).await;
    }
}
