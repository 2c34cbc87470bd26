//! Looking after a module and the node: what they are, repair, support data, names resolved anew.

use super::Agent;
use super::configure::stop_engine;
use crate::control::{Cleaned, LevelReport};
use crate::drivers::{hook, processes};
use crate::modules::{self, Checked};
use crate::{clock, files, snapshot};
use anyhow::{Context, Result, anyhow, bail, ensure};
use holdfast_api::state::{ModuleState, Readiness};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Support zips of a module that are kept on the node.
pub(crate) const DUMPS_KEPT: usize = 3;
/// Time between asking processes to end and forcing them.
const GRACE: Duration = Duration::from_secs(5);

impl Agent {
    /// What the node is, and what a module's `level` script says.
    pub async fn level(&self, module: Option<&str>) -> Result<LevelReport> {
        let said = match module {
            Some(module) => self.ask_hook(&self.checked(module).await?, "level").await?,
            None => None,
        };
        let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let release = line("/etc/os-release");
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Ok(LevelReport {
            node: self.reports.node(),
            host: line("/proc/sys/kernel/hostname"),
            system: pretty.map_or_else(|| "unknown".to_owned(), |name| name.trim_matches('"').to_owned()),
            kernel: format!("{} {}", line("/proc/sys/kernel/osrelease"), std::env::consts::ARCH),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            module: said.map(|outcome| outcome.text),
        })
    }

    /// The folders that scripts know by variables; with a module also its own.
    pub async fn places(&self, module: Option<&str>) -> Result<BTreeMap<String, String>> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let mut places = BTreeMap::from([
            ("SAFE".to_owned(), text(self.layout.safe())),
            ("SAFEVAR".to_owned(), text(self.layout.var())),
            ("SAFEBIN".to_owned(), text(self.layout.safe())),
        ]);
        if let Some(module) = module {
            self.checked(module).await?;
            let active = self.layout.active(module);
            places.insert("SAFEMODULE".to_owned(), module.to_owned());
            places.insert("SAFEUSERBIN".to_owned(), text(active.join("bin")));
            places.insert("SAFEUSERCONF".to_owned(), text(active.join("conf")));
            places.insert("SAFEUSERVAR".to_owned(), text(self.layout.module_var(module)));
        }
        Ok(places)
    }

    pub(super) async fn checked(&self, module: &str) -> Result<Checked> {
        let inner = self.inner.lock().await;
        let held = inner.modules.get(module).with_context(|| {
            format!("module {module} is not configured on this node: `holdfast config -m {module}`, or the console")
        })?;
        Ok(held.checked.clone())
    }

    /// Checks an installed module as edited, by itself and with its own `confcheck`.
    pub async fn check_installed(&self, module: &str) -> Result<String> {
        let checked = modules::check(&modules::configured(&self.layout, module, 1)?)?;
        let said = self.ask_confcheck(&checked).await?;
        Ok(format!("{module} can be configured{}{said}", super::configure::notes(&checked)))
    }

    /// What the `state` script of a module says; nothing if it has none.
    pub async fn told_state(&self, module: &str) -> Result<String> {
        let outcome = self.ask_hook(&self.checked(module).await?, "state").await?;
        Ok(outcome.map(|outcome| outcome.text).unwrap_or_default())
    }

    /// Forgets a stopped module; its editable files go into a package in `$SAFE/Application_Modules/backup`.
    pub async fn uninstall(self: &Arc<Self>, module: &str) -> Result<String> {
        holdfast_api::config::check_name(module).map_err(|reason| anyhow!("module name: {reason}"))?;
        let configured = self.inner.lock().await.modules.contains_key(module);
        let installed = modules::installed_id(&self.layout, module).is_some();
        ensure!(configured || installed, "module {module} is neither installed nor configured on this node");
        if configured {
            self.remove_module(module).await?;
        }
        if !installed {
            return Ok(format!("module {module} is forgotten"));
        }
        let backup = self.layout.safe().join("Application_Modules").join("backup");
        files::make_dir(&backup)?;
        let kept = backup.join(format!("{module}.safe"));
        let package = modules::pack(&self.layout.installed(module))?.write()?;
        files::write_atomically(&kept, &package, 0o600)?;
        modules::remove_tree(&self.layout.installed(module))?;
        Ok(format!("module {module} is removed; its files as edited are kept in {}", kept.display()))
    }

    /// Resolves the names of a module anew and runs its `update` script.
    pub async fn update(self: &Arc<Self>, module: &str) -> Result<String> {
        let checked = self.checked(module).await?;
        let report = self.reports.get(module).context("the module has no state yet: try again")?;
        let stands =
            matches!(report.state, ModuleState::Alone | ModuleState::Up) && report.readiness == Readiness::Ready;
        ensure!(
            stands,
            "module {module} is {} {}: update it while it is ALONE or UP, Ready (stop its secondary first)",
            report.state,
            report.readiness
        );
        let mut inner = self.inner.lock().await;
        self.apply(&mut inner, checked).await?;
        Ok(format!(
            "{module}: the names in its checkers and of its virtual addresses are resolved anew; the module log tells which \
             addresses changed"
        ))
    }

    /// Tells a running module that its configuration was applied anew; nobody waits for it.
    pub(super) fn run_update(self: &Arc<Self>, checked: Checked) {
        let agent = Arc::clone(self);
        tokio::spawn(async move {
            let name = &checked.config.name;
            let state = agent.state(name).to_string();
            if let Some(setting) = agent.script_setting(&checked)
                && let Err(error) = hook::tell(&setting, "update", &[&state, &state, "update"]).await
            {
                tracing::warn!(module = name, "update cannot be run: {error}");
            }
        });
    }

    /// Cleans something of a module.
    pub async fn clean(self: &Arc<Self>, module: &str, what: Cleaned) -> Result<String> {
        let checked = self.checked(module).await?;
        if what == Cleaned::Log {
            let logs = [self.module_log(module), self.application_log(&checked)];
            tokio::task::spawn_blocking(move || logs.iter().try_for_each(crate::logs::LogFile::clear)).await??;
            return Ok(format!("the logs of {module} are empty"));
        }
        let mut inner = self.inner.lock().await;
        let state = self.state(module);
        ensure!(state == ModuleState::Stop, "module {module} is {state}: stop it first");
        if what == Cleaned::Process {
            drop(inner);
            let marks = [("SAFE", self.layout.safe()), ("SAFEMODULE", PathBuf::from(module))];
            let count = tokio::task::spawn_blocking(move || end_marked(&marks)).await??;
            return Ok(format!("{count} processes that scripts of {module} had left are ended"));
        }
        let Some(held) = inner.modules.get_mut(module) else {
            bail!("module {module} was removed meanwhile");
        };
        let engine = held.engine.take();
        stop_engine(super::Held { checked, engine }).await;
        self.start_engines(&mut inner).await;
        Ok(format!("the resources of {module} begin anew"))
    }

    /// Keeps a support zip of a module on the node.
    pub async fn dump(self: &Arc<Self>, module: &str) -> Result<String> {
        self.checked(module).await?;
        let bytes = snapshot::make(self, Some(module), snapshot::Span::Now).await?;
        let dir = self.layout.dumps(module);
        files::make_dir(&dir)?;
        let date = jiff::Timestamp::from_millisecond(clock::unix_ms() as i64).unwrap_or_default();
        let file = dir.join(format!("dump_{}.zip", date.strftime("%Y_%m_%d_%H_%M_%S")));
        snapshot::save(&file, &bytes)?;
        // Names sort by date.
        let dumps = dumps(&dir);
        for old in &dumps[..dumps.len().saturating_sub(DUMPS_KEPT)] {
            std::fs::remove_file(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(format!("{} ({} bytes)", file.display(), bytes.len()))
    }
}

/// The support zips kept in a folder, oldest first.
pub(crate) fn dumps(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|kind| kind == "zip"));
    found.sort();
    found
}

