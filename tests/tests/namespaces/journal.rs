//! The machine's journal below a real systemd: what the module log shows stands there too, with fields to ask by.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS};
use anyhow::{Context, Result, ensure};
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{Lab, LabOptions};

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] =
    &[Scenario { name: "journal_tells_what_a_module_did_and_who_ordered_it", run: told }];

fn told(_: &mut Bench) -> Result<()> {
    let lab = Lab::with("journal", &LabOptions { systemd: true, ..LabOptions::default() })?;
    lab.configure(&ModulePlan::bank(TIMEOUT_MS))?;
    lab.start_pair(MODULE)?;
    let ask = |more: &str| lab.host(1).shell(&format!("journalctl --no-pager -q -t holdfast MODULE={MODULE} {more}"));
    wait_until("the journal to have the start", PATIENCE, || Ok(ask("'STATE=PRIM Ready'")?.contains("PRIM Ready")))?;
    let told = ask("")?;
    for words in ["prim by ", "run start_prim"] {
        ensure!(told.contains(words), "{words:?} is not in the journal:\n{told}");
    }
    let stored = ask("-o verbose LEVEL=U").context("lines of users' commands")?;
    ensure!(stored.contains("PRIORITY=6") && stored.contains("NODE=node1"), "fields are missing:\n{stored}");
    Ok(())
}
