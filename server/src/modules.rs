//! What a module's package means: settings of the wizard out of it and into it, and its checks. Pure.

use crate::assets;
use crate::error::{Failure, Outcome};
use holdfast_api::config::{CheckerAction, ModuleSettings, ProcessChecker, SCRIPT_NAMES};
use holdfast_api::console::{CatalogueEntry, FileChange, FileView};
use holdfast_api::package::{Package, PackageError, PackageFile, USERCONFIG};
use holdfast_api::problem::FieldProblem;
use holdfast_api::userconfig::{Proc, ProcAction, UserConfig, UserConfigError};

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
            _ => "Module template",
        };
        CatalogueEntry { template: template.to_owned(), title: title.to_owned(), suggested_name: name.to_owned() }
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

/// The wizard's view of a package, or what is wrong with its `userconfig.xml`.
pub fn settings(package: &Package, name: &str) -> Result<ModuleSettings, Vec<FieldProblem>> {
    let text = package.userconfig().map_err(|error| vec![problem_of(&error)])?;
    let config = UserConfig::parse(text).map_err(|error| vec![xml_problem(&error)])?;
    let script = |script: &&str| {
        let file = package.files.get(&format!("bin/{script}"))?;
        Some(((*script).to_owned(), String::from_utf8(file.bytes.clone()).ok()?))
    };
    let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(ModuleSettings {
        name: name.to_owned(),
        pulse_ms: narrow(config.heart.pulse_ms),
        timeout_ms: narrow(config.heart.timeout_ms),
        maxloop: config.service.maxloop,
        loop_interval_h: narrow(config.service.loop_interval_ms / HOUR_MS),
        directories: config.rfs.map(|rfs| rfs.directories).unwrap_or_default(),
        polltimer_s: match config.errd.polltimer_ms {
            0 => POLLTIMER_S,
            ms => narrow(ms / 1000).max(1),
        },
        processes: config.errd.procs.iter().map(checker_of).collect(),
        scripts: SCRIPT_NAMES.iter().filter_map(script).collect(),
    })
}

fn checker_of(proc: &Proc) -> ProcessChecker {
    ProcessChecker {
        name: proc.name.clone(),
        argregex: proc.argregex.clone().unwrap_or_default(),
        atleast: proc.atleast.unwrap_or_default(),
        action: match &proc.action {
            ProcAction::Restart => CheckerAction::Restart,
            ProcAction::StopStart => CheckerAction::StopStart,
            ProcAction::Stop => CheckerAction::Stop,
            ProcAction::NoAction | ProcAction::Handler(_) => CheckerAction::NoAction,
        },
        class: "prim".into(),
    }
}

fn proc_of(checker: &ProcessChecker, old: &[Proc]) -> Proc {
    Proc {
        name: checker.name.clone(),
        service: false,
        nameregex: None,
        atmax: None,
        class: checker.class.clone(),
        restart_services: Vec::new(),
        argregex: Some(checker.argregex.clone()).filter(|regex| !regex.is_empty()),
        atleast: Some(checker.atleast),
        action: match checker.action {
            CheckerAction::Restart => ProcAction::Restart,
            CheckerAction::StopStart => ProcAction::StopStart,
            CheckerAction::Stop => ProcAction::Stop,
            CheckerAction::NoAction => ProcAction::NoAction,
        },
        start_after: old.iter().find(|proc| proc.name == checker.name).map_or(0, |proc| proc.start_after),
    }
}

