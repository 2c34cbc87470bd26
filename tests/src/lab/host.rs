//! One host: namespaces that begin with `power_on` and end, with everything in them, with `power_off`.

use crate::lab::CONSOLE;
use crate::lab::network::Network;
use crate::lab::process::{self, Process};
use crate::lab::systemd;
use crate::lab::wait::{wait_for, wait_until};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The host's first process: sets the host up, says so, and lives until its input ends. While the shell waits for `cat`
/// it reaps every process that has lost its parent.
const INIT: &str = r#"
set -e
hostname "$1"
ip link set lo up
mount --bind "$2/srv" /srv
mount --bind "$3/opt" /opt
echo up
cat >/dev/null
exit 0
"#;

/// As [`INIT`], for a host whose programs run below a real systemd: its tree is entered by [`systemd::BOOT`]. Its control
/// groups are below one of its own (`$7`): the hosts of a lab would share them otherwise.
const INIT_SYSTEMD: &str = r#"
set -e
hostname "$1"
ip link set lo up
echo up
(
    mkdir -p "$7"
    echo 0 >"$7/cgroup.procs"
    exec unshare --mount --pid --fork --cgroup --kill-child sh -c "$4" holdfast-lab-boot "$2" "$3" "$5" "$6"
) &
cat >/dev/null
exit 0
"#;

/// A host of the lab.
pub struct Host {
    number: u8,
    name: String,
    folder: PathBuf,
    lab: PathBuf,
    running: Option<Running>,
    boots: u32,
    /// The Debian tree, for a host with systemd.
    tree: Option<PathBuf>,
}

/// What exists only while the host is on.
struct Running {
    /// `unshare`; its input keeps the host alive.
    unshare: Child,
    /// The shell of [`INIT`] or [`INIT_SYSTEMD`].
    init: i32,
    /// systemd, in process, mount and cgroup namespaces of its own below `init`'s.
    systemd: Option<i32>,
    /// Devices of the FUSE mounts that it began with: copies of this machine's, somebody else's for as long as it runs
    /// (a copy keeps its device's number from being given again, even when the original is gone).
    foreign: Vec<String>,
}

impl Running {
    /// The first process where the host's programs live: systemd on a host that has it.
    fn first_process(&self) -> i32 {
        self.systemd.unwrap_or(self.init)
    }

    /// Lines of mountinfo that are FUSE file systems (not the control file system) of the host's own.
    fn mount_lines(&self) -> Vec<String> {
        let own = |line: &String| device(line).is_some_and(|device| !self.foreign.iter().any(|other| other == device));
        fuse_lines(self.first_process()).into_iter().filter(own).collect()
    }

    /// Connection numbers (minor device numbers) of those.
    fn fuse_connections(&self) -> Vec<String> {
        let minor = |line: &String| Some(device(line)?.split_once(':')?.1.to_owned());
        self.mount_lines().iter().filter_map(minor).collect()
    }
}

impl Host {
    /// A host that is off, with its folder: `srv` (mounted as /srv), `data`, `run`, `log`, `boot_id`.
    pub(crate) fn new(number: u8, lab: &Path) -> Result<Self> {
        let name = if number == CONSOLE { "console".to_owned() } else { format!("node{number}") };
        let folder = lab.join(&name);
        for part in ["srv", "data", "run", "log"] {
            std::fs::create_dir_all(folder.join(part))?;
        }
        Ok(Self { number, name, folder, lab: lab.to_path_buf(), running: None, boots: 0, tree: None })
    }

    /// Like [`Host::new`], with systemd, the product installed on its disk and its unit enabled.
    pub(crate) fn with_systemd(number: u8, lab: &Path) -> Result<Self> {
        let mut host = Self::new(number, lab)?;
        host.tree = Some(systemd::tree()?);
        systemd::install(&host.folder)?;
        Ok(host)
    }

    /// Its number, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its name, `node1` and so on.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its disk, as seen from outside (replicated directories without their mounts).
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether it is powered on.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Whether its programs run below a real systemd.
    pub fn has_systemd(&self) -> bool {
        self.tree.is_some()
    }

