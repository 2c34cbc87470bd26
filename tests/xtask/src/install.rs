//! Installs what a fresh Debian 12 machine lacks, and says so.

use crate::command;
use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the labs need: addresses, links and packet filters of network namespaces, and a client of the interface.
pub const LAB: &[&str] = &["iproute2", "nftables", "procps", "util-linux", "hostname", "curl"];
/// What the tree of the hosts with systemd is made by.
pub const TREE: &[&str] = &["mmdebstrap"];
/// What emulated machines are made by.
pub const MACHINES: &[&str] = &["qemu-system-x86", "busybox-static", "e2fsprogs", "util-linux"];
/// What the register witness in etcd is tried with.
pub const ETCD: &[&str] = &["etcd-server"];
/// What tries the mount as programs do.
pub const SUITES: &[&str] = &["git", "stress-ng", "libacl1-dev", "gcc", "libc6-dev"];
/// Suites of file systems that are programs of crates.io, at these versions.
pub const SUITE_CRATES: &[(&str, &str)] = &[("fsx", "0.3.2"), ("pjdfstest", "0.2.2")];
/// What the browser ring needs.
pub const BROWSER: &[&str] = &["chromium", "chromium-driver", "fonts-dejavu-core"];
/// What the benches measure Holdfast beside.
pub const PEERS: &[&str] = &["keepalived"];
/// libfuse's examples, one of which is compiled and measured.
pub const PASSTHROUGH: &[&str] = &["libfuse3-dev", "gcc", "libc6-dev"];
/// What the bench measures replicated files beside, when it is asked to.
pub const GLUSTERFS: &[&str] = &["glusterfs-server"];
/// What the mount, an upgrade and `--app postgresql` are tried with.
pub const POSTGRESQL: &[&str] = &["postgresql"];

/// The wasm target of the toolchain in use.
///
/// # Errors
/// rustup is missing or failed.
pub fn wasm_target() -> Result<()> {
    const TARGET: &str = "wasm32-unknown-unknown";
    let there = command::output("rustc", &["--print", "target-libdir", "--target", TARGET])
        .is_some_and(|folder| std::path::Path::new(folder.trim()).is_dir());
    if there {
        return Ok(());
    }
    println!("The toolchain lacks {TARGET}, which the console needs; installing it.");
    command::run(Command::new("rustup").args(["target", "add", TARGET]))
}

/// rustfmt and clippy of the toolchain in use.
///
/// # Errors
/// rustup is missing or failed.
pub fn components() -> Result<()> {
    for (program, component) in [("rustfmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        if command::output(program, &["--version"]).is_none() {
            println!("The toolchain lacks {component}; installing it.");
            command::run(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

/// Debian packages; those that are installed already cost one query.
///
/// # Errors
/// Not running as root (the text is the exact command to run), or apt failed.
pub fn packages(wanted: &[&str], needed_for: &str) -> Result<()> {
    let missing: Vec<&str> = wanted.iter().copied().filter(|package| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !command::is_root() {
        bail!(
            "{needed_for} needs Debian packages that are missing here. Install them with:\n    sudo apt-get install -y {list}"
        );
    }
    println!("{needed_for} needs {list}; installing with apt-get.");
    if missing.iter().any(|package| command::output("apt-cache", &["show", package]).is_none()) {
        command::run(apt().arg("update"))?;
    }
    command::run(apt().args(["install", "-y", "--no-install-recommends"]).args(&missing))
}

/// What the lock file of `folder` names, from the npm registry; nothing is asked of it when that is there already.
///
/// # Errors
/// Node is missing and cannot be installed, or npm failed.
pub fn npm(folder: &Path, needed_for: &str) -> Result<()> {
    let lock = std::fs::read(folder.join("package-lock.json"))?;
    let stamp = folder.join("node_modules/.of-lock-file");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    if command::output("npm", &["--version"]).is_none() {
        packages(&["nodejs", "npm"], needed_for)?;
    }
    println!("{needed_for} needs npm packages; installing those of {}.", folder.join("package-lock.json").display());
    command::run(Command::new("npm").arg("ci").current_dir(folder))?;
    Ok(std::fs::write(stamp, lock)?)
}

/// What makes requests from an OpenAPI document, from PyPI into a folder of its own below `target`; its program.
///
/// # Errors
/// Python is missing and cannot be installed, or pip failed.
pub fn schemathesis(target: &Path, needed_for: &str) -> Result<PathBuf> {
    const WANTED: &str = "schemathesis==4.32.5";
    let folder = target.join("schemathesis");
    let (program, stamp) = (folder.join("bin/schemathesis"), folder.join(".installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == WANTED) {
        return Ok(program);
    }
    if command::output("python3", &["-c", "import ensurepip, venv"]).is_none() {
        packages(&["python3", "python3-venv"], needed_for)?;
    }
    println!("{needed_for} needs {WANTED}; installing it into {}.", folder.display());
    command::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    command::run(Command::new(folder.join("bin/pip")).args(["install", "-q", WANTED]))?;
    std::fs::write(stamp, WANTED)?;
    Ok(program)
}

/// Programs of crates.io, below the target folder; those that are there cost a look at a file.
///
/// # Errors
/// Cargo cannot fetch or build one.
pub fn crates(root: &Path, target: &Path, wanted: &[(&str, &str)], needed_for: &str) -> Result<()> {
    for (name, version) in wanted {
        let (tools, stamp) = (target.join("tools"), target.join(format!("tools/{name}-{version}")));
        if stamp.exists() && tools.join("bin").join(name).exists() {
            continue;
        }
        println!("{needed_for} needs {name} {version}; installing it below {}.", tools.display());
        let mut cargo = command::cargo(root, &["install", "--locked", "--force", "--version", version, name]);
        command::run(cargo.arg("--root").arg(&tools).arg("--target-dir").arg(target.join("tools-build")))?;
        std::fs::write(stamp, "")?;
    }
    Ok(())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // Another apt may be at work on a fresh machine (unattended upgrades): wait for it.
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "DPkg::Lock::Timeout=900"]);
    command
}

fn installed(package: &str) -> bool {
    command::output("dpkg-query", &["-W", "-f", "${Status}", package])
        .is_some_and(|status| status.contains("ok installed"))
}
