//! A hundred modules on two nodes: news draws only what is new.

use super::rehearse;
use anyhow::{Context, Result, ensure};
use holdfast_api::console::{LiveSnapshot, UserRole};
use holdfast_api::state::Readiness;
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::rehearsal::world;

const MODULES: u16 = 100;
/// In every page: each log of each module.
const LOGS: &str = "for (let module = 1; module <= 100; module += 1) for (const node of [1, 2]) { \
    const path = `/modules/${module}/nodes/${node}/log`; \
    window.rehearsal.lengthen(path, 390, 'PRIM Ready | a line # of the log', 'I'); \
    window.rehearsal.lengthen(path, 10, 'WAIT Transient -> PRIM Ready: line #', 'E'); }";
/// Begins to note which modules' cards, and which of their parts, the page touches.
const NOTE: &str = "window.touched = new Set(); window.noting?.disconnect(); window.noting = new MutationObserver((all) => all.forEach((one) => { \
    const at = one.target.nodeType === Node.TEXT_NODE ? one.target.parentElement : one.target; \
    const card = at.closest('[data-testid^=monitor-module]'); \
    if (card) window.touched.add(at.closest('[data-testid=rate]') ? 'rate' : card.dataset.testid); })); \
    window.noting.observe(document.querySelector('main'), { subtree: true, childList: true, attributes: true, characterData: true });";
const TOUCHED: &str = "return [...window.touched].sort().join(' ')";

/// Every module moves other amounts than before.
fn other_figures(all: &mut LiveSnapshot, seed: u64) {
    all.sequence += 1;
    for (at, module) in (1..).zip(&mut all.modules) {
        for report in module.nodes.iter_mut().filter_map(|on| on.report.as_mut()) {
            if let Some(figures) = &mut report.replication {
                (figures.bytes_per_s, figures.ops_per_s) = (seed * 1000 * at, seed);
            }
        }
    }
}

/// Waits until the page has asked for all logs and stands still for a second.
async fn settled(browser: &Browser) -> Result<()> {
    let asked = "return window.rehearsal.asked.filter((one) => one.asked.includes('/log?')).length === 200 \
                 && document.querySelectorAll('[data-testid=timeline] li').length === 100 * 12";
    browser.until(asked).await?;
    browser.script(NOTE).await?;
    let quiet = "const [now, before] = [performance.now(), window.quietSince ?? 0]; \
                 if (window.touched.size > 0 || !before) { window.touched.clear(); window.quietSince = now; return false; } \
                 return now - before > 1000";
    browser.until(quiet).await
}

#[tokio::test(flavor = "multi_thread")]
async fn news_of_one_module_draws_nothing_of_the_others() -> Result<()> {
    let mut all = world::pairs(MODULES);
    let stage = rehearse(UserRole::Admin, &all).await?;
    let browser = &stage.browser;
    browser.before_pages(LOGS).await?;
    stage.open("/monitoring", &[]).await?;
    browser.find("monitor-module100").await?;
    settled(browser).await?;
    browser.script(NOTE).await?;
    other_figures(&mut all, 1);
    stage.tell(&all).await?;
    browser
        .until("return document.querySelectorAll('[data-testid=rate]').length === 100 && window.touched.size > 0")
        .await?;
    browser.script(NOTE).await?;
    other_figures(&mut all, 2);
    stage.tell(&all).await?;
    // The last of them has been told.
    let told = "return document.querySelector('[data-testid=monitor-module100] [data-testid=rate]').textContent.includes('2 operations')";
    browser.until(told).await?;
    let touched = browser.script(TOUCHED).await?;
    ensure!(touched == "rate", "figures alone were new, touched was {touched}");
    browser.script(NOTE).await?;
    all.sequence += 1;
    all.modules[49].nodes[1].report.as_mut().context("no report")?.readiness = Readiness::Transient;
    stage.tell(&all).await?;
    browser
        .expect("[data-testid=monitor-module50] [data-testid=monitor-state-node2][data-tone=busy]", PATIENCE)
        .await?;
    let touched = browser.script(TOUCHED).await?;
    ensure!(touched == "monitor-module50", "one module changed, touched was {touched}");
    stage.end().await
}
