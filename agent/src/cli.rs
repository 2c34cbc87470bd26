//! The command line `holdfast` (also `$SAFE/safekit`): asks the agent on this node; needs no server.

mod show;

use crate::control::client::{Client, ClientError};
use crate::control::{Answer, Request};
use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Parser, Subcommand};
use holdfast_api::agent::{LOG_LINES_MAX, LogKind, NodeModuleReport};
use holdfast_api::ids::ModuleId;
use holdfast_core::input::ModuleCommand;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const EXIT_CODES: &str = "Exit codes:\n  0  done\n  1  refused or failed; the reason and what to do are on standard error\n  \
2  the command line is wrong\n  3  the agent does not answer\n  4  waitstate: the state was not reached in time";

const REFUSED: u8 = 1;
const UNREACHABLE: u8 = 3;
const LATE: u8 = 4;

/// Asks and commands the Holdfast agent of this node.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about, after_help = EXIT_CODES)]
struct Cli {
    /// Socket of the agent.
    #[arg(long, global = true, env = "HOLDFAST_SOCKET")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Verb,
}

/// The module a command is about.
#[derive(Clone, Debug, Args)]
struct Module {
    /// Name of the module.
    #[arg(short = 'm', long = "module", env = "SAFEMODULE", value_name = "MODULE")]
    module: String,
}

/// The same where it may be left out.
#[derive(Clone, Debug, Args)]
struct MaybeModule {
    /// Name of the module; all if not given.
    #[arg(short = 'm', long = "module", env = "SAFEMODULE", value_name = "MODULE")]
    module: Option<String>,
}

#[derive(Clone, Debug, Args)]
struct Control {
    #[command(flatten)]
    module: Module,
    /// Who asks, if not a person: the command then counts towards maxloop instead of resetting it.
    #[arg(short = 'i', value_name = "IDENTITY")]
    identity: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show what the modules are.
    State {
        #[command(flatten)]
        module: MaybeModule,
        /// As JSON: one object with -m, else an array.
        #[arg(long)]
        json: bool,
    },
    /// Start a module, in the role its data allows.
    Start(Control),
    /// Stop a module; a primary's stop is a failover.
    Stop(Control),
    /// Stop a module when `stop` has no effect: no graceful stop script is run.
    Forcestop(Control),
    /// Stop and start the application here, without failover.
    Restart(Control),
    /// Stop a module, then start it.
    Stopstart(Control),
    /// Exchange the roles of the two nodes.
    Swap(Control),
    /// Start as primary where that is safe (first start, or the other copy is given up).
    Prim {
        #[command(flatten)]
        control: Control,
        /// fullsync: the secondary copies everything (which it always does in this version).
        #[arg(value_parser = ["fullsync"])]
        sync: Option<String>,
    },
    /// Start as primary whatever the state of the data.
    Primforce(Control),
    /// Start as secondary; agrees that this copy is overwritten.
    Second {
        #[command(flatten)]
        control: Control,
        /// fullsync: copy everything (which this version always does).
        #[arg(value_parser = ["fullsync"])]
        sync: Option<String>,
    },
    /// Let a secondary take over by itself, or only by an operator's `prim`; order it on both nodes.
    Failover {
        #[command(flatten)]
        module: Module,
        /// on or off.
        #[arg(value_parser = ["on", "off"])]
        value: String,
    },
    /// Wait until a module is in a state, Ready (STOP: stopped; WAIT: also while it waits).
    Waitstate {
        #[command(flatten)]
        module: Module,
        /// STOP, WAIT, ALONE, PRIM, SECOND or UP.
        state: String,
        /// Seconds to wait at most.
        #[arg(long, default_value_t = 120.0)]
        timeout: f64,
    },
    /// Show a log of a module.
    Log {
        #[command(flatten)]
        module: Module,
        /// Number of lines.
        #[arg(short = 's', default_value_t = 300)]
        lines: u32,
        /// The application log (output of the scripts) instead of the module log.
        #[arg(long)]
        app: bool,
        /// Go on showing new lines.
        #[arg(short = 'f', long)]
        follow: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        /// Save the whole log as text into this file.
        #[arg(long, value_name = "FILE.txt")]
        save: Option<PathBuf>,
    },
    /// Write a line of level I into the module log.
    Printi {
        #[command(flatten)]
        module: Module,
        /// The text.
        text: Vec<String>,
    },
    /// Write a line of level E into the module log.
    Printe {
        #[command(flatten)]
        module: Module,
        /// The text.
        text: Vec<String>,
    },
    /// Show the pairing code with which the console enrols this node.
    Pairing {
        /// Open pairing again, with a new code.
        #[arg(long)]
        reopen: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the fingerprint of this node's key.
    Key,
    /// Save a support zip: logs, configurations, states, versions, system facts; secrets are masked.
    Snapshot {
        #[command(flatten)]
        module: MaybeModule,
        /// Where to save it.
        file: PathBuf,
    },
    /// The cluster configuration of this node.
    #[command(subcommand)]
    Cluster(Cluster),
    /// Module packages.
    #[command(subcommand)]
    Module(Package),
    /// Configure an installed module as it stands in $SAFE/modules/<module>.
    Config(Module),
    /// Check an installed module without configuring it.
    Confcheck(Module),
    /// Start a module when the machine boots, or not.
    Boot {
        #[command(flatten)]
        module: Module,
        /// on, off, or auto (if it was running when the machine went down).
        #[arg(value_parser = ["on", "off", "auto"])]
        value: String,
    },
    /// Look at directories that are to be replicated.
    VerifyPaths {
        /// Absolute paths.
        #[arg(required = true)]
        paths: Vec<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Cluster {
    /// Hold the cluster configuration of a JSON file.
    Config {
        /// The file.
        file: PathBuf,
    },
    /// Show the cluster configuration held (the secret is not shown).
    Show,
}

#[derive(Debug, Subcommand)]
enum Package {
    /// Install a package for editing under $SAFE/modules/<module>.
    Install {
        #[command(flatten)]
        module: Module,
        /// Number of the module, equal on all nodes: it decides the ports.
        #[arg(short = 'M', value_name = "ID", value_parser = clap::value_parser!(u16).range(1..))]
        id: Option<u16>,
        /// The package.
        file: PathBuf,
    },
    /// List installed and configured modules.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget a stopped module; its editable files, logs and data stay.
    Uninstall(Module),
}

/// Runs the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("holdfast: {error:#}");
            let unreachable = matches!(error.downcast_ref(), Some(ClientError::Unreachable { .. }));
            ExitCode::from(if unreachable { UNREACHABLE } else { REFUSED })
        }
    }
}

