//! The log viewer: a large log is held in pieces, followed without stealing the place, filtered by the server, worked by keys.

use super::rehearse;
use anyhow::{Context, Result, ensure};
use holdfast_api::console::UserRole;
use holdfast_browser::accessibility;
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::rehearsal::{Rehearsal, world};
use serde_json::json;
use thirtyfour::Key;

const LOG: &str = "/modules/1/nodes/1/log";
/// Lines of the log.
const LINES: u32 = 100_000;
/// Lines that the page may hold, with a page in the making.
const HELD_MAX: u64 = 2_500;

/// A module log of many lines on Control, shown at its end.
async fn viewer() -> Result<Rehearsal> {
    let stage = rehearse(UserRole::Control, &world::pairs(1)).await?;
    let name = stage
        .browser
        .before_pages(&format!("window.rehearsal.lengthen('{LOG}', {LINES}, 'line # of many', 'I')"))
        .await?;
    stage.open("/control/1/1/module", &[]).await?;
    stage.browser.no_more_before_pages(&name).await?;
    stage.browser.expect("[data-testid=log][data-shown=all]", PATIENCE).await?;
    newest_is(&stage.browser, LINES - 1).await?;
    Ok(stage)
}

const DRAWN: &str = "return document.querySelectorAll('[data-testid=log] .log-line').length";
const PLACE: &str = "const pane = document.querySelector('[data-testid=log]'); return Math.round(pane.scrollTop)";

