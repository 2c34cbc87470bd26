//! What a module's package means: settings of the wizard out of it and into it, and its checks. Pure.

mod parts;
#[cfg(test)]
mod tests;

use crate::assets;
use crate::error::{Failure, Outcome};
use holdfast_api::config::{MacroSettings, ModuleMode, ModuleSettings, ProcessChecker, SCRIPT_NAMES};
use holdfast_api::console::{CatalogueEntry, FileChange, FileView, ModuleFacts};
use holdfast_api::package::{Package, PackageError, PackageFile, USERCONFIG};
use holdfast_api::problem::FieldProblem;
use holdfast_api::userconfig::{Errd, Mode, Probe, Proc, ProcAction, UserConfig, UserConfigError};

/// Largest package that fits into a message to an agent.
pub const PACKAGE_BYTES_MAX: usize = 5 * 1024 * 1024;

const HOUR_MS: u64 = 3_600_000;
/// Offered by the wizard where the file has no process checkers, in seconds.
const POLLTIMER_S: u32 = 10;

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        Self::invalid(vec![problem_of(&error)])
    }
}

fn problem_of(error: &PackageError) -> FieldProblem {
    FieldProblem::new(error.name.clone().unwrap_or_default(), error.to_string())
}

fn xml_problem(error: &UserConfigError) -> FieldProblem {
    FieldProblem::new(USERCONFIG, error.to_string())
}

/// Reads a package's zip.
///
/// # Errors
/// 422 naming the entry.
pub fn read(bytes: &[u8]) -> Outcome<Package> {
    if bytes.len() > PACKAGE_BYTES_MAX {
        return Err(Failure::field("", format!("a package has at most {PACKAGE_BYTES_MAX} bytes")));
    }
    Ok(Package::read(bytes)?)
}