/// Where the agent listens: as told, beside `$SAFE` when called through it, or the usual places.
fn socket(told: Option<PathBuf>) -> PathBuf {
    if let Some(path) = told {
        return path;
    }
    let through = std::env::args_os().next().map(PathBuf::from);
    let data = through.as_deref().and_then(Path::parent).and_then(Path::parent);
    let beside = data.map(|data| data.join("agent.sock")).filter(|path| path.exists());
    let usual = ["/run/holdfast/agent.sock", "/var/lib/holdfast/agent.sock"].map(PathBuf::from);
    let found = beside.or_else(|| usual.iter().find(|path| path.exists()).cloned());
    found.unwrap_or_else(|| usual[0].clone())
}

fn run(cli: Cli) -> Result<ExitCode> {
    let client = &mut Client::connect(&socket(cli.socket))?;
    match cli.command {
        Verb::State { module, json } => state(client, module.module, json)?,
        Verb::Start(control) => command(client, control, ModuleCommand::Start)?,
        Verb::Stop(control) => command(client, control, ModuleCommand::Stop)?,
        Verb::Forcestop(control) => command(client, control, ModuleCommand::ForceStop)?,
        Verb::Restart(control) => command(client, control, ModuleCommand::Restart)?,
        Verb::Stopstart(control) => command(client, control, ModuleCommand::StopStart)?,
        Verb::Swap(control) => command(client, control, ModuleCommand::Swap)?,
        Verb::Prim { control, sync: None } => command(client, control, ModuleCommand::Prim)?,
        Verb::Prim { control, .. } => command(client, control, ModuleCommand::PrimFullSync)?,
        Verb::Primforce(control) => command(client, control, ModuleCommand::PrimForce)?,
        Verb::Second { control, sync: None } => command(client, control, ModuleCommand::Second)?,
        Verb::Second { control, .. } => command(client, control, ModuleCommand::SecondFullSync)?,
        Verb::Failover { module, value } => {
            let kind = if value == "on" { ModuleCommand::FailoverOn } else { ModuleCommand::FailoverOff };
            command(client, Control { module, identity: None }, kind)?;
        }
        Verb::Boot { module, value } => {
            let kind = match value.as_str() {
                "on" => ModuleCommand::BootOn,
                "auto" => ModuleCommand::BootAuto,
                _ => ModuleCommand::BootOff,
            };
            command(client, Control { module, identity: None }, kind)?;
        }
        Verb::Waitstate { module, state, timeout } => return wait_state(client, &module.module, &state, timeout),
        Verb::Log { module, lines, app, follow, json, save } => {
            let which = if app { LogKind::Application } else { LogKind::Module };
            match save {
                Some(file) => save_log(client, &module.module, which, &file)?,
                None => log(client, &module.module, which, lines, follow, json)?,
            }
        }
        Verb::Printi { module, text } => print(client, module, false, &text)?,
        Verb::Printe { module, text } => print(client, module, true, &text)?,
        Verb::Pairing { reopen, json } => match client.ask(Request::Pairing { reopen })? {
            Answer::Pairing { status, node, fingerprint } => show::pairing(&status, &node, &fingerprint, json)?,
            other => return Err(unexpected(other)),
        },
        Verb::Key => done(client.ask(Request::Key)?)?,
        Verb::Snapshot { module, file } => snapshot(client, module.module, &file)?,
        Verb::Cluster(verb) => cluster(client, verb)?,
        Verb::Module(verb) => package(client, verb)?,
        Verb::Config(module) => done(client.ask(Request::ModuleConfigure { module: module.module })?)?,
        Verb::Confcheck(module) => done(client.ask(Request::ModuleCheck { module: module.module })?)?,
        Verb::VerifyPaths { paths, json } => match client.ask(Request::VerifyPaths { paths })? {
            Answer::Paths { paths } if json => show::json(&paths)?,
            Answer::Paths { paths } => show::paths(&paths)?,
            other => return Err(unexpected(other)),
        },
    }
    Ok(ExitCode::SUCCESS)
}

