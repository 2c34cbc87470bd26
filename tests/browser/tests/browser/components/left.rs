//! Screens that are left while they wait for answers, and answers that come when nobody waits for them any more.

use super::rehearse;
use crate::SCREENS;
use anyhow::{Context, Result, ensure};
use holdfast_api::console::UserRole;
use holdfast_browser::browser::PATIENCE;
use holdfast_browser::rehearsal::world;
use serde_json::{Value, json};
use thirtyfour::Key;

/// Every button of the screen that a person might press before leaving, but for those that lead elsewhere.
const PRESS: &str = "for (const one of document.querySelectorAll('main button:enabled, main summary')) { \
    if (!one.closest('[popover], dialog')) one.click(); }";
const HELD: &str = "return window.rehearsal.waiting()";

fn answers() -> Vec<(&'static str, Value)> {
    let settings = serde_json::to_value(world::settings("module1")).unwrap_or_default();
    let file = json!({ "path": "bin/start_prim", "bytes": 10, "executable": true, "text": "#!/bin/sh\n" });
    vec![
        ("GET /modules/1/settings", settings),
        ("GET /modules/1/files", json!({ "version": 1, "files": [file] })),
        ("GET /modules/1/versions", json!([])),
        ("GET /cluster/versions", json!([])),
        ("GET /snapshots", json!([])),
        ("GET /users", json!([])),
        ("GET /sessions", json!([])),
        ("GET /tokens", json!([])),
        ("GET /catalogue", json!([])),
        ("POST /snapshots", json!({ "task": 1 })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_screen_may_be_left_while_its_requests_are_on_their_way() -> Result<()> {
    let stage = rehearse(UserRole::Admin, &world::pairs(2)).await?;
    let browser = &stage.browser;
    stage.open("/monitoring", &answers()).await?;
    browser.find("issues").await?;
    let mut waited = 0;
    for (at, screen) in SCREENS.into_iter().filter(|screen| *screen != "monitoring").enumerate() {
        // As somebody who looks, presses what there is, and goes on before anything has come.
        stage.do_in_page("hold()").await?;
        browser.click(&format!("rail-{screen}")).await?;
        browser.until("return ![undefined, 'Monitoring'].includes(document.querySelector('h1')?.textContent)").await?;
        browser.script(PRESS).await?;
        browser.press(Key::Escape).await?;
        browser.click("rail-monitoring").await?;
        browser.find("issues").await?;
        waited += browser.script(HELD).await?.as_u64().unwrap_or_default();
        // In one order and in the other, with news of the nodes in between.
        stage.do_in_page(&format!("release({})", at % 2 == 0)).await?;
        stage.tell(&world::pairs(2)).await?;
        browser.expect("[data-testid=monitor-state-node1][data-state=PRIM]", PATIENCE).await?;
        let there = browser.script("return location.pathname").await?;
        ensure!(there == "/monitoring", "whoever left {screen} was led to {there}");
        let complaints = browser.complaints().await?;
        ensure!(complaints.is_empty(), "{screen} was left, and the browser complained: {complaints:#?}");
    }
    ensure!(waited > 8, "only {waited} answers were on their way");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_save_that_ends_after_its_wizard_was_left_leads_nowhere() -> Result<()> {
    let stage = rehearse(UserRole::Admin, &world::pairs(1)).await?;
    let browser = &stage.browser;
    stage.open("/configuration/modules/1/directories", &answers()).await?;
    browser.fill("directory-0", "/srv/other").await?;
    let mut module = serde_json::to_value(&world::pairs(1).modules[0].module)?;
    module["version"] = json!(2);
    stage.answer("PUT /modules/1/settings", 200, module).await?;
    stage.do_in_page("hold()").await?;
    browser.click("wizard-next").await?;
    browser.until("return window.rehearsal.asked.some((one) => one.asked.startsWith('PUT'))").await?;
    browser.click("rail-monitoring").await?;
    browser.find("issues").await?;
    stage.do_in_page("release()").await?;
    // What comes after it is shown: the answer has been taken by then.
    stage.do_in_page("connect(false)").await?;
    browser.find("stale-banner").await.context("the page is dead")?;
    ensure!(browser.script("return location.pathname").await? == "/monitoring", "somebody who had left was led away");
    stage.end().await
}
