//! False failovers: mirror modules under load at the shipped heartbeat while other work saturates the machine.
//!
//! Nothing fails, so every takeover, every address taken away and every secondary given up is a false alarm: the module
//! logs tell them. What each side heard is measured on its network, by the
//! kernel's time of arrival; what each agent missed of its own time it says in its log.

use super::burden;
use super::heart::Heart;
use super::pulses::{Heard, PulseWatch};
use super::row::Row;
use crate::lab::cluster::{PATIENCE, other};
use crate::lab::{Lab, package};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Modules.
const MODULES: u16 = 4;
/// Port of the first module's heartbeats.
const PORT: u16 = 8888;
/// What the core says when its turn came late.
const STALL: &str = "this node did nothing for ";
/// Between two lines of progress.
const MINUTE: Duration = Duration::from_secs(60);
/// Replicated load on each primary: 4 MiB written and synced, over and over.
const WRITER: &str = "while :; do dd if=/dev/zero of=$0/file bs=64k count=64 conv=fsync status=none; done";

/// Watches for `minutes`.
///
/// # Errors
/// A module does not come to its state.
pub fn run(minutes: f64, heart: Heart) -> Result<Vec<Row>> {
    ensure!(minutes > 0.0 && minutes <= 1440.0, "--minutes {minutes}: give more than none and at most a day");
    let lab = Lab::new("steady")?;
    run_in_memory(&lab)?;
    let names: Vec<String> = (1..=MODULES).map(|number| format!("m{number}")).collect();
    bring_up(&lab, &names, heart)?;
    let before = generations(&lab, &names)?;
    let watched = Duration::from_secs_f64(minutes * 60.0);
    burden::start(&lab, watched.as_secs() + 600)?;
    for name in &names {
        lab.host(1).spawn("writer", "sh", &["-c", WRITER, &format!("/srv/{name}")])?;
    }
    println!("(heartbeat {} / {} ms; {})", heart.pulse_ms, heart.timeout_ms, burden::TOLD);
    let watches = lab.numbers().into_iter().map(|number| watch(&lab, number, heart)).collect::<Result<Vec<_>>>()?;
    wait_out(&lab, &names, &before, watched);
    let heard = watches.into_iter().map(PulseWatch::finish).collect::<Result<Vec<_>>>()?;
    let told = Told::read(&lab, &names);
    if told.failovers + told.dropped > 0.0 {
        names.iter().for_each(|name| println!("{}", lab.diagnosis(name)));
    }
    Ok(rows(&lab, minutes, heart, &told, &heard))
}

/// As `/run` is on every machine. On a disk each pulse that an agent notes there waits for the file system's journal,
/// which other work keeps busy, on both nodes at once.
fn run_in_memory(lab: &Lab) -> Result<()> {
    for number in lab.numbers() {
        let folder = lab.host(number).folder().join("run");
        lab.host(number).shell(&format!("mount -t tmpfs tmpfs {}", folder.display()))?;
    }
    Ok(())
}

fn bring_up(lab: &Lab, names: &[String], heart: Heart) -> Result<()> {
    lab.form_cluster()?;
    for name in names {
        let source = lab.folder().join(format!("{name}.safe"));
        let xml = format!(
            "<safe><service mode=\"mirror\"><heart pulse=\"{}\" timeout=\"{}\"><heartbeat name=\"default\" \
             ident=\"flow\"/></heart><rfs><replicated dir=\"/srv/{name}\"/></rfs></service></safe>\n",
            heart.pulse_ms, heart.timeout_ms
        );
        package::write_folder(&source, &[("conf/userconfig.xml", xml.as_str())])?;
        for number in lab.numbers() {
            std::fs::create_dir_all(lab.backing(number, &format!("/srv/{name}")))?;
        }
        lab.install_package(name, &package::pack(&source)?)?;
        lab.start_pair(name)?;
    }
    Ok(())
}

