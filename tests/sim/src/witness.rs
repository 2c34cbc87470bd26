//! The witnesses: a register that may be slow, unreachable, restarted or restored from a backup, and addresses to ping.
//!
//! The register decides by the very function that the server and the etcd driver use.

use super::cluster::{Cluster, Step};
use holdfast_api::ids::NodeId;
use holdfast_api::register::{self, Arming, Ask, Record};
use holdfast_core::input::{Input, WitnessAnswer};
use holdfast_core::settings::Witness;
use std::collections::BTreeSet;

/// How often a register that lives anew asks a node which has not reported.
const QUESTION_MS: u64 = 300;

/// Which witness a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None.
    None,
    /// Addresses that both nodes reach, however they are cut from each other: as good as none.
    PingFromBoth,
    /// Addresses that only this node reaches, as if they were on its side of every cut.
    PingFrom(usize),
    /// A register.
    Register,
}

impl Kind {
    /// As a node's setting.
    pub fn setting(self) -> Witness {
        match self {
            Self::None => Witness::None,
            Self::PingFromBoth | Self::PingFrom(_) => Witness::Ping,
            Self::Register => Witness::Register,
        }
    }

    /// Two nodes must never serve at once.
    pub fn fences(self) -> bool {
        matches!(self, Self::PingFrom(_) | Self::Register)
    }
}

/// The register's machine, and the ways to it.
#[derive(Clone, Debug)]
pub struct Register {
    /// What it has saved.
    pub record: Option<Record>,
    /// What this life of it may grant.
    pub arming: Arming,
    /// Which life it is.
    pub life: u64,
    /// Its process runs.
    pub up: bool,
    /// The node does not reach it (nor a ping witness) until then.
    pub cut_until: [u64; 2],
    /// What it saved before and when, for backups.
    pub history: Vec<(u64, Option<Record>)>,
    /// Every number it ever granted, and to whom: what no restore undoes.
    pub granted: BTreeSet<(u64, usize)>,
    /// A ping witness has answered this node, and when.
    pub answered_at: [Option<u64>; 2],
}

impl Register {
    /// Empty, and armed once both nodes have reported.
    pub fn new() -> Self {
        Self {
            record: None,
            arming: Arming::new([NodeId(1), NodeId(2)]),
            life: 1,
            up: true,
            cut_until: [0, 0],
            history: vec![(0, None)],
            granted: BTreeSet::new(),
            answered_at: [None, None],
        }
    }
}

impl Default for Register {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    fn reaches_witness(&self, host: usize) -> bool {
        self.register.cut_until[host] <= self.schedule.now()
    }

    /// A node asks its witness.
    pub fn ask_witness(&mut self, host: usize, ask: u64, number: u64, nonce: u64) {
        let delay = self.rng.within(self.options.witness_ms);
        let lost = !self.reaches_witness(host) || self.faulty && self.rng.chance(self.options.witness_loss);
        match self.options.witness {
            Kind::None => self.oracle_violated(format!("{} asks a witness that there is none", Self::name(host))),
            Kind::Register if lost => self.not_reached(host, ask),
            Kind::Register => {
                let wanted = Ask { number, owner: NodeId(host as u16 + 1), nonce };
                let life = self.hosts[host].life;
                self.schedule.after(delay, Step::RegisterAsked { host, life, ask, wanted });
            }
            Kind::PingFromBoth | Kind::PingFrom(_) => {
                let side = !matches!(self.options.witness, Kind::PingFrom(side) if side != host);
                let reachable = side && !lost;
                if reachable {
                    self.register.answered_at[host] = Some(self.schedule.now());
                }
                self.answer_later(host, ask, WitnessAnswer::Reachable(reachable), delay);
            }
        }
    }

    fn answer_later(&mut self, host: usize, ask: u64, answer: WitnessAnswer, delay: u64) {
        let life = self.hosts[host].life;
        let input = Input::WitnessAnswered { ask, answer };
        self.schedule.after(delay, Step::Report { host, life, input });
    }

