//! The editor: colours by the kind of file, the server's messages where they belong, what is edited and what is saved.

use super::rehearse;
use anyhow::{Result, ensure};
use holdfast_api::console::UserRole;
use holdfast_browser::accessibility;
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::rehearsal::{Rehearsal, world};
use serde_json::{Value, json};

const XML: &str = "<!DOCTYPE safe>\n<safe>\n  <!-- a remark -->\n  <service mode=\"mirror\"/>\n</safe>\n";
const SCRIPT: &str = "#!/bin/sh\n# a remark\nif true; then echo \"up\"; fi\n";
/// What a test does in the shadow root of the editor.
const ROOT: &str = "const root = document.querySelector('[data-testid=editor]').shadowRoot;";

fn files() -> Value {
    let file = |path: &str, text: &str| json!({ "path": path, "bytes": text.len(), "executable": false, "text": text });
    json!({ "version": 1, "files": [file("conf/userconfig.xml", XML), file("bin/start_prim", SCRIPT)] })
}

/// Advanced configuration of a module with two files.
async fn editor() -> Result<Rehearsal> {
    let stage = rehearse(UserRole::Admin, &world::pairs(1)).await?;
    let answers = [("GET /modules/1/files", files()), ("GET /modules/1/versions", json!([]))];
    stage.open("/advanced", &answers).await?;
    stage.browser.expect("[data-testid=editor][data-editor=ready]", PATIENCE).await?;
    shows(&stage.browser, "a remark").await?;
    Ok(stage)
}

async fn shows(browser: &Browser, text: &str) -> Result<()> {
    browser.until(&format!("{ROOT} return root.querySelector('.cm-content').textContent.includes({text:?})")).await
}

/// Opens a file of the tree.
async fn open(browser: &Browser, path: &str) -> Result<()> {
    let click = format!(
        "[...document.querySelectorAll('[data-testid=file-tree] button')].find((one) => one.textContent.includes({path:?})).click()"
    );
    browser.script(&click).await.map(drop)
}

