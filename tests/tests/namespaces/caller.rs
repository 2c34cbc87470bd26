//! An application on the mount that times each of its calls and remembers what was acknowledged to it, in a process of
//! its own on a host, and what its test asks of it.

use anyhow::{Context, Result, bail, ensure};
use holdfast_tests::lab::Lab;
use holdfast_tests::lab::cluster::PATIENCE;
use holdfast_tests::lab::wait::{wait_for, wait_until};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Makes this program that application: a directory, the file it reports to, and [`TO_THE_FIRST_ERROR`] if wanted.
pub const TIME_CALLS: &str = "--time-calls";
/// It ends with the first error, as an application that its node stops: nobody is to write below the mount.
const TO_THE_FIRST_ERROR: &str = "to-the-first-error";
/// Bytes of one entry of the ledger.
const ENTRY: usize = 64;
/// Files that are written anew in turn.
const SLOTS: u64 = 16;
/// After so many entries, they are synced.
const SYNCED_EVERY: u64 = 8;
const PAUSE: Duration = Duration::from_millis(2);
const REPORTED_EVERY: Duration = Duration::from_millis(20);
/// What is below the directory.
const LEDGER: &str = "calls";

/// What the application has seen so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// Calls that have returned.
    pub calls: u64,
    /// The longest call, one that has not returned yet included, in milliseconds.
    pub longest_ms: u64,
    /// Which call that was.
    pub longest: String,
    /// Calls that failed with their reasons, and how often.
    pub errors: BTreeMap<String, u64>,
    /// Entries of the ledger that were acknowledged: from, and up to but without.
    entries: Vec<(u64, u64)>,
    /// Of each slot, one more than the last number that was acknowledged.
    slots: BTreeMap<u64, u64>,
    /// It has made its last call.
    ended: bool,
}

