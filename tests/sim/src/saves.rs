//! How a simulated machine saves its ledger: quickly, slowly, too late, or not at all.

use super::cluster::{Cluster, Saving, Step};
use holdfast_core::node::Node;
use holdfast_core::output::{Output, WhileSaving};
use holdfast_core::time::Instant;

impl Cluster {
    /// The ledger is to be saved before the rest of an output is carried out.
    pub(super) fn begin_save(&mut self, host: usize, output: Output) {
        let slow = self.faulty && self.options.slow_saves > 0 && self.rng.chance(self.options.slow_saves);
        let longest = self.options.save_limit_ms * 3 / 2;
        let delay = self.rng.within(if slow { (self.options.pulse_ms, longest) } else { self.options.save_ms });
        let silent = self.truly_silent(host);
        let machine = &mut self.hosts[host];
        machine.saves += 1;
        let (life, number) = (machine.life, machine.saves);
        machine.saving = Some(Saving { number, silent, at: self.schedule.now(), output });
        if let Some(node) = &mut machine.node {
            machine.backlog.begin(node);
        }
        self.schedule.after(delay, Step::SaveEnds { host, life, number });
        if let Some(Instant(at)) = self.hosts[host].node.as_ref().map(Node::first_look) {
            self.schedule.at(at.max(self.schedule.now()), Step::SaveGoesOn { host, life, number });
        }
    }

    fn look_again(&mut self, host: usize, number: u64) {
        let life = self.hosts[host].life;
        if let Some(sign_ms) = self.hosts[host].node.as_ref().map(Node::sign_ms) {
            self.schedule.after(sign_ms, Step::SaveGoesOn { host, life, number });
        }
    }

    fn is_saving(&self, host: usize, number: u64) -> bool {
        self.hosts[host].saving.as_ref().is_some_and(|saving| saving.number == number)
    }

    /// The agent's driver looks at a save under way.
    pub(super) fn save_goes_on(&mut self, host: usize, number: u64) {
        let now = self.schedule.now();
        if !self.is_saving(host, number) {
            return;
        }
        let Some(node) = &mut self.hosts[host].node else { return };
        let links: Vec<usize> = (0..node.settings().links).collect();
        let what = node.while_saving(Instant(now));
        match what {
            WhileSaving::Wait => {}
            WhileSaving::Say(heartbeat) => self.transmit(host, &heartbeat, &links),
            WhileSaving::GiveUp(reason) => {
                let landed = self.rng.coin() == 0 && !self.ledger_is_away(host);
                return self.save_failed(host, landed, reason);
            }
        }
        self.oracle_awake(host);
        self.look_again(host, number);
    }

    fn ledger_is_away(&self, host: usize) -> bool {
        let away = self.faulty && self.schedule.now() < self.hosts[host].ledger_away_until;
        self.hosts[host].ledger_broken || away
    }

    /// The disk has answered.
    pub(super) fn save_ends(&mut self, host: usize, number: u64) {
        if !self.is_saving(host, number) {
            return;
        }
        let now = self.schedule.now();
        let broken = self.ledger_is_away(host);
        let fails = broken || self.faulty && self.rng.chance(self.options.save_fails);
        if fails {
            if !broken && self.rng.coin() == 0 {
                let time = self.rng.within((1, self.options.timeout_ms * 4));
                self.hosts[host].ledger_away_until = now + time;
            }
            let landed = !broken && self.rng.coin() == 0;
            return self.save_failed(host, landed, "input/output error".to_owned());
        }
        let Some(mut saving) = self.hosts[host].saving.take() else { return };
        self.write_saved(host, &saving, false);
        if let Some(node) = &mut self.hosts[host].node {
            node.saved(&mut saving.output);
        }
        self.oracle_saved_slowly(host, saving.at);
        self.carry_out(host, saving.output);
        self.hand_in_backlog(host);
    }

    /// The agent takes the save for failed; its bytes may have `landed` all the same.
    fn save_failed(&mut self, host: usize, landed: bool, reason: String) {
        let Some(saving) = self.hosts[host].saving.take() else { return };
        if landed {
            self.write_saved(host, &saving, true);
        }
        self.say(|| format!("{} disk: save fails", Self::name(host)));
        self.oracle_saved_slowly(host, saving.at);
        let now = Instant(self.schedule.now());
        self.hosts[host].backlog.fail(now, reason);
        self.hand_in_backlog(host);
    }

    /// The agent ends in the midst of a save, which lands or does not.
    pub(super) fn save_cut_off(&mut self, host: usize) {
        let may_have_landed = self.rng.coin() == 0;
        if let Some(saving) = self.hosts[host].saving.take()
            && may_have_landed
        {
            self.write_saved(host, &saving, false);
        }
    }

    fn write_saved(&mut self, host: usize, saving: &Saving, fails: bool) {
        let Some(durable) = &saving.output.persist else { return };
        // Over what landed though its save failed.
        if let Some(before) = self.hosts[host].before_failure.take() {
            self.oracle_never_used(&self.hosts[host].disk.ledger.clone());
            self.hosts[host].disk.ledger = before;
        }
        self.hosts[host].before_failure = fails.then(|| self.hosts[host].disk.ledger.clone());
        self.write_ledger(host, durable.clone(), saving.at, saving.silent);
    }

    fn hand_in_backlog(&mut self, host: usize) {
        while self.hosts[host].saving.is_none() {
            let Some((arrived, input)) = self.hosts[host].backlog.take() else {
                break;
            };
            self.input_later(host, arrived, input);
        }
    }
}
