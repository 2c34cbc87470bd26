//! Hosts whose first process is a real systemd: a small Debian tree, an overlay over it for each host, and the product's
//! own unit files.
//!
//! The tree is made once by mmdebstrap from Debian's packages and kept in the user's cache folder.

use crate::lab::process;
use crate::lab::program_path;
use crate::lab::wait::wait_for;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the tree holds beside the essential packages.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,python3";

/// Changes when the tree has to be made anew.
pub(crate) const TREE: &str = "debian-tree-3";

/// Runs inside the host's network, becomes systemd. `$1` the host's folder, `$2` the lab's, `$3` the tree, `$4` the
/// programs.
///
/// The host boots when its cable is there: on a real machine `network-online.target` comes before the agent.
pub(crate) const BOOT: &str = r#"
set -e
until ip -4 -o address show dev eth0 2>/dev/null | grep -q inet; do sleep 0.02; done
root="$1/root"
mkdir -p "$1/upper" "$1/work" "$root"
mount -t overlay overlay -o lowerdir="$3",upperdir="$1/upper",workdir="$1/work" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty fuse; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root/dev/shm" "$root/srv" "$root/opt/holdfast/bin" "$root$2"
mount --bind "$1/srv" "$root/srv"
mount --bind "$4" "$root/opt/holdfast/bin"
mount --bind "$2" "$root$2"
cd "$root"
mkdir -p .before
pivot_root . .before
umount -l /.before
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init </dev/null
"#;

/// Where what takes long to make is kept.
///
/// # Errors
/// HOME is not set.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(cache.join("holdfast"))
}

/// The folder of the Debian tree, made if it is not there.
///
/// # Errors
/// mmdebstrap is missing or failed.
pub(crate) fn tree() -> Result<PathBuf> {
    let folder = cache_folder()?.join(TREE);
    if folder.join("sbin/init").exists() {
        return Ok(folder);
    }
    let fresh = folder.with_extension("new");
    let _ = std::fs::remove_dir_all(&fresh);
    std::fs::create_dir_all(&fresh).with_context(|| format!("cannot make {}", fresh.display()))?;
    println!("(making a Debian tree in {}: this takes a minute or two, once)", folder.display());
    let suite = std::fs::read_to_string("/etc/os-release")?;
    let suite = suite
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no VERSION_CODENAME: the hosts with systemd need a Debian machine")?;
    let archive = folder.with_extension("tar");
    let made = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", &format!("--include={PACKAGES}"), suite])
        .arg(&archive)
        .stdin(Stdio::null())
        .status()
        .context("cannot run mmdebstrap: install it with `apt-get install mmdebstrap`")?;
    if !made.success() {
        bail!("mmdebstrap failed ({made}), see above: it fetches {suite} from Debian's archive as apt does");
    }
    let unpacked = Command::new("tar").arg("-xpf").arg(&archive).arg("-C").arg(&fresh).status()?;
    std::fs::remove_file(&archive)?;
    if !unpacked.success() {
        bail!("the Debian tree cannot be unpacked ({unpacked})");
    }
    std::fs::rename(&fresh, &folder)?;
    Ok(folder)
}

/// Where this build's programs are.
pub(crate) fn programs() -> Result<PathBuf> {
    let agent = program_path("holdfast-agent")?;
    Ok(agent.parent().context("no folder")?.to_path_buf())
}

/// Where this machine has cgroup v2.
///
/// # Errors
/// It has none.
pub(crate) fn groups() -> Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mounted = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let place =
        mounted.filter(|words| words.get(2) == Some(&"cgroup2")).find_map(|words| words.get(1).map(PathBuf::from));
    place.context("no cgroup v2 is mounted on this machine: hosts with systemd need it")
}

/// Removes a control group that nobody is in any more, with all below it.
pub(crate) fn remove_groups(group: &Path) {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_groups(&entry.path());
        }
    }
    // The kernel takes a moment to forget the processes: what is left then is empty and in nobody's way.
    let _ = std::fs::remove_dir(group);
}

/// Waits until systemd has become the first process of the namespaces that [`BOOT`] runs in, below a host's first process
/// `init`; its number. It takes orders only some time later.
pub(crate) fn below(init: i32) -> Result<i32> {
    wait_for("systemd to start", Duration::from_secs(20), || {
        let boot = process::children_of(init).into_iter().find(|child| child.name == "unshare");
        let first = boot.and_then(|boot| process::children_of(boot.pid).into_iter().next());
        Ok(first.filter(|first| first.name == "systemd").map(|first| first.pid))
    })
}

/// Installs the product on a host's disk as a package would: programs, unit file, the unit enabled. Only the places of
/// its files and of the boot id are the lab's.
pub(crate) fn install(host: &Path) -> Result<()> {
    let upper = host.join("upper");
    let (bin, units) = (upper.join("usr/bin"), upper.join("etc/systemd/system"));
    let (wants, dropins) = (units.join("multi-user.target.wants"), units.join("holdfast-agent.service.d"));
    for folder in [&bin, &units, &wants, &dropins] {
        std::fs::create_dir_all(folder)?;
    }
    for program in ["holdfast-agent", "holdfast-replica", "holdfast"] {
        std::os::unix::fs::symlink(format!("/opt/holdfast/bin/{program}"), bin.join(program))?;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/systemd/holdfast-agent.service");
    std::fs::copy(&unit, units.join("holdfast-agent.service")).context("the agent's unit file")?;
    std::os::unix::fs::symlink("../holdfast-agent.service", wants.join("holdfast-agent.service"))?;
    let path = |part: &str| host.join(part).display().to_string();
    let (data, run, boot) = (path("data"), path("run"), path("boot_id"));
    let lab = format!(
        "[Service]\nExecStart=\nExecStart=/usr/bin/holdfast-agent --data-dir {data} --run-dir {run} --boot-id-file {boot}\n\
         ExecStopPost=\nExecStopPost=/usr/bin/holdfast release-addresses --run-dir {run}\n\
         StandardOutput=append:{log}\nStandardError=append:{log}\n",
        log = path("log/agent")
    );
    std::fs::write(dropins.join("lab.conf"), lab)?;
    Ok(())
}
