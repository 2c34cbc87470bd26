//! Both nodes serve apart from each other: what the one that gives way held alone is set aside, found, looked into, saved and
//! deleted.

use crate::{MODULE, SLOW, screen, state};
use anyhow::{Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::stage::Stage;

/// What only the node that gives way has.
const ONLY_HERE: &str = "/srv/bank/only-on-node1.txt";

/// node2 is primary. The link is cut, both serve and write, the link comes back.
pub async fn look_at_what_was_set_aside(stage: &mut Stage, browser: &Browser) -> Result<()> {
    browser.click("rail-monitoring").await?;
    browser.expect(&state("monitor-state-node2", "PRIM", "Ready"), SLOW).await?;
    stage.lab.cut_link(1, 2)?;
    for number in [1, 2] {
        browser.expect(&state(&format!("monitor-state-node{number}"), "ALONE", "Ready"), SLOW).await?;
    }
    browser.expect_text("issues", "is served twice").await?;
    screen(browser, "27-served-twice").await?;
    stage.lab.host(1).shell(&format!("echo kept > {ONLY_HERE} && sync {ONLY_HERE}"))?;
    stage.lab.heal()?;
    browser.expect(&state("monitor-state-node2", "PRIM", "Ready"), SLOW).await?;
    browser.expect(&state("monitor-state-node1", "SECOND", "Ready"), SLOW).await?;
    browser.expect_text("issues", "data is set aside on node1").await?;
    screen(browser, "27a-set-aside-issue").await?;
    browser.select("[data-testid=issue] a[href$='/aside']").await?.click().await?;
    browser.expect_text("tab-aside", "(1)").await?;
    browser.click("aside-look").await?;
    browser.expect_text("aside-inside", ONLY_HERE).await?;
    screen(browser, "27b-set-aside").await?;
    browser.click("aside-save").await?;
    let zip = browser.downloaded(&format!("diverged_{MODULE}_node1")).await?;
    ensure!(zip.starts_with(b"PK"), "what was set aside is no zip");
    ensure!(contains(&zip, ONLY_HERE.trim_start_matches('/').as_bytes()), "the zip lacks {ONLY_HERE}");
    browser.click("aside-delete").await?;
    browser.expect_text("confirm-dialog", "for ever").await?;
    screen(browser, "27c-set-aside-delete").await?;
    browser.click("confirm-no").await?;
    browser.find("aside-copy").await?;
    browser.click("aside-delete").await?;
    browser.click("confirm-yes").await?;
    browser.find("aside-none").await?;
    browser.expect("[data-testid=panel]", PATIENCE).await?;
    browser.click("rail-monitoring").await?;
    let gone = "const all = document.querySelector('[data-testid=issues]'); return !!all && !all.textContent.includes('set aside')";
    browser.until(gone).await
}

fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|piece| piece == part)
}
