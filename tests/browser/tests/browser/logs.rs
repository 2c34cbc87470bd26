//! A log of a million lines: it opens at its end, is read backwards, and is filtered whole by the server.

use crate::screen;
use anyhow::{Context, Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};
use std::fmt::Write;
use std::path::{Path, PathBuf};

const LINES: usize = 1_000_000;
/// A line near the beginning.
const NEEDLE: &str = "the line somebody looks for";

/// node1's application log, found below its `folder`, gets an older piece of a million lines.
pub async fn a_log_of_a_million_lines(folder: &Path, browser: &Browser) -> Result<()> {
    lengthen(folder)?;
    browser.click("rail-control").await?;
    browser.click("select-node1").await?;
    browser.expect("[data-testid=select-node1][aria-current]", PATIENCE).await?;
    browser.click("tab-application").await?;
    browser.expect("[data-testid=log][data-shown=all]", PATIENCE).await?;
    browser.expect_text("log", "start_prim").await?;
    let drawn = "return document.querySelectorAll('[data-testid=log] .log-line').length";
    let first = browser.script(drawn).await?.as_u64().context("no number")?;
    ensure!(first <= 1000, "{first} lines were drawn at once");
    // Up, page by page: older lines come without gaps and the newest are let go.
    for _ in 0..6 {
        let before = browser.script("return document.querySelector('[data-testid=log] .log-line').textContent").await?;
        browser.click("log-older").await?;
        let moved = format!("return document.querySelector('[data-testid=log] .log-line').textContent !== {before}");
        browser.until(&moved).await?;
    }
    let gaps = "const n = [...document.querySelectorAll('[data-testid=log] .log-line')].map((e) => /^number (\\d+) of/.exec(e.textContent)?.[1]).filter(Boolean).map(Number);\
                return n.length > 1500 && n.every((one, at) => at === 0 || one === n[at - 1] + 1)";
    browser.until(gaps).await?;
    let held = browser.script(drawn).await?.as_u64().context("no number")?;
    ensure!(held <= 2100, "{held} lines are held");
    browser.click("log-newest").await?;
    browser.expect_text("log", "start_prim").await?;
    browser.fill("log-filter", "SOMEBODY looks").await?;
    browser.expect("[data-testid=log][data-shown=':SOMEBODY looks']", PATIENCE).await?;
    browser.expect_text("log", NEEDLE).await?;
    ensure!(browser.script(drawn).await? == 1, "the filter lets more lines pass");
    screen(browser, "18a-log-filtered").await?;
    browser.fill("log-filter", "nobody wrote this").await?;
    browser.expect_text("log", "No line of the whole log").await?;
    browser.click("tab-module").await?;
    browser.expect("[data-testid=log][data-shown=all]", PATIENCE).await?;
    browser.select("[data-testid=log-levels] option[value=U]").await?.click().await?;
    browser.expect("[data-testid=log][data-shown='U:']", PATIENCE).await?;
    let orders = "const w = [...document.querySelectorAll('[data-testid=log] .from')]; return w.length > 0 && w.every((e) => e.textContent === 'user')";
    browser.until(orders).await
}

/// Puts an older piece before the log that is written to.
fn lengthen(folder: &Path) -> Result<()> {
    let log = find(folder, "application.log").context("no application log")?;
    let mut text = String::with_capacity(LINES * 24);
    for number in 0..LINES {
        match number {
            1234 => writeln!(text, "{NEEDLE}")?,
            _ => writeln!(text, "number {number} of many")?,
        }
    }
    std::fs::write(log.with_file_name("application.old.log"), &text)?;
    Ok(std::fs::write(log.with_file_name("application.base"), format!("0 {}\n", text.len()))?)
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|found| found == name) {
            return Some(path);
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(path);
        }
    }
    folders.iter().find_map(|folder| find(folder, name))
}
