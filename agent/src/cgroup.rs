//! Control groups below the agent's unit: one of its own for the agent, one for the scripts and one for the data plane of
//! each module.
//!
//! ```text
//! holdfast-agent.service/agent                               the agent
//!                        module-bank.scripts/start_prim.1    what one run of a script made, daemons too
//!                        module-bank.replica                 the data plane
//! ```
//! They show what a module takes (`systemd-cgls`, `systemd-cgtop`) and hold what a script started even where it left the
//! script's process group. Without systemd, `Delegate=` or cgroup v2 there are none, and everything else goes on.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::process::Command;

/// Where cgroup v2 is mounted.
const ROOT: &str = "/sys/fs/cgroup";
/// Name of the agent's own group, as `DelegateSubgroup=` of its unit says.
const AGENT: &str = "agent";
/// What is accounted for each group. Not `cpu`: it would weigh the groups against each other and take the agent's
/// precedence away; the time that a group took is counted without it.
const CONTROLLERS: [&str; 2] = ["+memory", "+pids"];
/// Rounds of signals where the kernel (before 5.14) cannot end a group at once.
const ROUNDS: usize = 100;

/// The unit's folder, if it is the agent's to divide.
static UNIT: OnceLock<PathBuf> = OnceLock::new();
/// Groups in use by this process: not to be removed, even while they are empty.
static HELD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Divides the unit's control group, once, before anything is started.
pub fn divide_unit() {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    match divide(Path::new(ROOT), &own) {
        Ok(unit) => {
            tracing::info!(unit = %unit.display(), "modules have control groups of their own");
            let _ = UNIT.set(unit);
        }
        Err(why) => tracing::info!("modules have no control groups of their own: {why:#}"),
    }
}

fn divide(root: &Path, own: &str) -> Result<PathBuf> {
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).context("this machine has no cgroup v2")?;
    let (unit, placed) = own.strip_suffix(&format!("/{AGENT}")).map_or((own, false), |unit| (unit, true));
    ensure!(unit.ends_with(".service"), "the agent is no service of systemd");
    let unit = root.join(unit.trim_start_matches('/'));
    ensure!(unit.join("cgroup.procs").exists(), "cgroup v2 is not mounted at {}", root.display());
    ensure!(delegated(&unit), "the agent's unit lacks Delegate=: take the unit file of this version");
    if placed {
        for controller in CONTROLLERS {
            if let Err(error) = std::fs::write(unit.join("cgroup.subtree_control"), controller) {
                tracing::info!("{} of the modules is not accounted apart: {error}", &controller[1..]);
            }
        }
    } else {
        // A systemd without DelegateSubgroup= (before 254) starts the next agent in the unit's own group: that fails once
        // there are controllers below it, so nothing is accounted apart.
        let leaf = unit.join(AGENT);
        make_dir(&leaf)?;
        std::fs::write(leaf.join("cgroup.procs"), "0").context("the agent cannot enter a group of its own")?;
    }
    Ok(unit)
}

/// Whether systemd leaves what is below the group to the service.
fn delegated(unit: &Path) -> bool {
    let mut value = [0; 8];
    let mut is_set =
        |name| rustix::fs::getxattr(unit, name, &mut value[..]).is_ok_and(|length| value[..length] == *b"1");
    is_set("user.delegate") || is_set("trusted.delegate")
}

