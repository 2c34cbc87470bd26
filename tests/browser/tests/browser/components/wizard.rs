//! The steps of the wizard: what is wrong is said at its field, Next says why it cannot be taken, going back keeps what was typed.

use super::rehearse;
use anyhow::{Result, ensure};
use holdfast_api::console::UserRole;
use holdfast_browser::accessibility;
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::rehearsal::{Rehearsal, world};
use serde_json::{Value, json};

/// The wizard of a saved mirror module at this step.
async fn wizard(step: &str) -> Result<Rehearsal> {
    let stage = rehearse(UserRole::Admin, &world::pairs(1)).await?;
    let settings = serde_json::to_value(world::settings("module1"))?;
    stage.open(&format!("/configuration/modules/1/{step}"), &[("GET /modules/1/settings", settings)]).await?;
    Ok(stage)
}

/// The text of what describes an element to somebody who does not see it.
async fn described(browser: &Browser, testid: &str) -> Result<String> {
    let script = format!(
        "return (document.querySelector('[data-testid=\"{testid}\"]').getAttribute('aria-describedby') ?? '').split(' ') \
         .map((id) => document.getElementById(id)?.textContent ?? '').join(' ')"
    );
    Ok(browser.script(&script).await?.as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_says_at_the_field_what_is_wrong_and_at_next_why_it_stays() -> Result<()> {
    let stage = wizard("directories").await?;
    let browser = &stage.browser;
    browser.expect("[data-testid=wizard-next]:enabled", PATIENCE).await?;
    ensure!(!browser.is_there("wizard-why").await?, "a step that is right says why it is not");
    browser.fill("directory-0", "srv/data").await?;
    browser.expect("[data-testid=wizard-next]:disabled", PATIENCE).await?;
    browser.expect("[data-testid=directory-0][aria-invalid=true]", PATIENCE).await?;
    let at_field = browser.text("directory-0-problem").await?;
    ensure!(described(browser, "directory-0").await?.contains(&at_field), "the problem is not read with its field");
    let why = browser.text("wizard-why").await?;
    ensure!(why.contains(&at_field), "Next says {why:?}, the field {at_field:?}");
    ensure!(described(browser, "wizard-next").await?.contains(&at_field), "the reason is not read with Next");
    browser.picture("wizard-why").await?;
    accessibility::demand(browser).await?;
    browser.fill("directory-0", "/srv/mended").await?;
    browser.expect("[data-testid=wizard-next]:enabled", PATIENCE).await?;
    browser.expect("[data-testid=directory-0][aria-invalid=false]", PATIENCE).await?;
    ensure!(!browser.is_there("wizard-why").await?, "the reason stays when it is gone");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_and_aside_keeps_what_was_typed_saved_or_not() -> Result<()> {
    let stage = wizard("directories").await?;
    let browser = &stage.browser;
    browser.expect("[data-testid=stepper] [aria-current=step]", PATIENCE).await?;
    browser.fill("directory-0", "/srv/typed").await?;
    let mut module = serde_json::to_value(&world::pairs(1).modules[0].module)?;
    module["version"] = json!(2);
    stage.answer("PUT /modules/1/settings", 200, module).await?;
    browser.click("wizard-next").await?;
    browser.expect("[data-testid=network-default]", PATIENCE).await?;
    let saved = stage.sent("PUT /modules/1/settings").await?;
    ensure!(saved["expected_version"] == 1 && saved["settings"]["directories"][0] == "/srv/typed", "sent was {saved}");
    let done = "return document.querySelectorAll('[data-testid=stepper] li.done').length";
    let done_here = browser.script(done).await?;
    browser.click("wizard-next").await?;
    browser.click("address-own").await?;
    browser.fill("vip-0", "192.0.2.9").await?;
    // Back twice: what was saved, and what was not, are where they were.
    browser.click("wizard-back").await?;
    browser.find("network-default").await?;
    browser.click("wizard-back").await?;
    value_is(browser, "directory-0", "/srv/typed").await?;
    ensure!(browser.script(done).await?.as_u64() < done_here.as_u64(), "the stepper does not go back");
    browser.select("[data-testid=stepper] a[href$='/address']").await?.click().await?;
    value_is(browser, "vip-0", "192.0.2.9").await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_left_by_their_links_with_what_is_wrong_kept_and_said() -> Result<()> {
    let stage = wizard("directories").await?;
    let browser = &stage.browser;
    browser.fill("directory-0", "not right").await?;
    let to = |step: &str| format!("[data-testid=stepper] a[href$='/{step}']");
    browser.select(&to("address")).await?.click().await?;
    browser.click("address-own").await?;
    browser.fill("vip-0", "no address").await?;
    browser.find("vip-0-problem").await?;
    browser.select(&to("directories")).await?.click().await?;
    value_is(browser, "directory-0", "not right").await?;
    browser.expect("[data-testid=wizard-next]:disabled", PATIENCE).await?;
    browser.select(&to("address")).await?.click().await?;
    value_is(browser, "vip-0", "no address").await?;
    let asked = "return window.rehearsal.asked.some((one) => one.asked.startsWith('PUT'))";
    ensure!(browser.script(asked).await? == false, "what is wrong was saved");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_save_is_told_and_loses_nothing() -> Result<()> {
    let stage = wizard("directories").await?;
    let browser = &stage.browser;
    browser.fill("directory-0", "/srv/mine").await?;
    let refusal = |status: u16, detail: &str| json!({ "type": "urn:holdfast:rehearsed", "title": "No", "status": status, "detail": detail });
    stage.answer("PUT /modules/1/settings", 500, refusal(500, "The disk of the server is full.")).await?;
    browser.click("wizard-next").await?;
    browser.expect_text("wizard-problem", "The disk of the server is full.").await?;
    value_is(browser, "directory-0", "/srv/mine").await?;
    // Somebody else saved meanwhile: a flow of their own, and the same directory.
    stage.answer("PUT /modules/1/settings", 409, refusal(409, "Version 2 was saved meanwhile.")).await?;
    browser.click("wizard-next").await?;
    browser.find("wizard-conflict").await?;
    let mut theirs: Value = serde_json::to_value(world::settings("module1"))?;
    theirs["version"] = json!(2);
    theirs["settings"]["pulse_ms"] = json!(900);
    stage.answer("GET /modules/1/settings", 200, theirs).await?;
    browser.click("conflict-mine").await?;
    value_is(browser, "directory-0", "/srv/mine").await?;
    let mut module = serde_json::to_value(&world::pairs(1).modules[0].module)?;
    module["version"] = json!(3);
    stage.answer("PUT /modules/1/settings", 200, module).await?;
    browser.click("wizard-next").await?;
    browser.expect("[data-testid=network-default]", PATIENCE).await?;
    let sent = stage.sent("PUT /modules/1/settings").await?;
    let both = sent["settings"]["pulse_ms"] == 900 && sent["settings"]["directories"][0] == "/srv/mine";
    ensure!(sent["expected_version"] == 2 && both, "sent was {sent}");
    stage.end().await
}

/// Waits until a field holds this.
async fn value_is(browser: &Browser, testid: &str, value: &str) -> Result<()> {
    browser.until(&format!("return document.querySelector('[data-testid=\"{testid}\"]')?.value === {value:?}")).await
}
