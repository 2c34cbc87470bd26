//! The agent ends and comes back, while its data plane and its application live on; or does not come back in time.

use super::cluster::{Cluster, Step};
use super::replica::{Mode, Replica};
use super::witness::Kind;
use holdfast_api::userconfig::Mode as UserMode;
use holdfast_core::durable::Durable;
use holdfast_core::node::Node;
use holdfast_core::replica::{Acknowledges, Plane};
use holdfast_core::settings::Settings;
use holdfast_core::settled::Settled;
use holdfast_core::time::Moment;

impl Cluster {
    /// How long a data plane goes on without an agent, and a change is held back without one.
    fn orphan_limit_ms(&self) -> u64 {
        let witness = if self.options.witness == Kind::None { 0 } else { self.options.witness_timeout_ms };
        self.options.timeout_ms + witness
    }

    /// The agent ends (killed, or its service is restarted) and is back some time later.
    pub fn end_agent(&mut self, host: usize, back_in_ms: u64) {
        self.save_cut_off(host);
        // Orders that the data plane had not read are lost.
        let read = self.rng.draw() as usize % (self.hosts[host].replica.orders.len() + 1);
        let now = self.schedule.now();
        let limit_ms = self.orphan_limit_ms();
        let machine = &mut self.hosts[host];
        machine.replica.orders.truncate(read.max(1));
        machine.node = None;
        machine.life += 1;
        machine.backlog.clear();
        machine.before_failure = None;
        machine.tick_at = None;
        machine.scripts.clear();
        machine.checks.clear();
        machine.told.clear();
        machine.healthy = false;
        machine.frozen_until = 0;
        let life = machine.life;
        let held_since = machine.replica.held_since.unwrap_or(now);
        let goes_on = matches!(
            machine.replica.mode,
            Mode::Serving { refusing: false, .. } | Mode::Following { fenced: false, .. }
        );
        if !goes_on {
            self.end_replica(host);
        }
        self.oracle_agent_gone(host);
        self.schedule.after(self.options.timeout_ms / 2, Step::OrphanLimit { host, life, all: false });
        self.schedule.at((held_since + limit_ms).max(now + 1), Step::OrphanLimit { host, life, all: true });
        self.schedule.after(back_in_ms, Step::AgentStarts { host, life });
    }

    /// No agent has come back: the addresses go before the peer may want them, the mounts once it may serve.
    pub fn orphan_limit(&mut self, host: usize, all: bool) {
        if !self.options.replicates || self.options.mode == UserMode::Light {
            return;
        }
        self.hosts[host].addresses = false;
        if all {
            self.end_replica(host);
            self.hosts[host].application = false;
        }
    }

    /// The agent starts: with what its predecessor left, or from the beginning.
    pub fn begin_node(&mut self, host: usize, settings: Settings, durable: Durable, moment: Moment) {
        let name = Self::name(host);
        let settled = &mut self.hosts[host].settled;
        // One that cannot be removed is not believed, and has to go before anything is done.
        let left = if self.schedule.now() < self.hosts[host].record_stuck_until { None } else { settled.take() };
        if let Some(settled) = left {
            let data = self.options.replicates && self.options.mode == UserMode::Mirror;
            let plane = data.then(|| self.plane(host));
            match Node::adopt(settings.clone(), durable.clone(), &settled, plane.as_ref(), moment) {
                Ok(node) => {
                    self.hosts[host].node = Some(node);
                    self.oracle_agent_adopted(host);
                    return self.say(|| format!("{name} agent starts and goes on"));
                }
                Err(reason) => self.say(|| format!("{name} agent cannot go on: {reason}")),
            }
        }
        // Whatever runs is ended; `prestart` sees to what is left of the application.
        if self.hosts[host].replica.mode != Mode::Idle || !self.hosts[host].replica.orders.is_empty() {
            self.end_replica(host);
        }
        let machine = &mut self.hosts[host];
        machine.application = false;
        machine.addresses = false;
        machine.levels.clear();
        machine.node = Some(Node::new(settings, durable, moment));
        self.oracle_agent_started(host);
        self.say(|| format!("{name} agent starts"));
    }

    /// What the data plane says of itself.
    fn plane(&self, host: usize) -> Plane {
        let Replica { mode, orders, held_since, .. } = &self.hosts[host].replica;
        if !orders.is_empty() {
            return Plane::Nothing;
        }
        let stream = self.stream.as_ref().filter(|stream| stream.open[host]);
        match mode {
            Mode::Serving { generation, alone, accept, refusing: false } => {
                let acknowledges = match held_since {
                    Some(since) => Acknowledges::Frozen { held_ms: self.schedule.now() - since },
                    None if *alone => Acknowledges::Alone,
                    None => Acknowledges::Paired,
                };
                Plane::Serving {
                    generation: *generation,
                    acknowledges,
                    session: stream.map(|stream| stream.session).or(*accept),
                    connected: stream.is_some(),
                }
            }
            Mode::Following { session, fenced: false } => {
                Plane::Following { session: *session, lost: stream.is_none_or(|stream| stream.session != *session) }
            }
            _ => Plane::Nothing,
        }
    }

    /// Before anything of an output is done: what was written down goes, if the node leaves it. Returns whether it could.
    pub fn take_back(&mut self, host: usize, settled: Option<&Settled>) -> bool {
        let written = &self.hosts[host].settled;
        let stays = written.as_ref().is_none_or(|written| settled.is_some_and(|settled| written.same_as(settled)));
        if stays || self.options.broken.adopt_what_was_left {
            return true;
        }
        let now = self.schedule.now();
        if self.faulty && self.options.leave_fails > 0 && self.rng.chance(self.options.leave_fails) {
            let time = self.rng.within((0, self.options.timeout_ms));
            self.hosts[host].record_stuck_until = now + time;
        }
        let stuck = now < self.hosts[host].record_stuck_until;
        if stuck {
            self.say(|| format!("{} what is left for the next agent cannot be taken back", Self::name(host)));
        } else {
            self.hosts[host].settled = None;
        }
        !stuck
    }

    /// After everything of an output is done: what the node is now is written down, if it is settled; else only that it
    /// still is so, with each pulse.
    pub fn note_settled(&mut self, host: usize, pulse: bool) {
        let Some(settled) = self.hosts[host].node.as_ref().and_then(Node::settled) else {
            return;
        };
        match &mut self.hosts[host].settled {
            Some(written) if written.same_as(&settled) && pulse => {
                (written.at, written.heard) = (settled.at, settled.heard);
            }
            Some(written) if written.same_as(&settled) => {}
            written => *written = Some(settled),
        }
    }
}
