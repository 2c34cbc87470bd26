//! The console over plain http: switched on with a question, marked on every page, without what must not be read on the way.

use crate::{PASSWORD, screen};
use anyhow::{Context, Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::stage::Stage;
use std::time::Instant;

/// What the page says when it is asked for a user's password; the server refuses it with 403 whatever the page offers.
const ADD_USER: &str = "const done = arguments[0]; fetch('/api/v1/users', { method: 'POST', headers: { 'content-type': \
    'application/json' }, body: JSON.stringify({ name: 'eve', role: 'admin', password: 'read by everybody' }) }) \
    .then((answer) => done(answer.status))";

/// Switches it on, looks at it as whoever has no https, and switches it off: its session ends.
pub async fn console_over_plain_http(stage: &Stage, browser: &Browser) -> Result<()> {
    browser.click("rail-settings").await?;
    browser.expect("[data-testid=plain-state][data-on=false]", PATIENCE).await?;
    browser.click("plain-switch").await?;
    browser.expect_text("confirm-dialog", "port 9010").await?;
    screen(browser, "25-plain-question").await?;
    browser.click("confirm-yes").await?;
    browser.expect("[data-testid=plain-state][data-on=true]", PATIENCE).await?;
    browser.expect_text("plain-addresses", &format!("http://{}:9010/", stage.lab.network().address(1))).await?;
    screen(browser, "25a-plain-on").await?;
    browser.click("rail-monitoring").await?;
    browser.expect_text("issues", "plain http").await?;
    enter(stage, browser).await?;
    look(browser).await?;
    // Where everything is done again, so that this page's session can be seen to end.
    browser.click("rail-settings").await?;
    browser.click("plain-switch").await?;
    browser.expect_text("confirm-dialog", "this one too").await?;
    browser.click("confirm-no").await?;
    browser.open(&stage.url()).await?;
    browser.click("rail-settings").await?;
    ensure!(!browser.is_there("plain-banner").await?, "https is said to be read on the way");
    browser.click("plain-switch").await?;
    browser.click("confirm-yes").await?;
    browser.expect("[data-testid=plain-state][data-on=false]", PATIENCE).await
}

/// The login page, once the node has heard that it serves the console, with its warning and the way to https.
async fn enter(stage: &Stage, browser: &Browser) -> Result<()> {
    let began = Instant::now();
    loop {
        browser.open(&format!("{}monitoring", stage.plain_url())).await?;
        if browser.script("return document.querySelector('#splash, [data-testid]') !== null").await? == true {
            break;
        }
        ensure!(began.elapsed() < PATIENCE, "node1 does not carry the console");
    }
    browser.find("login").await?;
    browser.expect_text("plain-banner", "passwords included").await?;
    let https = browser.script("return document.querySelector('[data-testid=plain-https]').href").await?;
    let server = stage.lab.network().address(holdfast_tests::lab::CONSOLE);
    ensure!(https == format!("https://{server}:9453/"), "the way to https leads to {https}");
    browser.complaints().await?;
    browser.fill("user", "admin").await?;
    browser.fill("password", PASSWORD).await?;
    screen(browser, "25b-plain-login").await?;
    browser.click("login").await?;
    browser.expect("[data-testid=link][data-link=live]", PATIENCE).await?;
    browser.expect_text("plain-banner", "passwords included").await
}

/// What carries a lasting secret says why it is not offered, and the server refuses it anyway.
async fn look(browser: &Browser) -> Result<()> {
    let closed: [(&str, &[&str]); 3] = [
        ("users", &["add-user", "add-token", "change-password"]),
        ("settings", &["set-certificate"]),
        ("cluster", &["probe"]),
    ];
    for (page, buttons) in closed {
        browser.click(&format!("rail-{page}")).await?;
        if page == "cluster" {
            browser.click("add-node").await?;
        }
        browser.find("only-https").await?;
        for button in buttons {
            let selector = format!("[data-testid={button}]:disabled");
            browser.expect(&selector, PATIENCE).await.with_context(|| format!("{page} offers {button}"))?;
        }
        browser.find("plain-banner").await?;
        screen(browser, &format!("25c-plain-{page}")).await?;
    }
    ensure!(browser.script_async(ADD_USER).await? == 403, "a user was added over plain http");
    let complaints = browser.complaints().await?;
    ensure!(complaints.iter().all(|one| one.contains("/api/v1/users")), "more than the refusal: {complaints:#?}");
    Ok(())
}
