//! The fault model: what the world may do to the nodes. A seed draws all of it.

use super::clock::Rng;
use super::fault::{ALL, Fault};
use super::witness::Kind;
use holdfast_api::checker::{CheckAction, When};
use holdfast_api::resource::ResourceValue;
use holdfast_api::rules::{Condition, Id, Rule, Selector};
use holdfast_api::userconfig::{DefaultPrim, Mode};
use holdfast_core::output::Script;
use holdfast_core::settings::{BrokenRules, LinkTimes, Rules, SAVE_LIMIT_MS};

/// Options of one run. Rates are per thousand draws; ranges include both ends; times are milliseconds.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed: everything else follows from it.
    pub seed: u64,
    /// Nodes of the module: two, or the one of a light module.
    pub nodes: usize,
    /// Heartbeat links; replication uses the first.
    pub links: usize,
    /// Heartbeat pulse.
    pub pulse_ms: u64,
    /// Heartbeat timeout.
    pub timeout_ms: u64,
    /// See `Settings`: one of several links may be slower.
    pub link_times: Vec<LinkTimes>,
    /// See `Settings`.
    pub maxloop: u32,
    /// See `Settings`.
    pub loop_interval_ms: u64,
    /// See `Settings`.
    pub failover: bool,
    /// See `Settings`.
    pub mode: Mode,
    /// The module replicates directories; else its data plane has nothing to do, and says so at once.
    pub replicates: bool,
    /// See `Settings`.
    pub defaultprim: DefaultPrim,
    /// See `Settings`.
    pub automatic_reboot: bool,
    /// See `Settings`.
    pub scripts: Vec<Script>,
    /// See `Settings`.
    pub checkers: Vec<(String, When)>,
    /// See `Settings`.
    pub rules: Rules,
    /// Time between two looks of a checker.
    pub look_ms: (u64, u64),
    /// Datagrams lost.
    pub loss: u64,
    /// Datagrams delivered twice.
    pub duplicate: u64,
    /// Delay of a datagram.
    pub delay_ms: (u64, u64),
    /// Time to save the ledger.
    pub save_ms: (u64, u64),
    /// Saves, while faults happen, that take anything up to half as long again as is waited for.
    pub slow_saves: u64,
    /// See `Settings`.
    pub save_limit_ms: u64,
    /// Saves that fail (the bytes may have landed all the same).
    pub save_fails: u64,
    /// Records for the next agent that cannot be taken back when they should be, for a while.
    pub leave_fails: u64,
    /// A stream without progress for this long is given up.
    pub stream_timeout_ms: u64,
    /// Time of a replication message.
    pub stream_ms: (u64, u64),
    /// Time of an order to the data plane.
    pub replica_ms: (u64, u64),
    /// Graceful releases that hang until they are aborted.
    pub release_hangs: u64,
    /// Orders to the data plane that fail.
    pub replica_fails: u64,
    /// Time of a script.
    pub script_ms: (u64, u64),
    /// Scripts that end badly.
    pub script_fails: u64,
    /// The witness.
    pub witness: Kind,
    /// See `Settings`.
    pub witness_timeout_ms: u64,
    /// Time of a message to or from the witness.
    pub witness_ms: (u64, u64),
    /// Such messages lost.
    pub witness_loss: u64,
    /// Answers of a register that come much later.
    pub witness_late: u64,
    /// Time between two faults.
    pub fault_every_ms: (u64, u64),
    /// Which faults happen, by weight.
    pub faults: Vec<(Fault, u64)>,
    /// How long faults are injected.
    pub chaos_ms: u64,
    /// How long the healed cluster may take to come to PRIM and SECOND.
    pub heal_ms: u64,
    /// Time between two writes of the application.
    pub write_every_ms: (u64, u64),
    /// Rules broken on purpose.
    pub broken: BrokenRules,
}