    /// Whether it was switched off by somebody else: its first process is gone though it was not powered off.
    pub fn has_died(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| matches!(running.unshare.try_wait(), Ok(Some(_))))
    }

    /// Number of its first process, seen from outside.
    ///
    /// # Errors
    /// The host is off.
    pub fn init(&self) -> Result<i32> {
        Ok(self.running.as_ref().with_context(|| format!("{} is off", self.name))?.first_process())
    }

    /// File that stands for the kernel's boot id.
    pub fn boot_id_file(&self) -> PathBuf {
        self.folder.join("boot_id")
    }

    /// Makes the namespaces and joins the network; a new boot id each time.
    pub(crate) fn power_on(&mut self, network: &Network) -> Result<()> {
        if self.is_on() {
            bail!("{} is on already", self.name);
        }
        self.boots += 1;
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        std::fs::write(self.boot_id_file(), boot_id(u128::from_be_bytes(id)))?;
        self.running = Some(self.start_init()?);
        network.attach(self, self.init()?)?;
        if self.tree.is_some()
            && let Some(running) = &mut self.running
        {
            running.systemd = Some(systemd::below(running.init)?);
        }
        Ok(())
    }

    fn start_init(&self) -> Result<Running> {
        let spaces = ["--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let mut unshare = Command::new("unshare");
        unshare.args(spaces).args(["sh", "-c", if self.tree.is_some() { INIT_SYSTEMD } else { INIT }]);
        unshare.args(["holdfast-lab-host", &self.name]).args([&self.folder, &self.lab]);
        if let Some(tree) = &self.tree {
            unshare.arg(systemd::BOOT).args([tree, &systemd::programs()?, &self.control_group()?]);
        }
        let mut unshare = unshare
            .stdin(Stdio::piped())
            .stdout(self.log_file("boot")?)
            .stderr(self.log_file("boot")?)
            .process_group(0)
            .spawn()
            .context("cannot run unshare")?;
        let id = i32::try_from(unshare.id())?;
        let log = self.folder.join("log/boot");
        let boots = usize::try_from(self.boots)?;
        let init = wait_for(&format!("{} to boot", self.name), Duration::from_secs(10), || {
            if let Some(status) = unshare.try_wait()? {
                bail!("unshare ended ({status}): {}", std::fs::read_to_string(&log)?);
            }
            let up = std::fs::read_to_string(&log)?.matches("up\n").count() >= boots;
            Ok(up.then(|| process::children_of(id).first().map(|child| child.pid)).flatten())
        })?;
        let foreign = fuse_lines(init).iter().filter_map(|line| device(line).map(str::to_owned)).collect();
        Ok(Running { unshare, init, systemd: None, foreign })
    }

    /// Ends every process of the host at once; mounts, network and connections end with them.
    pub(crate) fn power_off(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        let mounts = running.fuse_connections();
        let init = Process { pid: running.init, name: "init".into(), words: Vec::new() };
        init.signal(Signal::KILL)?;
        let mut gone = |seconds| {
            wait_until("the host to end", Duration::from_secs(seconds), || Ok(running.unshare.try_wait()?.is_some()))
        };
        if gone(3).is_err() {
            // A process that waits for an answer of its own mount cannot be killed: abort the mount.
            abort(&mounts);
            gone(10).with_context(|| format!("{} does not power off", self.name))?;
        }
        if self.tree.is_some() {
            systemd::remove_groups(&self.control_group()?);
        }
        Ok(())
    }

    /// Where the control groups of a host with systemd are, seen from outside.
    ///
    /// # Errors
    /// This machine has no cgroup v2.
    pub fn control_group(&self) -> Result<PathBuf> {
        let lab = self.lab.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(systemd::groups()?.join(format!("holdfast-lab-{}-{lab}-{}", std::process::id(), self.name)))
    }

    /// A command that runs on the host.
    ///
    /// # Errors
    /// The host is off.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.init()?.to_string(), "--net", "--mount", "--uts", "--ipc", "--pid", "--"])
            .arg(program)
            .env("HOLDFAST_SOCKET", self.folder.join("run/agent.sock"))
            .current_dir("/")
            .process_group(0);
        Ok(command)
    }

    /// Runs a program on the host until it ends, at most `seconds`.
    ///
    /// # Errors
    /// The host is off or the program cannot be started; its failure is in the output.
    pub fn output(&self, seconds: u32, program: &str, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command("timeout")?;
        command.args(["--kill-after=1", &seconds.to_string(), program]).args(arguments).stdin(Stdio::null());
        command.output().with_context(|| format!("cannot run {program} on {}", self.name))
    }

    /// Runs a shell line on the host and demands success; what it printed.
    ///
    /// # Errors
    /// The host is off, or the line failed or took longer than a minute.
    pub fn shell(&self, line: &str) -> Result<String> {
        let output = self.output(60, "sh", &["-c", line])?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("`{line}` failed on {} ({}): {}", self.name, output.status, stderr.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Lets the host know addresses by these names (lines of /etc/hosts), and by no others any more.
    ///
    /// # Errors
    /// The host is off, or the file cannot be written.
    pub fn know_names(&self, lines: &str) -> Result<()> {
        let file = self.folder.join("hosts");
        // Written in place: it is mounted from the first time on.
        std::fs::write(&file, format!("127.0.0.1 localhost\n{lines}"))?;
        let mount = format!("mount --bind {} /etc/hosts", file.display());
        self.shell(&format!("grep -q ' /etc/hosts ' /proc/self/mounts || {mount}"))?;
        Ok(())
    }

    /// Starts a program on the host in the background; its output goes to `log/LOG`. It belongs to the host's first
    /// process (nobody outside waits for it) and ends with the host at the latest.
    ///
    /// # Errors
    /// The host is off.
    pub fn spawn(&self, log: &str, program: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("setsid")?;
        command.args(["--fork", program]).args(arguments).stdin(Stdio::null());
        let status = command.stdout(self.log_file(log)?).stderr(self.log_file(log)?).status();
        let status = status.with_context(|| format!("cannot start {program} on {}", self.name))?;
        if !status.success() {
            bail!("{program} does not start on {} ({status})", self.name);
        }
        Ok(())
    }

    fn log_file(&self, name: &str) -> Result<File> {
        let path = self.folder.join("log").join(name);
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))
    }

    /// Every process on the host but its first and the `cat` that this one waits for.
    pub fn processes(&self) -> Vec<Process> {
        let Some(running) = &self.running else { return Vec::new() };
        let mut all = process::in_namespace_of(running.first_process());
        all.retain(|process| process.words != ["cat"]);
        all
    }

    /// The host's processes with this command name (its first 15 bytes count).
    pub fn named(&self, name: &str) -> Vec<Process> {
        let name = &name[..name.len().min(15)];
        self.processes().into_iter().filter(|process| process.name == name).collect()
    }

    /// Sends a signal to every process of that name; how many there were.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<usize> {
        let found = self.named(name);
        for process in &found {
            process.signal(signal)?;
        }
        Ok(found.len())
    }

    /// Freezes every process of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn stop_process(&self, name: &str) -> Result<()> {
        if self.signal(name, Signal::STOP)? == 0 {
            bail!("no {name} runs on {}", self.name);
        }
        Ok(())
    }

    /// Lets frozen processes of that name go on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn cont(&self, name: &str) -> Result<()> {
        self.signal(name, Signal::CONT).map(|_| ())
    }

    /// Mount points of FUSE file systems on the host.
    pub fn fuse_mounts(&self) -> Vec<String> {
        let Some(running) = &self.running else {
            return Vec::new();
        };
        running.mount_lines().iter().filter_map(|line| Some(line.split_whitespace().nth(4)?.to_owned())).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            abort(&running.fuse_connections());
        }
        if let Err(error) = self.power_off() {
            let _ = writeln!(std::io::stderr(), "{error:#}");
        }
    }
}

/// Number of the device that a line of mountinfo is about.
fn device(line: &str) -> Option<&str> {
    line.split_whitespace().nth(2)
}

/// Lines of mountinfo that are FUSE file systems (not the control file system), seen by this process.
fn fuse_lines(pid: i32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let is_fuse = |line: &&str| {
        line.split_once(" - ").is_some_and(|(_, rest)| rest.starts_with("fuse ") || rest.starts_with("fuse."))
    };
    text.lines().filter(is_fuse).map(str::to_owned).collect()
}

fn abort(connections: &[String]) {
    for connection in connections {
        // Gone already, or the control file system is not mounted: the end of the replica aborts it as well.
        let _ = std::fs::write(format!("/sys/fs/fuse/connections/{connection}/abort"), "1");
    }
}

/// A boot id as the kernel writes it.
fn boot_id(number: u128) -> String {
    let hex = format!("{number:032x}");
    format!("{}-{}-{}-{}-{}\n", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
