//! How quick and smooth the page is: written to `figures.txt` beside the pictures, nothing is asserted of it.

use anyhow::{Context, Result, ensure};
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::stage::{Stage, pictures_folder};
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Changes whose way to the screen is measured.
const CHANGES: usize = 9;
/// How long the page is watched under load.
const WATCHED: Duration = Duration::from_secs(8);
/// Between two lines of the log.
const LINE_EVERY: Duration = Duration::from_millis(100);

/// In every page before its own program: notes when it is usable and every long task. With `many`, each snapshot that comes
/// is multiplied to a hundred modules on both nodes, each with figures of its own.
const WATCH: &str = r#"
window.longTasks = []; window.usable = null;
new PerformanceObserver((list) => window.longTasks.push(...list.getEntries().map((e) => e.duration))).observe({ type: 'longtask', buffered: true });
new MutationObserver(() => { window.usable ??= document.querySelector('[data-testid=commands]') ? performance.now() : null; })
  .observe(document, { subtree: true, childList: true });
if (MANY) {
  const many = (text) => {
    const seen = JSON.parse(text);
    const first = JSON.stringify(seen.modules[0]);
    for (let at = 2; at <= 100; at += 1) {
      const module = JSON.parse(first);
      module.module.id = at; module.module.name = `module${at}`;
      for (const on of module.nodes) if (on.report) {
        on.report.id = at; on.report.module = module.module.name;
        if (on.report.replication) on.report.replication.bytes_per_s = seen.sequence * at;
      }
      seen.modules.push(module);
    }
    return JSON.stringify(seen);
  };
  const listen = WebSocket.prototype.addEventListener;
  WebSocket.prototype.addEventListener = function (type, then, ...rest) {
    const more = (event) => then.call(this, new MessageEvent('message', { data: many(event.data) }));
    return listen.call(this, type, type === 'message' ? more : then, ...rest);
  };
}
"#;

/// Measures and writes down.
pub async fn figures(stage: &Stage, browser: &Browser) -> Result<()> {
    let mut text = String::new();
    let changes = changes_to_screen(stage, browser).await?;
    let (middle, most) = (changes[changes.len() / 2], changes[changes.len() - 1]);
    writeln!(
        text,
        "a change on a node until it is on the screen, command included: median {middle} ms, most {most} ms"
    )?;
    let usable = cold_start(browser).await?;
    writeln!(text, "Control usable with a cold cache: {usable} ms after the address was opened")?;
    for page in ["control", "monitoring"] {
        let tasks = long_tasks(stage, browser, page).await?;
        let (count, most) = (tasks.len(), tasks.iter().fold(0.0_f64, |most, one| most.max(*one)));
        let seconds = WATCHED.as_secs();
        writeln!(
            text,
            "{page}, 100 modules × 2 nodes, 10 log lines/s, {seconds} s: {count} tasks above 50 ms, longest {most} ms"
        )?;
    }
    Ok(std::fs::write(pictures_folder().join("figures.txt"), text)?)
}

/// From the moment at which somebody sets a resource on node1 to its value in the page, milliseconds, sorted.
async fn changes_to_screen(stage: &Stage, browser: &Browser) -> Result<Vec<u128>> {
    browser.click("rail-control").await?;
    browser.click("select-node1").await?;
    browser.expect("[data-testid=select-node1][aria-current]", PATIENCE).await?;
    browser.click("tab-resources").await?;
    browser.find("resources").await?;
    let watch = "window.seenAt = {}; new MutationObserver(() => { \
                 const found = /custom\\.figure\\s*value(\\d)/.exec(document.querySelector('[data-testid=resources]')?.textContent); \
                 if (found) window.seenAt[found[1]] ??= Date.now(); }).observe(document.body, { subtree: true, childList: true, characterData: true })";
    browser.script(watch).await?;
    let mut found = Vec::new();
    for number in 0..CHANGES {
        let began = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let value = format!("value{number}");
        let words = ["set", "-m", crate::MODULE, "-r", "custom.figure", "-v", &value];
        tokio::task::block_in_place(|| stage.lab.cli(1, &words))?;
        browser.until(&format!("return window.seenAt[{number}] !== undefined")).await?;
        let seen = browser.script(&format!("return window.seenAt[{number}]")).await?.as_u64().context("no moment")?;
        found.push(u128::from(seen).saturating_sub(began));
    }
    found.sort_unstable();
    Ok(found)
}

/// How long after its address was opened the page shows Control with its commands, nothing cached.
async fn cold_start(browser: &Browser) -> Result<f64> {
    let watch = browser.before_pages(&WATCH.replace("MANY", "false")).await?;
    browser.slow_line(Some(0)).await?;
    browser.script("location.assign('/control')").await?;
    browser.until("return typeof window.usable === 'number'").await?;
    let usable = browser.script("return window.usable").await?.as_f64().context("no moment")?;
    browser.slow_line(None).await?;
    browser.no_more_before_pages(&watch).await?;
    Ok(usable.round())
}

/// The tasks above 50 ms (milliseconds) while the page shows a hundred modules and node1's log grows.
async fn long_tasks(stage: &Stage, browser: &Browser, page: &str) -> Result<Vec<f64>> {
    let watch = browser.before_pages(&WATCH.replace("MANY", "true")).await?;
    browser.script(&format!("location.assign('/{page}')")).await?;
    browser.expect("[data-testid=link][data-link=live]", PATIENCE).await?;
    browser.find(if page == "control" { "all-module100" } else { "monitor-module100" }).await?;
    browser.script("window.longTasks.length = 0").await?;
    tokio::task::block_in_place(|| write_lines(stage))?;
    let found = browser.script("return window.longTasks").await?;
    browser.no_more_before_pages(&watch).await?;
    browser.script("location.reload()").await?;
    browser.expect("[data-testid=link][data-link=live]", PATIENCE).await?;
    // The logs of the modules that are only in the page are asked for in vain.
    let complaints = browser.complaints().await?;
    let of_many = |one: &String| one.contains("/log?") && one.contains("404");
    ensure!(complaints.iter().all(of_many), "the browser complained: {complaints:#?}");
    Ok(found.as_array().context("no tasks")?.iter().filter_map(|one| Some(one.as_f64()?.round())).collect())
}

/// Lets node1's module log grow by ten lines a second.
fn write_lines(stage: &Stage) -> Result<()> {
    let began = Instant::now();
    for number in 0.. {
        let due = began + LINE_EVERY * number;
        if due > began + WATCHED {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stage.lab.cli(1, &["printi", "-m", crate::MODULE, &format!("line {number} of the figures")])?;
    }
    Ok(())
}
