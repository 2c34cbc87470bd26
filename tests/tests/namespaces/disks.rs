//! Faults of the disks below the data plane: they fail, go read-only, stand still. The application sees what a local disk
//! would show it, or nothing at all.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress, settle};
use crate::caller::{Caller, Told};
use crate::faults::{CALLS, LIMIT, data_planes, goes_on, serves_on, unfelt};
use anyhow::{Result, bail, ensure};
use holdfast_replica::verify::{Compare, compare_trees_with};
use holdfast_tests::bank::client::Load;
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Makes this program one that shuts a file system down, as when its disk is pulled out.
pub const SHUT_DOWN: &str = "--shut-down";

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "disk_of_the_secondary_that_stands_still_ends_no_data_plane", run: slow_disk },
    Scenario { name: "failed_disk_of_the_secondary_is_not_seen_by_the_application", run: failed_secondary },
    Scenario { name: "read_only_disk_of_the_secondary_is_not_seen_by_the_application", run: read_only_secondary },
    Scenario { name: "failed_disk_of_the_primary_is_seen_as_a_local_one_would_be", run: failed_primary },
    Scenario { name: "read_only_disk_of_the_primary_is_seen_as_a_local_one_would_be", run: read_only_primary },
];

/// Where the disk of a host is seen beside the mount over it.
const DISK: &str = "/srv/disk";

/// Gives a host an ext4 of its own below the replicated directory, as Debian mounts it.
fn attach_disk(lab: &Lab, number: u8) -> Result<()> {
    let image = lab.host(number).folder().join("disk");
    let make = format!(
        "truncate -s 64M {image} && mkfs.ext4 -q {image} && mkdir -p {DISK} /srv/bank",
        image = image.display()
    );
    lab.host(number).shell(&make)?;
    mount_disk(lab, number)?;
    lab.host(number).shell(&format!("rmdir {DISK}/lost+found")).map(drop)
}

fn mount_disk(lab: &Lab, number: u8) -> Result<()> {
    let image = lab.host(number).folder().join("disk");
    let line = format!(
        "mount -o loop,errors=remount-ro {image} {DISK} && mount --bind {DISK} /srv/bank",
        image = image.display()
    );
    lab.host(number).shell(&line).map(drop)
}

/// Mounts the disk anew, as a boot does. The module is stopped meanwhile.
fn remount_disk(lab: &Lab, number: u8) -> Result<()> {
    let unmount = format!("if mountpoint -q /srv/bank; then umount /srv/bank; fi && umount {DISK}");
    wait_until("the disk to be free", PATIENCE, || lab.host(number).shell(&unmount).map(|_| true))?;
    mount_disk(lab, number)
}