fn state(client: &mut Client, module: Option<String>, json: bool) -> Result<()> {
    let single = module.is_some();
    let modules = states(client, module)?;
    match (json, single) {
        (true, true) => show::json(modules.first().context("no such module")?),
        (true, false) => show::json(&modules),
        (false, _) => show::states(&modules),
    }
}

fn cluster(client: &mut Client, verb: Cluster) -> Result<()> {
    match verb {
        Cluster::Config { file } => {
            let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let config = serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not a cluster configuration", file.display()))?;
            done(client.ask(Request::ClusterConfigure { config })?)
        }
        Cluster::Show => match client.ask(Request::Cluster)? {
            Answer::Cluster { config: Some(config) } => show::json(&config),
            Answer::Cluster { config: None } => Err(anyhow!("no cluster configuration is held")),
            other => Err(unexpected(other)),
        },
    }
}

fn package(client: &mut Client, verb: Package) -> Result<()> {
    match verb {
        Package::Install { module, id, file } => {
            let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let (package, module) = (STANDARD.encode(bytes), module.module);
            done(client.ask(Request::ModuleInstall { module, id: id.map(ModuleId), package })?)
        }
        Package::List { json } => match client.ask(Request::ModuleList)? {
            Answer::Modules { modules } if json => show::json(&modules),
            Answer::Modules { modules } => show::modules(&modules),
            other => Err(unexpected(other)),
        },
        Package::Uninstall(module) => done(client.ask(Request::ModuleRemove { module: module.module })?),
    }
}

/// A refusal, or an answer of another kind than asked for.
fn unexpected(answer: Answer) -> anyhow::Error {
    match answer {
        Answer::Refused { reason } => anyhow!(reason),
        other => anyhow!(ClientError::Malformed(format!("{other:?}").chars().take(200).collect())),
    }
}

fn done(answer: Answer) -> Result<()> {
    match answer {
        Answer::Done { text } => {
            if !text.is_empty() {
                writeln!(std::io::stdout(), "{text}")?;
            }
            Ok(())
        }
        other => Err(unexpected(other)),
    }
}

fn states(client: &mut Client, module: Option<String>) -> Result<Vec<NodeModuleReport>> {
    match client.ask(Request::State { module })? {
        Answer::States { modules } => Ok(modules),
        other => Err(unexpected(other)),
    }
}