#[derive(Default)]
struct State {
    told: Told,
    /// The call under way.
    now: Option<(&'static str, Instant)>,
}

impl State {
    fn measure(&mut self, call: &str, began: Instant) {
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if took > self.told.longest_ms {
            (self.told.longest_ms, self.told.longest) = (took, call.to_owned());
        }
    }
}

struct Application {
    root: PathBuf,
    state: Mutex<State>,
    stop: AtomicBool,
    to_the_first_error: bool,
}

impl Application {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one call; what it gave, if it did not fail.
    fn call<T>(&self, name: &'static str, made: impl FnOnce() -> io::Result<T>) -> Option<T> {
        let began = Instant::now();
        self.state().now = Some((name, began));
        let result = made();
        let mut state = self.state();
        state.now = None;
        state.measure(name, began);
        state.told.calls += 1;
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                *state.told.errors.entry(format!("{name}: {error}")).or_default() += 1;
                self.stop.fetch_or(self.to_the_first_error, Ordering::Relaxed);
                None
            }
        }
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn work(&self) {
        let mut ledger = None;
        for number in 0.. {
            if self.stops() {
                return;
            }
            if ledger.is_none() {
                let open = || File::options().write(true).create(true).truncate(false).open(self.root.join(LEDGER));
                ledger = self.call("open", open);
            }
            if let Some(file) = ledger.take() {
                // After an error, it is opened anew.
                ledger = self.enter(&file, number).map(|()| file);
            }
            if !self.stops() {
                self.replace(number);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// One more entry of the ledger.
    fn enter(&self, file: &File, number: u64) -> Option<()> {
        self.call("write", || file.write_all_at(&entry(number), number * ENTRY as u64))?;
        {
            let entries = &mut self.state().told.entries;
            match entries.last_mut() {
                Some(last) if last.1 == number => last.1 += 1,
                _ => entries.push((number, number + 1)),
            }
        }
        if number.is_multiple_of(SYNCED_EVERY) { self.call("fdatasync", || file.sync_data()) } else { Some(()) }
    }

    /// A small file written beside its place and put there.
    fn replace(&self, number: u64) {
        let (new, slot) = (self.root.join("new"), self.root.join(slot(number % SLOTS)));
        let made = self.call("create", || File::create(&new));
        let written = made.and_then(|file| self.call("write of a new file", || file.write_all_at(&entry(number), 0)));
        if written.and_then(|()| self.call("rename", || std::fs::rename(&new, &slot))).is_some() {
            self.state().told.slots.insert(number % SLOTS, number + 1);
        }
    }

    fn report(&self, path: &Path, ended: bool) -> io::Result<()> {
        let told = {
            let mut state = self.state();
            if let Some((call, began)) = state.now {
                state.measure(call, began);
            }
            Told { ended, ..state.told.clone() }
        };
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(&told)?)?;
        std::fs::rename(&new, path)
    }
}

fn slot(number: u64) -> String {
    format!("slot{number}")
}

fn entry(number: u64) -> [u8; ENTRY] {
    let mut bytes = [b'.'; ENTRY];
    let text = format!("{number:020}");
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

fn asked_to_stop(report: &Path) -> PathBuf {
    report.with_extension("stop")
}

/// The application in a process of its own.
pub fn time_calls(arguments: &[String]) -> ExitCode {
    let [root, report, more @ ..] = arguments else {
        eprintln!("give a directory and a file to report to");
        return ExitCode::FAILURE;
    };
    let report = Path::new(report);
    let application = Application {
        root: root.into(),
        state: Mutex::default(),
        stop: AtomicBool::new(false),
        to_the_first_error: more.iter().any(|word| word == TO_THE_FIRST_ERROR),
    };
    let told = std::thread::scope(|scope| {
        let worker = scope.spawn(|| application.work());
        while !worker.is_finished() {
            application.stop.fetch_or(asked_to_stop(report).exists(), Ordering::Relaxed);
            application.report(report, false)?;
            std::thread::sleep(REPORTED_EVERY);
        }
        application.report(report, true)
    });
    told.expect("a place to report to");
    ExitCode::SUCCESS
}

/// The application on a host of a lab.
pub struct Caller {
    report: PathBuf,
}

impl Caller {
    /// Starts it on host `number`; it has made calls when this returns.
    pub fn start(lab: &Lab, number: u8, directory: &str) -> Result<Self> {
        Self::start_with(lab, number, directory, "")
    }

    /// Like [`Caller::start`]; it ends with the first error.
    pub fn start_to_the_first_error(lab: &Lab, number: u8, directory: &str) -> Result<Self> {
        Self::start_with(lab, number, directory, TO_THE_FIRST_ERROR)
    }

    fn start_with(lab: &Lab, number: u8, directory: &str, how: &str) -> Result<Self> {
        let report = lab.host(number).folder().join("calls.json");
        lab.host(number).shell(&format!("mkdir -p {directory}"))?;
        for file in [report.clone(), asked_to_stop(&report)] {
            if file.exists() {
                std::fs::remove_file(file)?;
            }
        }
        let program = std::env::current_exe()?.display().to_string();
        lab.host(number).spawn("calls", &program, &[TIME_CALLS, directory, &report.display().to_string(), how])?;
        let caller = Self { report };
        caller.progress(1000)?;
        Ok(caller)
    }

    /// What it has seen so far.
    pub fn told(&self) -> Result<Told> {
        let text = std::fs::read(&self.report).context("the application has told nothing yet")?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Waits until it has made so many more calls.
    pub fn progress(&self, more: u64) -> Result<()> {
        let wanted = self.told().map_or(0, |told| told.calls) + more;
        wait_until(&format!("{more} more calls"), PATIENCE, || {
            let told = self.told()?;
            if told.calls >= wanted { Ok(true) } else { bail!("{} calls, {:?}", told.calls, told.errors) }
        })
    }

    /// Has it end, and gives all it has seen.
    pub fn finish(self) -> Result<Told> {
        std::fs::write(asked_to_stop(&self.report), "")?;
        wait_for("the application's last call", PATIENCE, || Ok(self.told().ok().filter(|told| told.ended)))
    }
}

impl Told {
    /// Everything acknowledged is below this directory.
    pub fn demand_in(&self, directory: &Path) -> Result<()> {
        let ledger = std::fs::read(directory.join(LEDGER))?;
        let acknowledged = self.entries.iter().flat_map(|(from, to)| *from..*to);
        let is_there = |number: &u64| {
            let at = usize::try_from(*number).unwrap_or(usize::MAX) * ENTRY;
            ledger.get(at..at + ENTRY) == Some(&entry(*number)[..])
        };
        let lost: Vec<u64> = acknowledged.filter(|number| !is_there(number)).collect();
        ensure!(lost.is_empty(), "{} acknowledged writes are lost in {}: {lost:?}", lost.len(), directory.display());
        for (at, next) in &self.slots {
            let text = std::fs::read(directory.join(slot(*at)))?;
            let number = text.get(..20).and_then(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok());
            ensure!(number.is_some_and(|number| number + 1 >= *next), "slot {at} holds {number:?}, not {}", next - 1);
        }
        Ok(())
    }

    /// No call failed, and none took longer than this.
    pub fn demand_smooth(&self, limit: Duration) -> Result<()> {
        println!("  {} calls, the longest took {} ms ({})", self.calls, self.longest_ms, self.longest);
        ensure!(self.errors.is_empty(), "calls failed: {:?}", self.errors);
        self.demand_within(limit)
    }

    /// No call took longer than this, whether it failed or not.
    pub fn demand_within(&self, limit: Duration) -> Result<()> {
        let longest = Duration::from_millis(self.longest_ms);
        ensure!(longest <= limit, "{} took {} ms, more than {} ms", self.longest, self.longest_ms, limit.as_millis());
        Ok(())
    }
}
