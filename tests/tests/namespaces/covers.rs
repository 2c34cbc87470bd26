//! A configuration that covers more than the one before: files of the secondary that were its own until then are
//! overwritten only after an operator has agreed.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS};
use anyhow::{Result, bail, ensure};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::wait_until;

const DIRECTORY: &str = r#"<replicated dir="/srv/bank" mode="read_only"/>"#;
const EXCLUDING: &str = r#"<replicated dir="/srv/bank" mode="read_only"><notreplicated path="own"/></replicated>"#;
const MORE: &str = r#"<replicated dir="/srv/more"/>"#;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] =
    &[Scenario { name: "added_directory_or_dropped_exclusion_overwrites_the_secondary_only_by_order", run: covers }];

fn plan(directories: &str) -> ModulePlan {
    ModulePlan::bank(TIMEOUT_MS).edited(DIRECTORY, directories)
}

fn covers(_: &mut Bench) -> Result<()> {
    let prepare = |lab: &Lab| {
        let make = "mkdir -p /srv/bank/own /srv/more; hostname | tee /srv/bank/own/file > /srv/more/file";
        lab.numbers().into_iter().try_for_each(|number| lab.host(number).shell(make).map(drop))?;
        lab.host(2).shell("echo 'of node2' | tee /srv/bank/own/file > /srv/more/file").map(drop)
    };
    Bench::own("covers", &plan(EXCLUDING), prepare)?.tell(|bench| {
        let lab = bench.lab()?;
        let both = format!("{EXCLUDING}{MORE}");
        configure(lab, &both)?;
        asks(lab, "1 entries (9 bytes) on node2", "/srv/more/file")?;
        // It asks as long as nobody has answered, whoever starts anew.
        lab.cli(2, &["stopstart", "-m", MODULE])?;
        asks(lab, "1 entries (9 bytes) on node2", "/srv/more/file")?;
        lab.cli(2, &["second", "-m", MODULE])?;
        lab.wait_pair(MODULE, 1)?;
        ensure!(read(lab, "/srv/more/file")? == read_of(lab, 1, "/srv/more/file")?, "not replicated");
        configure(lab, &format!("{DIRECTORY}{MORE}"))?;
        asks(lab, "2 entries (9 bytes) on node2", "/srv/bank/own/file")?;
        lab.cli(2, &["second", "-m", MODULE])?;
        lab.wait_pair(MODULE, 1)?;
        // What covers less, or the same in another order, takes nothing from anybody.
        configure(lab, &format!("{MORE}{EXCLUDING}"))?;
        lab.wait_pair(MODULE, 1)
    })
}

/// Gives both nodes the module with these directories, as an operator does it, and starts it on both.
fn configure(lab: &Lab, directories: &str) -> Result<()> {
    for number in [2, 1] {
        lab.cli(number, &["stop", "-m", MODULE])?;
        lab.wait_state(number, MODULE, "STOP NotReady", PATIENCE)?;
    }
    lab.install_package(MODULE, &plan(directories).package()?)?;
    lab.cli(1, &["start", "-m", MODULE])?;
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    lab.cli(2, &["start", "-m", MODULE]).map(drop)
}

/// Node 2 waits, says what would be overwritten and how to agree, and has not touched it.
fn asks(lab: &Lab, what: &str, path: &str) -> Result<()> {
    lab.wait_state(2, MODULE, "WAIT NotReady", PATIENCE)?;
    wait_until("node2 to ask", PATIENCE, || {
        let said = lab.state(2, MODULE)?.waiting_for.unwrap_or_default();
        if said.contains(what) && said.contains("order `second` here") { Ok(true) } else { bail!("{said}") }
    })?;
    ensure!(read(lab, path)? == "of node2\n", "{path} of node2 was overwritten");
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE).map(drop)
}

fn read(lab: &Lab, path: &str) -> Result<String> {
    read_of(lab, 2, path)
}

fn read_of(lab: &Lab, number: u8, path: &str) -> Result<String> {
    Ok(std::fs::read_to_string(lab.backing(number, path))?)
}
