//! The support zip: logs, configurations, states, versions and system facts of this node; secrets masked.

use crate::agent::Agent;
use crate::{facts, files};
use anyhow::{Result, ensure};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Most bytes taken of one file.
const FILE_MAX: u64 = 8 * 1024 * 1024;

/// Which support data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// As it is now, and what `dump` has kept.
    Kept,
    /// As it is now.
    Now,
}

/// Makes the zip, of one module or of all.
pub async fn make(agent: &Arc<Agent>, module: Option<&str>, span: Span) -> Result<Vec<u8>> {
    let reports = agent.reports.all();
    let names: Vec<String> = agent.names().await;
    if let Some(module) = module {
        ensure!(names.iter().any(|name| name == module), "module {module} is not configured on this node");
    }
    let chosen: Vec<String> = names.into_iter().filter(|name| module.is_none_or(|module| module == name)).collect();
    let mut cluster = agent.cluster().await;
    if let Some(cluster) = &mut cluster {
        "(masked)".clone_into(&mut cluster.secret);
    }
    let about = serde_json::json!({
        "node": agent.reports.node(),
        "version": env!("CARGO_PKG_VERSION"),
        "made_unix_ms": crate::clock::unix_ms(),
        "boot_id": agent.boot.text,
        "fingerprint": agent.identity().fingerprint,
        "options": format!("{:?}", agent.options),
    });
    let mut parts = vec![
        ("about.json".to_owned(), serde_json::to_vec_pretty(&about)?),
        ("states.json".to_owned(), serde_json::to_vec_pretty(&reports)?),
        ("cluster.json".to_owned(), serde_json::to_vec_pretty(&cluster)?),
        ("members.json".to_owned(), serde_json::to_vec_pretty(&crate::cluster_link::members(agent).await)?),
    ];
    let layout = agent.layout.clone();
    tokio::task::spawn_blocking(move || {
        parts.push(("system.txt".to_owned(), facts::system().into_bytes()));
        parts.push(("processes.txt".to_owned(), processes().into_bytes()));
        for log in ["commands.old.log", "commands.log"] {
            parts.extend(tail(&layout.var().join(log)).map(|text| (log.to_owned(), text)));
        }
        for name in &chosen {
            let from = |path: PathBuf, to: &str| (path, format!("modules/{name}/{to}"));
            let var = layout.module_var(name);
            let mut wanted = vec![from(layout.ledger(name), "state.ledger")];
            for log in ["module.log", "module.old.log", "application.log", "application.old.log"] {
                wanted.push(from(var.join(log), log));
            }
            for part in ["conf", "bin"] {
                let entries = std::fs::read_dir(layout.active(name).join(part)).into_iter().flatten().flatten();
                wanted.extend(
                    entries.map(|entry| from(entry.path(), &format!("{part}/{}", entry.file_name().display()))),
                );
            }
            let kept = if span == Span::Kept { crate::agent::tend::dumps(&layout.dumps(name)) } else { Vec::new() };
            for dump in kept {
                let file = dump.file_name().unwrap_or_default().display().to_string();
                wanted.push(from(dump, &format!("dumps/{file}")));
            }
            parts.extend(wanted.into_iter().filter_map(|(path, to)| Some((to, tail(&path)?))));
        }
        pack(&parts)
    })
    .await?
}

/// A file, or the end of it.
fn tail(path: &Path) -> Option<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    if !std::fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(FILE_MAX))).ok()?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(mask(path, bytes))
}

/// Blanks the value of every `<var>` and script line that looks like a password.
fn mask(path: &Path, bytes: Vec<u8>) -> Vec<u8> {
    let log_or_ledger = path.extension().is_some_and(|kind| kind == "ledger");
    let Ok(text) = String::from_utf8(bytes.clone()) else {
        return bytes;
    };
    if log_or_ledger {
        return bytes;
    }
    let secret = |line: &str| {
        let line = line.to_lowercase();
        ["password", "passwd", "secret", "token", "api_key", "apikey", "private key"]
            .iter()
            .any(|word| line.contains(word))
    };
    let shown = |line: &str| {
        if secret(line) { "(masked: the line may hold a secret)\n".to_owned() } else { line.to_owned() }
    };
    text.split_inclusive('\n').map(shown).collect::<String>().into_bytes()
}

fn processes() -> String {
    let line = |process: holdfast_api::agent::ProcessFacts| {
        format!("{:>8} {:>8} {:<16} {}\n", process.pid, process.uid, process.name, process.arguments)
    };
    let text: String = facts::list_processes().into_iter().map(line).collect();
    String::from_utf8_lossy(&mask(Path::new("processes.txt"), text.into_bytes())).into_owned()
}

fn pack(parts: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        writer.start_file(name.as_str(), SimpleFileOptions::default())?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}

/// Writes a snapshot to a file.
pub fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write_atomically(&std::path::absolute(path)?, bytes, 0o600)
}

#[cfg(test)]
mod tests {
    use super::mask;
    use std::path::Path;

    #[test]
    fn lines_with_secrets_are_masked() {
        let text = b"<var name=\"DB_PASSWORD\" value=\"x\"/>\nharmless\n".to_vec();
        let masked = String::from_utf8(mask(Path::new("userconfig.xml"), text)).unwrap();
        assert!(!masked.contains("\"x\"") && masked.ends_with("harmless\n"));
    }
}
