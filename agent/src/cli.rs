//! The command line `holdfast` (also `$SAFE/safekit`): asks the agent on this node; needs no server.

mod absent;
mod carry;
mod checks;
mod data;
mod documents;
mod healthcheck;
mod logs;
mod members;
mod packages;
mod remote;
mod show;
mod tend;
#[cfg(test)]
mod tests;
mod tools;
mod verbs;
mod waits;
mod words;

use crate::control::client::{Client, ClientError};
use crate::control::{Answer, Request};
use anyhow::{Result, anyhow};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use holdfast_api::agent::NodeModuleReport;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use verbs::Verb;

const EXIT_CODES: &str = "Exit codes:\n  0  done\n  1  refused or failed; the reason and what to do are on standard error\n  \
2  the command line is wrong, or has a word that means nothing here; boundcmd: the command ran too long\n  \
3  the agent does not answer (with -H: a node cannot be reached)\n  \
4  waitstart, waitstop, waitstate, shutdown: not in time\n\
state -lq: STOP 0, WAIT 1, ALONE and UP 2, PRIM 3, SECOND 4; 5 the state is not known\n\
incloop and checkloop: 0 below the limit of restarts (maxloop), 1 at it\n\
healthcheck: 1 something is wrong\nprocesstree and kill: 1 no process is meant\nboundcmd: otherwise the code of its command\nWith -H the exit code is the highest of the nodes'.";

/// Tools that are also called by their own name, as `$SAFEBIN/boundcmd`.
pub const TOOLS: [&str; 2] = ["boundcmd", "processtree"];

const DONE: u8 = 0;
const REFUSED: u8 = 1;
/// The command line is wrong; as clap says it too.
const WRONG: u8 = 2;
const UNREACHABLE: u8 = 3;
const LATE: u8 = 4;
/// `state -lq` cannot tell: every lower code is a state.
const UNKNOWN: u8 = 5;
/// As `boundcmd` has always said it.
const LATE_TOOL: u8 = 2;

/// Asks and commands the Holdfast agent of this node.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about, after_help = EXIT_CODES)]
struct Cli {
    /// Socket of the agent.
    #[arg(long, global = true, env = "HOLDFAST_SOCKET")]
    socket: Option<PathBuf>,
    /// Nodes to run the command on: "*" for all, or names with commas.
    #[arg(short = 'H', long = "hosts", value_name = "NODES", global = true)]
    hosts: Option<String>,
    /// Give the nodes of -H this module as it is here: package, number and configuration.
    #[arg(short = 'E', value_name = "MODULE", requires = "hosts", conflicts_with = "export_cluster")]
    export_module: Option<String>,
    /// Give the nodes of -H the cluster configuration held here.
    #[arg(short = 'G', requires = "hosts")]
    export_cluster: bool,
    #[command(subcommand)]
    command: Option<Words>,
}

#[derive(Debug, Subcommand)]
enum Words {
    #[command(flatten)]
    Agent(Verb),
    #[command(flatten)]
    Tool(tools::Verb),
    #[command(flatten)]
    Documents(documents::Verb),
}

/// Runs the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let words = words::rewritten(arguments);
    if let Some(answer) = absent::answer(&words) {
        eprintln!("holdfast: {answer}");
        return ExitCode::from(WRONG);
    }
    let cli = Cli::parse_from(words);
    let code_is_state = matches!(&cli.command, Some(Words::Agent(Verb::State { quiet: true, .. })));
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("holdfast: {error:#}");
            ExitCode::from(if code_is_state { UNKNOWN } else { code_of(&error) })
        }
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(ClientError::Unreachable { .. } | ClientError::Away(_)) => UNREACHABLE,
        _ => REFUSED,
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

fn run(cli: Cli) -> Result<u8> {
    let exported = match (cli.export_module, cli.export_cluster) {
        (Some(module), _) => Some(remote::Exported::Module(module)),
        (None, true) => Some(remote::Exported::Cluster),
        (None, false) => None,
    };
    let usage = |kind, text: &str| -> Result<u8> { Cli::command().error(kind, text).exit() };
    let client = |path| Client::connect(&socket(path), actor(None));
    match (cli.command, exported, cli.hosts) {
        (Some(Words::Tool(verb)), None, None) => tools::run(verb),
        (Some(Words::Documents(verb)), None, None) => documents::run(&verb),
        (Some(Words::Tool(_) | Words::Documents(_)), None, Some(_)) => {
            usage(ErrorKind::ArgumentConflict, "this command works on this machine only: leave out -H")
        }
        (Some(_), Some(_), _) => {
            usage(ErrorKind::ArgumentConflict, "-E and -G are commands themselves: leave out the other")
        }
        (None, Some(exported), Some(hosts)) => remote::export(&mut client(cli.socket)?, &hosts, &exported),
        (Some(Words::Agent(command)), None, Some(hosts)) => remote::run(&mut client(cli.socket)?, &hosts, &command),
        (Some(Words::Agent(command)), None, None) => carry::verb(&mut client(cli.socket)?, command),
        (None, _, _) => usage(ErrorKind::MissingSubcommand, "say what to do; --help shows the commands"),
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
