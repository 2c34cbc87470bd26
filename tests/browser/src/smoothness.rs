//! How smooth the page is: what the browser itself says of the page's long tasks, with nothing of ours at work in it.

use crate::browser::Browser;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;
use std::path::Path;

/// In every page before its own program: notes long tasks, what was at work in long frames, and when Control was usable.
const WATCH: &str = r"
window.watched = { tasks: [], frames: [], usable: null };
const note = (type, take) => new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({ type, buffered: true });
note('longtask', (task) => window.watched.tasks.push(task.duration));
if (PerformanceObserver.supportedEntryTypes.includes('long-animation-frame'))
  note('long-animation-frame', (frame) => window.watched.frames.push({
    ms: frame.duration, drawing_ms: frame.startTime + frame.duration - (frame.styleAndLayoutStart || frame.startTime + frame.duration),
    scripts: frame.scripts.map((one) => `${one.invoker} ${Math.round(one.duration)} ms`),
  }));
new MutationObserver((_, watching) => { if (document.querySelector('[data-testid=commands]')) { window.watched.usable ??= performance.now(); watching.disconnect(); } })
  .observe(document, { subtree: true, childList: true });
";

/// What a page's thread did in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Work {
    /// Length of each task above 50 ms, milliseconds.
    pub tasks: Vec<f64>,
    /// The frames above 50 ms.
    pub frames: Vec<Frame>,
    /// When Control had its commands, milliseconds after the address was opened.
    pub usable: Option<f64>,
}

/// A frame that took long.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Frame {
    /// How long, milliseconds.
    pub ms: f64,
    /// Of it styles, layout and painting.
    pub drawing_ms: f64,
    /// What ran in it, each with its time.
    pub scripts: Vec<String>,
}

impl Work {
    /// The longest task above 50 ms; 0 if there was none.
    pub fn longest_ms(&self) -> f64 {
        self.tasks.iter().copied().fold(0.0, f64::max)
    }

    /// The longest frame in words.
    pub fn worst_frame(&self) -> Option<String> {
        let worst = self.frames.iter().max_by(|a, b| a.ms.total_cmp(&b.ms))?;
        Some(format!("{:.0} ms, {:.0} of it drawing; {}", worst.ms, worst.drawing_ms, worst.scripts.join(", ")))
    }
}

/// Watches every page from now on.
///
/// # Errors
/// The browser does not answer.
pub async fn watch(browser: &Browser) -> Result<()> {
    browser.before_pages(WATCH).await?;
    browser.tell_tools("Performance.enable", json!({})).await.map(drop)
}

/// What was noted since the page was opened, or since the last call.
///
/// # Errors
/// The browser does not answer.
pub async fn take(browser: &Browser) -> Result<Work> {
    let found = browser
        .script("const was = window.watched; window.watched = { tasks: [], frames: [], usable: null }; return was")
        .await?;
    Ok(serde_json::from_value(found)?)
}

/// Seconds that the page's thread has been at work.
///
/// # Errors
/// The browser does not answer.
pub async fn at_work(browser: &Browser) -> Result<f64> {
    let found = browser.tell_tools("Performance.getMetrics", json!({})).await?;
    let metrics = found["metrics"].as_array().context("no metrics")?;
    let of = |name: &str| metrics.iter().find(|one| one["name"] == name).and_then(|one| one["value"].as_f64());
    of("TaskDuration").context("no duration of tasks")
}

/// Begins to note where the page's time goes.
///
/// # Errors
/// The browser does not answer.
pub async fn begin_profile(browser: &Browser) -> Result<()> {
    browser.tell_tools("Profiler.enable", json!({})).await?;
    browser.tell_tools("Profiler.start", json!({})).await.map(drop)
}

/// Writes where it went, as the browser's own tools read it (`.cpuprofile`).
///
/// # Errors
/// The browser does not answer, or the file cannot be written.
pub async fn end_profile(browser: &Browser, file: &Path) -> Result<()> {
    let found = browser.tell_tools("Profiler.stop", json!({})).await?;
    std::fs::write(file, found["profile"].to_string()).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::{Frame, Work};

    #[test]
    fn the_longest_task_and_the_worst_frame_are_told() {
        assert_eq!((Work::default().longest_ms(), Work::default().worst_frame()), (0.0, None));
        let frame = |ms| Frame { ms, drawing_ms: 10.0, scripts: vec!["a 40 ms".into(), "b 1 ms".into()] };
        let work = Work { tasks: vec![51.0, 70.0, 60.0], frames: vec![frame(60.0), frame(80.0)], usable: None };
        assert_eq!(work.longest_ms(), 70.0);
        assert_eq!(work.worst_frame().as_deref(), Some("80 ms, 10 of it drawing; a 40 ms, b 1 ms"));
    }
}
