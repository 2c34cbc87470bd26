//! Checkers whose action is repeated: three times the module comes back, the fourth failure stops it for good.
//!
//! All modules of these scenarios live in one lab and fail at the same time, so that the whole takes as long as one of
//! them: the first scenario that runs tells the story, each looks at its own module's part of it.

use crate::bench::Scenario;
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{CONSOLE, Lab, LabOptions, package};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "tcp_checker_of_another_machine_makes_a_node_wait_up_to_maxloop", run: |_| part("tcp") },
    Scenario { name: "ping_checker_makes_a_node_wait_up_to_maxloop", run: |_| part("ping") },
    Scenario { name: "interface_checker_makes_a_node_wait_up_to_maxloop", run: |_| part("plug") },
    Scenario { name: "custom_checker_makes_a_node_wait_up_to_maxloop", run: |_| part("custom") },
    Scenario { name: "custom_checker_that_orders_a_restart_itself_does_so_up_to_maxloop", run: |_| part("order") },
    Scenario { name: "module_checker_makes_a_module_wait_up_to_maxloop", run: |_| part("follower") },
];

/// Failures of which the fourth is too many.
const MAXLOOP: usize = 3;
/// Port of the service on the other machine.
const PORT: &str = "7000";
/// The module that `follower` depends on; it runs on node 1 only.
const LEADER: &str = "leader";
const FAILOVER: &str = r#"<failover period="500ms" handle_time="1s"/>"#;

const START: &str = "#!/bin/sh\necho start >>\"/srv/$SAFEMODULE/starts\"\n";
const STOP: &str = "#!/bin/sh\nexit 0\n";
/// Down while there is a file `broken`; for a file `order` it restarts the module itself, once.
const LOOK: &str = r#"#!/bin/sh
folder="/srv/$1"
last=
while :; do
    state=up
    [ -e "$folder/broken" ] && state=down
    [ "$state" = "$last" ] || "$SAFE/safekit" set -r "$2" -v "$state" -i look
    last=$state
    if [ -e "$folder/order" ]; then
        rm "$folder/order"
        "$SAFE/safekit" restart -m "$1" -i look
    fi
    sleep 0.1
done
"#;

/// What became of each module.
type Parts = BTreeMap<&'static str, Result<(), String>>;

/// The parts, or why the lab could not be made.
static STORY: OnceLock<Result<Parts, String>> = OnceLock::new();

fn part(module: &str) -> Result<()> {
    let story = STORY.get_or_init(|| tell().map_err(|error| format!("{error:#}")));
    let parts = story.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    parts.get(module).context("no such module")?.clone().map_err(anyhow::Error::msg)
}

/// A module that is watched, and how node 1 looks while and after its checker fails.
#[derive(Clone, Copy)]
struct Watched {
    name: &'static str,
    /// The resource that its wait names; empty for a checker that acts by itself.
    resource: &'static str,
    /// On node 1 when all is well again.
    well: &'static str,
}

const WATCHED: [Watched; 6] = [
    Watched { name: "tcp", resource: "tcp.service", well: "SECOND Ready" },
    Watched { name: "ping", resource: "ping.machine", well: "SECOND Ready" },
    Watched { name: "plug", resource: "intf.net", well: "SECOND Ready" },
    Watched { name: "custom", resource: "custom.look", well: "SECOND Ready" },
    Watched { name: "order", resource: "", well: "PRIM Ready" },
    Watched { name: "follower", resource: "module.leader", well: "ALONE Ready" },
];

