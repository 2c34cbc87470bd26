//! The editor of Advanced configuration: colours, marks at what is wrong, and a plain field instead.

use crate::screen;
use anyhow::{Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};

const WRONG: &str = "<!DOCTYPE safe>\n<safe>\n  <service mode=\"mirror\" strange=\"yes\"/>\n</safe>\n";

/// What is wrong is refused with a mark in its line; a plain field takes the same text; discarding brings the saved one.
pub async fn edit_files(browser: &Browser) -> Result<()> {
    browser.click("rail-advanced").await?;
    browser.expect("[data-testid=editor][data-editor=ready]", PATIENCE).await?;
    screen(browser, "25-editor").await?;
    let coloured = "return new Set([...document.querySelector('[data-testid=editor]').shadowRoot\
                    .querySelectorAll('.cm-line span')].map((e) => getComputedStyle(e).color)).size > 2";
    browser.until(coloured).await?;
    browser.fill_code("editor", WRONG).await?;
    browser.click("save-files").await?;
    browser.expect_text("editor-problems", "strange").await?;
    let complaints = browser.complaints().await?;
    ensure!(complaints.iter().all(|one| one.contains("/files")), "more than the refused save: {complaints:#?}");
    let marked = "return document.querySelector('[data-testid=editor]').shadowRoot\
                  .querySelectorAll('.cm-lint-marker-error, .cm-lintRange-error').length > 1";
    browser.until(marked).await?;
    screen(browser, "26-editor-marks").await?;
    browser.click("plain-editor").await?;
    browser.expect("textarea[data-testid=editor]", PATIENCE).await?;
    browser.until(&format!("return document.querySelector('[data-testid=editor]').value === {WRONG:?}")).await?;
    browser.click("plain-editor").await?;
    browser.expect("[data-testid=editor][data-editor=ready]", PATIENCE).await?;
    browser.click("discard-files").await?;
    browser
        .until("return !document.querySelector('[data-testid=editor]').shadowRoot.textContent.includes('strange')")
        .await
}
