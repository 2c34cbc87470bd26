//! Faults below and beside the data plane: what stands still, what is slow, half of a connection, disks that fail or go
//! read-only. The application sees what a local disk would show it, or nothing at all, and is never held longer than the
//! heartbeat timeout.
//!
//! Not here: steps of the clock, which no namespace has (the simulator makes them).

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress, settle};
use crate::caller::{Caller, Told};
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
/// No call is held longer: the heartbeat timeout, and what a busy machine needs to notice, ask and answer.
const LIMIT: Duration = Duration::from_millis(TIMEOUT_MS as u64 + 3000);
const CALLS: &str = "/srv/bank/calls";
const REPLICA: &str = "holdfast-replica";
const AGENT: &str = "holdfast-agent";

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "frozen_data_plane_of_the_secondary_holds_no_call_longer_than_the_timeout", run: frozen_follower },
    Scenario { name: "frozen_data_plane_of_the_primary_is_a_pause_without_an_error", run: frozen_server },
    Scenario { name: "frozen_agent_of_the_secondary_is_not_seen_by_the_application", run: frozen_agent },
    Scenario { name: "frozen_agent_of_the_primary_is_taken_over_by_the_peer", run: frozen_agent_of_the_primary },
    Scenario { name: "half_open_stream_holds_no_call_longer_than_the_timeout", run: half_open },
    Scenario { name: "slow_link_slows_the_application_and_breaks_nothing", run: slow_link },
    Scenario { name: "failed_disk_of_the_secondary_is_not_seen_by_the_application", run: failed_secondary },
    Scenario { name: "read_only_disk_of_the_secondary_is_not_seen_by_the_application", run: read_only_secondary },
    Scenario { name: "failed_disk_of_the_primary_is_seen_as_a_local_one_would_be", run: failed_primary },
    Scenario { name: "read_only_disk_of_the_primary_is_seen_as_a_local_one_would_be", run: read_only_primary },
];

/// A story through all of which node 1 serves, and its application feels little.
fn unfelt(bench: &mut Bench, story: impl FnOnce(&mut Bench, &Load, &Caller) -> Result<()>) -> Result<Told> {
    let watch = bench.lab()?.watch_health(MODULE);
    let load = bench.load()?;
    let caller = Caller::start(bench.lab()?, 1, CALLS)?;
    progress(&load, 50)?;
    story(bench, &load, &caller)?;
    bench.lab()?.wait_pair(MODULE, 1)?;
    goes_on(&load, &caller)?;
    let told = caller.finish()?;
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1])?;
    told.demand_smooth(LIMIT)?;
    Ok(told)
}

/// Node 1 serves on alone through a fault of node 2, which is mended then.
fn serves_on(bench: &mut Bench, fault: fn(&mut Lab) -> Result<()>, mend: fn(&mut Lab) -> Result<()>) -> Result<Told> {
    let data_planes = |lab: &Lab| -> Vec<i32> { lab.host(1).named(REPLICA).iter().map(|found| found.pid).collect() };
    let before = data_planes(bench.lab()?);
    let told = unfelt(bench, |bench, load, caller| {
        fault(bench.lab()?)?;
        bench.lab()?.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
        goes_on(load, caller)?;
        mend(bench.lab()?)
    })?;
    ensure!(data_planes(bench.lab()?) == before, "the data plane of node1 was ended: a peer at fault is no reason");
    Ok(told)
}

fn goes_on(load: &Load, caller: &Caller) -> Result<()> {
    progress(load, 50)?;
    caller.progress(1000)
}

/// After a story on hosts without disks of their own.
fn demand_copies(bench: &mut Bench, primary: u8, told: &Told) -> Result<()> {
    bench.demand_equal_copies(primary)?;
    let lab = bench.lab()?;
    [1, 2].into_iter().try_for_each(|number| told.demand_in(&lab.backing(number, CALLS)))
}

fn frozen_follower(bench: &mut Bench) -> Result<()> {
    bench.pair()?;
    let told = serves_on(bench, |lab| lab.host(2).stop_process(REPLICA), |lab| lab.host(2).cont(REPLICA))?;
    demand_copies(bench, 1, &told)
}

/// Its data plane goes on: it does not need its agent for every change.
fn frozen_agent(bench: &mut Bench) -> Result<()> {
    bench.pair()?;
    let told = unfelt(bench, |bench, load, caller| {
        let lab = bench.lab()?;
        lab.host(2).stop_process(AGENT)?;
        wait_until("node1 to miss node2", PATIENCE, || {
            Ok(lab.module_log(1, MODULE, 20).contains("node2 is not heard any more"))
        })?;
        goes_on(load, caller)?;
        bench.lab()?.host(2).cont(AGENT)
    })?;
    demand_copies(bench, 1, &told)
}

