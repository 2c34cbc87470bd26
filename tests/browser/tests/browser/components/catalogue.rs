//! The catalogue: a drawing of its own for each template.

use super::rehearse;
use anyhow::{Result, ensure};
use holdfast_api::config::ModuleMode;
use holdfast_api::console::{CatalogueEntry, UserRole};
use holdfast_browser::accessibility;
use holdfast_browser::browser::PATIENCE;
use holdfast_browser::rehearsal::world;
use serde_json::to_value;

#[tokio::test(flavor = "multi_thread")]
async fn each_template_has_a_drawing_of_its_own() -> Result<()> {
    let entry = |template: &str, mode| CatalogueEntry {
        template: template.into(),
        title: format!("What {template} does"),
        suggested_name: template.trim_end_matches(".safe").into(),
        mode,
    };
    let entries = [
        entry("console.safe", ModuleMode::Mirror),
        entry("light.safe", ModuleMode::Light),
        entry("mirror.safe", ModuleMode::Mirror),
        entry("somebody's.safe", ModuleMode::Mirror),
    ];
    let stage = rehearse(UserRole::Admin, &world::pairs(2)).await?;
    let browser = &stage.browser;
    stage.open("/configuration", &[("GET /catalogue", to_value(&entries)?)]).await?;
    browser.expect("[data-testid='template-mirror.safe']", PATIENCE).await?;
    let drawings = "return new Set([...document.querySelectorAll('[data-testid^=template-] .tile-art')].map((e) => e.querySelector('svg')?.innerHTML)).size";
    ensure!(browser.script(drawings).await? == entries.len(), "two templates have one drawing, or one has none");
    let drawn = "return [...document.querySelectorAll('[data-testid^=template-] .active')].every((e) => e.getBBox().width > 20)";
    ensure!(browser.script(drawn).await? == true, "a drawing is empty");
    browser.picture("catalogue").await?;
    accessibility::demand(browser).await?;
    browser.script("document.documentElement.dataset.theme = 'dark'").await?;
    browser.picture("catalogue-dark").await?;
    stage.end().await
}