/// Waits until the last line drawn is the one of this number, and the pane shows it.
async fn newest_is(browser: &Browser, number: u32) -> Result<()> {
    let script = format!(
        "const pane = document.querySelector('[data-testid=log]'); const all = pane.querySelectorAll('.log-line'); \
         return all[all.length - 1]?.textContent.includes('line {number} of') === true \
         && pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 30"
    );
    browser.until(&script).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_log_is_held_in_pieces_without_gaps() -> Result<()> {
    let stage = viewer().await?;
    let browser = &stage.browser;
    let no_gaps = "const n = [...document.querySelectorAll('[data-testid=log] .log-line')].map((e) => Number(/line (\\d+) of/.exec(e.textContent)[1])); \
                   return n.every((one, at) => at === 0 || one === n[at - 1] + 1)";
    let first =
        "return Number(/line (\\d+) of/.exec(document.querySelector('[data-testid=log] .log-line').textContent)[1])";
    let mut oldest = browser.script(first).await?.as_u64().context("no number")?;
    for _ in 0..6 {
        browser.script("document.querySelector('[data-testid=log]').scrollTop = 0").await?;
        let older = format!("{first} < {oldest}");
        browser.until(&older).await?;
        oldest = browser.script(first).await?.as_u64().context("no number")?;
        ensure!(browser.script(no_gaps).await? == true, "lines are missing above {oldest}");
        let drawn = browser.script(DRAWN).await?.as_u64().context("no number")?;
        ensure!(drawn <= HELD_MAX, "{drawn} of {LINES} lines are drawn");
    }
    ensure!(oldest < u64::from(LINES) - 2_000, "only {oldest} was reached");
    // The newest lines were let go for them; the way back reads them anew.
    browser.click("log-newest").await?;
    newest_is(browser, LINES - 1).await?;
    ensure!(browser.script(no_gaps).await? == true, "the end has gaps");
    browser.picture("log").await?;
    accessibility::demand(browser).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn following_stops_where_one_looks_and_goes_on_by_one_button() -> Result<()> {
    let stage = viewer().await?;
    let browser = &stage.browser;
    stage.do_in_page(&format!("lengthen('{LOG}', 3, 'line # of many', 'I')")).await?;
    newest_is(browser, LINES + 2).await?;
    browser.expect("[data-testid=log-follow][aria-pressed=true]", PATIENCE).await?;
    // Somebody looks higher up: lines that come do not take the place away.
    browser.script("document.querySelector('[data-testid=log]').scrollTop -= 700").await?;
    browser.expect("[data-testid=log-follow][aria-pressed=false]", PATIENCE).await?;
    let place = browser.script(PLACE).await?;
    stage.do_in_page(&format!("lengthen('{LOG}', 5, 'line # of many', 'I')")).await?;
    browser.expect_text("log-newest", "5 new lines").await?;
    ensure!(browser.script(PLACE).await? == place, "new lines moved what was looked at");
    accessibility::demand(browser).await?;
    browser.picture("log-new-lines").await?;
    browser.click("log-newest").await?;
    newest_is(browser, LINES + 7).await?;
    browser.expect("[data-testid=log-follow][aria-pressed=true]", PATIENCE).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_looks_through_the_whole_log_and_late_answers_of_an_older_one_are_dropped() -> Result<()> {
    let stage = viewer().await?;
    let browser = &stage.browser;
    stage.do_in_page(&format!("lengthen('{LOG}', 1, 'line # of many was WRONG', 'C')")).await?;
    newest_is(browser, LINES).await?;
    browser.fill("log-filter", "line 77 of").await?;
    browser.expect("[data-testid=log][data-shown=':line 77 of']", PATIENCE).await?;
    ensure!(browser.script(DRAWN).await? == 1, "the filter lets more lines pass");
    // Both are on their way, and the answer to what was typed first comes last.
    stage.do_in_page("hold()").await?;
    browser.fill("log-filter", "line 78 of").await?;
    let asked = |text: &str| {
        format!("return window.rehearsal.asked.some((one) => decodeURIComponent(one.asked).includes('holding={text}'))")
    };
    browser.until(&asked("line 78 of")).await?;
    browser.fill("log-filter", "line 79 of").await?;
    browser.until(&asked("line 79 of")).await?;
    stage.do_in_page("release(true)").await?;
    browser.expect("[data-testid=log][data-shown=':line 79 of']", PATIENCE).await?;
    browser.expect_text("log", "line 79 of").await?;
    ensure!(!browser.text("log").await?.contains("line 78 of"), "an older filter's answer is shown");
    browser.fill("log-filter", "nobody wrote this").await?;
    browser.expect_text("log", "No line of the whole log").await?;
    browser.fill("log-filter", "").await?;
    newest_is(browser, LINES).await?;
    browser.select("[data-testid=log-levels] option[value=CW]").await?.click().await?;
    browser.expect("[data-testid=log][data-shown='CW:']", PATIENCE).await?;
    browser.expect_text("log", "was WRONG").await?;
    ensure!(browser.script(DRAWN).await? == 1, "the levels let more lines pass");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_worked_by_keys_and_survives_a_node_that_does_not_answer() -> Result<()> {
    let stage = viewer().await?;
    let browser = &stage.browser;
    // From the filter by Tab to the lines; the keys of every page move them.
    browser.find("log-filter").await?.focus().await?;
    let mut steps = 0;
    while browser.focused().await? != "log" {
        ensure!(steps < 10, "the lines are not reached by Tab");
        browser.press(Key::Tab).await?;
        steps += 1;
    }
    browser.press(Key::PageUp).await?;
    browser.expect("[data-testid=log-follow][aria-pressed=false]", PATIENCE).await?;
    // As long as the key is held: lines put in above the place keep that place in sight.
    let more = format!("{DRAWN} > 500");
    let end = std::time::Instant::now() + PATIENCE;
    while browser.script(&more).await? != json!(true) {
        ensure!(std::time::Instant::now() < end, "Home draws no older lines");
        browser.press(Key::Home).await?;
    }
    browser.press(Key::End).await?;
    newest_is(browser, LINES - 1).await?;
    browser.expect("[data-testid=log-follow][aria-pressed=true]", PATIENCE).await?;
    // What goes wrong is said, the lines stay, and the next answer takes it away.
    let away =
        json!({ "type": "urn:holdfast:unreachable", "title": "No", "status": 502, "detail": "node1 does not answer." });
    stage.do_in_page(&format!("fail('GET {LOG}', 502, {away})")).await?;
    browser.expect_text("log-problem", "node1 does not answer.").await?;
    newest_is(browser, LINES - 1).await?;
    stage.do_in_page(&format!("mend('GET {LOG}')")).await?;
    stage.do_in_page(&format!("lengthen('{LOG}', 1, 'line # of many', 'I')")).await?;
    newest_is(browser, LINES).await?;
    browser.until("return document.querySelector('[data-testid=log-problem]')?.textContent.trim() !== 'node1 does not answer.'").await?;
    stage.end().await
}
