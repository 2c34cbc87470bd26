//! What the data plane promises, seen from applications and disks: settings of `<rfs>`, several directories, syncs,
//! full disks.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress};
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

/// Makes this program one that writes a file through a memory map, for the scenario that runs it on a host.
pub const WRITE_MAPPED: &str = "--write-mapped";
/// As the bank's configuration has it.
const ASYNC: &str = r#"<rfs async="second">"#;
const DIRECTORY: &str = r#"<replicated dir="/srv/bank" mode="read_only"/>"#;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "async_none_acknowledges_what_is_on_the_disk_of_the_secondary", run: async_none },
    Scenario { name: "fsync_and_msync_reach_both_disks", run: syncs },
    Scenario { name: "several_directories_are_replicated_and_a_mount_point_is_one", run: several_directories },
    Scenario { name: "disk_mounted_while_the_module_is_stopped_is_the_one_replicated", run: mounted_meanwhile },
    Scenario { name: "replication_without_encryption_loses_nothing", run: unencrypted },
    Scenario { name: "full_disk_of_the_secondary_is_not_seen_by_the_application", run: secondary_full },
    Scenario { name: "full_disk_of_the_primary_is_seen_as_a_local_one_would_be", run: primary_full },
];

/// Puts a disk of its own below the replicated directory of host `number`.
fn attach_disk(lab: &Lab, number: u8) -> Result<()> {
    let image = lab.host(number).folder().join("disk");
    let line = format!(
        "mkdir -p /srv/bank && truncate -s 32M {image} && mkfs.ext4 -q {image} && mount -o loop {image} /srv/bank \
         && rmdir /srv/bank/lost+found",
        image = image.display()
    );
    lab.host(number).shell(&line).map(|_| ())
}

/// Whether `text` is on the disk of [`attach_disk`] now, whatever any cache says.
fn is_on_disk(lab: &Lab, number: u8, text: &str) -> Result<bool> {
    let content = std::fs::read(lab.host(number).folder().join("disk"))?;
    Ok(content.windows(text.len()).any(|window| window == text.as_bytes()))
}

fn demand_on_disk(lab: &Lab, numbers: &[u8], text: &str) -> Result<()> {
    for number in numbers {
        ensure!(is_on_disk(lab, *number, text)?, "{text} is not on the disk of node{number}");
    }
    Ok(())
}

fn mount_memory(lab: &Lab, number: u8, directory: &str, megabytes: u32) -> Result<()> {
    let line = format!("mkdir -p {directory} && mount -t tmpfs -o size={megabytes}m tmpfs {directory}");
    lab.host(number).shell(&line).map(|_| ())
}

/// Names, modes, owners and contents below directories, as programs on host `number` see them.
fn seen(lab: &Lab, number: u8, directories: &str) -> Result<String> {
    let line = format!(
        "find {directories} -printf '%p %y %m %U:%G %l\\n' | sort; find {directories} -type f -exec sha256sum {{}} + | sort"
    );
    lab.host(number).shell(&line)
}

fn demand_same(lab: &Lab, directories: &str) -> Result<()> {
    // Pages changed through a memory map reach the other node when they are written back.
    for number in lab.numbers() {
        lab.host(number).shell("sync -f /srv/bank")?;
    }
    wait_until("both nodes to show the same files", Duration::from_secs(10), || {
        let (left, right) = (seen(lab, 1, directories)?, seen(lab, 2, directories)?);
        if left == right { Ok(true) } else { bail!("node1:\n{left}\nnode2:\n{right}") }
    })
}

