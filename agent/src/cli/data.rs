//! Commands on the copies of a module's data: comparing both, and what was set aside of one that diverged.

use super::verbs::Module;
use super::{DONE, REFUSED, done, show, unexpected};
use crate::control::client::Client;
use crate::control::{Answer, Request};
use anyhow::{Result, bail};
use clap::Subcommand;
use holdfast_api::agent::AsideCopy;
use holdfast_replica::control::VerifyReport;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Time between two looks at a comparison.
const LOOK_PERIOD: Duration = Duration::from_millis(200);

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Compare both copies by hash while the module runs (PRIM and SECOND) and name what differs; exit code 1 if anything
    /// does. May be ordered on either node.
    Rfsverify {
        #[command(flatten)]
        module: Module,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Before this node follows: compare its copy with the one of the node that serves, and name what a resync would
    /// change; exit code 1 if anything. Nothing is changed.
    Rfsdiff {
        #[command(flatten)]
        module: Module,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what was set aside on this node of copies that diverged, before they were overwritten; export or delete it.
    Diverged {
        #[command(flatten)]
        module: Module,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        action: Option<Action>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Action {
    /// Write what was set aside under this name into one zip on this node.
    Export {
        /// As listed.
        id: String,
        /// The zip; it must not exist yet.
        file: PathBuf,
    },
    /// Delete what was set aside under this name. (To keep it elsewhere, export it first.)
    Delete {
        /// As listed.
        id: String,
    },
}

impl Verb {
    /// Whether the output is for programs.
    pub(super) fn for_programs(&self) -> bool {
        match self {
            Self::Rfsverify { json, .. } | Self::Rfsdiff { json, .. } | Self::Diverged { json, .. } => *json,
        }
    }
}

pub(super) fn run(client: &mut Client, verb: Verb) -> Result<u8> {
    match verb {
        Verb::Rfsverify { module, json } => {
            let ask = |start| Request::Verify { module: module.module.clone(), start };
            compare(client, &ask, json, Told::Verified)
        }
        Verb::Rfsdiff { module, json } => {
            let ask = |start| Request::Diff { module: module.module.clone(), start };
            compare(client, &ask, json, Told::Before)
        }
        Verb::Diverged { module, action: Some(Action::Delete { id }), .. } => {
            done(client.ask(Request::DivergedDelete { module: module.module, id })?)?;
            Ok(DONE)
        }
        Verb::Diverged { module, action: Some(Action::Export { id, file }), .. } => {
            let to = std::path::absolute(file)?.to_string_lossy().into_owned();
            done(client.ask(Request::DivergedExport { module: module.module, id, to })?)?;
            Ok(DONE)
        }
        Verb::Diverged { module, json, action: None } => {
            match client.ask(Request::Diverged { module: module.module })? {
                Answer::Diverged { copies } if json => show::json(&copies)?,
                Answer::Diverged { copies } => list(&copies)?,
                other => return Err(unexpected(other)),
            }
            Ok(DONE)
        }
    }
}

/// What a comparison was for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Both copies should be the same.
    Verified,
    /// A resync would make them the same.
    Before,
}

fn compare(client: &mut Client, request: &dyn Fn(bool) -> Request, json: bool, told: Told) -> Result<u8> {
    let mut ask = |start| match client.ask(request(start))? {
        Answer::Verify { report } => Ok(report),
        other => Err(unexpected(other)),
    };
    let mut report: VerifyReport = ask(true)?;
    while report.running {
        std::thread::sleep(LOOK_PERIOD);
        report = ask(false)?;
    }
    if json {
        show::json(&report)?;
    } else {
        tell(&report, told)?;
    }
    if let Some(reason) = report.failed {
        bail!("the copies were not compared to the end: {reason}");
    }
    Ok(if report.differences == 0 { DONE } else { REFUSED })
}

fn tell(report: &VerifyReport, told: Told) -> Result<()> {
    let mut out = std::io::stdout();
    for line in &report.named {
        writeln!(out, "{line}")?;
    }
    let more = report.differences.saturating_sub(report.named.len() as u64);
    if more > 0 {
        writeln!(out, "and {more} more differences")?;
    }
    let VerifyReport { entries, bytes, differences, .. } = report;
    writeln!(out, "{entries} entries and {bytes} bytes compared: {differences} differences")?;
    if told == Told::Before && report.failed.is_none() {
        writeln!(out, "a resync would send about {} bytes and make this copy the primary's", report.bytes_to_copy)?;
    } else if *differences > 0 {
        let cure = "make them equal again: stop the module on the secondary and order `second` there";
        writeln!(out, "(the primary's value is told first) {cure}")?;
    }
    Ok(())
}

fn list(copies: &[AsideCopy]) -> Result<()> {
    let mut out = std::io::stdout();
    if copies.is_empty() {
        writeln!(out, "nothing is set aside on this node")?;
    }
    for copy in copies {
        let AsideCopy { id, node, generation, entries, bytes, folder, .. } = copy;
        writeln!(out, "{id}: {entries} entries, {bytes} bytes of node {node}, generation {generation}\n  {folder}")?;
    }
    Ok(())
}
