//! Random changes for as long as one likes: one seed, or as many as whoever looks for what nobody has thought of wants.
//!
//! ```text
//! HOLDFAST_SEEDS=100..200 cargo test -p holdfast-replica --lib -- long::
//! ```

use super::load::{Load, scramble, scramble_unlinked};
use super::support::{Pair, eventually};
use super::tracked::differences;
use crate::resync::Limits;
use std::time::Duration;

fn seeds() -> std::ops::Range<u64> {
    let text = std::env::var("HOLDFAST_SEEDS").unwrap_or_else(|_| "1..2".into());
    let (from, to) = text.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}

/// Neither so fast that nothing happens meanwhile, nor at the same speed each time.
fn limits(seed: u64) -> Limits {
    let bytes_per_s = [0, 8 << 20, 24 << 20][seed as usize % 3];
    let mark_period = [Duration::from_secs(60), Duration::ZERO, Duration::from_millis(100)][seed as usize / 3 % 3];
    Limits { threads: 1 + seed as usize % 5, bytes_per_s, mark_period }
}

#[test]
fn everything_is_compared_under_load() {
    for seed in seeds() {
        let mut pair = Pair::limited(limits(seed), |a, b| {
            scramble(a, seed, 600);
            scramble(b, seed + seed % 2 * 7, 600);
        });
        let load = Load::start(&pair.a(), seed, 3);
        pair.resync(1);
        let at = load.operations();
        eventually("the load goes on after the resync", || load.operations() > at + 300);
        load.stop();
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn what_is_named_is_compared_under_load() {
    for seed in seeds() {
        let fill = if seed % 2 == 0 { scramble } else { scramble_unlinked };
        let mut pair = Pair::limited(limits(seed), |a, b| {
            fill(a, seed, 300);
            fill(b, seed, 300);
        });
        pair.resync(1);
        let load = Load::start(&pair.a(), seed, 2);
        pair.look(true);
        eventually("something is changed", || load.operations() > seed % 50);
        load.stop();
        for session in 2..5 {
            pair.crash_secondary();
            scramble_unlinked(&pair.a(), seed + 300 * session, seed * 11 % 60);
            pair.begin(session);
            let mut load = Some(Load::start(&pair.a(), seed + session, 2));
            let mut applied = 0;
            if session == 4 {
                pair.end_resync(session);
            } else {
                let copied = pair.primary_events.clone();
                eventually("some of it was applied", || {
                    applied += pair.follower().figures().take().ops_per_s;
                    applied > seed * 41 % 300
                        || copied.any(|e| matches!(e, holdfast_core::replica::ReplicaEvent::ResyncCopied { .. }))
                });
                if let Some(load) = load.take_if(|_| seed % 3 == 0) {
                    load.stop();
                }
            }
            if session < 4 {
                assert_eq!(pair.primary_events.lost(), None, "seed {seed}");
                pair.crash_secondary();
                pair.begin(session + 10);
                pair.end_resync(session + 10);
            }
            if let Some(load) = load.take() {
                load.stop();
            }
        }
        pair.stop();
        assert_eq!(differences(&pair), Vec::<String>::new(), "seed {seed}");
    }
}