impl Options {
    /// Options drawn from a seed: some runs are calm in most respects, some are not (swarm testing).
    pub fn from_seed(seed: u64, broken: BrokenRules) -> Self {
        let mut rng = Rng::new(seed);
        let pulse_ms = [100, 200, 700][(rng.draw() % 3) as usize];
        let timeout_ms = pulse_ms * rng.within((5, 10));
        let lossy = rng.chance(500);
        let slow_disk = rng.chance(300);
        let mut faults = draw_faults(&mut rng);
        faults.extend(draw_faults_apart(seed));
        let often = rng.chance(500);
        let witness = match rng.draw() % 8 {
            0 | 1 => Kind::None,
            2 => Kind::PingFromBoth,
            3 => Kind::PingFrom(rng.coin()),
            _ => Kind::Register,
        };
        let slow_witness = rng.chance(300);
        let witness_timeout_ms = rng.within((timeout_ms / 4, timeout_ms));
        let links = rng.within((1, 3)) as usize;
        Self {
            seed,
            nodes: 2,
            links,
            pulse_ms,
            timeout_ms,
            link_times: draw_link_times(seed, links, LinkTimes { pulse_ms, timeout_ms }),
            maxloop: rng.within((1, 4)) as u32,
            loop_interval_ms: 60_000,
            failover: !rng.chance(60),
            mode: Mode::Mirror,
            replicates: true,
            defaultprim: match rng.draw() % 4 {
                0 => DefaultPrim::Lastprim,
                1 => DefaultPrim::Node("node2".to_owned()),
                _ => DefaultPrim::Alone,
            },
            automatic_reboot: rng.chance(100),
            scripts: draw_scripts(&mut rng),
            checkers: CHECKERS.map(|(name, when)| (name.to_owned(), when)).to_vec(),
            rules: draw_rules(&mut rng, timeout_ms),
            look_ms: (pulse_ms, timeout_ms / 2),
            loss: if lossy { rng.within((10, 300)) } else { 0 },
            duplicate: if lossy { 100 } else { 0 },
            delay_ms: if lossy { (0, pulse_ms * 2) } else { (0, 3) },
            save_ms: if slow_disk { (1, pulse_ms) } else { (0, 5) },
            slow_saves: draw_slow_saves(seed),
            save_limit_ms: timeout_ms * Rng::new(seed ^ 0x11_3f).within((2, 15)),
            save_fails: if rng.chance(100) { 5 } else { 0 },
            leave_fails: if Rng::new(seed ^ 0x1eaf).chance(150) { 50 } else { 0 },
            stream_timeout_ms: rng.within((pulse_ms * 2, timeout_ms * 2)),
            stream_ms: (0, rng.within((1, 20))),
            replica_ms: (0, rng.within((5, 400))),
            release_hangs: if rng.chance(300) { 200 } else { 0 },
            replica_fails: if rng.chance(100) { 20 } else { 0 },
            script_ms: (1, rng.within((10, 3000))),
            script_fails: if rng.chance(200) { 50 } else { 0 },
            witness,
            witness_timeout_ms,
            witness_ms: if slow_witness { (1, witness_timeout_ms) } else { (1, 20) },
            witness_loss: if rng.chance(300) { rng.within((10, 300)) } else { 0 },
            witness_late: if rng.chance(300) { rng.within((20, 300)) } else { 0 },
            fault_every_ms: if often { (10, timeout_ms * 2) } else { (timeout_ms, timeout_ms * 8) },
            faults,
            chaos_ms: timeout_ms * 60,
            heal_ms: timeout_ms * 30 + 120_000,
            write_every_ms: (5, pulse_ms),
            broken,
        }
    }

    /// The longest that saves, and orders to the data plane, hold up what somebody waits for: a few of each in a row, of
    /// slow saves two.
    pub fn work_ms(&self) -> u64 {
        let urgent_ms = if self.slow_saves > 0 { (self.timeout_ms / 2).clamp(500, 5000) + self.pulse_ms } else { 0 };
        (self.save_ms.1 + self.replica_ms.1) * 4 + urgent_ms * 2
    }

