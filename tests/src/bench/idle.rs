//! What the agent costs while nothing happens: 32 mirror modules with replication on two nodes.

use super::heart::Heart;
use super::row::Row;
use crate::lab::Lab;
use crate::lab::cluster::PATIENCE;
use crate::lab::package;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Modules on each node.
const MODULES: u16 = 32;
/// How long the agents are watched.
const WATCHED: Duration = Duration::from_secs(20);

/// Brings the modules to PRIM/SECOND with this heartbeat and watches the agents.
///
/// # Errors
/// A module does not come to its state.
pub fn run(heart: Heart) -> Result<Vec<Row>> {
    let lab = Lab::new("bench")?;
    let names: Vec<String> = (1..=MODULES).map(|number| format!("m{number}")).collect();
    for name in &names {
        for number in lab.numbers() {
            std::fs::create_dir_all(lab.backing(number, &format!("/srv/{name}")))?;
        }
    }
    configure(&lab, &names, heart)?;
    for name in &names {
        lab.cli(1, &["prim", "-m", name])?;
        lab.cli(2, &["start", "-m", name])?;
    }
    for name in &names {
        lab.wait_state(2, name, "SECOND Ready", PATIENCE)?;
    }
    let mut rows = Vec::new();
    let before: Vec<Figures> = lab.numbers().into_iter().map(|number| figures(&lab, number)).collect::<Result<_>>()?;
    let began = Instant::now();
    std::thread::sleep(WATCHED);
    for (number, before) in lab.numbers().into_iter().zip(before) {
        let after = figures(&lab, number)?;
        let share = 100.0 * (after.cpu_seconds - before.cpu_seconds) / began.elapsed().as_secs_f64();
        rows.push(Row::at_most(&format!("agent of node{number}, {MODULES} modules, share of a core"), share, "%", 3.0));
        rows.push(Row::at_most(&format!("agent of node{number}, resident memory"), after.resident_mb, "MB", 60.0));
    }
    Ok(rows)
}

fn configure(lab: &Lab, names: &[String], heart: Heart) -> Result<()> {
    lab.form_cluster()?;
    let Heart { pulse_ms, timeout_ms } = heart;
    for name in names {
        let source = lab.folder().join(format!("{name}.safe"));
        let xml = format!(
            "<safe><service mode=\"mirror\"><heart pulse=\"{pulse_ms}\" timeout=\"{timeout_ms}\"><heartbeat name=\"default\" \
             ident=\"flow\"/></heart><rfs><replicated dir=\"/srv/{name}\"/></rfs></service></safe>\n"
        );
        package::write_folder(&source, &[("conf/userconfig.xml", xml.as_str())])?;
        let bytes = package::pack(&source)?;
        lab.install_package(name, &bytes)?;
    }
    Ok(())
}

/// What a process has used.
struct Figures {
    cpu_seconds: f64,
    resident_mb: f64,
}

/// proc(5): fields 14 and 15 of `stat` are user and system time in ticks, field 24 the resident pages.
fn figures(lab: &Lab, number: u8) -> Result<Figures> {
    let agents = lab.host(number).named("holdfast-agent");
    let agent = agents.first().context("no agent runs")?;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.pid))?;
    let after_name = stat.rsplit_once(") ").context("no stat")?.1;
    let field = |number: usize| -> Result<f64> {
        Ok(after_name.split_whitespace().nth(number - 3).context("a short stat")?.parse::<f64>()?)
    };
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as f64;
    Ok(Figures { cpu_seconds: (field(14)? + field(15)?) / ticks, resident_mb: field(24)? * page / 1e6 })
}
