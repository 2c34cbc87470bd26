//! How every screen looks and is worked: dark, narrow, enlarged, on a phone, in French, without a mouse.

use crate::{SCREENS, screen};
use anyhow::{Context, Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};
use thirtyfour::Key;

/// What a phone shows, CSS pixels.
const PHONE: (u32, u32) = (390, 844);
/// What a window of 1280 × 860 shows at 200 %.
const ENLARGED: (u32, u32) = (640, 430);

/// Dark, narrow, enlarged to 200 % and on a phone: nothing runs out of the page sideways.
pub async fn dark_and_narrow(browser: &Browser) -> Result<()> {
    browser.click("user-menu").await?;
    browser.click("user-menu-dark").await?;
    for page in SCREENS {
        open(browser, page).await?;
        screen(browser, &format!("20-dark-{page}")).await?;
    }
    browser.resize(500, 900).await?;
    for page in SCREENS {
        open(browser, page).await?;
        screen(browser, &format!("21-narrow-{page}")).await?;
        fits(browser, page).await?;
    }
    open(browser, "cluster").await?;
    let width = browser.script("return document.querySelector('[data-testid=address-1]').clientWidth").await?;
    ensure!(width.as_u64().is_some_and(|width| width > 200), "an address is typed into a field {width} px wide");
    browser.resize(1280, 860).await?;
    for (name, size, pages) in
        [("enlarged", ENLARGED, &SCREENS[..]), ("phone", PHONE, &["control", "monitoring", "cluster"])]
    {
        browser.emulate(Some(size)).await?;
        for page in pages {
            open(browser, page).await?;
            browser.picture(&format!("21-{name}-{page}")).await?;
            fits(browser, page).await.with_context(|| name)?;
        }
        browser.emulate(None).await?;
    }
    browser.click("user-menu").await?;
    browser.click("user-menu-light").await?;
    without_motion(browser).await
}

/// Whoever wants no motion gets none: not even what flows between two nodes moves.
async fn without_motion(browser: &Browser) -> Result<()> {
    open(browser, "monitoring").await?;
    browser.expect("[data-testid=flow] [data-live=true]", PATIENCE).await?;
    let moves =
        "return parseFloat(getComputedStyle(document.querySelector('[data-testid=flow] .dash')).animationDuration)";
    ensure!(browser.script(moves).await?.as_f64().is_some_and(|s| s > 0.1), "nothing flows to begin with");
    browser.reduce_motion(true).await?;
    ensure!(browser.script(moves).await?.as_f64().is_some_and(|s| s < 0.001), "it still moves");
    browser.reduce_motion(false).await
}

/// Every screen in French, kept over a loading of the page, then English again.
pub async fn in_french(browser: &Browser) -> Result<()> {
    typed_text_outlives_a_change_of_language(browser).await?;
    browser.click("language").await?;
    browser.click("language-fr").await?;
    browser.expect("html[lang=fr] [data-testid=link][data-link=live]", PATIENCE).await?;
    browser.expect_text("rail-monitoring", "Supervision").await?;
    for page in SCREENS {
        open(browser, page).await?;
        screen(browser, &format!("24-french-{page}")).await?;
    }
    what_the_server_says_is_french_too(browser).await?;
    browser.click("language").await?;
    browser.click("language-en").await?;
    browser.expect("html[lang=en] [data-testid=link][data-link=live]", PATIENCE).await?;
    browser.expect_text("rail-monitoring", "Monitoring").await
}

/// A check of the server, with its cure, comes in the language of the page.
async fn what_the_server_says_is_french_too(browser: &Browser) -> Result<()> {
    open(browser, "cluster").await?;
    browser.click("add-node").await?;
    browser.fill("node-address", "127.0.0.1:1").await?;
    browser.click("probe").await?;
    browser.expect_text("probe-checks", "le port 1 ne répond pas").await?;
    browser.expect_text("probe-checks", "l’appairage y est-il ouvert").await?;
    screen(browser, "24-french-probe").await
}

