//! What the first run leaves untried: files applied by hand, versions and packages, a comparison of both copies, snapshots
//! without names, tokens withdrawn, networks, and a lost node taken out of the cluster.

use crate::{MODULE, SLOW, screen, state};
use anyhow::{Context, Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};
use std::io::{Cursor, Read};
use zip::ZipArchive;

/// Compares both copies every minute.
const SCRUB: &str = "<rfs scrub=\"* * * * *\"";
const USERCONFIG: &str = "const done = arguments[0]; fetch('/api/v1/modules/1/files').then((answer) => answer.json()) \
    .then((view) => done(view.files.find((file) => file.path === 'conf/userconfig.xml').text))";

/// A file is added, a schedule is set and applied while the module runs; a version is saved and the one before brought back.
pub async fn files_are_applied_and_versions_brought_back(browser: &Browser) -> Result<()> {
    browser.click("rail-advanced").await?;
    browser.expect("[data-testid=editor][data-editor=ready]", PATIENCE).await?;
    let text = browser.script_async(USERCONFIG).await?.as_str().context("no userconfig.xml")?.to_owned();
    ensure!(text.contains("<rfs"), "nothing is replicated: {text}");
    let newest = newest(browser).await?;
    browser.fill_code("editor", &text.replacen("<rfs", SCRUB, 1)).await?;
    browser.fill("new-file", "look.sh").await?;
    browser.click("add-file").await?;
    browser.expect_text("file-tree", "bin/look.sh").await?;
    browser.click("apply-files").await?;
    for number in [1, 2] {
        browser.expect(&format!("[data-testid=apply-results-node{number}][data-tone=ok]"), PATIENCE).await?;
    }
    browser.find(&format!("restore-{}", newest + 1)).await?;
    screen(browser, "27-applied").await?;
    browser.expect("[data-testid=editor][data-editor=ready]", PATIENCE).await?;
    browser.fill_code("editor", "#!/bin/sh\n# somebody's mistake\n").await?;
    browser.script("document.querySelector('[data-testid=compare]').open = true").await?;
    browser.expect_text("compare", "somebody's mistake").await?;
    screen(browser, "27a-compared").await?;
    browser.click("save-files").await?;
    browser.find(&format!("restore-{}", newest + 2)).await?;
    browser.click(&format!("restore-{}", newest + 1)).await?;
    browser.find(&format!("restore-{}", newest + 3)).await?;
    browser
        .until("return !document.querySelector('[data-testid=editor]')?.shadowRoot?.textContent.includes('mistake')")
        .await?;
    browser.click("apply-files").await?;
    for number in [1, 2] {
        browser.expect(&format!("[data-testid=apply-results-node{number}][data-tone=ok]"), PATIENCE).await?;
    }
    Ok(())
}

/// Number of the newest version.
async fn newest(browser: &Browser) -> Result<u64> {
    browser.find("versions").await?;
    let found = "Math.max(0, ...[...document.querySelectorAll('[data-testid=versions] tbody th')].map((e) => parseInt(e.textContent)))";
    browser.until(&format!("return {found} > 0")).await?;
    browser.script(&format!("return {found}")).await?.as_u64().context("no number")
}

/// The package that is exported becomes a module of another name, which is removed again.
pub async fn a_package_goes_out_and_comes_in(browser: &Browser) -> Result<()> {
    browser.click("rail-advanced").await?;
    browser.click("export").await?;
    let package = browser.downloaded(".safe").await?;
    let file = std::env::temp_dir().join(format!("holdfast-{}-twin.safe", std::process::id()));
    std::fs::write(&file, package)?;
    browser.find("import-file").await?.send_keys(file.display().to_string()).await?;
    browser.fill("import-name", "twin").await?;
    browser.click("import").await?;
    browser.expect_text("toasts", "twin is imported as a draft").await?;
    std::fs::remove_file(&file)?;
    browser.click("rail-configuration").await?;
    browser.expect_text("module-twin", "draft").await?;
    screen(browser, "27b-imported").await?;
    browser.click("module-menu-twin").await?;
    browser.click("module-menu-twin-remove").await?;
    browser.click("confirm-yes").await?;
    browser.until("return !document.querySelector('[data-testid=module-twin]')").await
}