    /// Silence after which link `link` is lost.
    pub fn link_timeout_ms(&self, link: usize) -> u64 {
        self.link_times.get(link).map_or(self.timeout_ms, |times| times.timeout_ms)
    }

    /// Options of another mirror module beside this one: the machines, the networks and the register are the same, the
    /// module is not.
    pub fn beside(&self, seed: u64) -> Self {
        let own = Self::from_seed(seed, self.broken);
        let replicates = !Rng::new(seed ^ 0xd1).chance(150);
        Self {
            seed: self.seed,
            replicates,
            links: self.links,
            pulse_ms: self.pulse_ms,
            timeout_ms: self.timeout_ms,
            link_times: self.link_times.clone(),
            look_ms: self.look_ms,
            loss: self.loss,
            duplicate: self.duplicate,
            delay_ms: self.delay_ms,
            save_ms: self.save_ms,
            slow_saves: self.slow_saves,
            save_limit_ms: self.save_limit_ms,
            save_fails: self.save_fails,
            leave_fails: self.leave_fails,
            stream_timeout_ms: self.stream_timeout_ms,
            witness_timeout_ms: self.witness_timeout_ms,
            witness_ms: self.witness_ms,
            witness_loss: self.witness_loss,
            witness_late: self.witness_late,
            chaos_ms: self.chaos_ms,
            heal_ms: self.heal_ms,
            write_every_ms: self.write_every_ms,
            rules: Rules { period_ms: self.rules.period_ms, handle_time_ms: self.rules.handle_time_ms, ..own.rules },
            ..own
        }
    }

    /// Options of a light module beside this one, on one machine.
    pub fn light_beside(&self, seed: u64) -> Self {
        Self { nodes: 1, mode: Mode::Light, witness: Kind::None, replicates: false, ..self.beside(seed) }
    }

    /// A world without faults, for scenarios.
    pub fn calm() -> Self {
        Self {
            seed: 1,
            nodes: 2,
            links: 2,
            pulse_ms: 700,
            timeout_ms: 5000,
            link_times: Vec::new(),
            maxloop: 3,
            loop_interval_ms: 86_400_000,
            failover: true,
            mode: Mode::Mirror,
            replicates: true,
            defaultprim: DefaultPrim::Alone,
            automatic_reboot: false,
            scripts: vec![
                Script::Start(When::Pre),
                Script::Start(When::Prim),
                Script::Stop(When::Prim),
                Script::Stop(When::Pre),
            ],
            checkers: Vec::new(),
            rules: Rules { rules: Vec::new(), period_ms: 5000, handle_time_ms: 15_000 },
            look_ms: (1000, 1000),
            loss: 0,
            duplicate: 0,
            delay_ms: (1, 1),
            save_ms: (1, 1),
            slow_saves: 0,
            save_limit_ms: SAVE_LIMIT_MS,
            save_fails: 0,
            leave_fails: 0,
            stream_timeout_ms: 3000,
            stream_ms: (1, 1),
            replica_ms: (5, 5),
            release_hangs: 0,
            replica_fails: 0,
            script_ms: (50, 50),
            script_fails: 0,
            witness: Kind::None,
            witness_timeout_ms: 2000,
            witness_ms: (5, 5),
            witness_loss: 0,
            witness_late: 0,
            fault_every_ms: (0, 0),
            faults: Vec::new(),
            chaos_ms: 0,
            heal_ms: 0,
            write_every_ms: (20, 20),
            broken: BrokenRules::default(),
        }
    }
}