fn async_none(_: &mut Bench) -> Result<()> {
    let plan = ModulePlan::bank(TIMEOUT_MS).edited(ASYNC, r#"<rfs async="none">"#);
    Bench::own("none", &plan, |lab| attach_disk(lab, 2))?.tell(|bench| {
        let lab = bench.lab()?;
        let host = lab.host(1);
        // Nobody syncs: what the program was told is written is on the other node's disk.
        host.shell("printf 'a new file of %s' this-scenario > /srv/bank/note")?;
        demand_on_disk(lab, &[2], "a new file of this-scenario")?;
        host.shell("printf 'an overwrite %s' in-place | dd of=/srv/bank/note conv=notrunc status=none")?;
        demand_on_disk(lab, &[2], "an overwrite in-place")?;
        host.shell("mv /srv/bank/note /srv/bank/the-name-it-has-now")?;
        demand_on_disk(lab, &[2], "the-name-it-has-now")?;
        let load = bench.load()?;
        progress(&load, 100)?;
        bench.lab()?.cli(1, &["swap", "-m", MODULE])?;
        bench.lab()?.wait_pair(MODULE, 2)?;
        progress(&load, 20)?;
        bench.finish(load)?;
        demand_same(bench.lab()?, "/srv/bank")
    })
}

fn syncs(_: &mut Bench) -> Result<()> {
    let prepare = |lab: &Lab| [1, 2].into_iter().try_for_each(|number| attach_disk(lab, number));
    Bench::own("sync", &ModulePlan::bank(TIMEOUT_MS), prepare)?.tell(|bench| {
        let lab = bench.lab()?;
        lab.host(1).shell("printf 'synced by %s' fsync > /srv/bank/file && sync /srv/bank/file")?;
        demand_on_disk(lab, &[1, 2], "synced by fsync")?;
        lab.host(1).shell("printf 'data synced by %s' fdatasync > /srv/bank/other && sync -d /srv/bank/other")?;
        demand_on_disk(lab, &[1, 2], "data synced by fdatasync")?;
        let program = std::env::current_exe()?.display().to_string();
        let output = lab.host(1).output(30, &program, &[WRITE_MAPPED, "/srv/bank/mapped", "synced by msync"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        demand_on_disk(lab, &[1, 2], "synced by msync")
    })
}

/// Writes a text into a new file through a shared memory map, and syncs the map.
pub fn write_mapped(arguments: &[String]) -> ExitCode {
    let written = match arguments {
        [path, text] => map_and_write(path, text.as_bytes()),
        _ => Err(anyhow::anyhow!("give a path and a text")),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn map_and_write(path: &str, text: &[u8]) -> Result<()> {
    let file = std::fs::File::options().read(true).write(true).create_new(true).open(path).context("cannot open")?;
    file.set_len(text.len() as u64)?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice, of a file that has this length and no other user.
    let map =
        unsafe { libc::mmap(std::ptr::null_mut(), text.len(), protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    ensure!(map != libc::MAP_FAILED, "cannot map: {}", std::io::Error::last_os_error());
    // SAFETY: the mapping is writable, as long as the text, and nobody else knows it; it is synced and unmapped once.
    let synced = unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), map.cast::<u8>(), text.len());
        let synced = libc::msync(map, text.len(), libc::MS_SYNC);
        libc::munmap(map, text.len());
        synced
    };
    ensure!(synced == 0, "msync failed");
    Ok(())
}

fn several_directories(_: &mut Bench) -> Result<()> {
    let more = format!(r#"{DIRECTORY}<replicated dir="/srv/more/deep"/><replicated dir="/srv/disk"/>"#);
    let plan = ModulePlan::bank(TIMEOUT_MS).edited(DIRECTORY, &more);
    let all = "/srv/bank /srv/more /srv/disk";
    let prepare = |lab: &Lab| {
        for number in lab.numbers() {
            mount_memory(lab, number, "/srv/disk", 32)?;
            lab.host(number).shell("mkdir -p /srv/more/deep")?;
        }
        lab.host(1).shell("echo reference > /srv/disk/file; mkdir /srv/more/deep/a; echo x > /srv/more/deep/a/b")?;
        Ok(())
    };
    Bench::own("several", &plan, prepare)?.tell(|bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        progress(&load, 50)?;
        bench
            .lab()?
            .host(1)
            .shell("echo more >> /srv/disk/file; mv /srv/more/deep/a /srv/more/deep/c; ln -s x /srv/disk/l")?;
        bench.lab()?.cli(1, &["swap", "-m", MODULE])?;
        bench.lab()?.wait_pair(MODULE, 2)?;
        ensure!(bench.lab()?.host(2).shell("cat /srv/disk/file")? == "reference\nmore\n");
        bench.lab()?.host(2).shell("rm /srv/disk/l; chmod 600 /srv/more/deep/c/b; seq 100000 > /srv/disk/numbers")?;
        progress(&load, 50)?;
        bench.finish(load)?;
        demand_turns(&watch.finish(), &[1, 2])?;
        demand_same(bench.lab()?, all)?;
        let lab = bench.lab()?;
        for number in [2, 1] {
            lab.cli(number, &["stop", "-m", MODULE])?;
            lab.wait_state(number, MODULE, "STOP NotReady", PATIENCE)?;
            ensure!(lab.host(number).fuse_mounts().is_empty(), "still mounted on node{number}");
            lab.host(number).shell("mountpoint -q /srv/disk").context("the disk itself was unmounted")?;
        }
        // The bank itself was served on by the node stopped last.
        demand_same(lab, "/srv/more /srv/disk")
    })
}

fn mounted_meanwhile(_: &mut Bench) -> Result<()> {
    Bench::own("mounted", &ModulePlan::bank(TIMEOUT_MS), |_| Ok(()))?.tell(|bench| {
        let lab = bench.lab()?;
        lab.cli(2, &["stop", "-m", MODULE])?;
        lab.wait_state(2, MODULE, "STOP NotReady", PATIENCE)?;
        mount_memory(lab, 2, "/srv/bank", 32)?;
        lab.cli(2, &["start", "-m", MODULE])?;
        lab.wait_pair(MODULE, 1)?;
        lab.host(1).shell("echo new > /srv/bank/new")?;
        lab.cli(2, &["stop", "-m", MODULE])?;
        lab.wait_state(2, MODULE, "STOP NotReady", PATIENCE)?;
        ensure!(lab.host(2).shell("cat /srv/bank/new")? == "new\n", "the disk mounted meanwhile was not used");
        ensure!(!lab.backing(2, "/srv/bank/new").exists(), "written below the disk that was mounted meanwhile");
        Ok(())
    })
}

fn unencrypted(_: &mut Bench) -> Result<()> {
    let plan = ModulePlan::bank(TIMEOUT_MS).edited(ASYNC, r#"<rfs async="second" encryption="off">"#);
    Bench::own("plain", &plan, |_| Ok(()))?.tell(|bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        progress(&load, 100)?;
        bench.lab()?.kill_node(1)?;
        bench.lab()?.wait_serves(2, MODULE, PATIENCE)?;
        progress(&load, 50)?;
        bench.lab()?.power_on(1)?;
        bench.lab()?.start_agent(1)?;
        bench.lab()?.cli(1, &["start", "-m", MODULE])?;
        bench.lab()?.wait_pair(MODULE, 2)?;
        progress(&load, 50)?;
        bench.finish(load)?;
        demand_turns(&watch.finish(), &[1, 2])?;
        bench.demand_equal_copies(2)
    })
}

/// More than the small disk of these scenarios holds.
const FILL: &str = "dd if=/dev/urandom of=/srv/bank/big bs=64k count=320 status=none";

fn secondary_full(_: &mut Bench) -> Result<()> {
    let plan = ModulePlan::bank(TIMEOUT_MS);
    Bench::own("full2", &plan, |lab| mount_memory(lab, 2, "/srv/bank", 16))?.tell(|bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        progress(&load, 50)?;
        let generation = bench.lab()?.state(1, MODULE)?.generation;
        bench.lab()?.host(1).shell(FILL).context("the application sees the other node's disk")?;
        let lab = bench.lab()?;
        lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
        ensure!(lab.state(1, MODULE)?.generation.number > generation.number, "went on alone without a grant");
        wait_until("node2 to say why it cannot follow", PATIENCE, || {
            let state = lab.state(2, MODULE)?;
            let said = format!("{} {}", state.waiting_for.unwrap_or_default(), state.detail.unwrap_or_default());
            if said.contains("free space on the secondary") { Ok(true) } else { bail!("{said}") }
        })?;
        for number in [1, 2] {
            let log = lab.module_log(number, MODULE, 200);
            ensure!(log.contains("No space left on device"), "the log of node{number} does not say why:\n{log}");
        }
        progress(&load, 50)?;
        // Space is freed by the application, which replicates nothing now: the copy is made again from what is there.
        bench.lab()?.host(1).shell("rm /srv/bank/big")?;
        bench.lab()?.wait_pair(MODULE, 1)?;
        progress(&load, 50)?;
        bench.finish(load)?;
        demand_turns(&watch.finish(), &[1])?;
        demand_same(bench.lab()?, "/srv/bank")
    })
}

fn primary_full(_: &mut Bench) -> Result<()> {
    let plan = ModulePlan::bank(TIMEOUT_MS);
    Bench::own("full1", &plan, |lab| mount_memory(lab, 1, "/srv/bank", 16))?.tell(|bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        progress(&load, 50)?;
        let lab = bench.lab()?;
        let generation = lab.state(1, MODULE)?.generation;
        let output = lab.host(1).output(30, "sh", &["-c", FILL])?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains("No space left on device"), "dd said {said:?}");
        lab.host(1).shell("rm /srv/bank/big")?;
        progress(&load, 50)?;
        lab.wait_pair(MODULE, 1)?;
        ensure!(lab.state(1, MODULE)?.generation == generation, "the pair broke over a full disk of the primary");
        bench.finish(load)?;
        demand_turns(&watch.finish(), &[1])?;
        demand_same(bench.lab()?, "/srv/bank")
    })
}
