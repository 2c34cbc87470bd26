//! GlusterFS, as Debian ships it: one volume with a brick on each of two hosts of the lab, and a client on the first one's
//! network.

use super::helper::{Helper, wait_for_mount};
use crate::lab::Lab;
use crate::lab::host::Host;
use crate::lab::wait::wait_until;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Debian's program (package glusterfs-server).
const PROGRAM: &str = "/usr/sbin/glusterd";
/// What a daemon or a client takes to answer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest heal.
const HEAL: Duration = Duration::from_secs(600);
/// Time between two questions about it, which take the daemon's time.
const HEAL_LOOK: Duration = Duration::from_millis(500);

/// Daemons keep what they know and say below the host's own disk.
const PREPARE: &str = r"
set -e
mkdir -p $0/gluster/lib $0/gluster/log /srv/brick
mount -t tmpfs tmpfs /run
mkdir /run/gluster
mount --bind $0/gluster/lib /var/lib/glusterd
mount --bind $0/gluster/log /var/log/glusterfs
";

/// A running volume; dropped, its client, its hosts and everything of them end.
pub struct Gluster {
    // Ended in this order.
    client: Client,
    volume: Volume,
}

impl Gluster {
    /// Starts both daemons and mounts the volume on a new folder `at`.
    ///
    /// # Errors
    /// glusterfs-server is not installed, or does not do as it is told.
    pub fn start(at: &Path) -> Result<Self> {
        ensure!(
            Path::new(PROGRAM).exists(),
            "{PROGRAM} is missing: install it with `apt-get install glusterfs-server`"
        );
        let volume = Volume { lab: Lab::new("gluster")? };
        volume.make().with_context(|| volume.printed())?;
        let client = Client::start(&volume, at)?;
        // Before both bricks are there, one alone takes the writes.
        volume.await_healed()?;
        Ok(Self { client, volume })
    }

    /// Where the volume is mounted.
    pub fn mount(&self) -> PathBuf {
        self.client.mount.clone()
    }

    /// Whether the client keeps writes back, to send several at once: on, as shipped, an application hears of a write that
    /// no brick has yet.
    ///
    /// # Errors
    /// The daemon refuses.
    pub fn set_write_behind(&self, on: bool) -> Result<()> {
        let word = if on { "on" } else { "off" };
        self.volume.order(&format!("volume set bench performance.write-behind {word}"))
    }

    /// The second host dies.
    ///
    /// # Errors
    /// It does not end.
    pub fn part(&mut self) -> Result<()> {
        self.volume.lab.kill_node(2)
    }

    /// Switches the second host on again, and waits until its brick has everything.
    ///
    /// # Errors
    /// It does not start, or does not come into step.
    pub fn join(&mut self) -> Result<()> {
        self.volume.lab.power_on(2)?;
        start_daemon(self.volume.host(2))?;
        self.volume.await_healed()
    }
}

struct Volume {
    lab: Lab,
}

impl Volume {
    fn make(&self) -> Result<()> {
        for number in [1, 2] {
            start_daemon(self.host(number))?;
        }
        let [one, two] = [1, 2].map(|number| self.lab.network().address(number));
        self.order(&format!("peer probe {two}"))?;
        for number in [1, 2] {
            let joined = |text: &str| text.contains("Peer in Cluster (Connected)");
            wait_until("both daemons to know each other", PATIENCE, || {
                Ok(joined(&order(self.host(number), "peer status")?))
            })?;
        }
        self.order(&format!("volume create bench replica 2 {one}:/srv/brick/data {two}:/srv/brick/data force"))?;
        self.order("volume start bench")
    }

    /// Waits until both bricks answer and nothing is left to heal.
    fn await_healed(&self) -> Result<()> {
        wait_until("both bricks to be in step", HEAL, || {
            std::thread::sleep(HEAL_LOOK);
            // Refused until the daemon that heals has found both bricks.
            order(self.host(1), "volume heal bench")?;
            let told = order(self.host(1), "volume heal bench info")?;
            let healed = told.lines().filter(|line| line.trim() == "Number of entries: 0").count();
            Ok(healed == 2 && told.matches("Status: Connected").count() == 2)
        })
    }

    fn order(&self, words: &str) -> Result<()> {
        order(self.host(1), words).map(drop)
    }

    fn host(&self, number: u8) -> &Host {
        self.lab.host(number)
    }

    /// The last lines of what the first daemon printed.
    fn printed(&self) -> String {
        let text = std::fs::read_to_string(self.host(1).folder().join("gluster/log/glusterd.log")).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        format!("glusterd printed: {}", all[all.len().saturating_sub(5)..].join("\n"))
    }
}

impl Drop for Volume {
    /// A brick has tens of thousands of folders of its own: removing them takes longer than a lab waits for its end.
    fn drop(&mut self) {
        for number in [1, 2] {
            // What fails is the lab's to end.
            if self.lab.power_off(number).is_ok() {
                let _ = std::fs::remove_dir_all(self.host(number).folder().join("srv/brick"));
            }
        }
    }
}

/// The client; dropped, its mount is taken away, and it ends by that.
struct Client {
    mount: PathBuf,
    _program: Helper,
}

impl Client {
    fn start(volume: &Volume, mount: &Path) -> Result<Self> {
        std::fs::create_dir(mount)?;
        // Its network is the host's; its mount is this program's, as every other place that is measured.
        let mut command = Command::new("nsenter");
        command.args(["--target", &volume.host(1).init()?.to_string(), "--net", "glusterfs", "--no-daemon"]);
        command.arg(format!("--volfile-server={}", volume.lab.network().address(1))).arg("--volfile-id=bench");
        command.arg(format!("--log-file={}.log", mount.display())).arg(mount);
        // It does not look at its input: it ends with the bench, however that ends.
        // SAFETY: between fork and exec only one system call is made.
        unsafe {
            command.pre_exec(|| Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let program = Helper::start(&mut command)?;
        wait_for_mount(mount)?;
        Ok(Self { mount: mount.to_owned(), _program: program })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Its program ends by that.
        let _ = rustix::mount::unmount(&self.mount, rustix::mount::UnmountFlags::DETACH);
    }
}

fn start_daemon(host: &Host) -> Result<()> {
    let folder = host.folder().display().to_string();
    let prepared = host.output(60, "sh", &["-c", PREPARE, &folder])?;
    ensure!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    host.spawn("glusterd", PROGRAM, &["--no-daemon"])?;
    wait_until("glusterd to answer", PATIENCE, || order(host, "pool list").map(|_| true))
}

fn order(host: &Host, words: &str) -> Result<String> {
    host.shell(&format!("gluster --mode=script {words}"))
}
