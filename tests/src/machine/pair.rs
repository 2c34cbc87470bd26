//! Two machines as a cluster with the bank as its module, brought up by command line.

use crate::bank::client::{Bank, Keeper, NodeDoor};
use crate::lab::cluster::{ModulePlan, health_path};
use crate::lab::node::NodeState;
use crate::lab::wait::wait_for;
use crate::machine::emulator::{Machine, Ports};
use crate::machine::image::Image;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The module on both machines.
const MODULE: &str = "bank";
/// A state is reached within this time: everything is emulated, and both machines may share one core.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// Two machines and what they boot from.
pub struct Pair {
    image: Image,
    machines: [Machine; 2],
}

impl Pair {
    /// Two machines, off, with what is in `folder` of an earlier run.
    ///
    /// # Errors
    /// What they boot from cannot be made.
    pub fn new(folder: &Path) -> Result<Self> {
        let image = Image::make(folder, &[])?;
        let (one, two) = (Ports::free()?, Ports::free()?);
        Ok(Self { machines: [Machine::new(1, folder, one, two)?, Machine::new(2, folder, two, one)?], image })
    }

    /// Release of the machines' kernel.
    pub fn release(&self) -> &str {
        &self.image.release
    }

    /// The machine with this number, 1 or 2.
    pub fn machine(&mut self, number: u8) -> &mut Machine {
        &mut self.machines[usize::from(number - 1)]
    }

    /// Powers a machine on and waits until its agent answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn power_on(&mut self, number: u8) -> Result<()> {
        let (image, machine) = (self.image.clone(), self.machine(number));
        machine.power_on(&image)?;
        let answered = wait_for("the agent to answer", PATIENCE, || {
            machine.done("/opt/holdfast/bin/holdfast module list").map(Some)
        });
        answered.with_context(|| machine.console()).map(drop)
    }

    /// Runs `holdfast ARGUMENTS` on a machine; what it printed.
    ///
    /// # Errors
    /// It failed.
    pub fn cli(&mut self, number: u8, arguments: &str) -> Result<String> {
        self.machine(number).done(&format!("/opt/holdfast/bin/holdfast {arguments}"))
    }

    /// State of the module on a machine.
    ///
    /// # Errors
    /// The machine is off or its agent does not answer.
    pub fn state(&mut self, number: u8) -> Result<NodeState> {
        let text = self.cli(number, &format!("state -m {MODULE} --json"))?;
        serde_json::from_str(&text).with_context(|| format!("no state: {text}"))
    }

    /// Makes both a cluster, configures the module, starts it with machine 1 as primary.
    ///
    /// # Errors
    /// A command failed or a state is not reached.
    pub fn set_up(&mut self) -> Result<()> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        let mut nodes = Vec::new();
        for number in [1, 2] {
            let key = self.cli(number, "key")?.trim().to_owned();
            ensure!(key.len() == 64, "`holdfast key` printed {key:?}");
            let address = format!("10.77.0.{number}");
            nodes.push(json!({ "id": number, "name": format!("node{number}"), "addresses": { "default": address }, "fingerprint": key }));
        }
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let cluster =
            json!({ "version": 1, "name": "machines", "secret": secret, "lans": ["default"], "nodes": nodes });
        // After a power cut it starts again as it ran before.
        let plan = ModulePlan::bank(4000).edited("<service mode=\"mirror\"", "<service mode=\"mirror\" boot=\"auto\"");
        let package = plan.package()?;
        for number in [1, 2] {
            self.machine(number).done("mkdir -p /srv/bank")?;
            self.machine(number).put("/disk/cluster.json", &serde_json::to_vec(&cluster)?)?;
            self.machine(number).put("/disk/bank.zip", &package)?;
            self.cli(number, "cluster config /disk/cluster.json")?;
            self.cli(number, &format!("module install -m {MODULE} /disk/bank.zip"))?;
            self.cli(number, &format!("config -m {MODULE}"))?;
        }
        self.cli(1, &format!("prim -m {MODULE}"))?;
        self.wait(1, "ALONE Ready")?;
        self.cli(2, &format!("start -m {MODULE}"))?;
        self.wait_pair().map(drop)
    }

    /// Waits until the module is in `wanted` on a machine.
    ///
    /// # Errors
    /// The deadline has passed.
    pub fn wait(&mut self, number: u8, wanted: &str) -> Result<()> {
        let reached = wait_for(&format!("{wanted} on machine {number}"), PATIENCE, || {
            let state = self.state(number)?;
            if state.name() == wanted { Ok(Some(())) } else { bail!("{} ({:?})", state.name(), state.waiting_for) }
        });
        reached.with_context(|| self.diagnosis())
    }

    /// Waits until one machine is PRIM and the other SECOND, both ready; the primary's number.
    ///
    /// # Errors
    /// The deadline has passed.
    pub fn wait_pair(&mut self) -> Result<u8> {
        let reached = wait_for("a primary and an up to date secondary", PATIENCE, || {
            let states = (self.state(1)?.name(), self.state(2)?.name());
            match (states.0.as_str(), states.1.as_str()) {
                ("PRIM Ready", "SECOND Ready") => Ok(Some(1)),
                ("SECOND Ready", "PRIM Ready") => Ok(Some(2)),
                other => bail!("{other:?}"),
            }
        });
        reached.with_context(|| self.diagnosis())
    }

    /// The bank as clients on this machine see it.
    pub fn bank(&self) -> Bank {
        let door = |machine: &Machine| NodeDoor {
            health: machine.ports.health,
            health_path: health_path(MODULE),
            bank: machine.ports.bank,
        };
        Bank {
            keeper: Keeper::Service,
            doors: self.machines.iter().map(door).collect(),
            connect: Arc::new(|address, timeout| TcpStream::connect_timeout(&address, timeout)),
            timeout: Duration::from_secs(8),
        }
    }

    /// Names, sizes and contents of a machine's copy, below any mount.
    ///
    /// # Errors
    /// The machine is off.
    pub fn copy(&mut self, number: u8) -> Result<String> {
        self.machine(number).done("cd /disk/srv/bank && find . -printf '%y %m %U %G %s %p\\n' | sort && find . -type f | sort | xargs -r sha256sum")
    }

    /// What both machines say, for error messages.
    pub fn diagnosis(&mut self) -> String {
        let mut text = String::new();
        for number in [1, 2] {
            if !self.machine(number).is_on() {
                text.push_str(&format!("\n== machine {number} is off\n"));
                continue;
            }
            let line = format!(
                "/opt/holdfast/bin/holdfast state -m {MODULE}; /opt/holdfast/bin/holdfast log -m {MODULE} -A -s 25; tail -n 15 /run/agent.log"
            );
            let said = self.machine(number).command(&line).map_or_else(|error| format!("{error:#}"), |(said, _)| said);
            text.push_str(&format!("\n== machine {number}\n{said}"));
        }
        text
    }
}
