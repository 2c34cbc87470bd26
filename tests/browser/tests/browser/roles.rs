//! Every screen as each role sees it: what is not allowed is not offered, and the route refuses it anyway.

use crate::{PASSWORD, SCREENS, screen};
use anyhow::{Context, Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};

/// Screens that only administrators have.
const ADMINS: [&str; 2] = ["advanced", "settings"];
/// What a role is refused whatever its page offers: method, path and what is sent.
type Refused = (&'static str, &'static str, &'static str);
const OF_ADMINS: [Refused; 7] = [
    ("POST", "/api/v1/users", "{\"name\":\"eve\",\"role\":\"admin\",\"password\":\"0123456789\"}"),
    ("GET", "/api/v1/users", ""),
    ("POST", "/api/v1/tokens", "{\"name\":\"eve\",\"role\":\"admin\"}"),
    ("PUT", "/api/v1/settings/plain-http", "{\"on\":true}"),
    ("POST", "/api/v1/modules", "{\"template\":\"mirror.safe\",\"name\":\"eve\"}"),
    ("POST", "/api/v1/modules/1/configure", "{}"),
    ("POST", "/api/v1/nodes/tokens", "{\"minutes\":60}"),
];
const OF_COMMANDERS: [Refused; 2] = [
    ("POST", "/api/v1/modules/1/commands", "{\"command\":\"stop\"}"),
    ("POST", "/api/v1/modules/1/checks", "{\"which\":\"checkers\",\"on\":false}"),
];

/// Looks at all screens as somebody with role Control and as somebody who only looks; the administrator comes back.
pub async fn every_screen_as_every_role(browser: &Browser) -> Result<()> {
    browser.click("rail-users").await?;
    browser.fill("new-user", "carl").await?;
    browser.fill("new-user-password", PASSWORD).await?;
    let control = "const e = document.querySelector('[data-testid=new-user-role]'); e.value = 'control'; \
                   e.dispatchEvent(new Event('change', { bubbles: true }));";
    browser.script(control).await?;
    browser.click("add-user").await?;
    browser.expect_text("users", "carl").await?;
    for (name, role) in [("carl", "control"), ("berta", "monitor")] {
        log_in_as(browser, name).await?;
        look(browser, role).await.with_context(|| format!("as {name}"))?;
    }
    log_in_as(browser, "admin").await
}

async fn log_in_as(browser: &Browser, name: &str) -> Result<()> {
    browser.click("user-menu").await?;
    browser.click("user-menu-logout").await?;
    browser.fill("user", name).await?;
    browser.fill("password", PASSWORD).await?;
    browser.click("login").await?;
    browser.expect("[data-testid=link][data-link=live]", PATIENCE).await?;
    browser.expect_text("user-name", name).await
}

async fn look(browser: &Browser, role: &str) -> Result<()> {
    for page in SCREENS {
        let barred = ADMINS.contains(&page) || page == "users";
        ensure!(browser.is_there(&format!("rail-{page}")).await? != barred, "the rail of {role} and {page}");
        if !barred {
            browser.click(&format!("rail-{page}")).await?;
            browser.expect("h1", PATIENCE).await?;
            screen(browser, &format!("26-{role}-{page}")).await?;
        }
    }
    browser.click("rail-cluster").await?;
    browser.find("node-node1").await?;
    ensure!(!browser.is_there("add-node").await?, "new nodes are offered to {role}");
    browser.expect("[data-testid=cluster-name-field]:disabled", PATIENCE).await?;
    ensure!(!browser.is_there("cluster-restore-1").await?, "old versions are offered to {role}");
    browser.click("rail-configuration").await?;
    browser.expect("h1", PATIENCE).await?;
    ensure!(!browser.is_there("use-mirror.safe").await?, "new modules are offered to {role}");
    browser.click("rail-control").await?;
    browser.click("commands").await?;
    match role {
        "control" => browser.expect("[data-testid=commands-stop]:not([aria-disabled=true])", PATIENCE).await?,
        _ => browser.expect_text("commands-stop", "Your role may look").await?,
    }
    screen(browser, &format!("26-{role}-commands")).await?;
    browser.click("rail-monitoring").await?;
    barred_addresses(browser, role).await?;
    refusals(browser, role).await
}

/// Whoever writes the address of a screen by hand is told that it is not for this role.
async fn barred_addresses(browser: &Browser, role: &str) -> Result<()> {
    for page in ADMINS {
        let address = format!("location.assign('/{page}')");
        browser.script(&address).await?;
        browser
            .until("return document.querySelector('.empty h2')?.textContent.includes('Only for administrators')")
            .await?;
        screen(browser, &format!("26-{role}-barred-{page}")).await?;
    }
    Ok(())
}

async fn refusals(browser: &Browser, role: &str) -> Result<()> {
    browser.complaints().await?;
    let commanders = if role == "monitor" { &OF_COMMANDERS[..] } else { &[] };
    for (method, path, body) in OF_ADMINS.iter().chain(commanders) {
        let body = if body.is_empty() { "undefined".to_owned() } else { format!("{body:?}") };
        let ask = format!(
            "const done = arguments[0]; fetch('{path}', {{ method: '{method}', headers: {{ 'content-type': \
             'application/json' }}, body: {body} }}).then((answer) => done(answer.status))"
        );
        let status = browser.script_async(&ask).await?;
        ensure!(status == 403, "{method} {path} answers {role} with {status}");
    }
    let complaints = browser.complaints().await?;
    ensure!(complaints.iter().all(|one| one.contains("403")), "more than the refusals: {complaints:#?}");
    Ok(())
}