/// From now on every call on that disk fails.
fn fail_disk(lab: &Lab, number: u8) -> Result<()> {
    let program = std::env::current_exe()?.display().to_string();
    let output = lab.host(number).output(30, &program, &[SHUT_DOWN, DISK])?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The kernel finds an error on that disk and makes it read-only.
fn spoil_disk(lab: &Lab, number: u8) -> Result<()> {
    let line = format!(
        "echo 1 > /sys/fs/ext4/$(basename $(findmnt -no SOURCE {DISK}))/trigger_fs_error; \
         ! touch {DISK}/probe && ! touch {DISK}/probe 2>&1 | grep -v 'Read-only file system'"
    );
    lab.host(number).shell(&line).map(drop)
}

/// Shuts the file system of a directory down without writing its journal: what was not synced is lost.
pub fn shut_down(arguments: &[String]) -> ExitCode {
    const EXT4_IOC_SHUTDOWN: libc::Ioctl = libc::_IOR::<u32>(b'X' as u32, 125);
    const WITHOUT_THE_JOURNAL: u32 = 2;
    let directory = arguments.first().map(std::fs::File::open);
    let Some(Ok(directory)) = directory else {
        eprintln!("give a directory");
        return ExitCode::FAILURE;
    };
    let how = WITHOUT_THE_JOURNAL;
    // SAFETY: the call reads one u32, which lives until it returns.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), EXT4_IOC_SHUTDOWN, &raw const how) };
    if result == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("{}", std::io::Error::last_os_error());
    ExitCode::FAILURE
}

/// The copy on a host's own disk.
fn copy(lab: &Lab, number: u8) -> Result<PathBuf> {
    Ok(PathBuf::from(format!("/proc/{}/root{DISK}", lab.host(number).init()?)))
}

fn demand_disks(lab: &Lab, primary: u8, told: &Told) -> Result<()> {
    let (left, right) = (copy(lab, 1)?, copy(lab, 2)?);
    wait_until("both copies to be equal", Duration::from_secs(10), || {
        settle(lab, primary)?;
        let found = compare_trees_with(&left, &right, Compare { stamped_times: false })?;
        let shown: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
        if shown.is_empty() { Ok(true) } else { bail!("{}", shown.join("; ")) }
    })?;
    [left, right].iter().try_for_each(|root| told.demand_in(&root.join("calls")))
}

fn own(name: &str, story: impl FnOnce(&mut Bench) -> Result<()>) -> Result<()> {
    let attach = |lab: &Lab| [1, 2].into_iter().try_for_each(|number| attach_disk(lab, number));
    Bench::own(name, &ModulePlan::bank(TIMEOUT_MS), attach)?.tell(story)
}

/// Longer than the agent bears the silence of a data plane that does not serve.
const STILL: Duration = Duration::from_secs(15);

/// Whatever is done on that disk waits; that is no reason to end the data plane that waits.
fn slow_disk(_: &mut Bench) -> Result<()> {
    own("still2", |bench| {
        let before = data_planes(bench.lab()?, 2);
        let told = unfelt(bench, |bench, load, caller| {
            bench.lab()?.host(2).shell(&format!("fsfreeze --freeze {DISK}"))?;
            let outlasted = outlast(bench, load, caller);
            // Whatever came of it: the kernel would keep a disk that is frozen.
            bench.lab()?.host(2).shell(&format!("fsfreeze --unfreeze {DISK}"))?;
            outlasted
        })?;
        let lab = bench.lab()?;
        let now = data_planes(lab, 2);
        ensure!(now == before, "{before:?} gave way to {now:?}: {}", lab.module_log(2, MODULE, 40));
        demand_disks(lab, 1, &told)
    })
}

fn outlast(bench: &mut Bench, load: &Load, caller: &Caller) -> Result<()> {
    let began = Instant::now();
    bench.lab()?.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    while began.elapsed() < STILL {
        goes_on(load, caller)?;
    }
    Ok(())
}

/// Stops the module on a node unless it has stopped, mounts its disk anew, starts it again.
fn repair(lab: &Lab, number: u8) -> Result<()> {
    if lab.state(number, MODULE)?.running {
        lab.cli(number, &["stop", "-m", MODULE])?;
    }
    lab.wait_state(number, MODULE, "STOP NotReady", PATIENCE)?;
    remount_disk(lab, number)?;
    lab.cli(number, &["start", "-m", MODULE]).map(drop)
}

fn secondary(name: &str, fault: fn(&mut Lab) -> Result<()>) -> Result<()> {
    own(name, |bench| {
        let told = serves_on(bench, fault, |lab| repair(lab, 2))?;
        demand_disks(bench.lab()?, 1, &told)
    })
}

fn failed_secondary(_: &mut Bench) -> Result<()> {
    secondary("fail2", |lab| fail_disk(lab, 2))
}

fn read_only_secondary(_: &mut Bench) -> Result<()> {
    secondary("ro2", |lab| spoil_disk(lab, 2))
}

/// The application gets the disk's own errors at once, and nothing else changes; once an operator stops the module there,
/// node 2 takes over with everything that was acknowledged.
fn primary(name: &str, fault: fn(&Lab) -> Result<()>, errors: &[&str]) -> Result<()> {
    own(name, |bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        let caller = Caller::start_to_the_first_error(bench.lab()?, 1, CALLS)?;
        progress(&load, 50)?;
        fault(bench.lab()?)?;
        wait_until("the application to see it", PATIENCE, || Ok(!caller.told()?.errors.is_empty()))?;
        let told = caller.finish()?;
        println!("  the longest call took {} ms ({}), {:?}", told.longest_ms, told.longest, told.errors);
        let local = |told: &String| errors.iter().any(|error| told.contains(error));
        ensure!(told.errors.keys().all(local), "not as a local disk: {:?}", told.errors);
        told.demand_within(LIMIT)?;
        let lab = bench.lab()?;
        lab.cli(1, &["stop", "-m", MODULE])?;
        lab.wait_serves(2, MODULE, PATIENCE)?;
        progress(&load, 50)?;
        let lab = bench.lab()?;
        told.demand_in(&copy(lab, 2)?.join("calls"))?;
        lab.wait_state(1, MODULE, "STOP NotReady", PATIENCE)?;
        repair(lab, 1)?;
        lab.wait_pair(MODULE, 2)?;
        progress(&load, 50)?;
        bench.finish(load)?;
        demand_turns(&watch.finish(), &[1, 2])?;
        demand_disks(bench.lab()?, 2, &told)
    })
}

fn failed_primary(_: &mut Bench) -> Result<()> {
    primary("fail1", |lab| fail_disk(lab, 1), &["Input/output error"])
}

fn read_only_primary(_: &mut Bench) -> Result<()> {
    // A sync that waits for the journal while that is aborted gets the journal's error.
    primary("ro1", |lab| spoil_disk(lab, 1), &["Read-only file system", "fdatasync: Input/output error"])
}
