//! Nodes that have no management server help each other over the cluster link.

use crate::bench::{Bench, MODULE, Scenario, TIMEOUT_MS};
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::wait_until;

/// Exit code of the command line when a node cannot be reached.
const UNREACHABLE: i32 = 3;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] =
    &[Scenario { name: "module_is_exported_and_run_on_both_nodes_from_one_without_a_server", run: exported }];

fn exported(_: &mut Bench) -> Result<()> {
    let mut lab = Lab::new("cluster")?;
    let result = story(&mut lab);
    result.with_context(|| lab.diagnosis(MODULE))
}

fn story(lab: &mut Lab) -> Result<()> {
    let plan = ModulePlan::bank(TIMEOUT_MS);
    lab.make_directory(&plan)?;
    lab.form_cluster()?;
    lab.install_package_on(1, &plan.name, &plan.package()?)?;
    wait_both(lab, 1)?;
    lab.cli(1, &["-H", "*", "-E", MODULE])?;
    lab.cli(1, &["prim", "-m", MODULE])?;
    lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    lab.cli(1, &["-H", "node2", "start", "-m", MODULE])?;
    lab.wait_pair(MODULE, 1)?;
    let states = lab.cli(1, &["-H", "*", "state"])?;
    ensure!(states.contains("PRIM Ready") && states.contains("SECOND Ready"), "{states}");

    // The link goes down with node 1; the failover does not wait for it.
    lab.kill_node(1)?;
    lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    wait_until("the loss to be noticed", PATIENCE, || {
        let output = lab.holdfast(2, &["-H", "*", "state"])?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(UNREACHABLE) if error.contains("node1") => Ok(true),
            code => bail!("{code:?}: {error}"),
        }
    })?;
    lab.power_on(1)?;
    lab.start_agent(1)?;
    wait_both(lab, 2)?;
    lab.cli(2, &["-H", "node1", "start", "-m", MODULE])?;
    lab.wait_pair(MODULE, 2)?;
    let table = lab.cli(1, &["cluster", "confinfo"])?;
    ensure!(!table.contains("differ"), "{table}");
    Ok(())
}

/// Waits until commands from `number` reach every node.
fn wait_both(lab: &Lab, number: u8) -> Result<()> {
    wait_until("both nodes to be reachable", PATIENCE, || {
        let output = lab.holdfast(number, &["-H", "*", "key"])?;
        if output.status.success() { Ok(true) } else { bail!("{}", String::from_utf8_lossy(&output.stderr).trim()) }
    })
}
