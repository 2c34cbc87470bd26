//! Somebody in a hurry: screens are left before they have come and before their answers have, over a slow line.

use crate::SCREENS;
use anyhow::{Context, Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};

/// How long an answer takes at least over the slow line.
const LATENCY_MS: u32 = 120;
/// How often the page is loaded anew, with nothing in the cache.
const ROUNDS: usize = 3;

/// Goes from screen to screen faster than they come, each round in another order and with other pauses; the page lives on
/// and has nothing to complain about.
pub async fn screens_are_left_before_they_come(browser: &Browser) -> Result<()> {
    browser.slow_line(Some(LATENCY_MS)).await?;
    for round in 0..ROUNDS {
        let mut screens = SCREENS.to_vec();
        screens.rotate_left(round);
        browser.script("location.reload()").await?;
        browser.expect("[data-testid=link][data-link=live]", PATIENCE).await?;
        let hop = format!(
            "const done = arguments[0]; const screens = {screens:?}; const pauses = [0, 30, 90, 200, 350]; let at = 0; \
             const next = () => {{ \
               if (at === 4 * screens.length) return done(true); \
               document.querySelector(`[data-testid=rail-${{screens[at * (1 + {round}) % screens.length]}}]`).click(); \
               at += 1; setTimeout(next, pauses[(at * 7 + {round}) % pauses.length]); }}; next();"
        );
        browser.script_async(&hop).await?;
        browser.click("rail-monitoring").await?;
        browser.find("issues").await.with_context(|| format!("the page is dead after round {round}"))?;
        let complaints = browser.complaints().await?;
        ensure!(complaints.is_empty(), "the browser complained in round {round}: {complaints:#?}");
    }
    browser.slow_line(None).await
}
