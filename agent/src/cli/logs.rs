//! The logs: of a module, of its scripts, and of the commands; shown, followed, saved.

use super::verbs::Module;
use super::{show, unexpected};
use crate::control::client::Client;
use crate::control::{Answer, Request};
use crate::logs::is_verbose;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use holdfast_api::agent::{LOG_LINES_MAX, LogKind, LogPage};
use std::path::PathBuf;
use std::time::Duration;

/// Time between two looks for new lines of a log that is followed.
const FOLLOW_PERIOD: Duration = Duration::from_millis(300);

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the last lines of a module's log.
    ///
    /// Levels: C critical, W warning, E event, U a user's command, S a script that runs; with -A also I and D, detail.
    Log {
        #[command(flatten)]
        view: View,
        /// Number of lines.
        #[arg(short = 's', default_value_t = 300, value_name = "LINES")]
        lines: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show the last lines of a module's log, then each new one, until it is ended.
    Logview {
        #[command(flatten)]
        view: View,
        /// Number of lines to begin with.
        #[arg(short = 's', default_value_t = 300, value_name = "LINES")]
        lines: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Save the whole log of a module as text.
    Logsave {
        #[command(flatten)]
        view: View,
        /// Where to.
        file: PathBuf,
    },
    /// Show who gave which command on this node, and what came of it.
    ///
    /// A command has two lines with the same number: START with its words and who gave it, END with its return code.
    Cmdlog {
        /// Number of lines.
        #[arg(short = 's', default_value_t = 300, value_name = "LINES")]
        lines: u32,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// Which lines of which log.
#[derive(Clone, Debug, Args)]
pub(super) struct View {
    #[command(flatten)]
    module: Module,
    /// Also the lines of detail (levels I and D).
    #[arg(short = 'A')]
    all: bool,
    /// The application log (output of the scripts) instead of the module log.
    #[arg(long)]
    app: bool,
    /// Language; the log is written in English only, whatever is asked for.
    #[arg(short = 'l', value_name = "LANGUAGE", value_parser = ["en", "fr", "ja"], default_value = "en")]
    language: String,
}

impl View {
    fn which(&self) -> LogKind {
        if self.app { LogKind::Application } else { LogKind::Module }
    }

    /// A page with only the lines that are shown; positions are those of the whole page.
    fn page(&self, client: &mut Client, from: Option<u64>, limit: u32) -> Result<LogPage> {
        let request = Request::Log { module: self.module.module.clone(), which: self.which(), from, limit };
        match client.ask(request)? {
            Answer::Log { mut page } => {
                page.lines.retain(|line| self.all || !is_verbose(&line.level));
                Ok(page)
            }
            other => Err(unexpected(other)),
        }
    }

    /// The last lines that are shown, at most so many.
    fn last(&self, client: &mut Client, lines: u32) -> Result<LogPage> {
        let mut page = self.page(client, None, if self.all { lines } else { LOG_LINES_MAX })?;
        let surplus = page.lines.len().saturating_sub(lines as usize);
        page.lines.drain(..surplus);
        Ok(page)
    }
}

/// Whether the output is for programs.
pub(super) fn for_programs(verb: &Verb) -> bool {
    match verb {
        Verb::Log { json, .. } | Verb::Logview { json, .. } | Verb::Cmdlog { json, .. } => *json,
        Verb::Logsave { .. } => false,
    }
}

/// Carries a command out.
pub(super) fn run(client: &mut Client, verb: Verb) -> Result<()> {
    match verb {
        Verb::Log { view, lines, json } => show::log(&view.last(client, lines)?, json),
        Verb::Logview { view, lines, json } => follow(client, &view, lines, json),
        Verb::Logsave { view, file } => save(client, &view, &file),
        Verb::Cmdlog { lines, json } => match client.ask(Request::CommandLog { from: None, limit: lines })? {
            Answer::Log { page } => show::log(&page, json),
            other => Err(unexpected(other)),
        },
    }
}

fn follow(client: &mut Client, view: &View, lines: u32, json: bool) -> Result<()> {
    let mut current = view.last(client, lines)?;
    loop {
        show::log(&current, json)?;
        if current.next == current.end {
            std::thread::sleep(FOLLOW_PERIOD);
        }
        current = view.page(client, Some(current.next), LOG_LINES_MAX)?;
    }
}

fn save(client: &mut Client, view: &View, file: &std::path::Path) -> Result<()> {
    let mut text = String::new();
    let mut from = 0;
    loop {
        let page = view.page(client, Some(from), LOG_LINES_MAX)?;
        text.extend(page.lines.iter().map(show::log_line));
        if page.next >= page.end {
            break;
        }
        from = page.next;
    }
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
