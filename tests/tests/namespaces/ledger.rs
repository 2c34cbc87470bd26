//! The disk that holds the agent's own state fails, stands still or is full, under a running module.
//!
//! The failing disk is a mount of the data plane's own front over the ledgers' folder: its answers are held back or turned
//! into errors as a file says.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS, progress};
use anyhow::{Context, Result, bail, ensure};
use holdfast_replica::front::{Front, Inodes, Mode};
use holdfast_replica::op::Op;
use holdfast_replica::replicate::{Answer, Replicate, Ticket, Verdict};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::health::demand_turns;
use holdfast_tests::lab::wait::wait_until;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Makes this program a disk that fails on demand, for the scenarios that run it on a host.
pub const FAULTY_DISK: &str = "--faulty-disk";

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "ledger_that_cannot_be_saved_costs_the_role_and_the_module_comes_back_by_itself", run: failing },
    Scenario {
        name: "ledger_that_is_saved_too_late_costs_the_role_and_the_module_comes_back_by_itself",
        run: standing_still,
    },
    Scenario { name: "ledger_on_a_slow_disk_costs_nothing_on_either_node", run: slow },
    Scenario { name: "full_disk_below_the_agent_keeps_nothing_from_working", run: full },
];

/// How the disk answers now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    Fails,
    StandsStill,
}

/// Answers changes as the present fault says.
#[derive(Default)]
struct Disk(Mutex<(Fault, Vec<Answer>)>);

impl Disk {
    fn set(&self, fault: Fault) {
        let held = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = fault;
            if fault == Fault::StandsStill { Vec::new() } else { std::mem::take(&mut state.1) }
        };
        let verdict = if fault == Fault::Fails { Verdict::Refused } else { Verdict::Acknowledged };
        held.into_iter().for_each(|answer| answer(verdict));
    }
}

impl Replicate for Disk {
    fn submit(&self, _op: &Op, _payload: &[u8]) -> Ticket {
        Ticket(0)
    }

    fn complete(&self, _ticket: Ticket, answer: Answer) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let verdict = match state.0 {
            Fault::StandsStill => return state.1.push(answer),
            Fault::Fails => Verdict::Refused,
            Fault::None => Verdict::Acknowledged,
        };
        drop(state);
        answer(verdict);
    }

    fn session(&self) -> u64 {
        0
    }
}

