//! The lab itself: cuts cut, frozen processes stand still, and nothing is left behind however the lab ends.

use crate::bench::{Bench, Scenario};
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{Lab, LabOptions};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// Makes this program a lab that hangs, for the scenario that kills it.
pub const HANG: &str = "--hang-in-a-lab";

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "lab_leaves_nothing_behind_when_dropped", run: dropped },
    Scenario { name: "lab_leaves_nothing_behind_after_a_panic", run: panicked },
    Scenario { name: "lab_leaves_nothing_behind_when_killed", run: killed },
    Scenario { name: "lab_cuts_links_one_way_and_both_and_heals_them", run: cuts },
    Scenario { name: "lab_host_comes_back_with_its_disk_and_a_new_boot_id", run: reboots },
    Scenario { name: "lab_host_does_not_take_a_mount_of_this_machine_for_its_own", run: foreign_mount },
];

/// Everything of a lab that could be left: its folder and its processes.
struct Traces {
    folder: PathBuf,
    processes: Vec<i32>,
}

impl Traces {
    /// Of a lab with a process on each host.
    fn of(lab: &Lab) -> Result<Self> {
        let mut processes = Vec::new();
        for number in lab.numbers() {
            lab.host(number).spawn("sleep", "sleep", &["1000"])?;
            wait_until("sleep", Duration::from_secs(5), || Ok(lab.host(number).named("sleep").len() == 1))?;
            processes.push(lab.host(number).init()?);
            processes.extend(lab.host(number).processes().iter().map(|process| process.pid));
        }
        Ok(Self { folder: lab.folder().to_path_buf(), processes })
    }

    fn demand_none(&self) -> Result<()> {
        wait_until("everything of the lab to be gone", Duration::from_secs(20), || {
            let alive = |pid: &&i32| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                !status.is_empty() && !status.contains("State:\tZ")
            };
            if let Some(pid) = self.processes.iter().find(alive) {
                bail!("process {pid} lives");
            }
            Ok(!self.folder.exists())
        })
    }
}

fn dropped(_: &mut Bench) -> Result<()> {
    let lab = Lab::with("drop", &LabOptions { tmpfs: true, ..LabOptions::default() })?;
    let traces = Traces::of(&lab)?;
    ensure!(lab.host(1).shell("hostname")?.trim() == "node1");
    drop(lab);
    traces.demand_none()
}

/// The mount is gone here while the host lives on with its copy.
fn foreign_mount(_: &mut Bench) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let data = CString::new(format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd()))?;
    mount("somebody", folder.path(), "fuse", MountFlags::empty(), data.as_c_str())?;
    // Nobody answers for it, so whatever looks into it gets an error at once.
    drop(device);
    let lab = Lab::new("foreign");
    unmount(folder.path(), UnmountFlags::DETACH)?;
    let lab = lab?;
    let copies = lab.host(1).shell("grep -c ' - fuse somebody ' /proc/self/mountinfo")?;
    ensure!(copies.trim() == "1", "the host has no copy of the mount: {copies}");
    for number in lab.numbers() {
        let mounts = lab.host(number).fuse_mounts();
        ensure!(!mounts.iter().any(|mount| Path::new(mount) == folder.path()), "taken for its own: {mounts:?}");
    }
    Ok(())
}

fn panicked(_: &mut Bench) -> Result<()> {
    let mut traces = None;
    let result = catch_unwind(AssertUnwindSafe(|| {
        let lab = Lab::new("panic").expect("a lab");
        traces = Some(Traces::of(&lab).expect("traces"));
        panic!("on purpose");
    }));
    ensure!(result.is_err());
    traces.context("the lab could not be made")?.demand_none()
}

fn killed(_: &mut Bench) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?).arg(HANG).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    let mut line = || lines.next().context("the lab did not come up")?.map_err(anyhow::Error::from);
    let folder = PathBuf::from(line()?);
    let processes = line()?.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    child.kill()?;
    child.wait()?;
    Traces { folder, processes }.demand_none()
}