/// The person at the keyboard, or who a script says it is.
fn actor(identity: Option<&str>) -> String {
    let person = || std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "root".to_owned());
    let actor = identity.map_or_else(person, str::to_owned);
    actor.chars().filter(|c| !c.is_control()).take(64).collect()
}

fn command(client: &mut Client, control: Control, kind: ModuleCommand) -> Result<()> {
    let counted = control.identity.is_some();
    let actor = actor(control.identity.as_deref());
    done(client.ask(Request::Command { module: control.module.module, kind, actor, counted })?)
}

fn print(client: &mut Client, module: Module, error: bool, text: &[String]) -> Result<()> {
    done(client.ask(Request::Print { module: module.module, error, text: text.join(" ") })?)
}

fn wait_state(client: &mut Client, module: &str, wanted: &str, timeout_s: f64) -> Result<ExitCode> {
    let wanted = wanted.to_uppercase();
    if !["STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP"].contains(&wanted.as_str()) {
        return Err(anyhow!("{wanted} is no state: write STOP, WAIT, ALONE, PRIM, SECOND or UP"));
    }
    let end = Instant::now() + Duration::try_from_secs_f64(timeout_s).context("the timeout is not a time")?;
    loop {
        let modules = states(client, Some(module.to_owned()))?;
        let report = modules.first().context("no such module")?;
        let state = report.state.to_string();
        let settled = matches!(wanted.as_str(), "STOP" | "WAIT") || report.readiness.to_string() == "Ready";
        if state == wanted && settled {
            return Ok(ExitCode::SUCCESS);
        }
        if Instant::now() >= end {
            let waiting = report.waiting_for.as_deref().unwrap_or(&report.detail);
            eprintln!("holdfast: {module} is {state} {} after {timeout_s} s: {waiting}", report.readiness);
            return Ok(ExitCode::from(LATE));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn page(
    client: &mut Client,
    module: &str,
    which: LogKind,
    from: Option<u64>,
    limit: u32,
) -> Result<holdfast_api::agent::LogPage> {
    match client.ask(Request::Log { module: module.to_owned(), which, from, limit })? {
        Answer::Log { page } => Ok(page),
        other => Err(unexpected(other)),
    }
}

fn log(client: &mut Client, module: &str, which: LogKind, lines: u32, follow: bool, json: bool) -> Result<()> {
    let mut current = page(client, module, which, None, lines)?;
    loop {
        show::log(&current, json)?;
        if !follow {
            return Ok(());
        }
        if current.next == current.end {
            std::thread::sleep(Duration::from_millis(300));
        }
        current = page(client, module, which, Some(current.next), LOG_LINES_MAX)?;
    }
}

fn save_log(client: &mut Client, module: &str, which: LogKind, file: &Path) -> Result<()> {
    let mut text = String::new();
    let mut from = 0;
    loop {
        let page = page(client, module, which, Some(from), LOG_LINES_MAX)?;
        text.extend(page.lines.iter().map(show::log_line));
        if page.next >= page.end {
            break;
        }
        from = page.next;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn snapshot(client: &mut Client, module: Option<String>, file: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    let mut answer = client.ask(Request::Snapshot { module })?;
    loop {
        let Answer::Chunk { data, last } = answer else {
            return Err(unexpected(answer));
        };
        bytes.extend(STANDARD.decode(data).context("the answer is not base64")?);
        if last {
            break;
        }
        answer = client.next_answer()?;
    }
    crate::snapshot::save(file, &bytes)?;
    writeln!(std::io::stdout(), "{} ({} bytes)", file.display(), bytes.len())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn every_documented_command_is_understood() {
        Cli::command().debug_assert();
        for line in [
            "holdfast state -m a --json",
            "holdfast stop -m a -i start_prim",
            "holdfast waitstate -m a PRIM --timeout 3",
            "holdfast log -m a -s 5 --app --json",
            "safekit printe -m a a message",
            "holdfast cluster config f.json",
            "holdfast module install -m a -M 2 f.safe",
            "holdfast boot -m a on",
            "holdfast snapshot f.zip",
            "holdfast --socket /x key",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        assert!(Cli::try_parse_from(["holdfast", "boot", "-m", "a", "maybe"]).is_err());
    }
}