/// The failing disk in a process of its own: mounted over the first argument, obeys the file named by the second.
pub fn faulty_disk(arguments: &[String]) -> ExitCode {
    let [directory, orders] = arguments else {
        eprintln!("give a directory and a file of orders");
        return ExitCode::FAILURE;
    };
    let disk = Arc::new(Disk::default());
    let replicate: Arc<dyn Replicate> = disk.clone();
    let inodes = Inodes::open(&[PathBuf::from(directory)]).expect("the directory");
    let _front = Front::mount(&inodes, Mode::ReadWrite, &replicate).expect("a mount");
    // It ends with the host.
    loop {
        let order = std::fs::read_to_string(orders).unwrap_or_default();
        disk.set(match order.trim() {
            "fails" => Fault::Fails,
            "stands still" => Fault::StandsStill,
            _ => Fault::None,
        });
        std::fs::write(obeyed(Path::new(orders)), order).expect("a place to say what is obeyed");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn orders(lab: &Lab) -> PathBuf {
    lab.host(1).folder().join("disk-orders")
}

/// Where the failing disk says which orders it obeys.
fn obeyed(orders: &Path) -> PathBuf {
    orders.with_extension("obeyed")
}

/// Gives the failing disk an order, and waits until it obeys.
fn order_disk(lab: &Lab, order: &str) -> Result<()> {
    let orders = orders(lab);
    std::fs::write(&orders, order)?;
    let obeys = || Ok(std::fs::read_to_string(obeyed(&orders)).is_ok_and(|said| said == order));
    wait_until("the failing disk to obey", Duration::from_secs(10), obeys)
}

/// Puts the failing disk below the ledgers of host 1.
fn attach(lab: &Lab) -> Result<()> {
    let ledgers = lab.host(1).folder().join("data/ledger");
    std::fs::create_dir_all(&ledgers)?;
    let text = |path: &Path| path.display().to_string();
    let program = text(&std::env::current_exe()?);
    lab.host(1).spawn("disk", &program, &[FAULTY_DISK, &text(&ledgers), &text(&orders(lab))])?;
    wait_until("the failing disk", Duration::from_secs(10), || Ok(lab.host(1).fuse_mounts().len() == 1))
}

fn failing(_: &mut Bench) -> Result<()> {
    loses_its_ledger("ledger", "fails", "Input/output error")
}

fn standing_still(_: &mut Bench) -> Result<()> {
    loses_its_ledger("late", "stands still", "the disk did not answer within")
}

fn loses_its_ledger(name: &str, order: &str, reason: &str) -> Result<()> {
    Bench::own(name, &ModulePlan::bank(TIMEOUT_MS), attach)?.tell(|bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        progress(&load, 50)?;
        let lab = bench.lab()?;
        order_disk(lab, order)?;
        demand_refused(lab, &["boot", "-m", MODULE, "on"], reason)?;
        lab.wait_state(1, MODULE, "STOP NotReady", PATIENCE)?;
        ensure!(lab.host(1).named("holdfast-bank").is_empty(), "the application still runs on node1");
        ensure!(lab.host(1).fuse_mounts().len() == 1, "still mounted: {:?}", lab.host(1).fuse_mounts());
        ensure!(!lab.health(1, MODULE), "node1 still answers 200");
        lab.wait_serves(2, MODULE, PATIENCE)?;
        progress(&load, 50)?;
        let lab = bench.lab()?;
        let log = lab.module_log(1, MODULE, 100);
        ensure!(log.contains(reason) && log.contains("free or repair the disk"), "the log does not say why:\n{log}");
        demand_refused(lab, &["start", "-m", MODULE], reason)?;
        lab.wait_state(1, MODULE, "STOP NotReady", PATIENCE)?;
        order_disk(lab, "none")?;
        lab.wait_pair(MODULE, 2)?;
        progress(&load, 50)?;
        bench.finish(load)?;
        demand_turns(&watch.finish(), &[1, 2])?;
        bench.demand_equal_copies(2)
    })
}

/// The disk answers after two timeouts: meanwhile the node says that it lives, serves, and is not taken for dead.
fn slow(_: &mut Bench) -> Result<()> {
    Bench::own("slowdisk", &ModulePlan::bank(TIMEOUT_MS), attach)?.tell(|bench| {
        for (primary, boot) in [(1, "on"), (2, "off")] {
            let watch = bench.lab()?.watch_health(MODULE);
            let load = bench.load()?;
            progress(&load, 50)?;
            let lab = bench.lab()?;
            order_disk(lab, "stands still")?;
            let began = Instant::now();
            std::thread::scope(|scope| -> Result<()> {
                let command = scope.spawn(|| lab.cli(1, &["boot", "-m", MODULE, boot]));
                let outlasts = || Ok(began.elapsed() >= Duration::from_millis(2 * u64::from(TIMEOUT_MS)));
                wait_until("two timeouts to pass", PATIENCE, outlasts)?;
                progress(&load, 50)?;
                ensure!(!command.is_finished(), "nothing was to be saved");
                order_disk(lab, "none")?;
                command.join().expect("no panic").map(|_| ())
            })?;
            let state = lab.cli(primary, &["state", "-m", MODULE])?;
            ensure!(state.contains("PRIM"), "node{primary} is no longer primary: {state}");
            lab.wait_pair(MODULE, primary)?;
            let log = lab.module_log(1, MODULE, 20);
            ensure!(log.contains("took so long to save"), "the log does not say why node1 did nothing:\n{log}");
            let heard = lab.module_log(2, MODULE, 20);
            ensure!(heard.contains("lives and says nothing new"), "node2 does not say what it heard:\n{heard}");
            progress(&load, 50)?;
            bench.finish(load)?;
            demand_turns(&watch.finish(), &[primary])?;
            if primary == 1 {
                let lab = bench.lab()?;
                lab.cli(1, &["swap", "-m", MODULE])?;
                lab.wait_pair(MODULE, 2)?;
            }
        }
        bench.demand_equal_copies(2)
    })
}

/// A command is refused with this reason and the cure.
fn demand_refused(lab: &Lab, command: &[&str], reason: &str) -> Result<()> {
    let output = lab.holdfast(1, command)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() || !said.contains(reason) || !said.contains("free or repair the disk") {
        bail!("{command:?} was not refused with {reason:?} and the cure: {said}");
    }
    Ok(())
}

/// The ledger's place is taken beforehand: a full disk delays nothing, on either node.
fn full(_: &mut Bench) -> Result<()> {
    let prepare = |lab: &Lab| {
        let data = lab.host(1).folder().join("data");
        lab.host(1).shell(&format!("mount -t tmpfs -o size=8m tmpfs {}", data.display())).map(|_| ())
    };
    Bench::own("fulldata", &ModulePlan::bank(TIMEOUT_MS), prepare)?.tell(|bench| {
        let watch = bench.lab()?.watch_health(MODULE);
        let load = bench.load()?;
        progress(&load, 50)?;
        let lab = bench.lab()?;
        let data = lab.host(1).folder().join("data").display().to_string();
        let fill = format!(
            "dd if=/dev/zero of={data}/fill bs=4k status=none; test \"$(df --output=avail {data} | tail -n 1)\" -eq 0"
        );
        lab.host(1).shell(&fill).context("the disk is not full")?;
        lab.cli(1, &["boot", "-m", MODULE, "on"])?;
        for (from, to) in [(1, 2), (2, 1)] {
            let lab = bench.lab()?;
            lab.cli(from, &["swap", "-m", MODULE])?;
            lab.wait_pair(MODULE, to)?;
            progress(&load, 50)?;
        }
        bench.lab()?.kill_node(2)?;
        bench.lab()?.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
        progress(&load, 50)?;
        bench.finish(load)?;
        demand_turns(&watch.finish(), &[1, 2, 1])
    })
}
