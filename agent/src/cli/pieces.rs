//! What an agent gives in pieces: logs, page by page, and the support zip.

use super::{show, unexpected};
use crate::control::client::Client;
use crate::control::{Answer, Request};
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_api::agent::{LOG_LINES_MAX, LogKind, LogPage};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Time between two looks for new lines of a log that is followed.
const FOLLOW_PERIOD: Duration = Duration::from_millis(300);

fn page(client: &mut Client, module: &str, which: LogKind, from: Option<u64>, limit: u32) -> Result<LogPage> {
    match client.ask(Request::Log { module: module.to_owned(), which, from, limit })? {
        Answer::Log { page } => Ok(page),
        other => Err(unexpected(other)),
    }
}

pub(super) fn log(
    client: &mut Client,
    module: &str,
    which: LogKind,
    lines: u32,
    follow: bool,
    json: bool,
) -> Result<()> {
    let mut current = page(client, module, which, None, lines)?;
    loop {
        show::log(&current, json)?;
        if !follow {
            return Ok(());
        }
        if current.next == current.end {
            std::thread::sleep(FOLLOW_PERIOD);
        }
        current = page(client, module, which, Some(current.next), LOG_LINES_MAX)?;
    }
}

pub(super) fn save_log(client: &mut Client, module: &str, which: LogKind, file: &Path) -> Result<()> {
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

pub(super) fn snapshot(client: &mut Client, module: Option<String>, file: &Path) -> Result<()> {
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
