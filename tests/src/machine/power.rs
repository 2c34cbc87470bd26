//! Power cuts at random under load: whoever loses its power, both at once included, no acknowledged transfer is missing
//! afterwards and both copies are equal.

use crate::bank::client::{Load, LoadPlan};
use crate::lab::wait::{wait_for, wait_until};
use crate::machine::pair::{PATIENCE, Pair};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

/// Transfers of one round at most.
const TRANSFERS_MAX: u64 = 20_000;

/// Who loses its power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Primary,
    Secondary,
    /// Both at once.
    Both,
    /// The primary, and while its peer takes over that one too.
    OneAfterTheOther,
}

/// One round, as its number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Round {
    cut: Cut,
    /// Acknowledged transfers before the power is cut.
    before: u64,
    /// Acknowledged transfers before the power comes back, where somebody serves.
    between: u64,
}

impl Round {
    /// The same number gives the same round.
    fn nth(number: u64) -> Self {
        let mix = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let cut = match number % 4 {
            0 => Cut::Primary,
            1 => Cut::Both,
            2 => Cut::Secondary,
            _ => Cut::OneAfterTheOther,
        };
        Self { cut, before: 5 + (mix >> 40) % 60, between: (mix >> 20) % 15 }
    }
}

/// What is kept from run to run, beside the machines' disks.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    /// Rounds done.
    rounds: u64,
    /// Ids of all transfers ever acknowledged.
    acknowledged: BTreeSet<String>,
}

impl Notes {
    fn read(folder: &Path) -> Result<Option<Self>> {
        match std::fs::read(folder.join("notes.json")) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text).context("notes.json: remove the folder to begin anew")?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let fresh = folder.join("notes.new");
        std::fs::write(&fresh, serde_json::to_vec(self)?)?;
        Ok(std::fs::rename(fresh, folder.join("notes.json"))?)
    }
}

/// Runs rounds until `over`; goes on where the last run in `folder` was. Answers how many were run.
///
/// # Errors
/// A round failed: something acknowledged is missing, the copies differ, or the pair does not come back.
pub fn run(folder: &Path, mut over: impl FnMut(u64) -> bool) -> Result<u64> {
    let notes = Notes::read(folder)?;
    if notes.is_none() {
        // What a run left that was interrupted before its first round.
        for number in [1, 2] {
            let _ = std::fs::remove_file(folder.join(format!("machine{number}.disk")));
        }
    }
    let mut pair = Pair::new(folder)?;
    for number in [1, 2] {
        pair.power_on(number)?;
    }
    println!("two machines with Linux {}, {} rounds so far", pair.release(), notes.as_ref().map_or(0, |n| n.rounds));
    let mut notes = match notes {
        Some(notes) => {
            demand(&mut pair, &notes)?;
            notes
        }
        None => {
            pair.set_up()?;
            let notes = Notes::default();
            notes.write(folder)?;
            notes
        }
    };
    let mut done = 0;
    while !over(done) {
        let round = Round::nth(notes.rounds);
        let began = Instant::now();
        play(&mut pair, round, &mut notes).with_context(|| format!("round {} ({round:?})", notes.rounds))?;
        notes.rounds += 1;
        notes.write(folder)?;
        done += 1;
        println!(
            "round {}: power of {:?} cut after {} transfers; {} transfers in all, none missing, copies equal ({:.0} s)",
            notes.rounds,
            round.cut,
            round.before,
            notes.acknowledged.len(),
            began.elapsed().as_secs_f64()
        );
    }
    Ok(done)
}

fn play(pair: &mut Pair, round: Round, notes: &mut Notes) -> Result<()> {
    let primary = pair.wait_pair()?;
    let secondary = 3 - primary;
    let plan = LoadPlan {
        run: format!("r{}", notes.rounds),
        writers: 3,
        transfers_max: TRANSFERS_MAX,
        time_max: PATIENCE * 6,
        pause: std::time::Duration::ZERO,
    };
    let load = Load::start(&pair.bank(), plan);
    let result = cut_and_return(pair, round, &load, (primary, secondary));
    notes.acknowledged.extend(load.finish().acknowledged);
    result.with_context(|| pair.diagnosis())?;
    demand(pair, notes)
}

fn cut_and_return(pair: &mut Pair, round: Round, load: &Load, (primary, secondary): (u8, u8)) -> Result<()> {
    progress(load, round.before)?;
    match round.cut {
        Cut::Primary => {
            pair.machine(primary).power_off()?;
            progress(load, round.between)?;
            pair.power_on(primary)?;
        }
        Cut::Secondary => {
            pair.machine(secondary).power_off()?;
            progress(load, round.between)?;
            pair.power_on(secondary)?;
        }
        Cut::Both => {
            pair.machine(primary).power_off()?;
            pair.machine(secondary).power_off()?;
            pair.power_on(secondary)?;
            pair.power_on(primary)?;
        }
        Cut::OneAfterTheOther => {
            pair.machine(primary).power_off()?;
            progress(load, round.between)?;
            pair.machine(secondary).power_off()?;
            pair.power_on(primary)?;
            pair.power_on(secondary)?;
        }
    }
    pair.wait_pair()?;
    progress(load, 5)
}

/// Waits for so many more acknowledged transfers.
fn progress(load: &Load, more: u64) -> Result<()> {
    let at = load.acknowledged();
    let reached = wait_until("transfers to be acknowledged", PATIENCE, || Ok(load.acknowledged() >= at + more));
    reached.with_context(|| format!("last failure: {:?}", load.last_failure()))
}

/// Nothing acknowledged is missing, and once nothing is written any more both copies are the same.
fn demand(pair: &mut Pair, notes: &Notes) -> Result<()> {
    pair.wait_pair()?;
    pair.bank().demand(&notes.acknowledged).with_context(|| pair.diagnosis())?;
    let equal = wait_for("both copies to be equal", PATIENCE, || {
        let (one, two) = (pair.copy(1)?, pair.copy(2)?);
        if one == two {
            return Ok(Some(one));
        }
        bail!("machine 1:\n{one}\nmachine 2:\n{two}")
    })?;
    ensure!(equal.contains("ledger.db"), "the copies are empty:\n{equal}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_four_rounds_have_every_cut() {
        for first in 0..8 {
            let cuts: Vec<Cut> = (first..first + 4).map(|number| Round::nth(number).cut).collect();
            let all = [Cut::Primary, Cut::Secondary, Cut::Both, Cut::OneAfterTheOther];
            assert!(all.iter().all(|cut| cuts.contains(cut)), "{cuts:?}");
        }
        assert_ne!(Round::nth(1), Round::nth(5));
    }
}