/// Ends every process with these variables in its environment: asks, and forces what is left after [`GRACE`]. Spares
/// the command line that asks for it and who called that. Gives how many there were.
fn end_marked(marks: &[(&str, PathBuf)]) -> Result<usize> {
    let wanted: Vec<Vec<u8>> =
        marks.iter().map(|(name, value)| format!("{name}={}", value.display()).into_bytes()).collect();
    let all = processes::list(Path::new("/proc"));
    let mut spared = BTreeSet::new();
    for own in all.iter().filter(|process| ["holdfast", "safekit"].contains(&process.name.as_str())) {
        let mut at = own.pid;
        while spared.insert(at) {
            at = all.iter().find(|process| process.pid == at).map_or(0, |process| process.parent);
        }
    }
    let marked = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let variables: BTreeSet<&[u8]> = environment.split(|byte| *byte == 0).collect();
        wanted.iter().all(|wanted| variables.contains(wanted.as_slice()))
    };
    let found: Vec<_> = all.iter().filter(|process| !spared.contains(&process.pid) && marked(process.pid)).collect();
    for process in &found {
        processes::signal(process, Signal::TERM)?;
    }
    let until = Instant::now() + GRACE;
    while found.iter().any(|process| processes::lives(process)) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    for process in &found {
        processes::signal(process, Signal::KILL)?;
    }
    Ok(found.len())
}

#[cfg(test)]
mod tests {
    use super::end_marked;
    use std::os::unix::process::CommandExt;
    use std::path::PathBuf;
    use std::process::Command;

    #[test]
    fn only_processes_with_all_marks_are_ended() {
        let mark = tempfile::tempdir().unwrap();
        let sleeper = |module: &str| {
            let mut command = Command::new("sleep");
            command.arg("303").env("SAFE", mark.path()).env("SAFEMODULE", module).process_group(0).spawn().unwrap()
        };
        let (mut mine, mut other) = (sleeper("a"), sleeper("b"));
        let marks = [("SAFE", mark.path().to_owned()), ("SAFEMODULE", PathBuf::from("a"))];
        // Just started, it may not have its own environment yet.
        while end_marked(&marks).unwrap() == 0 {
            std::thread::yield_now();
        }
        assert!(!mine.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
