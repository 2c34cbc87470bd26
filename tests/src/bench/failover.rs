//! How long an address is away: a killed node beside keepalived's at the same detection budget, a swap, a stop.

use super::flips::{self, FlipWatch};
use super::keepalived::Keepalived;
use super::pair::{self, MODULE, Pair};
use super::prober::Prober;
use super::row::Row;
use crate::lab::Lab;
use crate::lab::cluster::{PATIENCE, other};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Heartbeat of the measured pair: what keepalived detects in at an advert of 0.1 s (3.6 adverts).
const PULSE_MS: u32 = 50;
/// See `PULSE_MS`.
const TIMEOUT_MS: u32 = 250;
/// A gap of this length is an outage and not a slow answer.
const GAP: Duration = Duration::from_millis(40);
/// Port of the health URL.
const HEALTH_PORT: u16 = 9010;
/// The health URL and the state change in the same instant: as near as the log's lines and a probe tell, beyond their
/// resolution.
const SAME_INSTANT_MS: f64 = 2.0;

/// Measures with `runs` faults of each kind.
///
/// # Errors
/// No run is asked for, a pair does not come to order, or an address never comes back.
pub fn run(runs: usize) -> Result<Vec<Row>> {
    ensure!(runs > 0, "--runs 0 measures nothing: give at least 1");
    let ours = kills(runs, |lab| Pair::holdfast(lab, PULSE_MS, TIMEOUT_MS)).context("holdfast")?;
    let theirs = kills(runs, |lab| Ok(Pair::Keepalived(Keepalived::start_pair(lab, "0.1")?))).context("keepalived")?;
    let Planned { swaps, stops, flips, resolutions } = planned(runs).context("planned moves")?;
    Ok(vec![
        Row::against("kill -9 of the node to an answer, median", median(&ours), "ms", median(&theirs), 1.0),
        Row::against("kill -9 of the node to an answer, longest", longest(&ours), "ms", longest(&theirs), 1.0),
        Row::at_most("swap, longest time without an answer, median", median(&swaps), "ms", 100.0),
        Row::at_most("stop of the primary, the same", median(&stops), "ms", 100.0),
        Row::at_most(
            "health URL away from the state's line in the log, longest",
            longest(&flips),
            "ms",
            SAME_INSTANT_MS,
        ),
        Row::told("beyond a resolution of, median", median(&resolutions), "ms"),
    ])
}

fn kills(runs: usize, make: impl Fn(&Lab) -> Result<Pair>) -> Result<Vec<f64>> {
    let mut lab = Lab::new("bench")?;
    let pair = make(&lab)?;
    let mut figures = Vec::new();
    for _ in 0..runs {
        let holder = pair.holder(&lab)?;
        let prober = Prober::start(lab.network().connector(), pair::address(&lab));
        prober.first_answer(PATIENCE).context("before the kill")?;
        let killed = Instant::now();
        lab.kill_node(holder)?;
        figures.push(milliseconds(prober.back_after(killed, GAP, PATIENCE)?));
        drop(prober);
        pair.repair(&mut lab, holder)?;
    }
    Ok(figures)
}

/// What planned moves cost, in milliseconds.
#[derive(Default)]
struct Planned {
    /// The longest gap a client saw in a swap.
    swaps: Vec<f64>,
    /// The same when the primary is stopped.
    stops: Vec<f64>,
    /// How far apart the health URL and the state changed, on either node, beyond what can be told.
    flips: Vec<f64>,
    /// What can be told.
    resolutions: Vec<f64>,
}

fn planned(runs: usize) -> Result<Planned> {
    let lab = Lab::new("bench")?;
    let pair = Pair::holdfast(&lab, PULSE_MS, TIMEOUT_MS)?;
    let prober = Prober::start(lab.network().connector(), pair::address(&lab));
    let watch = |number| {
        let health = SocketAddr::from((lab.network().address(number), HEALTH_PORT));
        FlipWatch::start(lab.network().connector(), health, MODULE)
    };
    let watches = [watch(1), watch(2)];
    let mut planned = Planned::default();
    for _ in 0..runs {
        let primary = pair.holder(&lab)?;
        let (began, began_ms) = (Instant::now(), flips::now_ms());
        lab.cli(primary, &["swap", "-m", MODULE])?;
        lab.wait_pair(MODULE, other(primary))?;
        planned.swaps.push(milliseconds(prober.longest_gap(began)));
        for (number, ready) in [(primary, false), (other(primary), true)] {
            let flip = watches[usize::from(number) - 1].since(began_ms, ready);
            let flip = flip.with_context(|| format!("the health URL of node{number} did not change"))?;
            let logged_ms = flips::logged_ms(&lab, number, MODULE, began_ms, ready)?;
            planned.flips.push(flip.away_ms(logged_ms));
            planned.resolutions.push(flip.resolution_ms());
        }
        let began = Instant::now();
        lab.cli(other(primary), &["stop", "-m", MODULE])?;
        lab.wait_state(primary, MODULE, "ALONE Ready", PATIENCE)?;
        planned.stops.push(milliseconds(prober.longest_gap(began)));
        lab.wait_state(other(primary), MODULE, "STOP NotReady", PATIENCE)?;
        lab.cli(other(primary), &["start", "-m", MODULE])?;
        lab.wait_pair(MODULE, primary)?;
    }
    Ok(planned)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn longest(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NAN, f64::max)
}
