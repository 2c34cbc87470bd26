//! What scenarios share: a lab with a bank pair that is brought back to node 1 PRIM, node 2 SECOND before each.

use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::bank::client::{Bank, Load, LoadPlan, LoadReport};
use holdfast_tests::lab::cluster::{ModulePlan, PATIENCE};
use holdfast_tests::lab::wait::wait_until;
use holdfast_tests::lab::{Lab, trees};
use std::collections::BTreeSet;
use std::time::Duration;

/// The module under test.
pub const MODULE: &str = "bank";
/// Its heartbeat timeout, in milliseconds.
pub const TIMEOUT_MS: u32 = 3000;
/// Programs whose frozen processes are let go again between scenarios.
const PROGRAMS: [&str; 3] = ["holdfast-agent", "holdfast-replica", "holdfast-bank"];

/// A named test.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// A sentence.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&mut Bench) -> Result<()>,
}

/// The lab in use and what its bank has acknowledged so far.
#[derive(Default)]
pub struct Bench {
    lab: Option<Lab>,
    acknowledged: BTreeSet<String>,
    loads: u32,
}

impl Bench {
    /// A lab with node 1 PRIM Ready and node 2 SECOND Ready, however the last scenario left it.
    pub fn pair(&mut self) -> Result<&mut Lab> {
        if let Some(lab) = &mut self.lab
            && let Err(error) = recover(lab)
        {
            println!("(making a new lab: {error:#})");
            self.lab = None;
        }
        if self.lab.is_none() {
            self.acknowledged.clear();
            let plan = ModulePlan::bank(TIMEOUT_MS);
            let lab = self.lab.insert(Lab::new("ring")?);
            lab.configure(&plan)?;
            for number in lab.numbers() {
                lab.cli(number, &["boot", "-m", MODULE, "on"])?;
            }
            lab.start_pair(MODULE)?;
        }
        self.lab()
    }

    /// A lab of its own for a module made by `plan`; `prepare` runs on the hosts before their agents start.
    pub fn own(name: &str, plan: &ModulePlan, prepare: impl FnOnce(&Lab) -> Result<()>) -> Result<Self> {
        let lab = Lab::new(name)?;
        prepare(&lab)?;
        lab.configure(plan)?;
        lab.start_pair(&plan.name)?;
        Ok(Self { lab: Some(lab), ..Self::default() })
    }

    /// Runs the story of a lab of its own; its failure comes with what the nodes say.
    pub fn tell(mut self, story: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        story(&mut self).with_context(|| self.diagnosis())
    }

    /// The lab of [`Bench::pair`].
    pub fn lab(&mut self) -> Result<&mut Lab> {
        self.lab.as_mut().context("no lab")
    }

    /// Starts load on the bank; ids are unique within the lab's life.
    pub fn load(&mut self) -> Result<Load> {
        let bank = self.lab()?.bank(MODULE);
        Ok(self.load_on(&bank))
    }

    /// Starts load on the given doors only.
    pub fn load_on(&mut self, bank: &Bank) -> Load {
        self.loads += 1;
        load(bank, &format!("load{}", self.loads))
    }

    /// Ends a load; everything it saw acknowledged must be there from now on.
    pub fn finish(&mut self, load: Load) -> Result<LoadReport> {
        let report = load.finish();
        self.acknowledged.extend(report.acknowledged.iter().cloned());
        self.demand_acknowledged()?;
        Ok(report)
    }

    /// These were acknowledged and must be there from now on.
    pub fn keep(&mut self, acknowledged: BTreeSet<String>) {
        self.acknowledged.extend(acknowledged);
    }

    /// Every transfer acknowledged since the lab was made is there, and the accounts add up.
    pub fn demand_acknowledged(&mut self) -> Result<()> {
        let bank = self.lab()?.bank(MODULE);
        let found = bank.demand(&self.acknowledged)?;
        ensure!(found.present >= self.acknowledged.len());
        Ok(())
    }

    /// With nothing writing: both nodes' files are the same, byte by byte.
    pub fn demand_equal_copies(&mut self, primary: u8) -> Result<()> {
        let lab = self.lab()?;
        // Pages changed through a memory map reach the replica when they are written back.
        lab.host(primary).shell("sync -f /srv/bank")?;
        let (left, right) = (lab.backing(1, "/srv/bank"), lab.backing(2, "/srv/bank"));
        wait_until("both copies to be equal", Duration::from_secs(10), || {
            let found = trees::differences(&left, &right)?;
            if found.is_empty() { Ok(true) } else { bail!("{}", found.join("; ")) }
        })
    }

    /// What the nodes say, for a failed scenario.
    pub fn diagnosis(&self) -> String {
        self.lab.as_ref().map(|lab| lab.diagnosis(MODULE)).unwrap_or_default()
    }
}

/// Brings to the secondary what waits there: pages changed through a memory map until they are written back, and the times
/// of files that stay open until they are synced.
pub fn settle(lab: &Lab, primary: u8) -> Result<()> {
    lab.host(primary).shell("sync -f /srv/bank && sync /srv/bank/ledger.db*").map(drop)
}

/// Starts load whose ids begin with `run`: no other load on the same bank may have that.
pub fn load(bank: &Bank, run: &str) -> Load {
    let plan = LoadPlan {
        run: run.into(),
        writers: 4,
        transfers_max: 20_000,
        time_max: Duration::from_secs(180),
        pause: Duration::from_millis(5),
    };
    Load::start(bank, plan)
}

/// Waits until a load has had `more` further transfers acknowledged.
pub fn progress(load: &Load, more: u64) -> Result<()> {
    let wanted = load.acknowledged() + more;
    let what = format!("{more} more acknowledged transfers");
    wait_until(&what, PATIENCE, || {
        if load.acknowledged() >= wanted { Ok(true) } else { bail!("{:?}", load.last_failure()) }
    })
}

/// Undoes what a scenario did: cuts, freezes, powered-off hosts, stopped modules, exchanged roles.
fn recover(lab: &mut Lab) -> Result<()> {
    lab.heal()?;
    for number in [1, 2] {
        if !lab.host(number).is_on() {
            lab.power_on(number)?;
        }
        for program in PROGRAMS {
            lab.host(number).cont(program)?;
        }
        if lab.host(number).named("holdfast-agent").is_empty() {
            lab.start_agent(number)?;
        }
    }
    for number in [1, 2] {
        if !lab.state(number, MODULE)?.running {
            lab.cli(number, &["start", "-m", MODULE])?;
        }
    }
    let pair = |lab: &Lab, primary| -> Result<bool> {
        Ok(lab.state(primary, MODULE)?.name() == "PRIM Ready"
            && lab.state(3 - primary, MODULE)?.name() == "SECOND Ready")
    };
    wait_until("a pair", PATIENCE, || Ok(pair(lab, 1)? || pair(lab, 2)?))?;
    if pair(lab, 2)? {
        lab.cli(2, &["swap", "-m", MODULE])?;
    }
    lab.wait_pair(MODULE, 1)
}
