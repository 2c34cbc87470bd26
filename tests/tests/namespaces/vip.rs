//! Virtual addresses on real hosts: set, moved, released, refused, and never on two nodes.

use crate::bench::{Bench, Scenario};
use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::network::second_address;
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{CONSOLE, Lab, LabOptions, package};
use rustix::process::Signal;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Named tests of this file.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "vip_is_reached_after_start_moves_with_a_swap_and_goes_with_a_stop", run: moves },
    Scenario { name: "vip_of_a_killed_agent_is_released_and_taken_over", run: killed_agent },
    Scenario { name: "vip_in_use_by_another_machine_keeps_the_module_from_starting", run: in_use },
    Scenario { name: "vip_whose_name_means_another_address_moves_with_an_update", run: updated },
];

const MODULE: &str = "web";
const PORT: u16 = 8080;
/// The name under which the application runs, on whichever node.
const VIRTUAL_HOST: &str = "web-virtual";
/// What /etc/hosts calls the address of the second network.
const SECOND_NAME: &str = "web-second";
/// The host that is no node of the cluster.
const CLIENT: u8 = CONSOLE;

const START: &str = r#"#!/bin/sh
. "$SAFEUSERBIN/vhostenv"
uname -n >>"$SAFEUSERVAR/names"
bank=/opt/holdfast/bin/holdfast-bank
setsid "$bank" --database /srv/web/ledger.db --listen "[::]:8080" >>"$SAFEUSERVAR/web.log" 2>&1 </dev/null &
exec "$bank" --check 127.0.0.1:8080
"#;

const STOP: &str = r#"#!/bin/sh
pkill -KILL -x holdfast-bank
while pgrep -x holdfast-bank >/dev/null; do sleep 0.05; done
"#;

/// A lab with two nodes and a client on three networks: IPv4, IPv6, and one of an interface eth1.
struct Addresses {
    lab: Lab,
    v4: IpAddr,
    v6: IpAddr,
    second: IpAddr,
}

impl Addresses {
    fn new() -> Result<Self> {
        let lab = Lab::with("vip", &LabOptions { console: true, ..LabOptions::default() })?;
        for number in lab.numbers().into_iter().chain([CLIENT]) {
            lab.host(number).shell(&format!("ip address add fd99::{number}/64 dev eth0 nodad"))?;
            lab.host(number).join_second_network()?;
        }
        let v4 = lab.network().address(50).into();
        let net = Self { lab, v4, v6: "fd99::50".parse()?, second: second_address(50).into() };
        net.name_second()?;
        Ok(net)
    }

    /// Lets the nodes know the second address by its name.
    fn name_second(&self) -> Result<()> {
        let line = format!("{} {SECOND_NAME}\n", self.second);
        self.lab.numbers().into_iter().try_for_each(|number| self.lab.host(number).know_names(&line))
    }

    /// Under which host names the application was started on a node.
    fn names(&self, number: u8) -> Result<String> {
        let path = self.lab.host(number).folder().join(format!("data/var/modules/{MODULE}/names"));
        std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))
    }

    fn all(&self) -> [IpAddr; 3] {
        [self.v4, self.v6, self.second]
    }

    /// Both nodes with a module that has all addresses.
    fn configure(&self) -> Result<()> {
        let source = self.lab.folder().join("web.module");
        let Self { v4, v6, .. } = self;
        let xml = format!(
            r#"<!DOCTYPE safe>
<safe>
<service mode="mirror" maxloop="1">
  <heart pulse="700" timeout="5000"><heartbeat name="default" ident="flow"/></heart>
  <vip tcpreset="on"><interface_list>
    <interface arpreroute="on"><real_interface>
      <virtual_addr addr="{v4}" where="one_side_alias"/>
      <virtual_addr addr="{v6}" where="one_side_alias"/>
    </real_interface></interface>
    <interface name="eth1"><real_interface>
      <virtual_addr addr="{SECOND_NAME}" where="one_side" netmask="255.255.255.0"/>
    </real_interface></interface>
  </interface_list></vip>
  <rfs async="second"><replicated dir="/srv/web" mode="read_only"/></rfs>
  <user nicestoptimeout="5" forcestoptimeout="10"/>
  <vhost><virtualhostname name="{VIRTUAL_HOST}" envfile="vhostenv"/></vhost>
</service>
</safe>
"#
        );
        let files = [("conf/userconfig.xml", xml.as_str()), ("bin/start_prim", START), ("bin/stop_prim", STOP)];
        package::write_folder(&source, &files)?;
        let (name, directory) = (MODULE.to_owned(), "/srv/web".to_owned());
        self.lab.configure(&ModulePlan { name, source, pulse_ms: 500, timeout_ms: 2000, directory, edits: Vec::new() })
    }

    /// A pair with node 1 as primary.
    fn started() -> Result<Self> {
        let net = Self::new()?;
        net.configure()?;
        net.lab.start_pair(MODULE)?;
        Ok(net)
    }

    /// The client gets an answer at every address.
    fn demand_reached(&self) -> Result<()> {
        for addr in self.all() {
            let line = format!("exec 3<>/dev/tcp/{addr}/{PORT}");
            let output = self.lab.host(CLIENT).output(5, "bash", &["-c", &line])?;
            ensure!(
                output.status.success(),
                "nobody answers at {addr}: {}{}",
                String::from_utf8_lossy(&output.stderr).trim(),
                self.lab.diagnosis(MODULE)
            );
        }
        Ok(())
    }

    /// Which of the addresses a node has.
    fn held(&self, number: u8) -> Result<Vec<IpAddr>> {
        let listed = listed(self.lab.host(number).init()?)?;
        Ok(self.all().into_iter().filter(|addr| listed.contains(addr)).collect())
    }

    fn demand_held(&self, number: u8, expected: &[IpAddr]) -> Result<()> {
        let held = self.held(number)?;
        ensure!(held == expected, "node{number} has {held:?}, expected {expected:?}{}", self.lab.diagnosis(MODULE));
        Ok(())
    }

    /// What the client takes for the hardware address of `addr`.
    fn neighbour(&self, addr: IpAddr) -> Result<String> {
        self.lab.host(CLIENT).shell(&format!("ip neighbour show {addr}"))
    }

    fn mac(&self, number: u8) -> Result<String> {
        let shown = self.lab.host(number).shell("ip link show dev eth0")?;
        let after = shown.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next());
        Ok(after.with_context(|| format!("no hardware address: {shown}"))?.to_owned())
    }

    /// Follows which node has the addresses until told to stop.
    fn watch(&self) -> Result<Watch> {
        Watch::begin(&self.lab, self.all().to_vec())
    }
}