fn checker(lab: &Lab, name: &str) -> String {
    let machine = lab.network().address(CONSOLE);
    let to = r#"interval="1s" timeout="1s"/>"#;
    let inner = match name {
        "tcp" => {
            format!(r#"<tcp ident="service" when="pre" action="wait"><to addr="{machine}" port="{PORT}" {to}</tcp>"#)
        }
        "ping" => format!(r#"<ping ident="machine" when="pre" action="wait"><to addr="{machine}" {to}</ping>"#),
        "plug" => r#"<intf ident="net"><to local_addr="10.97.0.1"/></intf>"#.to_owned(),
        "custom" => r#"<custom ident="look" when="pre" action="wait" exec="look"/>"#.to_owned(),
        "order" => r#"<custom ident="look" when="prim" action="noaction" exec="look"/>"#.to_owned(),
        "follower" => format!(r#"<module name="{LEADER}"/>"#),
        _ => return String::new(),
    };
    format!("<check>{inner}</check>{FAILOVER}")
}

fn configure(lab: &Lab, name: &str) -> Result<()> {
    let source = lab.folder().join(format!("{name}.module"));
    let xml = format!(
        "<safe><service mode=\"mirror\" maxloop=\"{MAXLOOP}\" loop_interval=\"24\">\n\
         <heart pulse=\"700\" timeout=\"5000\"><heartbeat name=\"default\"/></heart>\n\
         <user nicestoptimeout=\"10\" forcestoptimeout=\"10\"/>\n{}\n</service></safe>\n",
        checker(lab, name)
    );
    let files =
        [("conf/userconfig.xml", xml.as_str()), ("bin/start_prim", START), ("bin/stop_prim", STOP), ("bin/look", LOOK)];
    package::write_folder(&source, &files)?;
    let (name, directory) = (name.to_owned(), format!("/srv/{name}"));
    let plan = ModulePlan { name, source, pulse_ms: 500, timeout_ms: 3000, directory, edits: Vec::new() };
    lab.make_directory(&plan)?;
    lab.install_package(&plan.name, &plan.package()?)
}

/// A lab with all modules started on node 1, and on node 2 those that have a second node.
fn set_up() -> Result<Lab> {
    let lab = Lab::with("repeated", &LabOptions { console: true, ..LabOptions::default() })?;
    let listen = format!("0.0.0.0:{PORT}");
    let service = ["--database", "/srv/service.db", "--listen", &listen];
    lab.host(CONSOLE).spawn("service", "/opt/holdfast/bin/holdfast-bank", &service)?;
    for number in lab.numbers() {
        for line in [
            "ip link add eth1 type veth peer name plug",
            "ip address add 10.97.0.1/24 dev eth1",
            "ip link set eth1 up",
            "ip link set plug up",
        ] {
            lab.host(number).shell(line)?;
        }
    }
    lab.form_cluster()?;
    let names = || WATCHED.iter().map(|watched| watched.name).chain([LEADER]);
    names().try_for_each(|name| configure(&lab, name))?;
    names().try_for_each(|name| lab.cli(1, &["prim", "-m", name]).map(drop))?;
    for watched in WATCHED {
        lab.wait_state(1, watched.name, "ALONE Ready", PATIENCE)?;
        if watched.name != "follower" {
            lab.cli(2, &["start", "-m", watched.name])?;
        }
    }
    for watched in WATCHED.iter().filter(|watched| watched.name != "follower") {
        lab.wait_pair(watched.name, 1)?;
    }
    Ok(lab)
}

fn tell() -> Result<Parts> {
    let mut lab = set_up()?;
    let mut parts: Parts = WATCHED.map(|watched| (watched.name, Ok(()))).into();
    for round in 1..=MAXLOOP + 1 {
        break_all(&mut lab)?;
        each(
            &lab,
            &mut parts,
            |lab, watched| if round <= MAXLOOP { failed(lab, watched, round) } else { given_up(lab, watched) },
        );
        mend_all(&mut lab)?;
        if round <= MAXLOOP {
            each(&lab, &mut parts, |lab, watched| lab.wait_state(1, watched.name, watched.well, PATIENCE).map(drop));
        }
    }
    Ok(parts)
}

/// Looks at every module whose part went well so far.
fn each(lab: &Lab, parts: &mut Parts, look: impl Fn(&Lab, Watched) -> Result<()>) {
    for watched in WATCHED {
        if parts.get(watched.name).is_some_and(Result::is_ok) {
            let result = look(lab, watched).with_context(|| lab.diagnosis(watched.name));
            parts.insert(watched.name, result.map_err(|error| format!("{error:#}")));
        }
    }
}

/// Everything that the checkers of node 1 look at fails.
fn break_all(lab: &mut Lab) -> Result<()> {
    lab.cut_link(1, CONSOLE)?;
    lab.host(1).shell("ip link set plug down")?;
    std::fs::write(lab.backing(1, "/srv/custom/broken"), "")?;
    std::fs::write(lab.backing(1, "/srv/order/order"), "")?;
    lab.cli(1, &["stop", "-m", LEADER]).map(drop)
}

fn mend_all(lab: &mut Lab) -> Result<()> {
    lab.heal()?;
    lab.host(1).shell("ip link set plug up")?;
    std::fs::remove_file(lab.backing(1, "/srv/custom/broken"))?;
    lab.wait_state(1, LEADER, "STOP NotReady", PATIENCE)?;
    lab.cli(1, &["prim", "-m", LEADER]).map(drop)
}

/// Node 1 waits and names what it waits for, and node 2 serves; or the checker's own order was carried out.
fn failed(lab: &Lab, watched: Watched, round: usize) -> Result<()> {
    if watched.resource.is_empty() {
        return wait_until("the application to be started again", PATIENCE, || {
            let starts = std::fs::read_to_string(lab.backing(1, &format!("/srv/{}/starts", watched.name)))?;
            let count = starts.lines().count();
            if count == round + 1 { Ok(true) } else { bail!("it was started {count} times") }
        });
    }
    let state = lab.wait_state(1, watched.name, "WAIT NotReady", PATIENCE)?;
    let why = state.waiting_for.unwrap_or_default();
    ensure!(why.contains(watched.resource), "node1 does not say that it waits for {}: {why:?}", watched.resource);
    if watched.name != "follower" {
        lab.wait_state(2, watched.name, "ALONE Ready", PATIENCE)?;
    }
    Ok(())
}

/// The fourth failure: stopped, and the log says by what.
fn given_up(lab: &Lab, watched: Watched) -> Result<()> {
    lab.wait_state(1, watched.name, "STOP NotReady", PATIENCE)?;
    let log = lab.module_log(1, watched.name, 300);
    ensure!(log.contains("maxloop"), "the log of node1 does not name maxloop:\n{log}");
    if watched.name != "follower" {
        lab.wait_state(2, watched.name, "ALONE Ready", PATIENCE)?;
    }
    Ok(())
}