/// In some runs one of several links has a slower pulse and a longer timeout than the others. A draw of its own: the
/// rest of what a seed means does not hang on it.
fn draw_link_times(seed: u64, links: usize, module: LinkTimes) -> Vec<LinkTimes> {
    let mut rng = Rng::new(seed ^ 0x51_0e);
    if links < 2 || !rng.chance(400) {
        return Vec::new();
    }
    let slow = rng.draw() as usize % links;
    let slower = |factor: u64| LinkTimes { pulse_ms: module.pulse_ms * factor, timeout_ms: module.timeout_ms * factor };
    let factor = rng.within((2, 5));
    (0..links).map(|link| if link == slow { slower(factor) } else { module }).collect()
}

/// Checkers of every simulated module.
const CHECKERS: [(&str, When); 4] =
    [("ping.gw", When::Pre), ("tcp.web", When::Prim), ("custom.both", When::Both), ("custom.second", When::Second)];

/// Some faults, each with its weight.
fn draw_faults(rng: &mut Rng) -> Vec<(Fault, u64)> {
    let mut faults = Vec::new();
    for fault in ALL {
        if rng.chance(fault.often()) {
            let weight = if fault == Fault::ResourceDown { 4 } else { 1 };
            faults.push((fault, rng.within((1, 4)) * weight));
        }
    }
    faults
}

/// Faults with a draw of their own: the rest of what a seed means does not hang on them.
fn draw_faults_apart(seed: u64) -> Vec<(Fault, u64)> {
    let mut rng = Rng::new(seed ^ 0xc0_4e);
    let mut faults = Vec::new();
    for (fault, weight_max) in [(Fault::Cover, 6), (Fault::StartsRestored, 3), (Fault::RestartedApart, 9)] {
        if rng.chance(150) {
            faults.push((fault, rng.within((1, weight_max))));
        }
    }
    faults
}

/// In some runs the disk that holds the ledgers is busy with other things at times. (A draw of its own, as above.)
fn draw_slow_saves(seed: u64) -> u64 {
    let mut rng = Rng::new(seed ^ 0x5a_7e);
    if rng.chance(150) { rng.within((10, 300)) } else { 0 }
}

/// Scripts that start and stop an application, and any others.
fn draw_scripts(rng: &mut Rng) -> Vec<Script> {
    if rng.chance(100) {
        return Vec::new();
    }
    let always = [Script::Start(When::Pre), Script::Start(When::Prim), Script::Stop(When::Prim)];
    Script::ALL.into_iter().filter(|script| always.contains(script) || rng.chance(400)).collect()
}

/// `label: if (resource == value) then action`.
pub fn rule(label: &str, resource: &str, value: ResourceValue, action: CheckAction) -> Rule {
    let (remote, name) = resource.strip_prefix("remote.").map_or((false, resource), |name| (true, name));
    let (class, id) = name.split_once('.').unwrap_or((name, ""));
    let id = match id {
        "?" => Id::Any,
        "*" => Id::Every,
        named => Id::Named(named.to_owned()),
    };
    let selector = Selector { remote, class: class.to_owned(), id };
    Rule { label: label.to_owned(), condition: Condition::Is(selector, value), action }
}

fn draw_rules(rng: &mut Rng, timeout_ms: u64) -> Rules {
    use CheckAction::{Restart, Stop, StopStart, Swap, Wait};
    let candidates = [
        ("p_gw", "ping.gw", &[Wait, Wait, Stop][..]),
        ("t_web", "tcp.web", &[Restart, StopStart, Swap, Stop, Wait]),
        ("c_both", "custom.both", &[Restart, StopStart, Wait]),
        ("c_second", "custom.second", &[Restart, StopStart, Wait]),
        ("r_both", "remote.custom.both", &[Restart, StopStart]),
    ];
    let mut rules = Vec::new();
    for (label, resource, actions) in candidates {
        let action = actions[(rng.draw() % actions.len() as u64) as usize];
        if rng.chance(500) {
            rules.push(rule(label, resource, ResourceValue::Down, action));
        }
    }
    let period_ms = rng.within((timeout_ms / 20, timeout_ms / 2));
    Rules { rules, period_ms, handle_time_ms: period_ms * rng.within((0, 3)) }
}
