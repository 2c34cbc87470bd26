//! What a machine boots from: Debian's stock kernel with a few of its modules, the Debian tree of the hosts with systemd,
//! this build's programs. Kept in the user's cache folder but for the programs.

use crate::lab::{PROGRAMS, program_path, systemd};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The package that depends on the newest stock kernel, in the flavour for virtual machines.
const KERNEL: &str = "linux-image-cloud-amd64";

/// Modules in the order in which they can be loaded, by their paths below the kernel's folder of modules.
const MODULES: [&str; 12] = [
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "drivers/block/virtio_blk.ko",
    "drivers/net/virtio_net.ko",
    "drivers/char/hw_random/virtio-rng.ko",
    "fs/overlayfs/overlay.ko",
    "fs/fuse/fuse.ko",
];

/// The first process of a machine. Disks: the Debian tree, the programs, the machine's own. Commands come a line at a
/// time through the second serial port and are answered with their output in base64 and `END CODE`.
const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod "/modules/$module"; done
until [ -b /dev/vdc ] && [ -e /sys/class/net/eth1 ]; do sleep 0.05; done
mkdir -p /tree /layer /root
mount -t ext4 -o ro /dev/vda /tree
mount -t tmpfs tmpfs /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/tree,upperdir=/layer/upper,workdir=/layer/work overlay /root
mkdir -p /root/opt/holdfast/bin /root/disk /root/srv
mount -t ext4 -o ro /dev/vdb /root/opt/holdfast/bin
mount -t ext4 /dev/vdc /root/disk
cp /start /root/start
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
exec switch_root /root /bin/bash /start
"#;

/// What [`INIT`] becomes once the Debian tree is the root.
const START: &str = r#"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev/shm
mkdir -p /disk/srv /disk/data /disk/tmp
mount --bind /disk/srv /srv
mount --bind /disk/tmp /tmp
number=$(sed 's/.*holdfast.node=\([0-9]*\).*/\1/' /proc/cmdline)
hostname "node$number"
ip link set lo up
ip address add "10.77.0.$number/24" dev eth0
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth1
ip link set eth1 up
mkdir -p /run/holdfast
setsid /opt/holdfast/bin/holdfast-agent --data-dir /disk/data --run-dir /run/holdfast </dev/null >/run/agent.log 2>&1 &
stty -F /dev/ttyS1 raw -echo
exec </dev/ttyS1 >/dev/ttyS1
# Ready: what was said before is lost.
echo "END 0"
while read -r line; do
    bash -c "$line" >/run/output 2>&1 </dev/null
    code=$?
    base64 /run/output
    echo "END $code"
done
"#;

/// The files a machine boots from.
#[derive(Clone, Debug)]
pub struct Image {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its release, as `uname -r` says it.
    pub release: String,
    /// The first file system, in memory.
    pub initramfs: PathBuf,
    /// Disk with the Debian tree.
    pub tree: PathBuf,
    /// Disk with this build's programs.
    pub programs: PathBuf,
}

impl Image {
    /// Makes what is missing; the disk with the programs is made anew in `folder`, with `more` files (name, file) on it.
    ///
    /// # Errors
    /// A Debian package or program is missing, or a program was not built.
    pub fn make(folder: &Path, more: &[(&str, PathBuf)]) -> Result<Self> {
        let cache = systemd::cache_folder()?;
        let unpacked = kernel(&cache)?;
        let release = release(&unpacked)?;
        let tree = cache.join(systemd::TREE).with_extension("disk");
        if !tree.exists() {
            let fresh = tree.with_extension("new-disk");
            disk_of(&systemd::tree()?, &fresh, 700)?;
            std::fs::rename(&fresh, &tree)?;
        }
        let initramfs = folder.join("initramfs");
        make_initramfs(&unpacked.join("lib/modules").join(&release), folder, &initramfs)?;
        Ok(Self {
            kernel: unpacked.join("boot").join(format!("vmlinuz-{release}")),
            release,
            initramfs,
            tree,
            programs: programs(folder, more)?,
        })
    }
}