/// The page is loaded anew in French and in English again: what was typed into `field` is still there.
pub async fn change_of_language_keeps(browser: &Browser, field: &str, typed: &str) -> Result<()> {
    for (language, word) in [("fr", "Supervision"), ("en", "Monitoring")] {
        browser.click("language").await?;
        browser.click(&format!("language-{language}")).await?;
        browser.expect(&format!("html[lang={language}] [data-testid=link][data-link=live]"), PATIENCE).await?;
        browser.expect_text("rail-monitoring", word).await?;
        let there = format!("return document.querySelector('[data-testid=\"{field}\"]')?.value === {typed:?}");
        browser.until(&there).await.with_context(|| format!("what was typed into {field} is lost in {language}"))?;
    }
    Ok(())
}

/// An edited cluster, an edited file and a form of single fields outlive a change of language; a password does not.
async fn typed_text_outlives_a_change_of_language(browser: &Browser) -> Result<()> {
    open(browser, "cluster").await?;
    browser.fill("cluster-name-field", "half-typed").await?;
    change_of_language_keeps(browser, "cluster-name-field", "half-typed").await?;
    browser.click("discard").await?;
    open(browser, "users").await?;
    browser.fill("new-user", "half-typed").await?;
    browser.fill("new-user-password", "never to be kept").await?;
    change_of_language_keeps(browser, "new-user", "half-typed").await?;
    let password = browser.script("return document.querySelector('[data-testid=new-user-password]').value").await?;
    ensure!(password == "", "a password was kept");
    let kept = "return JSON.stringify({ ...sessionStorage, ...localStorage }).includes('never to be kept')";
    ensure!(browser.script(kept).await? == false, "a password is in the browser's storage");
    open(browser, "advanced").await?;
    browser.expect("[data-testid=editor][data-editor=ready]", PATIENCE).await?;
    browser.click("plain-editor").await?;
    browser.fill("editor", "<!-- half-typed -->").await?;
    change_of_language_keeps(browser, "editor", "<!-- half-typed -->").await?;
    browser.click("discard-files").await?;
    browser.click("plain-editor").await
}

/// A command by keyboard alone: to the menu, into it, to the question and back; the focus is never lost.
pub async fn by_keyboard(browser: &Browser) -> Result<()> {
    open(browser, "control").await?;
    browser.click("select-node1").await?;
    browser.expect("[data-testid=select-node1][aria-current]", PATIENCE).await?;
    // From the first thing of the page on: past the rail by one key, or through it.
    browser.script("document.querySelector('.skip').focus()").await?;
    browser.press(Key::Enter).await?;
    browser.expect("main:focus", PATIENCE).await?;
    browser.script("document.querySelector('.skip').focus()").await?;
    browser.press(Key::Tab).await?;
    let mut walked = Vec::new();
    while walked.last().is_none_or(|last| last != "commands") {
        ensure!(walked.len() < 40, "Tab does not reach the commands: {walked:?}");
        let here = browser.focused().await?;
        let seen = browser.script("return getComputedStyle(document.activeElement).outlineStyle").await?;
        ensure!(seen != "none", "where the focus is cannot be seen on {here}");
        walked.push(here);
        if walked.last().is_some_and(|last| last != "commands") {
            browser.press(Key::Tab).await?;
        }
    }
    ensure!(walked.iter().any(|one| one == "rail-control"), "the rail was not walked: {walked:?}");
    browser.press(Key::Enter).await?;
    browser.find("commands-stop").await?;
    // The focus moves with the next picture drawn: no person is faster.
    for item in ["start", "stop"] {
        browser.press(Key::Down).await?;
        browser.expect(&format!("[data-testid=commands-{item}]:focus"), PATIENCE).await?;
    }
    browser.press(Key::Enter).await?;
    browser.expect("[data-testid=confirm-dialog][open] :focus", PATIENCE).await?;
    browser.press(Key::Escape).await?;
    browser.expect("[data-testid=confirm-dialog]:not([open])", PATIENCE).await?;
    browser.expect("[data-testid=commands]:focus", PATIENCE).await
}

async fn open(browser: &Browser, page: &str) -> Result<()> {
    browser.click(&format!("rail-{page}")).await?;
    browser.expect("h1", PATIENCE).await
}

/// Nothing runs out of the page sideways.
async fn fits(browser: &Browser, page: &str) -> Result<()> {
    let excess =
        browser.script("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await?;
    ensure!(excess.as_i64() == Some(0), "{page} is {excess} px wider than its window");
    Ok(())
}
