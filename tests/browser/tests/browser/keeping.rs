//! What the server keeps: the versions of the cluster with the way back, the certificate of the console, how long records stay.

use crate::screen;
use anyhow::{Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};
use rcgen::{CertificateParams, KeyPair};
use std::path::Path;

/// A second version is saved and compared with the first, which is then restored: its name is back, as version 3.
pub async fn cluster_history(browser: &Browser) -> Result<()> {
    browser.fill("cluster-name-field", "renamed").await?;
    browser.click("save-cluster").await?;
    browser.expect_text("cluster-name", "renamed").await?;
    browser.click("cluster-changes-2").await?;
    browser.expect_text("cluster-compared", "no longer demo").await?;
    browser.click("cluster-changes-1").await?;
    browser.expect_text("cluster-compared", "node2 is new").await?;
    screen(browser, "06a-cluster-versions").await?;
    ensure!(!browser.is_there("cluster-restore-2").await?, "the newest version is offered to be restored");
    browser.click("cluster-restore-1").await?;
    browser.expect_text("confirm-dialog", "the cluster is named demo, no longer renamed").await?;
    screen(browser, "06b-cluster-restore").await?;
    browser.click("confirm-yes").await?;
    browser.expect_text("cluster-name", "demo").await?;
    for number in [1, 2] {
        browser.expect(&format!("[data-testid=cluster-results-node{number}][data-tone=ok]"), PATIENCE).await?;
    }
    browser.expect_text("cluster-versions", "version 1 again").await?;
    browser.find("cluster-changes-3").await.map(drop)
}

/// A certificate whose key does not fit is refused and changes nothing; one that fits is shown in use, and removed again.
pub async fn server_settings(folder: &Path, browser: &Browser) -> Result<()> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned(), "console.example.com".to_owned()])?;
    let files = [
        ("own.pem", certificate.self_signed(&key)?.pem()),
        ("own.key", key.serialize_pem()),
        ("other.key", KeyPair::generate()?.serialize_pem()),
    ];
    for (name, text) in &files {
        std::fs::write(folder.join(name), text)?;
    }
    let choose = async |field: &str, name: &str| -> Result<()> {
        browser.find(field).await?.send_keys(folder.join(name).display().to_string()).await?;
        Ok(())
    };
    browser.click("rail-settings").await?;
    browser.expect("[data-testid=certificate-kind][data-own=false]", PATIENCE).await?;
    choose("certificate-file", "own.pem").await?;
    choose("key-file", "other.key").await?;
    browser.click("set-certificate").await?;
    browser.expect_text("certificate-refused", "key").await?;
    let complaints = browser.complaints().await?;
    ensure!(
        complaints.iter().all(|one| one.contains("/settings/certificate")),
        "more than the refusal: {complaints:#?}"
    );
    screen(browser, "19a-settings-refused").await?;
    browser.expect("[data-testid=certificate-kind][data-own=false]", PATIENCE).await?;
    choose("key-file", "own.key").await?;
    browser.click("set-certificate").await?;
    browser.expect("[data-testid=certificate-kind][data-own=true]", PATIENCE).await?;
    browser.expect_text("certificate-facts", "console.example.com").await?;
    screen(browser, "19b-settings-own").await?;
    browser.click("remove-certificate").await?;
    browser.click("confirm-yes").await?;
    browser.expect("[data-testid=certificate-kind][data-own=false]", PATIENCE).await?;
    browser.fill("keep-snapshots", "many").await?;
    browser.find("keep-snapshots-problem").await?;
    browser.fill("keep-snapshots", "50").await?;
    browser.fill("keep-audit-days", "30").await?;
    browser.click("save-retention").await?;
    browser.expect_text("confirm-dialog", "30 days").await?;
    browser.click("confirm-yes").await?;
    browser.expect_text("toasts", "saved").await?;
    browser.expect("[data-testid=save-retention]:disabled", PATIENCE).await
}
