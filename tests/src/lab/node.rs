//! The agent on a host: start it, ask it through the command line, wait for states, read its log.

use crate::lab::Lab;
use crate::lab::wait::wait_for;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::process::Output;
use std::time::Duration;

/// A command of the command line takes at most this long, in seconds.
const COMMAND_SECONDS: u32 = 60;

/// Runs the agent and, as its systemd unit does, takes its virtual addresses away once it has ended; the next agent
/// starts after that. The priority is the unit's; where the score of the out-of-memory killer cannot be lowered, it stays.
const AGENT: &str = r#"
exec 9>"$2/life"
flock 9
echo -900 2>/dev/null >/proc/self/oom_score_adj || :
nice -n -10 /opt/holdfast/bin/holdfast-agent --data-dir "$1" --run-dir "$2" --boot-id-file "$3" 9>&-
[ ! -d "$2/addresses" ] || /opt/holdfast/bin/holdfast release-addresses --run-dir "$2"
"#;

/// `state --json` of a module, as far as tests look at it.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeState {
    /// STOP, WAIT, ALONE, PRIM, SECOND.
    pub state: String,
    /// NotReady, Transient, Ready.
    pub readiness: String,
    /// UpToDate, Outdated, …
    pub data: String,
    /// Generation of this copy.
    pub generation: GenerationState,
    /// What a WAIT waits for.
    pub waiting_for: Option<String>,
    /// More, in plain words.
    #[serde(default)]
    pub detail: Option<String>,
    /// The operator wants it running.
    pub running: bool,
    /// Resync, if one is under way or has just ended.
    #[serde(default)]
    pub resync: Option<serde_json::Value>,
}

/// A generation as printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct GenerationState {
    /// Number.
    pub number: u64,
    /// Random part.
    pub id: u64,
}

impl NodeState {
    /// "PRIM Ready" and so on.
    pub fn name(&self) -> String {
        format!("{} {}", self.state, self.readiness)
    }
}

impl Lab {
    /// Starts the agent of host `number` and waits until it answers the command line.
    ///
    /// # Errors
    /// It does not start; the error holds the end of its log.
    pub fn start_agent(&self, number: u8) -> Result<()> {
        self.start_agent_with(number, &[])
    }

    /// Like [`Lab::start_agent`], on a host without systemd; the agent kills itself at this named point (`NAME` or
    /// `NAME:PASSAGE`).
    ///
    /// # Errors
    /// As `start_agent`.
    pub fn start_agent_killed_at(&self, number: u8, point: &str) -> Result<()> {
        self.start_agent_with(number, &["env", &format!("{}={point}", holdfast_replica::crash::VARIABLE)])
    }

    fn start_agent_with(&self, number: u8, before: &[&str]) -> Result<()> {
        let host = self.host(number);
        let folder = host.folder();
        let path = |part: &str| folder.join(part).display().to_string();
        let (data, run, boot) = (path("data"), path("run"), path("boot_id"));
        if host.has_systemd() {
            self.await_systemd(number)?;
            host.shell("systemctl start holdfast-agent")?;
        } else {
            let words = ["sh", "-c", AGENT, "holdfast-lab-agent", &data, &run, &boot];
            let words = [before, &words].concat();
            host.spawn("agent", words[0], &words[1..])?;
        }
        let answered = wait_for(&format!("the agent of {} to answer", host.name()), Duration::from_secs(20), || {
            let output = self.holdfast(number, &["module", "list"])?;
            if output.status.success() {
                Ok(Some(()))
            } else {
                bail!("{}", String::from_utf8_lossy(&output.stderr).trim())
            }
        });
        answered.with_context(|| self.agent_log(number, 20))
    }

    /// Waits until the host's systemd takes orders: it listens only some time after it has become the first process.
    fn await_systemd(&self, number: u8) -> Result<()> {
        let host = self.host(number);
        wait_for(&format!("systemd of {} to take orders", host.name()), Duration::from_secs(20), || {
            // The state is printed whatever it is; the exit status is good for "running" only.
            let output = host.output(COMMAND_SECONDS, "systemctl", &["is-system-running"])?;
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if !said.is_empty() && said != "offline" && said != "unknown" {
                return Ok(Some(()));
            }
            bail!("{said} {}", String::from_utf8_lossy(&output.stderr).trim())
        })
    }