/// A snapshot without names holds none; one that is deleted is gone.
pub async fn snapshots_tell_no_names(browser: &Browser) -> Result<()> {
    browser.click("rail-support").await?;
    browser.click("snapshot-anonymous").await?;
    browser.click("make-snapshots").await?;
    for number in [1, 2] {
        browser.expect(&format!("[data-testid=snapshot-results-node{number}][data-tone=ok]"), PATIENCE).await?;
    }
    browser.expect_text("snapshots", "snapshot_anonymised_").await?;
    screen(browser, "27c-anonymised").await?;
    browser.click("snapshot-save").await?;
    let mut zip = ZipArchive::new(Cursor::new(browser.downloaded("snapshot_anonymised").await?))?;
    let mut states = String::new();
    zip.by_name("states.json")?.read_to_string(&mut states)?;
    ensure!(states.contains("\"state\""), "it tells no state: {states}");
    for name in ["node1", "node2", MODULE, "holdfast.example"] {
        ensure!(!states.contains(name), "{name} is in a snapshot without names: {states}");
    }
    let rows = "return document.querySelectorAll('[data-testid=snapshots] tbody tr').length";
    let before = browser.script(rows).await?.as_u64().context("no number")?;
    browser.click("snapshot-remove").await?;
    browser.until(&format!("{rows} === {}", before - 1)).await
}

/// A token that is withdrawn lets nobody in.
pub async fn a_token_is_withdrawn(browser: &Browser) -> Result<()> {
    browser.click("rail-users").await?;
    browser.expect_text("tokens", "backup").await?;
    browser.expect_text("sessions", "admin").await?;
    browser.click("withdraw-backup").await?;
    browser.until("return !document.querySelector('[data-testid=tokens]')").await
}

/// A network is added with its addresses, and thought better of.
pub async fn a_network_is_added_and_discarded(browser: &Browser) -> Result<()> {
    browser.click("rail-cluster").await?;
    browser.fill("network-name", "backbone").await?;
    browser.click("add-network").await?;
    browser.expect_text("nodes", "Address on backbone").await?;
    screen(browser, "27d-network").await?;
    browser.click("discard").await?;
    browser.until("return !document.querySelector('[data-testid=nodes]').textContent.includes('backbone')").await
}

/// Both copies have been compared by schedule, and are the same.
pub async fn both_copies_are_compared(browser: &Browser) -> Result<()> {
    browser.click("rail-monitoring").await?;
    let compared =
        "[...document.querySelectorAll('[data-testid=scrub]')].some((e) => e.textContent.includes('no difference'))";
    let began = std::time::Instant::now();
    while browser.script(&format!("return {compared}")).await? != true {
        ensure!(began.elapsed() < SLOW, "both copies were not compared: {:?}", browser.text("scrub").await);
        tokio::time::sleep(PATIENCE / 100).await;
    }
    screen(browser, "27e-compared").await
}

/// The node that is lost is taken out of the cluster, for which the module is stopped; it is then in no list any more.
pub async fn a_lost_node_is_taken_out(browser: &Browser) -> Result<()> {
    browser.click("rail-control").await?;
    browser.click("select-node1").await?;
    browser.expect("[data-testid=select-node1][aria-current]", PATIENCE).await?;
    browser.click("commands").await?;
    browser.click("commands-stop").await?;
    browser.click("confirm-yes").await?;
    browser.expect(&state("state-node1", "STOP", "NotReady"), SLOW).await?;
    browser.click("rail-cluster").await?;
    browser.click("node-menu-node2").await?;
    browser.expect_text("node-menu-node2-remove", "save that first").await?;
    browser.click("node-menu-node2-out").await?;
    browser.find("unsaved").await?;
    screen(browser, "28-node-out").await?;
    browser.click("save-cluster").await?;
    browser.expect("[data-testid=cluster-results-node1][data-tone=ok]", PATIENCE).await?;
    browser.click("node-menu-node2").await?;
    browser.click("node-menu-node2-remove").await?;
    browser.expect_text("confirm-dialog", "revoked").await?;
    screen(browser, "28a-node-removed").await?;
    browser.click("confirm-yes").await?;
    browser.until("return !document.querySelector('[data-testid=node-node2]')").await
}
