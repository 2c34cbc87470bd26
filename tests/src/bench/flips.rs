//! When the health URL of a host changes its answer, against when the module log says that the state did.

use crate::bank::client::Connect;
use crate::lab::Lab;
use crate::lab::cluster::health_path;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_secs(5);

/// The answer changed between these two moments, in Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flip {
    /// The new answer is 200.
    pub ready: bool,
    /// The last question with the old answer was asked.
    pub after_ms: f64,
    /// The first new answer was there.
    pub before_ms: f64,
}

impl Flip {
    /// How far from `at_ms` the change was at least; the log cuts its times to whole milliseconds.
    pub fn away_ms(&self, at_ms: f64) -> f64 {
        (self.after_ms - (at_ms + 1.0)).max(at_ms - self.before_ms).max(0.0)
    }

    /// How well the moment is known.
    pub fn resolution_ms(&self) -> f64 {
        self.before_ms - self.after_ms + 1.0
    }
}

/// Asks a health URL over one connection until dropped.
pub struct FlipWatch {
    flips: Arc<Mutex<Vec<Flip>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FlipWatch {
    /// Begins to ask.
    pub fn start(connect: Connect, address: SocketAddr, module: &str) -> Self {
        let (flips, end) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, stop, path) = (Arc::clone(&flips), Arc::clone(&end), health_path(module));
        let thread = std::thread::spawn(move || {
            let mut last = None;
            while !stop.load(Ordering::Relaxed) {
                // The agent closes a connection after a while: the next one goes on.
                let _ = ask(&connect, address, &path, &stop, &mut last, &seen);
            }
        });
        Self { flips, end, thread: Some(thread) }
    }

    /// Changes to `ready` since `since_ms`.
    pub fn since(&self, since_ms: f64, ready: bool) -> Option<Flip> {
        let flips = self.flips.lock().unwrap_or_else(PoisonError::into_inner);
        flips.iter().copied().find(|flip| flip.before_ms >= since_ms && flip.ready == ready)
    }
}

impl Drop for FlipWatch {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask(
    connect: &Connect,
    address: SocketAddr,
    path: &str,
    stop: &AtomicBool,
    last: &mut Option<(bool, f64)>,
    seen: &Mutex<Vec<Flip>>,
) -> std::io::Result<()> {
    let mut stream = connect(address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    let question = format!("GET {path} HTTP/1.1\r\nHost: node\r\n\r\n");
    let mut answer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let asked_ms = now_ms();
        stream.write_all(question.as_bytes())?;
        let length = stream.read(&mut answer)?;
        // Answers are short and come in one piece: "HTTP/1.1 200 OK" or "HTTP/1.1 404 Not Found".
        let Some(code) = answer[..length].get(9..12) else {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        };
        let ready = code == b"200";
        if let Some((was, after_ms)) = *last
            && was != ready
        {
            let flip = Flip { ready, after_ms, before_ms: now_ms() };
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(flip);
        }
        *last = Some((ready, asked_ms));
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Unix milliseconds.
pub fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3
}

/// When the module log of a host first says, at or after `since_ms`, that the module serves (or no longer does).
///
/// # Errors
/// It never says so.
pub fn logged_ms(lab: &Lab, number: u8, module: &str, since_ms: f64, serves: bool) -> Result<f64> {
    let file = lab.host(number).folder().join(format!("data/var/modules/{module}/module.log"));
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let changes = text.lines().filter_map(|line| Some((date_ms(line)?, line_serves(line)?)));
    let mut found = changes.filter(|(at_ms, now)| at_ms + 1.0 >= since_ms && *now == serves);
    found.next().map(|(at_ms, _)| at_ms).with_context(|| format!("the log never says so:\n{text}"))
}

/// A line is `<date> <level> <node> <state> <readiness> | <text>`.
fn line_serves(line: &str) -> Option<bool> {
    let mut words = line.split(" | ").next()?.split_whitespace().skip(3);
    let (state, readiness) = (words.next()?, words.next()?);
    Some(["PRIM", "ALONE", "UP"].contains(&state) && readiness == "Ready")
}

fn date_ms(line: &str) -> Option<f64> {
    // The date is `2026-11-27T09:30:00.123Z`: the day does not matter, only the time since the Unix epoch does.
    let date = line.split_whitespace().next()?;
    let (day, time) = date.trim_end_matches('Z').split_once('T')?;
    let numbers =
        |text: &str, mark| text.split(mark).map(|part| part.parse::<f64>().ok()).collect::<Option<Vec<f64>>>();
    let (day, time) = (numbers(day, '-')?, numbers(time, ':')?);
    let ([year, month, day], [hour, minute, second]) = (day.as_slice(), time.as_slice()) else { return None };
    Some((days(*year, *month, *day) * 86_400.0 + hour * 3600.0 + minute * 60.0 + second) * 1e3)
}

/// Days since 1970-01-01 in the Gregorian calendar, years beginning in March.
fn days(year: f64, month: f64, day: f64) -> f64 {
    let (year, month) = if month > 2.0 { (year, month - 3.0) } else { (year - 1.0, month + 9.0) };
    let leaps = (year / 4.0).floor() - (year / 100.0).floor() + (year / 400.0).floor();
    365.0 * year + leaps + ((153.0 * month + 2.0) / 5.0).floor() + day - 1.0 - 719_468.0
}

#[cfg(test)]
mod tests {
    use super::{Flip, date_ms, line_serves};

    #[test]
    fn a_change_within_what_is_known_is_not_away() {
        let flip = Flip { ready: true, after_ms: 100.0, before_ms: 102.0 };
        assert_eq!([98.0, 99.5, 101.0, 102.0, 105.0].map(|at| flip.away_ms(at)), [1.0, 0.0, 0.0, 0.0, 3.0]);
        assert_eq!(flip.resolution_ms(), 3.0);
    }

    #[test]
    fn lines_of_the_module_log_are_read() {
        let line = "2026-11-27T09:30:00.123Z E node1 ALONE Ready | Started";
        assert_eq!(date_ms(line), Some(1_795_771_800_123.0));
        assert_eq!(line_serves(line), Some(true));
        assert_eq!(line_serves("2026-11-27T09:30:00.123Z E node1 PRIM Transient | Leaving"), Some(false));
        assert_eq!(line_serves("some other text"), None);
    }
}