/// The addresses of all interfaces in the network of a process.
pub(crate) fn listed(process: i32) -> Result<Vec<IpAddr>> {
    let process = process.to_string();
    let output = Command::new("nsenter").args(["--target", &process, "--net", "ip", "-o", "address"]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let addr = |line: &str| line.split_whitespace().nth(3)?.split('/').next()?.parse().ok();
    Ok(text.lines().filter_map(addr).collect())
}

/// An address that both have at the same time: each did before and after the other was looked at.
fn on_both(inits: [i32; 2], all: &[IpAddr]) -> Result<Option<IpAddr>> {
    let look = || -> Result<[Vec<IpAddr>; 2]> { Ok([listed(inits[0])?, listed(inits[1])?]) };
    let (before, after) = (look()?, look()?);
    let always = |addr: &&IpAddr| [&before, &after].into_iter().flatten().all(|held| held.contains(addr));
    Ok(all.iter().find(always).copied())
}

/// Follows which of two nodes has the addresses, until told to stop.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32>>,
}

impl Watch {
    /// Begins to look at both nodes of a lab.
    pub(crate) fn begin(lab: &Lab, all: Vec<IpAddr>) -> Result<Self> {
        let inits = [lab.host(1).init()?, lab.host(2).init()?];
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut rounds = 0;
            while !stopped.load(Ordering::Relaxed) {
                if let Some(addr) = on_both(inits, &all)? {
                    bail!("VIOLATION: {addr} is on both nodes");
                }
                rounds += 1;
            }
            Ok(rounds)
        });
        Ok(Self { stop, thread })
    }

    /// Ends it; an address that was on both nodes at once is an error.
    pub(crate) fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let rounds = self.thread.join().map_err(|_| anyhow::anyhow!("the watch panicked"))??;
        ensure!(rounds > 0, "the watch never looked");
        Ok(())
    }
}

fn moves(_: &mut Bench) -> Result<()> {
    let net = Addresses::started()?;
    let watch = net.watch()?;
    net.demand_held(1, &net.all())?;
    net.demand_held(2, &[])?;
    net.demand_reached()?;
    ensure!(net.neighbour(net.v4)?.contains(&net.mac(1)?), "{}", net.neighbour(net.v4)?);
    let labelled = net.lab.host(1).shell("ip -4 address show dev eth0")?;
    ensure!(labelled.contains("eth0:hf1"), "{labelled}");

    let connect = net.lab.network().connector();
    let mut client = connect(SocketAddr::new(net.v4, PORT), Duration::from_secs(5))?;
    client.set_read_timeout(Some(PATIENCE))?;
    net.lab.cli(1, &["swap", "-m", MODULE])?;
    let ended = client.read(&mut [0]).err().map(|error| error.kind());
    ensure!(ended == Some(ErrorKind::ConnectionReset), "the client saw {ended:?}");
    net.lab.wait_pair(MODULE, 2)?;
    net.demand_held(1, &[])?;
    net.demand_held(2, &net.all())?;
    for addr in [net.v4, net.v6] {
        let entry = net.neighbour(addr)?;
        ensure!(entry.contains(&net.mac(2)?), "the client was not told that {addr} has moved: {entry}");
    }
    net.demand_reached()?;

    net.lab.cli(1, &["stop", "-m", MODULE])?;
    net.lab.wait_state(1, MODULE, "STOP NotReady", PATIENCE)?;
    net.lab.cli(2, &["stop", "-m", MODULE])?;
    net.lab.wait_state(2, MODULE, "STOP NotReady", PATIENCE)?;
    net.demand_held(2, &[])?;
    watch.finish()
}

