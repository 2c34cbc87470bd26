//! How quick the page is with real nodes: written to `figures.txt` beside the pictures, nothing is asserted of it.

use anyhow::{Context, Result};
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::smoothness;
use holdfast_browser::stage::{Stage, pictures_folder};
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Changes whose way to the screen is measured.
const CHANGES: usize = 9;

/// Measures and writes down.
pub async fn figures(stage: &Stage, browser: &Browser) -> Result<()> {
    let mut text = String::new();
    let changes = changes_to_screen(stage, browser).await?;
    let (middle, most) = (changes[changes.len() / 2], changes[changes.len() - 1]);
    writeln!(
        text,
        "a change on a node until it is on the screen, command included: median {middle} ms, most {most} ms"
    )?;
    let usable = cold_start(browser).await?;
    writeln!(text, "Control usable with a cold cache: {usable} ms after the address was opened")?;
    Ok(std::fs::write(pictures_folder().join("figures.txt"), text)?)
}

/// From the moment at which somebody sets a resource on node1 to its value in the page, milliseconds, sorted.
async fn changes_to_screen(stage: &Stage, browser: &Browser) -> Result<Vec<u128>> {
    browser.click("rail-control").await?;
    browser.click("select-node1").await?;
    browser.expect("[data-testid=select-node1][aria-current]", PATIENCE).await?;
    browser.click("tab-resources").await?;
    browser.find("resources").await?;
    let watch = "window.seenAt = {}; new MutationObserver(() => { \
                 const found = /custom\\.figure\\s*value(\\d)/.exec(document.querySelector('[data-testid=resources]')?.textContent); \
                 if (found) window.seenAt[found[1]] ??= Date.now(); }).observe(document.body, { subtree: true, childList: true, characterData: true })";
    browser.script(watch).await?;
    let mut found = Vec::new();
    for number in 0..CHANGES {
        let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let value = format!("value{number}");
        let words = ["set", "-m", crate::MODULE, "-r", "custom.figure", "-v", &value];
        tokio::task::block_in_place(|| stage.lab.cli(1, &words))?;
        browser.until(&format!("return window.seenAt[{number}] !== undefined")).await?;
        let seen = browser.script(&format!("return window.seenAt[{number}]")).await?.as_u64().context("no moment")?;
        found.push(u128::from(seen).saturating_sub(began));
    }
    found.sort_unstable();
    Ok(found)
}

/// How long after its address was opened the page shows Control with its commands, nothing cached.
async fn cold_start(browser: &Browser) -> Result<f64> {
    smoothness::watch(browser).await?;
    browser.slow_line(Some(0)).await?;
    browser.script("location.assign('/control')").await?;
    browser.until("return typeof window.watched?.usable === 'number'").await?;
    let usable = smoothness::take(browser).await?.usable.context("no moment")?;
    browser.slow_line(None).await?;
    Ok(usable.round())
}