/// Puts the wizard's settings into a package. What the wizard does not show stays; `userconfig.xml` is written anew only
/// if something it says has changed.
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
    let before = self::settings(&package, name).ok();
    let mut config = UserConfig::parse(&text).map_err(|error| Failure::invalid(vec![xml_problem(&error)]))?;
    let same = before.is_some_and(|before| {
        ModuleSettings { scripts: settings.scripts.clone(), name: settings.name.clone(), ..before } == *settings
    });
    if !same {
        config.heart.pulse_ms = settings.pulse_ms.into();
        config.heart.timeout_ms = settings.timeout_ms.into();
        config.service.maxloop = settings.maxloop;
        if config.service.loop_interval_ms / HOUR_MS != u64::from(settings.loop_interval_h) {
            config.service.loop_interval_ms = u64::from(settings.loop_interval_h) * HOUR_MS;
        }
        if config.errd.polltimer_ms / 1000 != u64::from(settings.polltimer_s) {
            config.errd.polltimer_ms = u64::from(settings.polltimer_s) * 1000;
        }
        config.errd.procs = settings.processes.iter().map(|checker| proc_of(checker, &config.errd.procs)).collect();
        let rfs = config.rfs.as_mut();
        let rfs = rfs.ok_or_else(|| {
            Failure::field("directories", "this module replicates nothing: add <rfs> to its userconfig.xml")
        })?;
        rfs.directories.clone_from(&settings.directories);
        let text = config.to_xml();
        UserConfig::parse(&text).map_err(|error| Failure::invalid(vec![xml_problem(&error)]))?;
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
    for (path, file) in package.files.iter().filter(|(path, _)| path.starts_with("bin/")) {
        if file.bytes.starts_with(b"#!") && file.bytes.windows(2).any(|pair| pair == b"\r\n") {
            problems.push(FieldProblem::new(path, "the script has Windows line ends; use line feeds only"));
        }
    }
    for script in ["bin/start_prim", "bin/stop_prim"] {
        if !package.files.contains_key(script) {
            let message = "the module has no such script: the application is not started or stopped";
            warnings.push(FieldProblem::new(script, message));
        }
    }
    if config.user.is_none() {
        warnings.push(FieldProblem::new(USERCONFIG, "without <user/> no script is run"));
    }
    (problems, warnings, Some(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror() -> Package {
        template("mirror.safe").unwrap()
    }

    #[test]
    fn the_catalogue_offers_mirror_and_its_settings_can_be_read() {
        assert!(catalogue().iter().any(|entry| entry.template == "mirror.safe"));
        let settings = settings(&mirror(), "mirror").unwrap();
        assert!(settings.scripts.contains_key("start_prim"));
        assert_eq!((settings.polltimer_s, settings.timeout_ms), (10, 5000));
        assert!(template("nothing.safe").is_err());
    }

    #[test]
    fn settings_go_in_and_come_out_again() {
        let mut wanted = settings(&mirror(), "mirror").unwrap();
        wanted.directories = vec!["/srv/ledger".into()];
        wanted.timeout_ms = 5000;
        wanted.processes = vec![ProcessChecker {
            name: "ledger".into(),
            argregex: "--port 80".into(),
            atleast: 1,
            action: CheckerAction::Restart,
            class: "prim".into(),
        }];
        wanted.scripts.insert("start_prim".into(), "#!/bin/sh\nexit 0\n".into());
        let package = with_settings(&mirror(), &wanted, "mirror").unwrap();
        assert_eq!(settings(&package, "mirror").unwrap(), wanted);
        let zip = write(&package).unwrap();
        assert_eq!(settings(&read(&zip).unwrap(), "mirror").unwrap(), wanted);
        assert_eq!(check(&package).0, vec![]);
    }

    #[test]
    fn unchanged_settings_leave_the_text_as_it_was() {
        let mut same = settings(&mirror(), "mirror").unwrap();
        same.processes.retain(|process| process.name != "PROCESS_NAME");
        let once = with_settings(&mirror(), &same, "mirror").unwrap();
        let twice = with_settings(&once, &settings(&once, "mirror").unwrap(), "mirror").unwrap();
        assert_eq!(once, twice);
    }

    #[test]
    fn changes_outside_the_module_are_refused_by_name() {
        for path in ["../x", "/etc/passwd", "conf/../../x", "other/x", ""] {
            let change = FileChange { path: path.into(), text: Some(String::new()) };
            let failure = with_changes(&mirror(), &[change]).unwrap_err();
            assert_eq!(failure.0.errors[0].field, "changes[0].path", "{path}");
        }
        let gone = FileChange { path: USERCONFIG.into(), text: None };
        assert!(with_changes(&mirror(), &[gone]).is_err());
    }

    #[test]
    fn bad_xml_is_named_with_line_and_column() {
        let change = FileChange { path: USERCONFIG.into(), text: Some("<safe>\n<nonsense/>\n</safe>".into()) };
        let package = with_changes(&mirror(), &[change]).unwrap();
        let (problems, ..) = check(&package);
        assert_eq!(problems[0].field, USERCONFIG);
        assert!(problems[0].message.contains("line 2"), "{}", problems[0].message);
    }
}