    /// Powers the host off and on again, and starts its agent: a crash and the boot after it.
    ///
    /// # Errors
    /// As [`Lab::power_off`], [`Lab::power_on`], [`Lab::start_agent`].
    pub fn reboot(&mut self, number: u8) -> Result<()> {
        self.power_off(number)?;
        self.power_on(number)?;
        self.start_agent(number)
    }

    /// Ends the agent and everything of it, and starts it again: the host and its boot id stay.
    ///
    /// # Errors
    /// The processes do not end or the agent does not start.
    pub fn restart_agent(&self, number: u8) -> Result<()> {
        let host = self.host(number);
        host.signal("holdfast-agent", rustix::process::Signal::KILL)?;
        let gone = || Ok(host.named("holdfast-agent").is_empty());
        crate::lab::wait::wait_until("the agent to end", Duration::from_secs(10), gone)?;
        self.start_agent(number)
    }

    /// Runs `holdfast ARGUMENTS` on host `number`; its failure is in the output.
    ///
    /// # Errors
    /// The host is off.
    pub fn holdfast(&self, number: u8, arguments: &[&str]) -> Result<Output> {
        self.host(number).output(COMMAND_SECONDS, "/opt/holdfast/bin/holdfast", arguments)
    }

    /// Like [`Lab::holdfast`], and demands success; what it printed.
    ///
    /// # Errors
    /// The host is off or the command failed.
    pub fn cli(&self, number: u8, arguments: &[&str]) -> Result<String> {
        let output = self.holdfast(number, arguments)?;
        if !output.status.success() {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            bail!(
                "`holdfast {}` failed on {} ({}): {}{}",
                arguments.join(" "),
                self.host(number).name(),
                output.status,
                out,
                err.trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// State of a module on host `number`.
    ///
    /// # Errors
    /// The host is off or the agent does not answer.
    pub fn state(&self, number: u8, module: &str) -> Result<NodeState> {
        let text = self.cli(number, &["state", "-m", module, "--json"])?;
        serde_json::from_str(&text).with_context(|| format!("no state: {text}"))
    }

    /// Waits until the module is in `wanted` ("PRIM Ready") on host `number`.
    ///
    /// # Errors
    /// The deadline has passed; the error holds both nodes' states and logs.
    pub fn wait_state(&self, number: u8, module: &str, wanted: &str, deadline: Duration) -> Result<NodeState> {
        let what = format!("{wanted} on {}", self.host(number).name());
        let reached = wait_for(&what, deadline, || {
            let state = self.state(number, module)?;
            if state.name() == wanted {
                return Ok(Some(state));
            }
            bail!("{} (data {}, waiting for {:?})", state.name(), state.data, state.waiting_for)
        });
        reached.with_context(|| self.diagnosis(module))
    }

    /// What all nodes say about a module, for error messages.
    pub fn diagnosis(&self, module: &str) -> String {
        let mut text = String::new();
        for number in self.numbers() {
            let state = match self.state(number, module) {
                Ok(state) => format!(
                    "{} data {} generation {} running {} waiting for {:?} ({})",
                    state.name(),
                    state.data,
                    state.generation.number,
                    state.running,
                    state.waiting_for,
                    state.detail.as_deref().unwrap_or("")
                ),
                Err(error) => format!("no answer: {error:#}"),
            };
            text.push_str(&format!("\n== node{number}: {state}\n{}", self.module_log(number, module, 25)));
            text.push_str(&self.agent_log(number, 12));
        }
        text
    }

    /// The last lines of a module's log, or why there are none.
    pub fn module_log(&self, number: u8, module: &str, lines: u32) -> String {
        match self.cli(number, &["log", "-m", module, "-A", "-s", &lines.to_string()]) {
            Ok(text) => text,
            Err(error) => format!("(no module log: {error:#})\n"),
        }
    }

    /// The last lines that the agent itself printed.
    pub fn agent_log(&self, number: u8, lines: usize) -> String {
        let text = std::fs::read_to_string(self.host(number).folder().join("log/agent")).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        let last = all[all.len().saturating_sub(lines)..].join("\n  ");
        format!("-- agent of node{number} printed:\n  {last}\n")
    }
}