fn half_open(bench: &mut Bench) -> Result<()> {
    bench.pair()?;
    let told = serves_on(bench, |lab| lab.cut_stream_one_way(1, 2), Lab::heal)?;
    demand_copies(bench, 1, &told)?;
    bench.pair()?;
    let told = serves_on(bench, |lab| lab.cut_stream_one_way(2, 1), Lab::heal)?;
    demand_copies(bench, 1, &told)
}

/// The agent ends a data plane that serves and says nothing; another one takes its mount over.
fn frozen_server(bench: &mut Bench) -> Result<()> {
    bench.pair()?;
    let told = unfelt(bench, |bench, load, caller| {
        bench.lab()?.host(1).stop_process(REPLICA)?;
        goes_on(load, caller)
    })?;
    demand_copies(bench, 1, &told)
}

/// Node 2 takes over; node 1 finds that out when it goes on.
fn frozen_agent_of_the_primary(bench: &mut Bench) -> Result<()> {
    let lab = bench.pair()?;
    // A node that was frozen itself, as in the story before, trusts what it hears a whole timeout later, and says nothing
    // of that.
    let began = Instant::now();
    wait_until("a timeout to pass on node2", PATIENCE, || {
        Ok(began.elapsed() > Duration::from_millis(u64::from(2 * TIMEOUT_MS)))
    })?;
    let watch = lab.watch_health(MODULE);
    let load = bench.load()?;
    let caller = Caller::start_to_the_first_error(bench.lab()?, 1, CALLS)?;
    progress(&load, 50)?;
    bench.lab()?.host(1).stop_process(AGENT)?;
    bench.lab()?.wait_serves(2, MODULE, PATIENCE)?;
    progress(&load, 50)?;
    bench.lab()?.host(1).cont(AGENT)?;
    bench.lab()?.wait_pair(MODULE, 2)?;
    progress(&load, 50)?;
    let told = caller.finish()?;
    println!("  the longest call took {} ms ({}), {:?}", told.longest_ms, told.longest, told.errors);
    bench.finish(load)?;
    demand_turns(&watch.finish(), &[1, 2])?;
    // Held back, then refused, not for as long as the agent stands still.
    ensure!(told.errors.keys().all(|told| told.ends_with("(os error 5)")), "{:?}", told.errors);
    told.demand_within(LIMIT)?;
    demand_copies(bench, 2, &told)
}

/// What a queue of this link does to everything on it: each packet waits up to a fifth of a second.
const SLOW: &str = "tc qdisc replace dev eth0 root tbf rate 3mbit burst 16kb latency 200ms";

fn slow_link(bench: &mut Bench) -> Result<()> {
    let generation = bench.pair()?.state(1, MODULE)?.generation;
    let shell_on_both = |lab: &Lab, line| [1, 2].into_iter().try_for_each(|node| lab.host(node).shell(line).map(drop));
    let told = unfelt(bench, |bench, load, caller| {
        shell_on_both(bench.lab()?, SLOW)?;
        goes_on(load, caller)?;
        shell_on_both(bench.lab()?, "tc qdisc delete dev eth0 root")
    })?;
    let lab = bench.lab()?;
    ensure!(lab.state(1, MODULE)?.generation == generation, "the pair broke over a slow link");
    demand_copies(bench, 1, &told)
}

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
fn primary(name: &str, fault: fn(&Lab) -> Result<()>, error: &str) -> Result<()> {
    own(name, |bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        let caller = Caller::start_to_the_first_error(bench.lab()?, 1, CALLS)?;
        progress(&load, 50)?;
        fault(bench.lab()?)?;
        wait_until("the application to see it", PATIENCE, || Ok(!caller.told()?.errors.is_empty()))?;
        let told = caller.finish()?;
        println!("  the longest call took {} ms ({}), {:?}", told.longest_ms, told.longest, told.errors);
        ensure!(told.errors.keys().all(|told| told.contains(error)), "not as a local disk: {:?}", told.errors);
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
    primary("fail1", |lab| fail_disk(lab, 1), "Input/output error")
}

fn read_only_primary(_: &mut Bench) -> Result<()> {
    primary("ro1", |lab| spoil_disk(lab, 1), "Read-only file system")
}