    /// The driver finds out, or the node has to by itself.
    fn not_reached(&mut self, host: usize, ask: u64) {
        if self.rng.coin() == 0 {
            let delay = self.rng.within((1, self.options.witness_timeout_ms));
            let answer = WitnessAnswer::Unreachable { reason: "no route to the register".to_owned() };
            self.answer_later(host, ask, answer, delay);
        }
    }

    /// An ask arrives at the register: decide, save, answer.
    pub fn register_asked(&mut self, host: usize, life: u64, ask: u64, wanted: Ask) {
        if !self.register.up {
            if self.hosts[host].life == life {
                self.not_reached(host, ask);
            }
            return;
        }
        let mut arming = self.register.arming.clone();
        if self.options.broken.grant_unarmed {
            arming = Arming::new([]);
        }
        let answer = match register::answer(self.register.record.as_ref(), &arming, &wanted) {
            Ok(new) => {
                if let Some(record) = new {
                    self.register.record = Some(record);
                    self.register.history.push((self.schedule.now(), Some(record)));
                }
                self.register.granted.insert((wanted.number, host));
                WitnessAnswer::Granted
            }
            Err(refusal) => WitnessAnswer::Refused { number: refusal.number(), reason: refusal.to_string() },
        };
        self.say(|| format!("register {} of {}: {answer:?}", wanted.number, Self::name(host)));
        let mut delay = self.rng.within(self.options.witness_ms);
        if self.faulty && self.rng.chance(self.options.witness_late) {
            delay += self.rng.within((1, self.options.witness_timeout_ms * 4));
        }
        let lost = !self.reaches_witness(host) || self.faulty && self.rng.chance(self.options.witness_loss);
        if !lost && self.hosts[host].life == life {
            self.answer_later(host, ask, answer, delay);
        }
    }

    /// The register's process ends, and lives anew later; `restored`: with the records it had at that moment.
    pub fn register_ends(&mut self, back_in_ms: u64, restored: Option<u64>) {
        if self.options.witness != Kind::Register {
            return;
        }
        self.register.up = false;
        self.register.life += 1;
        let life = self.register.life;
        self.schedule.after(back_in_ms, Step::RegisterStarts { life, restored });
    }

    /// The register's process starts.
    pub fn register_starts(&mut self, life: u64, restored: Option<u64>) {
        if life != self.register.life {
            return;
        }
        if let Some(then) = restored {
            let known = self.register.history.iter().rev().find(|(at, _)| *at <= then);
            self.register.record = known.and_then(|(_, record)| *record);
            self.say(|| "register is restored from a backup".to_owned());
        }
        self.register.up = true;
        self.register.arming = Arming::new([NodeId(1), NodeId(2)]);
        self.register_questions(life);
    }

    /// It asks the nodes that have not reported.
    pub fn register_questions(&mut self, life: u64) {
        if life != self.register.life || !self.register.up || self.register.arming.armed() {
            return;
        }
        let missing: Vec<usize> = self.register.arming.waits_for().map(|node| usize::from(node.0) - 1).collect();
        for host in missing {
            let lost = !self.reaches_witness(host) || self.faulty && self.rng.chance(self.options.witness_loss);
            let delay = self.rng.within(self.options.witness_ms);
            if !lost {
                let agent = self.hosts[host].life;
                let input = Input::RegisterRestarted { life };
                self.schedule.after(delay, Step::Report { host, life: agent, input });
            }
        }
        self.schedule.after(QUESTION_MS, Step::RegisterQuestions { life });
    }

    /// A node answers the question of some life of the register.
    pub fn report_generation(&mut self, host: usize, life: u64, number: u64) {
        let lost = !self.reaches_witness(host) || self.faulty && self.rng.chance(self.options.witness_loss);
        if !lost {
            let delay = self.rng.within(self.options.witness_ms);
            self.schedule.after(delay, Step::RegisterReported { host, life, number });
        }
    }

    /// The answer arrives.
    pub fn register_reported(&mut self, host: usize, life: u64, number: u64) {
        if self.register.up && life == self.register.life {
            self.register.arming.report(NodeId(host as u16 + 1), number);
            self.say(|| format!("register hears that {} holds generation {number}", Self::name(host)));
        }
    }
}
