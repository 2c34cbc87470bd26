//! The command line `holdfast` (also `$SAFE/safekit`): asks the agent on this node; needs no server.

mod carry;
mod checks;
mod data;
mod members;
mod pieces;
mod remote;
mod show;
mod tools;
mod verbs;
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
2  the command line is wrong; boundcmd: the command ran too long\n  3  the agent does not answer (with -H: a node cannot be reached)\n  \
4  waitstate: the state was not reached in time\nincloop and checkloop: 0 below the limit of restarts (maxloop), 1 at it\n\
processtree and kill: 1 no process is meant\nboundcmd: otherwise the code of its command\nWith -H the exit code is the worst of the nodes'.";

/// Tools that are also called by their own name, as `$SAFEBIN/boundcmd`.
pub const TOOLS: [&str; 2] = ["boundcmd", "processtree"];

const DONE: u8 = 0;
const REFUSED: u8 = 1;
const UNREACHABLE: u8 = 3;
const LATE: u8 = 4;
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
}

/// Runs the command line.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(words::rewritten(arguments));
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("holdfast: {error:#}");
            ExitCode::from(code_of(&error))
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
        (Some(Words::Tool(_)), None, Some(_)) => {
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
            "holdfast state -m a -v",
            "holdfast get -m a -r tcp.web",
            "safekit set -r custom.web -v down -i custom1 -m a",
            "safekit errd enable -m a mine",
            "safekit errd off -m a",
            "safekit errd suspend -m a",
            "safekit checker on -m a",
            "safekit incloop -m a -i handler",
            "safekit checkloop -m a",
            "safekit kill --name=java --argregex=a.b --level=terminate",
            "safekit processtree kill java a.b",
            "safekit boundcmd 1.5 ls -l --all",
            "holdfast release-addresses --run-dir /x",
            "holdfast -H * stop -m a",
            "holdfast state -H node1,node2",
            "safekit -H * -E a",
            "safekit -H node2 -G",
            "holdfast cluster state --json",
            "holdfast cluster confinfo",
            "holdfast cluster confcheck f.json",
            "holdfast cluster deconfig",
            "holdfast confinfo -m a --json",
            "holdfast cmdlog -s 10",
            "holdfast rfsverify -m a --json",
            "holdfast diverged -m a --json",
            "holdfast diverged -m a delete 1-2",
        ] {
            Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        assert!(Cli::try_parse_from(["holdfast", "boot", "-m", "a", "maybe"]).is_err());
        assert!(Cli::try_parse_from(["holdfast", "-E", "a"]).is_err());
    }
}
