//! Clocks that differ: whoever reads the logs of both nodes is told how far the order of their lines can be trusted.

use super::rehearse;
use anyhow::{Result, ensure};
use holdfast_api::console::UserRole;
use holdfast_browser::browser::PATIENCE;
use holdfast_browser::rehearsal::world;

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_are_told_beside_the_merged_logs() -> Result<()> {
    let mut all = world::pairs(1);
    let stage = rehearse(UserRole::Monitor, &all).await?;
    let browser = &stage.browser;
    for node in [1, 2] {
        let path = format!("/modules/1/nodes/{node}/log");
        browser.before_pages(&format!("window.rehearsal.lengthen('{path}', 3, 'PRIM Ready | line #', 'I')")).await?;
    }
    stage.open("/troubleshooting", &[]).await?;
    browser.expect_text("merged-log", "line 2").await?;
    ensure!(!browser.is_there("clock-difference").await?, "clocks that agree are said to differ");
    all.sequence += 1;
    (all.nodes[0].clock_offset_ms, all.nodes[1].clock_offset_ms) = (-5_000, 61_000);
    stage.tell(&all).await?;
    browser.expect("[data-testid=clock-difference]", PATIENCE).await?;
    let said = browser.text("clock-difference").await?;
    ensure!(said.contains("node1 is 5 s behind") && said.contains("node2 is 1 min 1 s ahead"), "{said}");
    stage.end().await
}