/// A lab in a process of its own: prints its traces and hangs.
pub fn hang() -> ExitCode {
    let lab = Lab::with("hang", &LabOptions { ..LabOptions::default() }).expect("a lab");
    let traces = Traces::of(&lab).expect("traces");
    println!("{}", traces.folder.display());
    let processes: Vec<String> = traces.processes.iter().map(i32::to_string).collect();
    println!("{}", processes.join(" "));
    loop {
        std::thread::park();
    }
}

fn reaches(lab: &Lab, from: u8, to: u8, port: u16) -> Result<bool> {
    let line = format!("exec 3<>/dev/tcp/{}/{port}", lab.network().address(to));
    Ok(lab.host(from).output(1, "bash", &["-c", &line])?.status.success())
}

/// Whether what `from` sends gets to `to`, whatever becomes of the answer: a greeting that got there waits for its answer
/// to be answered.
fn hears(lab: &Lab, from: u8, to: u8, port: u16) -> Result<bool> {
    let connected = reaches(lab, from, to, port)?;
    let half_open = lab.host(to).shell(&format!("ss -Htn state syn-recv '( sport = :{port} )'"))?;
    Ok(connected || half_open.contains(&format!("{}:", lab.network().address(from))))
}

fn cuts(_: &mut Bench) -> Result<()> {
    let mut lab = Lab::new("cuts")?;
    for number in [1, 2] {
        for (log, port) in [("bank", "8080"), ("stream", "5600")] {
            let (database, listen) = (format!("/srv/{log}.db"), format!("0.0.0.0:{port}"));
            lab.host(number).spawn(
                log,
                "/opt/holdfast/bin/holdfast-bank",
                &["--database", &database, "--listen", &listen],
            )?;
            let own = format!("127.0.0.1:{port}");
            let answers = lab.host(number).output(30, "/opt/holdfast/bin/holdfast-bank", &["--check", &own])?;
            ensure!(answers.status.success(), "the bank on port {port} does not answer");
        }
    }
    let pattern = |lab: &Lab| -> Result<[bool; 4]> {
        Ok([reaches(lab, 1, 2, 8080)?, reaches(lab, 2, 1, 8080)?, reaches(lab, 1, 2, 5600)?, reaches(lab, 2, 1, 5600)?])
    };
    ensure!(pattern(&lab)? == [true; 4], "before any cut");
    lab.cut_stream(1, 2)?;
    ensure!(pattern(&lab)? == [true, true, false, false] && !lab.links_are_cut(), "stream cut");
    lab.cut_link(1, 2)?;
    ensure!(pattern(&lab)? == [false; 4] && lab.links_are_cut(), "link cut");
    let bank = lab.bank("none");
    ensure!((bank.connect)(bank.doors[0].bank, bank.timeout).is_ok(), "clients still reach the nodes");
    lab.heal()?;
    lab.cut_one_way(1, 2)?;
    ensure!(!hears(&lab, 1, 2, 8080)?, "something of host 1 reaches host 2 through a one-way cut");
    ensure!(hears(&lab, 2, 1, 8080)?, "what host 2 sends does not reach host 1: the cut is two-way");
    lab.heal()?;
    ensure!(pattern(&lab)? == [true; 4], "after healing");
    Ok(())
}

fn reboots(_: &mut Bench) -> Result<()> {
    let mut lab = Lab::new("reboot")?;
    let boot_id = std::fs::read_to_string(lab.host(1).boot_id_file())?;
    lab.host(1).shell("echo kept > /srv/file")?;
    lab.host(1).spawn("sleep", "sleep", &["1000"])?;
    wait_until("sleep", Duration::from_secs(5), || Ok(lab.host(1).named("sleep").len() == 1))?;
    lab.host(1).stop_process("sleep")?;
    lab.host(1).cont("sleep")?;
    lab.kill_node(1)?;
    ensure!(!lab.host(1).is_on() && lab.host(1).shell("true").is_err());
    lab.power_on(1)?;
    ensure!(lab.host(1).shell("cat /srv/file")?.trim() == "kept");
    ensure!(lab.host(1).processes().is_empty(), "something runs after a boot");
    ensure!(std::fs::read_to_string(lab.host(1).boot_id_file())? != boot_id);
    lab.power_off(1)
}