/// The colour of the piece of text that reads like this.
async fn colour(browser: &Browser, piece: &str) -> Result<String> {
    let script = format!(
        "{ROOT} const one = [...root.querySelectorAll('.cm-line span')].find((one) => one.textContent.trim() === {piece:?}); \
         return one ? getComputedStyle(one).color : ''"
    );
    let found = browser.script(&script).await?.as_str().unwrap_or_default().to_owned();
    ensure!(!found.is_empty(), "{piece:?} is no piece of its own");
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_coloured_by_its_kind() -> Result<()> {
    let stage = editor().await?;
    let browser = &stage.browser;
    browser.until(&format!("{ROOT} return root.querySelectorAll('.cm-line span').length > 5")).await?;
    let xml = [
        colour(browser, "<!-- a remark -->").await?,
        colour(browser, "service").await?,
        colour(browser, "mode").await?,
        colour(browser, "\"mirror\"").await?,
    ];
    ensure!(distinct(&xml) == 4, "remark, element, attribute and value look alike: {xml:?}");
    open(browser, "bin/start_prim").await?;
    shows(browser, "then echo").await?;
    let shell = [colour(browser, "# a remark").await?, colour(browser, "if").await?, colour(browser, "\"up\"").await?];
    ensure!(distinct(&shell) == 3, "remark, word and string look alike: {shell:?}");
    ensure!(shell[0] == xml[0] && shell[2] == xml[3], "a remark or a string changes its colour with the file");
    for theme in ["light", "dark"] {
        browser.script(&format!("document.documentElement.dataset.theme = '{theme}'")).await?;
        browser.picture(&format!("editor-{theme}")).await?;
        accessibility::demand(browser).await?;
    }
    stage.end().await
}

fn distinct(colours: &[String]) -> usize {
    colours.iter().collect::<std::collections::BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_messages_stand_at_their_line_and_column() -> Result<()> {
    let stage = editor().await?;
    let browser = &stage.browser;
    let wrong = XML.replace("<service mode=\"mirror\"/>", "<service mode=\"mirror\" strange=\"yes\"/>\n  <other/>");
    browser.fill_code("editor", &wrong).await?;
    let message =
        |place: &str, text: &str| json!({ "field": "conf/userconfig.xml", "message": format!("{place}: {text}") });
    let problem = json!({
        "type": "urn:holdfast:invalid", "title": "Invalid", "status": 422, "detail": "The files have errors.",
        "errors": [
            message("line 4, column 26", "<service> takes no `strange`; remove it"),
            message("line 5, column 3", "<safe> holds no <other>"),
            { "field": "conf/userconfig.xml", "message": "a heartbeat is missing" },
        ],
    });
    stage.answer("PUT /modules/1/files", 422, problem).await?;
    browser.click("save-files").await?;
    for text in ["takes no strange", "holds no <other>", "a heartbeat is missing"] {
        browser.expect_text("editor-problems", text).await?;
    }
    // The words at fault are underlined, and their lines have a mark in the gutter.
    let underlined = format!(
        "{ROOT} return [...root.querySelectorAll('.cm-lintRange-error')].map((one) => one.textContent).join('|')"
    );
    browser.until(&format!("{ROOT} return root.querySelectorAll('.cm-lintRange-error').length >= 2")).await?;
    let words = browser.script(&underlined).await?;
    ensure!(words == "strange|<other", "underlined is {words}");
    let lines = format!(
        "{ROOT} const numbers = [...root.querySelectorAll('.cm-lineNumbers .cm-gutterElement')].filter((one) => one.offsetHeight > 0 && one.style.visibility !== 'hidden'); \
         return [...root.querySelectorAll('.cm-lint-marker-error')].map((mark) => \
           numbers.find((one) => Math.abs(one.getBoundingClientRect().top - mark.closest('.cm-gutterElement').getBoundingClientRect().top) < 3)?.textContent).join('|')"
    );
    let marked = browser.script(&lines).await?;
    ensure!(marked == "4|5", "the gutter marks lines {marked}");
    browser.picture("editor-marks").await?;
    accessibility::demand(browser).await?;
    // Of another file nothing is said.
    open(browser, "bin/start_prim").await?;
    shows(browser, "then echo").await?;
    browser.until(&format!("{ROOT} return root.querySelectorAll('.cm-lint-marker-error').length === 0")).await?;
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_is_marked_until_it_is_saved_or_discarded() -> Result<()> {
    let stage = editor().await?;
    let browser = &stage.browser;
    let edited = "[data-testid=file-tree] [aria-current] span";
    let mark = format!("return document.querySelector('{edited}').textContent.trim()");
    for button in ["save-files", "discard-files"] {
        browser.expect(&format!("[data-testid={button}]:disabled"), PATIENCE).await?;
    }
    browser.fill_code("editor", &XML.replace("a remark", "another remark")).await?;
    browser.until(&format!("{mark} === '(edited)'")).await?;
    for button in ["save-files", "discard-files"] {
        browser.expect(&format!("[data-testid={button}]:enabled"), PATIENCE).await?;
    }
    // Another file and back: what was typed is there.
    open(browser, "bin/start_prim").await?;
    shows(browser, "then echo").await?;
    open(browser, "conf/userconfig.xml").await?;
    shows(browser, "another remark").await?;
    browser.click("discard-files").await?;
    browser.until(&format!("{ROOT} return !root.textContent.includes('another remark')")).await?;
    browser.until(&format!("{mark} === ''")).await?;
    browser.expect("[data-testid=save-files]:disabled", PATIENCE).await?;
    // Saved: what was sent is the change alone, and the file is clean again.
    browser.fill_code("editor", &XML.replace("a remark", "a saved remark")).await?;
    let module = serde_json::to_value(&world::pairs(1).modules[0].module)?;
    stage.answer("PUT /modules/1/files", 200, module).await?;
    let mut saved = files();
    saved["version"] = json!(2);
    saved["files"][0]["text"] = json!(XML.replace("a remark", "a saved remark"));
    stage.answer("GET /modules/1/files", 200, saved).await?;
    browser.click("save-files").await?;
    browser.expect("[data-testid=save-files]:disabled", PATIENCE).await?;
    shows(browser, "a saved remark").await?;
    let sent = stage.sent("PUT /modules/1/files").await?;
    ensure!(sent["expected_version"] == 1, "sent was {sent}");
    ensure!(sent["changes"].as_array().map(Vec::len) == Some(1), "more than the change was sent: {sent}");
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_change_files_is_offered_no_editor() -> Result<()> {
    for role in [UserRole::Control, UserRole::Monitor] {
        let stage = rehearse(role, &world::pairs(1)).await?;
        stage.open("/advanced", &[("GET /modules/1/files", files())]).await?;
        stage
            .browser
            .until("return document.querySelector('.empty h2')?.textContent.includes('Only for administrators')")
            .await?;
        ensure!(!stage.browser.is_there("editor").await?, "an editor is offered to {role:?}");
        let asked = "return window.rehearsal.asked.some((one) => one.asked.includes('/files'))";
        ensure!(stage.browser.script(asked).await? == false, "the files were asked for as {role:?}");
        accessibility::demand(&stage.browser).await?;
        stage.end().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_field_takes_the_place_of_an_editor_that_cannot_be_loaded() -> Result<()> {
    let stage = rehearse(UserRole::Admin, &world::pairs(1)).await?;
    let broken = "Object.defineProperty(window, 'holdfastEditor', { get: () => () => Promise.reject(new Error('rehearsed')), set: () => {} })";
    stage.browser.before_pages(broken).await?;
    stage.open("/advanced", &[("GET /modules/1/files", files())]).await?;
    stage.browser.expect("textarea[data-testid=editor]", PATIENCE).await?;
    stage.browser.until("return document.body.textContent.includes('The editor could not be loaded')").await?;
    stage.browser.fill("editor", "<safe/>").await?;
    stage.browser.expect("[data-testid=save-files]:enabled", PATIENCE).await?;
    stage.browser.picture("editor-plain").await?;
    accessibility::demand(&stage.browser).await?;
    stage.end().await
}
