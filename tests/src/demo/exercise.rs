//! The unattended story: load, kill -9 of the primary node, failover, every acknowledged transfer checked, return,
//! resync, swap back, both copies compared; figures at the end.

use crate::bank::client::{Bank, Load, LoadPlan};
use crate::demo::application::Application;
use crate::demo::interrupt::Interrupt;
use crate::lab::cluster::PATIENCE;
use crate::lab::wait::{wait_for, wait_until};
use crate::lab::{Lab, trees};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Acknowledged transfers before the crash, and again after it.
const TRANSFERS: u64 = 500;

/// What came out; `None` where the exercise did not get that far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Transfers acknowledged in all.
    pub acknowledged: u64,
    /// Of these, missing after the failover or at the end: must be 0.
    pub lost: Option<u64>,
    /// From the last acknowledgement before the crash to the first after it, as a client sees it.
    pub failover_ms: Option<u64>,
    /// From the start of the returned node's agent to both nodes green.
    pub resync_ms: Option<u64>,
    /// Bytes that differed and were sent.
    pub resync_bytes: Option<u64>,
    /// Longest time without an acknowledgement during the swap, as a client sees it.
    pub swap_ms: Option<u64>,
    /// Both copies are the same, byte by byte.
    pub trees_equal: Option<bool>,
}

impl Figures {
    /// Whether everything held.
    pub fn hold(&self) -> bool {
        let measured = [self.failover_ms, self.resync_ms, self.resync_bytes, self.swap_ms].iter().all(Option::is_some);
        self.lost == Some(0) && self.trees_equal == Some(true) && measured && self.acknowledged > 0
    }
}

/// The exercise under way.
pub struct Exercise<'a> {
    lab: &'a mut Lab,
    application: Application,
    module: String,
    directory: String,
    interrupt: Interrupt,
    acknowledged: BTreeSet<String>,
    loads: u32,
    /// What came out so far.
    pub figures: Figures,
}

impl<'a> Exercise<'a> {
    /// An exercise on a lab whose pair is up with node 1 as primary.
    pub fn new(lab: &'a mut Lab, application: Application, interrupt: Interrupt) -> Self {
        let plan = application.plan();
        Self {
            lab,
            application,
            module: plan.name,
            directory: plan.directory,
            interrupt,
            acknowledged: BTreeSet::new(),
            loads: 0,
            figures: Figures::default(),
        }
    }

    /// The whole story; figures are kept as far as it gets.
    ///
    /// # Errors
    /// The step that failed, with what the nodes say.
    pub fn run(&mut self) -> Result<()> {
        let result =
            self.crash().and_then(|()| self.come_back()).and_then(|()| self.swap()).and_then(|()| self.compare());
        result.with_context(|| format!("{}\nthe exercise failed", self.lab.diagnosis(&self.module)))
    }

    fn bank(&self) -> Bank {
        self.application.bank(self.lab)
    }

    fn load(&mut self) -> Load {
        self.loads += 1;
        let plan = LoadPlan {
            run: format!("exercise{}", self.loads),
            writers: 4,
            transfers_max: 100_000,
            time_max: Duration::from_secs(300),
            pause: Duration::ZERO,
        };
        Load::start(&self.bank(), plan)
    }

    /// Waits until the load got `more` further transfers acknowledged.
    fn progress(&self, load: &Load, more: u64) -> Result<()> {
        let wanted = load.acknowledged() + more;
        wait_until(&format!("{more} more acknowledged transfers"), PATIENCE, || {
            self.interrupt.check()?;
            if load.acknowledged() >= wanted { Ok(true) } else { bail!("{:?}", load.last_failure()) }
        })?;
        self.interrupt.check()
    }

    /// Ends a load, counts what it got, looks for all of it; its longest outage in milliseconds.
    fn finish(&mut self, load: Load) -> Result<u64> {
        let report = load.finish();
        self.acknowledged.extend(report.acknowledged);
        self.figures.acknowledged = self.acknowledged.len() as u64;
        let found = self.bank().verify(&self.acknowledged)?;
        self.figures.lost = Some(found.lost.len() as u64);
        self.bank().demand(&self.acknowledged)?;
        println!(
            "   {} transfers acknowledged so far, all of them present, the accounts add up",
            self.acknowledged.len()
        );
        Ok(report.longest_outage_ms)
    }

    fn crash(&mut self) -> Result<()> {
        say("clients transfer money on node1");
        wait_until("the ledger's tables", PATIENCE, || self.bank().set_up().map(|()| true))?;
        let load = self.load();
        self.progress(&load, TRANSFERS)?;
        say("kill -9 of everything on node1, the primary");
        self.lab.kill_node(1)?;
        self.lab.wait_serves(2, &self.module, PATIENCE)?;
        self.progress(&load, TRANSFERS)?;
        let outage = self.finish(load)?;
        self.figures.failover_ms = Some(outage);
        say(&format!("node2 took over; clients waited {outage} ms"));
        Ok(())
    }

    fn come_back(&mut self) -> Result<()> {
        say("node1 boots again and is resynced while clients work on node2");
        let load = self.load();
        self.lab.power_on(1)?;
        let began = Instant::now();
        self.lab.start_agent(1)?;
        self.lab.wait_pair(&self.module, 2)?;
        let took = u64::try_from(began.elapsed().as_millis())?;
        self.figures.resync_ms = Some(took);
        let bytes = self.resync_bytes()?;
        self.figures.resync_bytes = Some(bytes);
        self.progress(&load, TRANSFERS)?;
        self.finish(load)?;
        say(&format!("node1 is the secondary after {took} ms, {bytes} bytes were sent"));
        Ok(())
    }

    /// From whichever node still tells it.
    fn resync_bytes(&self) -> Result<u64> {
        wait_for("the resync's figures", Duration::from_secs(10), || {
            let told = |number| self.lab.state(number, &self.module).ok()?.resync?["bytes_sent"].as_u64();
            Ok([2, 1].into_iter().filter_map(told).max())
        })
    }

    fn swap(&mut self) -> Result<()> {
        say("swap back while clients work");
        let load = self.load();
        self.progress(&load, TRANSFERS)?;
        self.lab.cli(2, &["swap", "-m", &self.module])?;
        self.lab.wait_pair(&self.module, 1)?;
        self.progress(&load, TRANSFERS)?;
        let outage = self.finish(load)?;
        self.figures.swap_ms = Some(outage);
        say(&format!("node1 is the primary again; clients waited {outage} ms"));
        Ok(())
    }

    fn compare(&mut self) -> Result<()> {
        say("compare both copies byte by byte");
        // Pages changed through a memory map reach the peer when they are written back.
        self.lab.host(1).shell(&format!("sync -f {}", self.directory))?;
        let copies = [1, 2].map(|number| self.lab.backing(number, &self.directory));
        let equal = wait_until("both copies to be equal", Duration::from_secs(10), || {
            let found = trees::differences(&copies[0], &copies[1])?;
            if found.is_empty() { Ok(true) } else { bail!("{}", found.join("; ")) }
        });
        self.figures.trees_equal = Some(equal.is_ok());
        equal
    }
}

fn say(text: &str) {
    println!("── {text}");
}
