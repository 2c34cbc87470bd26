//! How the command line shows answers: tables for people, JSON for programs.

use crate::control::ListedModule;
use crate::pairing::PairingStatus;
use anyhow::Result;
use holdfast_api::agent::{LogLine, LogPage, NodeModuleReport, PathFacts, ResyncReport};
use serde::Serialize;
use std::io::{Write, stdout};

/// One JSON value on a line.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<()> {
    writeln!(stdout(), "{}", serde_json::to_string(value)?)?;
    Ok(())
}

/// Rows with columns as wide as their longest cell.
pub(super) fn table(rows: &[Vec<String>]) -> Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line: Vec<String> = cells.collect();
        writeln!(stdout(), "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

fn header(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

/// A moment in local time.
pub(super) fn date(unix_ms: u64) -> String {
    let date = jiff::Timestamp::from_millisecond(unix_ms as i64).unwrap_or_default();
    date.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// The modules and why they are what they are.
/// How far a resync is, in one line.
fn progress(resync: &ResyncReport) -> String {
    let ResyncReport { bytes_done, bytes_total, entries_done, entries_total, bytes_per_s, .. } = resync;
    let left = resync.left_ms.map(|left| format!(", {} s left", left.div_ceil(1000))).unwrap_or_default();
    format!(
        "resync {bytes_done}/{bytes_total} bytes, {entries_done}/{entries_total} entries, {} KiB/s{left}; ",
        bytes_per_s / 1024
    )
}

pub(super) fn states(modules: &[NodeModuleReport]) -> Result<()> {
    if modules.is_empty() {
        writeln!(stdout(), "no module is configured on this node: `holdfast module install -m NAME FILE.safe`")?;
        return Ok(());
    }
    let mut rows = vec![header(&["MODULE", "ID", "STATE", "DATA", "GENERATION", "PEER", "SINCE", "WHY"])];
    for module in modules {
        let peer = match &module.peer {
            Some(peer) if peer.heard => format!("{} {} {}", peer.node, peer.state, peer.readiness),
            Some(peer) => format!("{} not heard", peer.node),
            None => "never heard".to_owned(),
        };
        let progress = module.resync.as_ref().map(progress);
        let why = module.waiting_for.as_deref().unwrap_or(&module.detail);
        rows.push(vec![
            module.module.clone(),
            module.id.0.to_string(),
            format!("{} {}", module.state, module.readiness),
            module.data.to_string(),
            module.generation.to_string(),
            peer,
            date(module.since_unix_ms),
            format!("{}{why}", progress.unwrap_or_default()),
        ]);
    }
    table(&rows)
}

/// When the copies were compared by schedule, how that went, and when the next is due; a line for each module that has one.
pub(super) fn scrubs(modules: &[NodeModuleReport]) -> Result<()> {
    for module in modules {
        let Some(scrub) = &module.scrub else { continue };
        let next = scrub.next_unix_ms.map_or_else(|| "never".to_owned(), date);
        let last = match &scrub.last {
            None => "none yet on this node".to_owned(),
            Some(last) => {
                let how = match (&last.failed, last.differences) {
                    (_, found @ 1..) => format!("{found} DIFFERENCES"),
                    (Some(reason), _) => format!("not to the end ({reason})"),
                    (None, _) => "both copies the same".to_owned(),
                };
                format!("{}: {how}, {} entries, {} bytes", date(last.ended_unix_ms), last.entries, last.bytes)
            }
        };
        let now = if scrub.running { "; one goes on" } else { "" };
        writeln!(stdout(), "{}: scrub ({}) next {next}; last {last}{now}", module.module, scrub.schedule)?;
    }
    Ok(())
}

/// The resources of the modules.
pub(super) fn resources(modules: &[NodeModuleReport]) -> Result<()> {
    let mut rows = vec![header(&["MODULE", "RESOURCE", "VALUE", "SINCE", "BY"])];
    for module in modules {
        rows.extend(module.resources.iter().map(|resource| {
            vec![
                module.module.clone(),
                resource.name.clone(),
                resource.value.to_string(),
                date(resource.since_unix_ms),
                resource.by.clone(),
            ]
        }));
    }
    writeln!(stdout())?;
    table(&rows)
}

/// What starts when the machine boots.
pub(super) fn boot(modules: &[NodeModuleReport], as_json: bool) -> Result<()> {
    let policy = |module: &NodeModuleReport| {
        let said = module.resources.iter().find(|resource| resource.name == "usersetting.boot");
        let held = if module.boot_start { "on" } else { "off" };
        said.map_or_else(|| held.to_owned(), |resource| resource.value.to_string())
    };
    if as_json {
        let all = modules.iter().map(|module| serde_json::json!({"module": module.module, "boot": policy(module)}));
        return json(&all.collect::<Vec<_>>());
    }
    let mut rows = vec![header(&["MODULE", "BOOT"])];
    rows.extend(modules.iter().map(|module| vec![module.module.clone(), policy(module)]));
    table(&rows)
}

/// The modules known.
pub(super) fn modules(modules: &[ListedModule]) -> Result<()> {
    let mut rows = vec![header(&["MODULE", "ID", "INSTALLED", "CONFIGURED"])];
    for module in modules {
        rows.push(vec![
            module.module.clone(),
            module.id.0.to_string(),
            if module.installed { "yes" } else { "no" }.to_owned(),
            module.version.map_or_else(|| "no".to_owned(), |version| format!("version {version}")),
        ]);
    }
    table(&rows)
}

/// Facts about paths.
pub(super) fn paths(paths: &[PathFacts]) -> Result<()> {
    let mut rows = vec![header(&["PATH", "IS", "BYTES", "FILE SYSTEM", "FREE", "MIND"])];
    for path in paths {
        let is = match (path.exists, path.directory) {
            (false, _) => "missing".to_owned(),
            (true, true) => format!("directory, {} entries", path.entries),
            (true, false) => "not a directory".to_owned(),
        };
        rows.push(vec![
            path.path.clone(),
            is,
            path.bytes.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string()),
            format!("{} ({})", path.mount_point, path.file_system),
            path.free_bytes.to_string(),
            path.warnings.join("; "),
        ]);
    }
    table(&rows)
}

/// A line as shown and saved.
pub(super) fn log_line(line: &LogLine) -> String {
    if line.level.is_empty() {
        return format!("{}\n", line.text);
    }
    format!("{} {} {}\n", date(line.unix_ms), line.level, line.text)
}

/// A page of a log.
pub(super) fn log(page: &LogPage, as_json: bool) -> Result<()> {
    for line in &page.lines {
        if as_json {
            json(line)?;
        } else {
            stdout().write_all(log_line(line).as_bytes())?;
        }
    }
    stdout().flush()?;
    Ok(())
}

/// The pairing code, or how to get one.
pub(super) fn pairing(status: &PairingStatus, node: &str, fingerprint: &str, as_json: bool) -> Result<()> {
    if as_json {
        return json(&serde_json::json!({ "status": status, "node": node, "fingerprint": fingerprint }));
    }
    let text = match status {
        PairingStatus::Open { code, attempts_left } => {
            format!(
                "pairing code: {code}\nwrong guesses left: {attempts_left}\nnode: {node}\nkey fingerprint: {fingerprint}"
            )
        }
        PairingStatus::Closed => {
            "pairing is closed after wrong guesses; open it with `holdfast pairing --reopen`".to_owned()
        }
        PairingStatus::Enrolled => {
            "this node is enrolled; `holdfast pairing --reopen` allows another server to enrol it".to_owned()
        }
    };
    writeln!(stdout(), "{text}")?;
    Ok(())
}
