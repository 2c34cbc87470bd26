//! Whether a page can be used by everybody: WCAG 2.2 level AA by axe-core, and rules of the house.

use crate::browser::Browser;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::Path;

/// Brought by `npm ci`, which `cargo xtask test` runs.
const AXE: &str = "node_modules/axe-core/axe.min.js";
/// Height of the window while axe-core looks, pixels.
const TALL: u32 = 4000;
/// The rules of WCAG up to 2.2, levels A and AA.
const RUN: &str = r"
    const done = arguments[arguments.length - 1];
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    // An open menu lies over what is below it, which is then not to be used: only the menu is.
    axe.run(document.querySelector('[role=menu]') ?? document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] }).then(
        (found) => done(found.violations.flatMap((rule) => rule.nodes.map((node) =>
            `${rule.id}: ${node.target.join(' ')}: ${node.failureSummary} ${node.html.slice(0, 160)}`))),
        (error) => done(['axe-core failed: ' + error]));";
/// Every control has a name, every id is used once, what describes a field is there, nothing is styled inline, one title.
const HOUSE: &str = r"
    const wrong = [];
    const named = (e) => e.labels?.length || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim() || e.title;
    for (const e of document.querySelectorAll('button, a, input, select, textarea')) if (!named(e)) wrong.push('no name: ' + e.outerHTML.slice(0, 120));
    const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
    for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) wrong.push('twice: #' + id);
    for (const e of document.querySelectorAll('[aria-describedby], [aria-labelledby]'))
        for (const id of ((e.getAttribute('aria-describedby') || '') + ' ' + (e.getAttribute('aria-labelledby') || '')).split(' ').filter(Boolean))
            if (e.tagName !== 'DIALOG' && !document.getElementById(id)) wrong.push('names nothing: ' + id);
    for (const e of document.querySelectorAll('[style]')) wrong.push('inline style: ' + e.outerHTML.slice(0, 120));
    if (document.querySelectorAll('h1').length !== 1) wrong.push('not one h1');
    return wrong;";

/// Demands that the page as it is now breaks no rule.
///
/// # Errors
/// The broken rules, each with the element; or axe-core is not there.
pub async fn demand(browser: &Browser) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE);
    let axe = std::fs::read_to_string(&path).with_context(|| {
        format!("{} is missing: run `cargo xtask test --only browser`, or `npm ci` there", path.display())
    })?;
    // A page that was loaded anew has forgotten it.
    if browser.script("return typeof axe").await? != "object" {
        browser.script(&axe).await?;
    }
    // High enough for the whole page: what sticks to the edge of a window covers only what can be scrolled from under it.
    let (width, height) = browser.size().await?;
    browser.resize(width, TALL).await?;
    let found = browser.script_async(RUN).await;
    browser.resize(width, height).await?;
    let mut wrong = list(&found?);
    wrong.extend(list(&browser.script(HOUSE).await?));
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("not accessible:\n{}", wrong.join("\n"))
}

fn list(found: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    found.as_array().map_or_else(|| vec![text(found)], |all| all.iter().map(text).collect())
}