fn updated(_: &mut Bench) -> Result<()> {
    let mut net = Addresses::started()?;
    let own = net.lab.host(1).shell("uname -n")?;
    ensure!(net.names(1)?.trim() == VIRTUAL_HOST && own.trim() == "node1", "{}: {}", own, net.names(1)?);
    let connect = net.lab.network().connector();
    let mut client = connect(SocketAddr::new(net.v4, PORT), Duration::from_secs(5))?;
    let (before, after) = (net.second, second_address(51).into());
    net.second = after;
    net.lab.cli(2, &["stop", "-m", MODULE])?;
    net.lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    net.name_second()?;
    net.lab.cli(1, &["update", "-m", MODULE])?;
    let moved = || Ok(net.held(1)?.contains(&after) && !listed(net.lab.host(1).init()?)?.contains(&before));
    wait_until("the new address on node1", PATIENCE, moved)?;
    net.demand_reached()?;
    // Neither the application nor a connection to an address that stays was touched.
    ensure!(net.names(1)?.lines().count() == 1, "the application was started again: {}", net.names(1)?);
    client.set_nonblocking(true)?;
    let still = client.read(&mut [0]).err().map(|error| error.kind());
    ensure!(still == Some(ErrorKind::WouldBlock), "the connection to {} has ended: {still:?}", net.v4);

    net.lab.cli(2, &["start", "-m", MODULE])?;
    net.lab.wait_pair(MODULE, 1)?;
    net.lab.cli(1, &["swap", "-m", MODULE])?;
    net.lab.wait_pair(MODULE, 2)?;
    net.demand_held(2, &net.all())?;
    ensure!(net.names(2)?.trim() == VIRTUAL_HOST, "{}", net.names(2)?);
    Ok(())
}

fn killed_agent(_: &mut Bench) -> Result<()> {
    let net = Addresses::started()?;
    let watch = net.watch()?;
    net.lab.host(1).signal("holdfast-agent", Signal::KILL)?;
    wait_until("the addresses to be released", PATIENCE, || Ok(net.held(1)?.is_empty()))?;
    net.lab.wait_state(2, MODULE, "ALONE Ready", PATIENCE)?;
    net.demand_held(2, &net.all())?;
    net.demand_reached()?;
    net.lab.start_agent(1)?;
    net.lab.wait_pair(MODULE, 2)?;
    net.demand_held(1, &[])?;
    let refused = net.lab.holdfast(2, &["release-addresses", "--run-dir", &run_dir(&net.lab, 2)])?;
    ensure!(!refused.status.success(), "a running agent keeps its addresses");
    net.demand_held(2, &net.all())?;
    watch.finish()
}

fn run_dir(lab: &Lab, number: u8) -> String {
    lab.host(number).folder().join("run").display().to_string()
}

fn in_use(_: &mut Bench) -> Result<()> {
    let net = Addresses::new()?;
    net.configure()?;
    for (addr, prefix) in [(net.v6, 64), (net.v4, 24)] {
        net.lab.host(CLIENT).shell(&format!("ip address add {addr}/{prefix} dev eth0"))?;
        wait_until("the client to have the address", PATIENCE, || {
            Ok(!net.lab.host(CLIENT).shell("ip address show dev eth0")?.contains("tentative"))
        })?;
        net.lab.cli(1, &["prim", "-m", MODULE])?;
        net.lab.wait_state(1, MODULE, "STOP NotReady", PATIENCE)?;
        net.demand_held(1, &[])?;
        let log = net.lab.module_log(1, MODULE, 100);
        let told = format!(
            "{addr} is in use on the network of eth0 by the machine with hardware address {}",
            net.mac(CLIENT)?
        );
        ensure!(log.contains(&told), "the log does not say {told:?}:\n{log}");
        net.lab.host(CLIENT).shell(&format!("ip address del {addr}/{prefix} dev eth0"))?;
    }
    net.lab.cli(1, &["prim", "-m", MODULE])?;
    net.lab.wait_state(1, MODULE, "ALONE Ready", PATIENCE)?;
    net.demand_held(1, &net.all())
}
