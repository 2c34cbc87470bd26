//! `holdfast-page`: what `cargo xtask bench page` runs: the console as it is served, in a browser, with a hundred modules.
//!
//! The page gets everything from the real server, which gets it from simulated nodes; all three are processes of their
//! own, so that what the browser tells of the page's work is the page's alone.

use anyhow::{Context, Result};
use clap::Parser;
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::{smoothness, stage};
use holdfast_tests::bench::console::Crowd;
use holdfast_tests::bench::{self, Row};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long each screen is watched.
const WATCHED: Duration = Duration::from_secs(15);
/// What a page may take to be usable with nothing cached.
const USABLE_S: f64 = 1.5;
/// What a task may take before somebody who types or scrolls notices.
const TASK_MS: f64 = 50.0;

/// Measures the console in a browser.
#[derive(Parser)]
struct Arguments {
    /// Write the figures there.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write where the time of each screen goes into this folder, as `.cpuprofile`.
    #[arg(long)]
    profile: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let console = stage::console_folder()?;
    let crowd = tokio::task::block_in_place(|| Crowd::start(&console))?;
    let folder = tempfile::tempdir()?;
    let browser = Browser::start(&folder.path().join("downloads"), &stage::pictures_folder()).await?;
    let measured = measure(&browser, &crowd, arguments).await;
    browser.end().await?;
    // Its nodes have a runtime of their own, which waits for them.
    tokio::task::block_in_place(|| drop(crowd));
    let rows = measured?;
    bench::print(&rows);
    arguments.json.as_deref().map_or(Ok(()), |file| bench::write_json(&rows, file))
}

async fn measure(browser: &Browser, crowd: &Crowd, arguments: &Arguments) -> Result<Vec<Row>> {
    let (user, password) = crowd.login();
    browser.open(&crowd.url()).await?;
    browser.fill("user", user).await?;
    browser.fill("password", password).await?;
    browser.click("login").await?;
    browser.expect("[data-testid=link][data-link=live]", PATIENCE).await?;
    smoothness::watch(browser).await?;
    let mut rows = vec![cold(browser).await?];
    let last = crowd.last_module();
    let drawn = format!("return !!document.querySelector('[data-testid=\"all-{last}\"]')");
    let profiles = arguments.profile.as_deref();
    rows.extend(watch(browser, "control", &drawn, profiles).await?);
    // Twelve moments of each of a hundred modules: all logs have been read.
    let drawn = "return document.querySelectorAll('[data-testid=timeline] li').length === 100 * 12";
    rows.extend(watch(browser, "monitoring", drawn, profiles).await?);
    Ok(rows)
}

/// How long after its address was opened Control can be used, nothing cached, by somebody who is logged in.
async fn cold(browser: &Browser) -> Result<Row> {
    browser.slow_line(Some(0)).await?;
    browser.script("location.assign('/control')").await?;
    browser.until("return typeof window.watched?.usable === 'number'").await?;
    let usable = smoothness::take(browser).await?.usable.context("no moment")?;
    browser.slow_line(None).await?;
    Ok(Row::at_most("Control usable, nothing cached", usable / 1000.0, "s", USABLE_S))
}

/// Opens a screen, waits until it is `drawn`, and lets the nodes tell their news.
async fn watch(browser: &Browser, screen: &str, drawn: &str, profiles: Option<&Path>) -> Result<[Row; 3]> {
    browser.script(&format!("location.assign('/{screen}')")).await?;
    browser.until(&format!("return location.pathname.startsWith('/{screen}') && !!window.watched")).await?;
    browser.until(drawn).await?;
    let first = smoothness::take(browser).await?;
    if profiles.is_some() {
        smoothness::begin_profile(browser).await?;
    }
    let before = smoothness::at_work(browser).await?;
    tokio::time::sleep(WATCHED).await;
    let share = 100.0 * (smoothness::at_work(browser).await? - before) / WATCHED.as_secs_f64();
    if let Some(folder) = profiles {
        smoothness::end_profile(browser, &folder.join(format!("{screen}.cpuprofile"))).await?;
    }
    let after = smoothness::take(browser).await?;
    for (when, work) in [("drawn", &first), ("watched", &after)] {
        let count = work.tasks.len();
        println!("{screen}, while it is {when}: {count} tasks above 50 ms; worst frame: {:?}", work.worst_frame());
    }
    let name = |what: &str| format!("{screen}: {what}");
    Ok([
        Row::told(&name("longest task above 50 ms while it is drawn (0: none)"), first.longest_ms(), "ms"),
        Row::at_most(&name("longest task above 50 ms afterwards (0: none)"), after.longest_ms(), "ms", TASK_MS),
        Row::told(&name("the page's thread at work, share of a core"), share, "%"),
    ])
}