fn make_dir(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The group of a module's scripts and programs; each run gets its own below.
#[derive(Clone, Debug)]
pub struct Runs(PathBuf);

/// What the runs of a module are in; `None`: there are no groups.
pub fn runs_of(module: &str) -> Option<Runs> {
    UNIT.get().map(|unit| Runs(unit.join(format!("module-{module}.scripts"))))
}

/// Puts a module's data plane into its group as it starts.
pub fn place_replica(module: &str, command: &mut Command) {
    let Some(group) = UNIT.get().map(|unit| unit.join(format!("module-{module}.replica"))) else { return };
    if let Err(error) = make_dir(&group).and_then(|()| enter(&group, command)) {
        tracing::warn!(module, "the data plane runs in the agent's control group: {error}");
    }
}

/// The command will run in the group.
fn enter(group: &Path, command: &mut Command) -> io::Result<()> {
    let members = File::options().write(true).open(group.join("cgroup.procs"))?;
    // SAFETY: between fork and exec only `write` is called, which is safe in a signal handler; the buffer is as long as
    // said and the file is open, since the closure owns it.
    unsafe {
        command.pre_exec(move || {
            // Refused: it runs where the agent runs, which is better than not at all.
            libc::write(members.as_raw_fd(), b"0".as_ptr().cast(), 1);
            Ok(())
        });
    }
    Ok(())
}

fn held() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runs {
    /// A new group for a run of `name`. Groups of earlier runs go if nothing is left in them.
    pub fn group(&self, name: &str) -> io::Result<Group> {
        make_dir(&self.0)?;
        let mut held = held();
        for group in self.groups() {
            if !held.contains(&group) {
                // Refused while somebody is in it.
                let _ = std::fs::remove_dir(group);
            }
        }
        let mut numbers = 1_u64..;
        loop {
            let path = self.0.join(format!("{name}.{}", numbers.next().unwrap_or_default()));
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    held.insert(path.clone());
                    return Ok(Group(path));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn groups(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
    }

    /// Ends everything that earlier runs of `name` have left; how many processes it was. Runs that this agent follows go
    /// on: several resources may be looked at by one program.
    pub fn end_left_of(&self, name: &str) -> usize {
        let held = held();
        let of_it = |group: &PathBuf| {
            if held.contains(group) {
                return false;
            }
            let file = group.file_name().and_then(|file| file.to_str());
            file.and_then(|file| file.rsplit_once('.')).is_some_and(|(script, _)| script == name)
        };
        self.groups().iter().filter(|group| of_it(group)).map(|group| end(group)).sum()
    }
}

/// The group of a run that a former agent followed.
#[derive(Debug)]
pub struct LeftRun(PathBuf);

/// The group that a process is in, if it is that of a run which this agent does not follow.
pub fn left_run(pid: u32) -> Option<LeftRun> {
    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let group = run_below(UNIT.get()?, Path::new(ROOT), &own)?;
    (!held().contains(&group)).then_some(LeftRun(group))
}

/// Where a process is that is in the group of a run below the unit.
fn run_below(unit: &Path, root: &Path, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let group = root.join(path);
    let runs = group.parent()?;
    let of_scripts = runs.file_name()?.to_str()?.ends_with(".scripts");
    (of_scripts && runs.parent()? == unit).then_some(group)
}

impl LeftRun {
    /// Ends every process in it at once.
    pub fn end(&self) {
        end(&self.0);
    }
}

/// The group of one run, while the agent follows it. What goes on after the run's end stays in it.
#[derive(Debug)]
pub struct Group(PathBuf);

impl Group {
    /// The command will run in it.
    pub fn enter(&self, command: &mut Command) -> io::Result<()> {
        enter(&self.0, command)
    }

    /// Asks every process in it to end.
    pub fn ask(&self) {
        signal(&self.0, Signal::TERM);
    }

    /// Ends every process in it at once.
    pub fn end(&self) {
        end(&self.0);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        held().remove(&self.0);
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn members(group: &Path) -> Vec<Pid> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect()
}

fn signal(group: &Path, signal: Signal) -> usize {
    let members = members(group);
    for member in &members {
        let _ = kill_process(*member, signal);
    }
    members.len()
}

/// Ends every process of a group, those too that are being made; how many there were.
fn end(group: &Path) -> usize {
    let found = members(group).len();
    if found > 0 && std::fs::write(group.join("cgroup.kill"), "1").is_err() {
        (0..ROUNDS).any(|_| signal(group, Signal::KILL) == 0);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Runs, divide, run_below};
    use std::path::{Path, PathBuf};

    /// A folder looks enough like a control group for what is decided by names.
    #[test]
    fn each_run_has_its_own_group_and_empty_ones_of_earlier_runs_go() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs(dir.path().join("module-m.scripts"));
        let (first, second) = (runs.group("start_prim").unwrap(), runs.group("start_prim").unwrap());
        assert!(first.0.ends_with("start_prim.1") && second.0.ends_with("start_prim.2"));
        let third = runs.group("stop_prim").unwrap();
        assert!(first.0.exists() && third.0.exists(), "a group in use is kept");
        // Somebody lives in it: it outlasts its run.
        std::fs::write(second.0.join("daemon"), "").unwrap();
        let left = second.0.clone();
        drop((first, second, third));
        assert_eq!(runs.groups(), [left]);
    }

    #[test]
    fn the_run_of_a_process_is_known_by_its_place_below_the_unit() {
        let root = Path::new("/cg");
        let unit = root.join("system.slice/holdfast-agent.service");
        let run = |own: &str| run_below(&unit, root, &format!("4:memory:/x\n0::/system.slice/{own}\n"));
        let found = run("holdfast-agent.service/module-m.scripts/level.2").unwrap();
        assert_eq!(found, unit.join("module-m.scripts/level.2"));
        for other in [
            "holdfast-agent.service/agent",
            "holdfast-agent.service/module-m.replica",
            "holdfast-agent.service/module-m.scripts",
            "holdfast-agent.service/module-m.scripts/level.2/deeper",
            "other.service/module-m.scripts/level.2",
        ] {
            assert_eq!(run(other), None, "{other}");
        }
    }

    #[test]
    fn only_a_delegated_service_is_divided() {
        let dir = tempfile::tempdir().unwrap();
        let unit = dir.path().join("system.slice/holdfast-agent.service");
        let why = |own: &str| format!("{:#}", divide(dir.path(), own).unwrap_err());
        assert!(why("4:memory:/x\n").contains("no cgroup v2"));
        assert!(why("0::/user.slice/session-1.scope\n").contains("no service"));
        assert!(why("0::/system.slice/holdfast-agent.service\n").contains("not mounted"));
        std::fs::create_dir_all(&unit).unwrap();
        std::fs::write(unit.join("cgroup.procs"), "").unwrap();
        assert!(why("0::/system.slice/holdfast-agent.service/agent\n").contains("Delegate="));
        assert!(!unit.join("agent").exists(), "nothing was changed");
    }

    /// A delegated unit, as far as files can be one.
    fn unit_in(root: &Path) -> PathBuf {
        let unit = root.join("system.slice/holdfast-agent.service");
        std::fs::create_dir_all(&unit).unwrap();
        std::fs::write(unit.join("cgroup.procs"), "").unwrap();
        rustix::fs::setxattr(&unit, "user.delegate", b"1", rustix::fs::XattrFlags::empty()).unwrap();
        unit
    }

    #[test]
    fn agent_that_systemd_placed_in_a_group_of_its_own_has_its_modules_accounted_apart() {
        let dir = tempfile::tempdir().unwrap();
        let unit = unit_in(dir.path());
        std::fs::create_dir(unit.join("agent")).unwrap();
        assert_eq!(divide(dir.path(), "0::/system.slice/holdfast-agent.service/agent\n").unwrap(), unit);
        assert_eq!(
            std::fs::read_to_string(unit.join("cgroup.subtree_control")).unwrap(),
            "+pids",
            "the last one written"
        );
        assert!(!unit.join("agent/cgroup.procs").exists(), "the agent moved though it was placed");
    }

    #[test]
    fn agent_of_an_older_systemd_enters_a_group_of_its_own_and_accounts_nothing_apart() {
        let dir = tempfile::tempdir().unwrap();
        let unit = unit_in(dir.path());
        for start in ["first", "a restart"] {
            assert_eq!(divide(dir.path(), "0::/system.slice/holdfast-agent.service\n").unwrap(), unit, "{start}");
            assert_eq!(std::fs::read_to_string(unit.join("agent/cgroup.procs")).unwrap(), "0", "{start}");
        }
        // With controllers below it systemd could not start the next agent in the unit's group.
        assert!(!unit.join("cgroup.subtree_control").exists());
    }
}