/// Writes a package's zip.
///
/// # Errors
/// 422 if it is too large.
pub fn write(package: &Package) -> Outcome<Vec<u8>> {
    let bytes = package.write()?;
    if bytes.len() > PACKAGE_BYTES_MAX {
        return Err(Failure::field("", format!("a package has at most {PACKAGE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// What can be chosen to make a module from.
pub fn catalogue() -> Vec<CatalogueEntry> {
    let entry = |template: &str| {
        let name = template.strip_suffix(".safe").unwrap_or(template);
        let title = match name {
            "mirror" => "Real-time file replication and failover, two nodes",
            "console" => {
                "This console itself: its folder is replicated and it moves to the other node, with its address"
            }
            "light" => "One node: the application is started, watched and restarted there",
            _ => "Module template",
        };
        let config =
            self::template(template).ok().and_then(|package| UserConfig::parse(package.userconfig().ok()?).ok());
        let mode = config.map_or(ModuleMode::Mirror, |config| parts::mode(config.service.mode));
        let (title, suggested_name) = (title.to_owned(), name.to_owned());
        CatalogueEntry { template: template.to_owned(), title, suggested_name, mode }
    };
    assets::templates().into_iter().map(entry).collect()
}

/// The package of a template.
///
/// # Errors
/// 422 if there is no such template.
pub fn template(name: &str) -> Outcome<Package> {
    let files = assets::template(name);
    if files.is_empty() {
        return Err(Failure::field("template", format!("there is no template {name}; see the catalogue")));
    }
    let file = |(path, bytes, executable): (&str, &[u8], bool)| {
        (path.to_owned(), PackageFile { bytes: bytes.to_vec(), executable })
    };
    Ok(Package { files: files.into_iter().map(file).collect() })
}

/// What consoles show of a package (zip); none if it cannot be read.
pub fn facts(bytes: &[u8]) -> Option<ModuleFacts> {
    let package = Package::read(bytes).ok()?;
    Some(parts::facts(&UserConfig::parse(package.userconfig().ok()?).ok()?))
}

/// The wizard's view of a package, or what is wrong with its `userconfig.xml`.
pub fn settings(package: &Package, name: &str) -> Result<ModuleSettings, Vec<FieldProblem>> {
    let text = package.userconfig().map_err(|error| vec![problem_of(&error)])?;
    let config = UserConfig::parse(text).map_err(|error| vec![xml_problem(&error)])?;
    let script = |script: &&str| {
        let file = package.files.get(&format!("bin/{script}"))?;
        Some(((*script).to_owned(), String::from_utf8(file.bytes.clone()).ok()?))
    };
    let one = |(name, value)| MacroSettings { name, value };
    let macros = UserConfig::macros(text).map_err(|error| vec![xml_problem(&error)])?;
    Ok(ModuleSettings {
        name: name.to_owned(),
        mode: parts::mode(config.service.mode),
        networks: config.heart.links.iter().map(|link| link.lan.clone()).collect(),
        flow: parts::flow(&config),
        addresses: parts::addresses(config.vip.as_ref()),
        checkers: config.written_checkers().iter().map(parts::checker).collect(),
        witness: parts::witness(&config.witness),
        macros: macros.into_iter().map(one).collect(),
        pulse_ms: narrow(config.heart.pulse_ms),
        timeout_ms: narrow(config.heart.timeout_ms),
        maxloop: config.service.maxloop,
        loop_interval_h: narrow(config.service.loop_interval_ms / HOUR_MS),
        directories: config.rfs.map(|rfs| rfs.directories).unwrap_or_default(),
        polltimer_s: shown_polltimer(&config.errd),
        processes: config.errd.procs.iter().filter(|proc| shown(proc)).map(checker_of).collect(),
        scripts: SCRIPT_NAMES.iter().filter_map(script).collect(),
    })
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The poll timer in seconds, as the wizard shows it.
fn shown_polltimer(errd: &Errd) -> u32 {
    match errd.polltimer_ms {
        0 => POLLTIMER_S,
        ms => narrow(ms / 1000).max(1),
    }
}

/// True if the wizard has fields for such a check; others stay in the file as they are.
fn shown(proc: &Proc) -> bool {
    !proc.service && proc.nameregex.is_none() && proc.atleast.is_some()
}

fn checker_of(proc: &Proc) -> ProcessChecker {
    ProcessChecker {
        name: proc.name.clone(),
        argregex: proc.argregex.clone().unwrap_or_default(),
        atleast: proc.atleast.unwrap_or_default(),
        action: proc.action.clone(),
        class: proc.class.clone(),
    }
}

/// The checks as the wizard wants them: those it does not show keep their place, the others keep what it does not show
/// of them, known by name, or else by place.
fn procs_of(checkers: &[ProcessChecker], old: &[Proc]) -> Vec<Proc> {
    let places: Vec<&Proc> = old.iter().filter(|proc| shown(proc)).collect();
    let named = |name: &str| places.iter().find(|proc| proc.name == name);
    let renamed = |i: usize| places.get(i).filter(|proc| !checkers.iter().any(|checker| checker.name == proc.name));
    let proc = |(i, checker): (usize, &ProcessChecker)| {
        let before = named(&checker.name).or_else(|| renamed(i)).map(|proc| (*proc).clone());
        let before = before.unwrap_or_else(|| Proc::new(&checker.name));
        Proc {
            name: checker.name.clone(),
            argregex: Some(checker.argregex.clone()).filter(|regex| !regex.is_empty()),
            atleast: Some(checker.atleast),
            action: checker.action.clone(),
            class: checker.class.clone(),
            ..before
        }
    };
    let mut wanted = checkers.iter().enumerate().map(proc);
    let mut procs = Vec::new();
    for proc in old {
        if shown(proc) { procs.extend(wanted.next()) } else { procs.push(proc.clone()) }
    }
    procs.extend(wanted);
    procs
}

/// Puts the wizard's settings into a package. What the wizard does not show stays, and so does every byte of
/// `userconfig.xml` that need not change.
///
/// # Errors
/// 422 naming the fields; the package is then as it was.
pub fn with_settings(package: &Package, settings: &ModuleSettings, name: &str) -> Outcome<Package> {
    let problems = settings.validate();
    if !problems.is_empty() {
        return Err(Failure::invalid(problems));
    }
    let mut package = package.clone();
    let text = package.userconfig()?.to_owned();
    let invalid = |error: UserConfigError| Failure::invalid(vec![xml_problem(&error)]);
    let before = self::settings(&package, name).map_err(Failure::invalid)?;
    if settings.mode != before.mode {
        return Err(Failure::field("mode", "the kind of a module stays; make a new module instead"));
    }
    let same = ModuleSettings { scripts: settings.scripts.clone(), name: settings.name.clone(), ..before.clone() };
    if same != *settings {
        // First the macros: a field that the form did not change follows its macro.
        let macros: Vec<_> = settings.macros.iter().map(|one| (one.name.clone(), one.value.clone())).collect();
        let text = UserConfig::set_macros(&text, &macros).map_err(invalid)?;
        let wanted = configured(UserConfig::parse(&text).map_err(invalid)?, settings, &before);
        let text = UserConfig::edit(&text, &wanted).map_err(invalid)?;
        package.files.insert(USERCONFIG.into(), PackageFile { bytes: text.into_bytes(), executable: false });
    }
    for (script, text) in &settings.scripts {
        let path = format!("bin/{script}");
        if text.is_empty() {
            package.files.remove(&path);
        } else {
            package.files.insert(path, PackageFile { bytes: text.clone().into_bytes(), executable: true });
        }
    }
    package.check()?;
    Ok(package)
}

/// A configuration with what the wizard changed of `before` in it; the rest stays as the file has it.
fn configured(mut config: UserConfig, settings: &ModuleSettings, before: &ModuleSettings) -> UserConfig {
    if settings.pulse_ms != before.pulse_ms {
        config.heart.pulse_ms = settings.pulse_ms.into();
    }
    if settings.timeout_ms != before.timeout_ms {
        config.heart.timeout_ms = settings.timeout_ms.into();
    }
    if settings.maxloop != before.maxloop {
        config.service.maxloop = settings.maxloop;
    }
    if settings.loop_interval_h != before.loop_interval_h {
        config.service.loop_interval_ms = u64::from(settings.loop_interval_h) * HOUR_MS;
    }
    if settings.processes != before.processes {
        config.errd.procs = procs_of(&settings.processes, &config.errd.procs);
    }
    let (absent, empty) = (config.errd.polltimer_ms == 0, config.errd.procs.is_empty());
    if (absent && !empty) || (!absent && settings.polltimer_s != before.polltimer_s) {
        config.errd.polltimer_ms = u64::from(settings.polltimer_s) * 1000;
    }
    if settings.directories != before.directories {
        let plain = settings.directories.iter().map(|path| path.trim_end_matches('/').to_owned());
        config.set_directories(plain.collect());
    }
    parts::put(&mut config, settings, before);
    config
}

/// Applies changes of single files.
///
/// # Errors
/// 422 naming the change.
pub fn with_changes(package: &Package, changes: &[FileChange]) -> Outcome<Package> {
    if changes.is_empty() {
        return Err(Failure::field("changes", "there is nothing to change"));
    }
    let mut package = package.clone();
    for (i, change) in changes.iter().enumerate() {
        let field = format!("changes[{i}].path");
        holdfast_api::package::check_name(&change.path).map_err(|error| Failure::field(&field, error.problem))?;
        if !change.path.starts_with("conf/") && !change.path.starts_with("bin/") {
            return Err(Failure::field(&field, "files of a module are below conf/ or bin/"));
        }
        match &change.text {
            Some(text) => {
                let executable = change.path.starts_with("bin/");
                let file = PackageFile { bytes: text.clone().into_bytes(), executable };
                package.files.insert(change.path.clone(), file);
            }
            None if change.path == USERCONFIG => {
                return Err(Failure::field(&field, "a module needs this file"));
            }
            None if package.files.remove(&change.path).is_none() => {
                return Err(Failure::field(&field, "there is no such file"));
            }
            None => {}
        }
    }
    package.check()?;
    Ok(package)
}

/// The files as the editor shows them.
pub fn files(package: &Package) -> Vec<FileView> {
    let view = |(path, file): (&String, &PackageFile)| FileView {
        path: path.clone(),
        bytes: file.bytes.len() as u64,
        executable: file.executable,
        text: String::from_utf8(file.bytes.clone()).ok(),
    };
    package.files.iter().map(view).collect()
}

/// What forbids configuring a package, and what to mind.
pub fn check(package: &Package) -> (Vec<FieldProblem>, Vec<FieldProblem>, Option<UserConfig>) {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let text = match package.check().and_then(|()| package.userconfig()) {
        Ok(text) => text,
        Err(error) => return (vec![problem_of(&error)], warnings, None),
    };
    let config = match UserConfig::parse(text) {
        Ok(config) => config,
        Err(error) => return (vec![xml_problem(&error)], warnings, None),
    };
    for note in &config.notes {
        warnings
            .push(FieldProblem::new(USERCONFIG, format!("line {}, column {}: {}", note.line, note.column, note.text)));
    }
    for proc in config.errd.procs.iter().filter(|proc| proc.name == "PROCESS_NAME") {
        let message = format!("replace {} by the name of the process to watch, or remove this checker", proc.name);
        problems.push(FieldProblem::new("processes", message));
    }
    let directories = config.rfs.as_ref().map(|rfs| rfs.directories.as_slice()).unwrap_or_default();
    problems.extend(holdfast_api::config::check_directories("directories", directories));
    if config.service.mode == Mode::Mirror && directories.is_empty() {
        let message = "no directory is replicated: the application must not keep its data on the node it runs on";
        warnings.push(FieldProblem::new("directories", message));
    }
    for (path, file) in package.files.iter().filter(|(path, _)| path.starts_with("bin/")) {
        if file.bytes.starts_with(b"#!") && file.bytes.windows(2).any(|pair| pair == b"\r\n") {
            problems.push(FieldProblem::new(path, "the script has Windows line ends; use line feeds only"));
        }
    }
    for program in programs(&config) {
        // A handler may be written as a path from the module's folder or from its bin.
        let relative = program.strip_prefix("bin/").unwrap_or(program);
        if !program.starts_with('/') && !package.files.contains_key(&format!("bin/{relative}")) {
            let message = format!(
                "a checker runs {program}, and the module has no file bin/{relative}: add it, or correct the name"
            );
            problems.push(FieldProblem::new(USERCONFIG, message));
        }
    }
    let scripts = match config.service.mode {
        Mode::Mirror => ["bin/start_prim", "bin/stop_prim"],
        Mode::Light => ["bin/start_both", "bin/stop_both"],
    };
    for script in scripts {
        if !package.files.contains_key(script) {
            let message = "the module has no such script, so the application is not started or stopped: add it";
            warnings.push(FieldProblem::new(script, message));
        }
    }
    if config.user.is_none() {
        warnings.push(FieldProblem::new(
            USERCONFIG,
            "without <user/> no script is run, so the application is not started: add <user/> to <service>",
        ));
    }
    (problems, warnings, Some(config))
}

/// The programs of the module that its checkers run.
fn programs(config: &UserConfig) -> Vec<&str> {
    let handlers = config.errd.procs.iter().filter(|proc| matches!(proc.action, ProcAction::Handler(_)));
    let handlers = handlers.map(|proc| proc.action.as_str());
    let custom = config.check.checkers.iter().filter_map(|checker| match &checker.probe {
        Probe::Custom { exec, .. } => Some(exec.as_str()),
        _ => None,
    });
    handlers.chain(custom).collect()
}