/// The unpacked package of the newest stock kernel.
fn kernel(cache: &Path) -> Result<PathBuf> {
    let depends = output(Command::new("apt-cache").args(["depends", KERNEL]))?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: ")).map(str::trim);
    let package = package.with_context(|| format!("apt knows no {KERNEL}: run `apt-get update`"))?;
    let folder = cache.join(package);
    if folder.join("boot").exists() {
        return Ok(folder);
    }
    let fresh = cache.join("kernel.new");
    let _ = std::fs::remove_dir_all(&fresh);
    std::fs::create_dir_all(&fresh)?;
    run(Command::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
        .current_dir(&fresh))?;
    let archive = std::fs::read_dir(&fresh)?.next().context("apt-get downloaded nothing")??.path();
    run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&fresh))?;
    std::fs::remove_file(&archive)?;
    std::fs::rename(&fresh, &folder)?;
    Ok(folder)
}

fn release(unpacked: &Path) -> Result<String> {
    let entry = std::fs::read_dir(unpacked.join("lib/modules"))?.next().context("the kernel has no modules")??;
    entry.file_name().into_string().ok().context("the kernel's release is no text")
}

fn make_initramfs(modules: &Path, folder: &Path, archive: &Path) -> Result<()> {
    let root = folder.join("initramfs.d");
    let _ = std::fs::remove_dir_all(&root);
    for part in ["bin", "dev", "proc", "sys", "modules"] {
        std::fs::create_dir_all(root.join(part))?;
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox"))
        .context("busybox is missing: install it with `apt-get install busybox-static`")?;
    let mut order = String::new();
    for path in MODULES {
        let from = modules.join("kernel").join(path);
        let name = from.file_name().context("no name")?.to_string_lossy().into_owned();
        std::fs::copy(&from, root.join("modules").join(&name)).with_context(|| format!("{}", from.display()))?;
        order.push_str(&name);
        order.push('\n');
    }
    std::fs::write(root.join("modules/order"), order)?;
    std::fs::write(root.join("start"), START)?;
    let init = root.join("init");
    std::fs::write(&init, INIT)?;
    std::fs::set_permissions(&init, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut find = Command::new("find").arg(".").current_dir(&root).stdout(Stdio::piped()).spawn()?;
    let names = find.stdout.take().context("no output to read")?;
    let file = std::fs::File::create(archive)?;
    run(Command::new("busybox").args(["cpio", "-o", "-H", "newc"]).current_dir(&root).stdin(names).stdout(file))?;
    ensure!(find.wait()?.success(), "find failed");
    Ok(())
}

fn programs(folder: &Path, more: &[(&str, PathBuf)]) -> Result<PathBuf> {
    let content = folder.join("programs.d");
    let _ = std::fs::remove_dir_all(&content);
    std::fs::create_dir_all(&content)?;
    let own = PROGRAMS.iter().map(|name| Ok((*name, program_path(name)?))).collect::<Result<Vec<_>>>()?;
    for (name, file) in own.iter().chain(more) {
        std::fs::copy(file, content.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    let disk = folder.join("programs.disk");
    disk_of(&content, &disk, 900)?;
    std::fs::remove_dir_all(&content)?;
    Ok(disk)
}

/// A disk of at most so many MiB with the files of a folder.
fn disk_of(content: &Path, disk: &Path, mebibytes: u64) -> Result<()> {
    empty_disk(disk, mebibytes, Some(content))
}

/// A disk with an ext4 file system.
///
/// # Errors
/// mkfs.ext4 failed.
pub fn empty_disk(disk: &Path, mebibytes: u64, content: Option<&Path>) -> Result<()> {
    let _ = std::fs::remove_file(disk);
    std::fs::File::create(disk)?.set_len(mebibytes << 20)?;
    let mut make = Command::new("mkfs.ext4");
    make.args(["-q", "-F", "-E", "lazy_itable_init=1"]);
    if let Some(content) = content {
        make.arg("-d").arg(content);
    }
    run(make.arg(disk))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program} failed ({status})");
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