fn watch(lab: &Lab, number: u8, heart: Heart) -> Result<PulseWatch> {
    let from = lab.network().address(other(number));
    Ok(PulseWatch::start(lab.host(number).init()?, from, PORT..PORT + MODULES, heart.pulse_ms as f64))
}

/// The generation of each module, the higher of both nodes'.
fn generations(lab: &Lab, names: &[String]) -> Result<BTreeMap<String, u64>> {
    let number = |name: &String| -> Result<u64> {
        // A machine that is this busy answers late; that is not what is measured.
        let state = |number| crate::lab::wait::wait_for("an answer", PATIENCE, || lab.state(number, name).map(Some));
        Ok(state(1)?.generation.number.max(state(2)?.generation.number))
    };
    names.iter().map(|name| Ok((name.clone(), number(name)?))).collect()
}

fn wait_out(lab: &Lab, names: &[String], before: &BTreeMap<String, u64>, watched: Duration) {
    let began = Instant::now();
    while let Some(left) = watched.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::sleep(left.min(MINUTE));
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let same = generations(lab, names).map(|now| now == *before);
        let word = if matches!(same, Ok(true)) { "generations as before" } else { "a generation has risen" };
        println!("({:.0} s: {word}; load {})", began.elapsed().as_secs_f64(), load.trim());
    }
}

/// What the logs of all modules on both nodes tell.
struct Told {
    /// The secondary took over from a primary that was alive.
    failovers: f64,
    /// A node served on without its secondary, which was alive; the application was not touched.
    alone: f64,
    /// A node took its addresses away because it had been still for the timeout.
    dropped: f64,
    /// Longest time that an engine did nothing, in milliseconds, and how often one says so.
    stall_ms: f64,
    stalls: f64,
}

impl Told {
    fn read(lab: &Lab, names: &[String]) -> Self {
        let log =
            |name: &String| lab.numbers().into_iter().map(|node| lab.module_log(node, name, 5000)).collect::<String>();
        let all: String = names.iter().map(log).collect();
        let count = |texts: &[&str]| texts.iter().map(|text| all.matches(text).count()).sum::<usize>() as f64;
        let stalls: Vec<f64> =
            all.split(STALL).skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect();
        Self {
            failovers: count(&["SECOND Ready -> ALONE", "SECOND Transient -> ALONE"]),
            alone: count(&["PRIM Ready -> ALONE"]),
            dropped: count(&["the virtual addresses are released until"]),
            stall_ms: stalls.iter().copied().fold(0.0, f64::max),
            stalls: stalls.len() as f64,
        }
    }
}

fn rows(lab: &Lab, minutes: f64, heart: Heart, told: &Told, heard: &[BTreeMap<u16, Heard>]) -> Vec<Row> {
    let Heart { pulse_ms, timeout_ms } = heart;
    let what = format!("false failovers at {pulse_ms}/{timeout_ms} ms in {minutes} min");
    let mut rows = vec![
        Row::at_most(&what, told.failovers, "", 0.0),
        Row::at_most("nodes that took their addresses away for nothing", told.dropped, "", 0.0),
        Row::at_most("secondaries given up that were alive", told.alone, "", 0.0),
        Row::at_most("longest time an engine did nothing", told.stall_ms, "ms", timeout_ms as f64),
        Row::told("how often one says so", told.stalls, ""),
    ];
    for (number, heard) in lab.numbers().into_iter().zip(heard) {
        let longest = heard.values().map(|heard| heard.longest_ms).fold(0.0, f64::max);
        let sum = |of: fn(&Heard) -> u64| heard.values().map(of).sum::<u64>() as f64;
        rows.push(Row::at_most(
            &format!("longest silence on node{number}'s network"),
            longest,
            "ms",
            timeout_ms as f64,
        ));
        rows.push(Row::told(&format!("heartbeats that reached node{number}"), sum(|heard| heard.count), ""));
        rows.push(Row::told(&format!("pulses missed on node{number}"), sum(|heard| heard.missed), ""));
    }
    rows
}
