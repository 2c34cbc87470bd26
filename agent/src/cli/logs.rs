//! The logs: of a module, of its scripts, and of the commands; shown, followed, saved.

use super::verbs::Module;
use super::{show, unexpected};
use crate::control::client::Client;
use crate::control::{Answer, Request};
use crate::logs::SHOWN_LEVELS;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use holdfast_api::agent::{LOG_LINES_MAX, LogKind, LogPage, LogWanted};
use std::fs::File;
use std::io::{BufWriter, Write};
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

    /// A page of the lines that are shown: from a position on, or the last ones (before a position).
    fn page(&self, client: &mut Client, from: Option<u64>, before: Option<u64>, limit: u32) -> Result<LogPage> {
        // Lines of the application log have no level.
        let levels = if self.all || self.app { "" } else { SHOWN_LEVELS };
        let wanted = LogWanted { from, before, limit, levels: levels.to_owned(), holding: String::new() };
        let request = Request::Log { module: self.module.module.clone(), which: self.which(), wanted };
        match client.ask(request)? {
            Answer::Log { page } => Ok(page),
            other => Err(unexpected(other)),
        }
    }

    /// The last lines that are shown, at most so many and one page.
    fn last(&self, client: &mut Client, lines: u32) -> Result<LogPage> {
        let limit = lines.min(LOG_LINES_MAX);
        let mut page = self.page(client, None, None, limit)?;
        while page.lines.len() < limit as usize && page.start > page.first {
            let missing = limit - page.lines.len() as u32;
            let older = self.page(client, None, Some(page.start), missing)?;
            page.start = older.start;
            page.lines.splice(0..0, older.lines);
        }
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
        Verb::Cmdlog { lines, json } => match client.ask(command_log(lines))? {
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
        current = view.page(client, Some(current.next), None, LOG_LINES_MAX)?;
    }
}

fn command_log(limit: u32) -> Request {
    Request::CommandLog { wanted: LogWanted::last(limit) }
}

fn save(client: &mut Client, view: &View, path: &std::path::Path) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let mut page = view.page(client, Some(0), None, LOG_LINES_MAX)?;
    let mut file = BufWriter::new(File::create(path).with_context(failed)?);
    loop {
        for line in &page.lines {
            file.write_all(show::log_line(line).as_bytes()).with_context(failed)?;
        }
        if page.next >= page.end {
            return file.flush().with_context(failed);
        }
        page = view.page(client, Some(page.next), None, LOG_LINES_MAX)?;
    }
}
