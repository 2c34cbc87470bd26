//! The state badge: colour, shape, word and what is read aloud, for every state, and for what is only what was last known.

use super::rehearse;
use anyhow::{Result, ensure};
use holdfast_api::agent::ResyncReport;
use holdfast_api::console::{LiveSnapshot, UserRole};
use holdfast_api::state::{ModuleState, Readiness};
use holdfast_browser::accessibility;
use holdfast_browser::browser::PATIENCE;
use holdfast_browser::rehearsal::world;

/// A state, how it came to it, and the badge it must have: colour and what is read aloud.
struct Case {
    state: ModuleState,
    readiness: Readiness,
    /// A resync goes on, or (in STOP) the operator wants it running.
    odd: bool,
    tone: &'static str,
    read: &'static str,
}

const fn case(state: ModuleState, readiness: Readiness, odd: bool, tone: &'static str, read: &'static str) -> Case {
    Case { state, readiness, odd, tone, read }
}

/// Every state with every readiness, as an administrator must meet it.
const CASES: [Case; 20] = {
    use ModuleState::{Alone, Prim, Second, Stop, Up, Wait};
    use Readiness::{NotReady, Ready, Transient};
    [
        case(Stop, NotReady, false, "idle", "STOP"),
        case(Stop, NotReady, true, "bad", "STOP, stopped by an error"),
        case(Stop, Transient, false, "idle", "STOP"),
        case(Stop, Ready, false, "idle", "STOP"),
        case(Wait, NotReady, false, "bad", "WAIT, blocked"),
        case(Wait, Transient, false, "busy", "WAIT, in transition"),
        case(Wait, Ready, false, "ok", "WAIT"),
        case(Alone, NotReady, false, "bad", "ALONE, not ready"),
        case(Alone, Transient, false, "busy", "ALONE, in transition"),
        case(Alone, Ready, false, "ok", "ALONE, no redundancy"),
        case(Prim, NotReady, false, "bad", "PRIM, not ready"),
        case(Prim, Transient, false, "busy", "PRIM, in transition"),
        case(Prim, Ready, false, "ok", "PRIM"),
        case(Second, NotReady, false, "bad", "SECOND, not ready"),
        case(Second, Transient, false, "busy", "SECOND, in transition"),
        case(Second, Transient, true, "busy", "SECOND, resync"),
        case(Second, Ready, false, "ok", "SECOND"),
        case(Up, NotReady, false, "bad", "UP, not ready"),
        case(Up, Transient, false, "busy", "UP, in transition"),
        case(Up, Ready, false, "ok", "UP"),
    ]
};

/// What each badge is and says: by node its colour's name, the colour itself, the shape, what is read aloud, what programs
/// read.
const READ: &str = "return [...document.querySelectorAll('[data-testid^=monitor-state-]')].map((badge) => ({ \
    node: badge.dataset.testid.slice('monitor-state-'.length), tone: badge.dataset.tone, colour: getComputedStyle(badge).color, \
    shape: badge.querySelector('path').getAttribute('d'), hidden: badge.querySelector('svg').getAttribute('aria-hidden'), \
    state: badge.dataset.state, readiness: badge.dataset.readiness, \
    read: badge.textContent.replace(/\\s+/g, ' ').trim() }))";

/// A module that is in each of these on a node of its own, and on two more that never said anything.
fn every_state() -> LiveSnapshot {
    let nodes = CASES.len() as u16;
    let mut all = world::snapshot(nodes + 2);
    let mut module = world::module(1, "every");
    for (node, case) in (1..).zip(&CASES) {
        let mut report = world::report(&module, node, case.state, case.readiness);
        if case.state == ModuleState::Stop {
            report.running = case.odd;
        } else if case.odd {
            report.resync = Some(ResyncReport {
                entries_done: 1,
                entries_total: 2,
                bytes_done: 1,
                bytes_total: 2,
                bytes_sent: 1,
                elapsed_ms: 1000,
                bytes_per_s: 1,
                left_ms: Some(1000),
            });
        }
        let on = world::on(node, Some(report));
        module.nodes.push(on);
    }
    module.nodes.push(world::on(nodes + 1, None));
    module.nodes.push(world::on(nodes + 2, None));
    // It does not hold the module at all.
    module.nodes[usize::from(nodes) + 1].held = None;
    all.modules.push(module);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_badge_says_each_state_by_colour_shape_and_word() -> Result<()> {
    let snapshot = every_state();
    let stage = rehearse(UserRole::Monitor, &snapshot).await?;
    stage.open("/monitoring", &[]).await?;
    stage.browser.find("monitor-state-node1").await?;
    let badges = stage.browser.script(READ).await?;
    let badge =
        |node: usize| badges.as_array().and_then(|all| all.iter().find(|one| one["node"] == format!("node{node}")));
    let mut looks = std::collections::BTreeMap::new();
    for (node, case) in (1..).zip(&CASES) {
        let found = badge(node).ok_or_else(|| anyhow::anyhow!("no badge of node{node}"))?;
        let (state, readiness) = (case.state.to_string(), case.readiness.to_string());
        ensure!(found["tone"] == case.tone, "{state} {readiness} has the colour of {}", found["tone"]);
        ensure!(found["read"] == case.read, "{state} {readiness} is read as {}", found["read"]);
        ensure!(found["state"] == state && found["readiness"] == readiness, "programs read {found}");
        ensure!(found["hidden"] == "true", "the shape is read aloud: {found}");
        looks.insert(case.tone, (found["colour"].to_string(), found["shape"].to_string()));
    }
    let silent = [(CASES.len() + 1, "lost", "no contact"), (CASES.len() + 2, "idle", "not configured")];
    for (node, tone, read) in silent {
        let found = badge(node).ok_or_else(|| anyhow::anyhow!("no badge of node{node}"))?;
        ensure!(found["tone"] == tone && found["read"] == read, "a node that said nothing is {found}");
        looks.insert(tone, (found["colour"].to_string(), found["shape"].to_string()));
    }
    let different = |which: fn(&(String, String)) -> &String| {
        looks.values().map(which).collect::<std::collections::BTreeSet<_>>().len()
    };
    ensure!(looks.len() == 5, "not every colour was seen: {looks:?}");
    ensure!(different(|look| &look.1) == 5, "two colours have one shape: {looks:?}");
    ensure!(different(|look| &look.0) >= 4, "colours cannot be told apart: {looks:?}");
    for theme in ["light", "dark"] {
        stage.browser.script(&format!("document.documentElement.dataset.theme = '{theme}'")).await?;
        stage.browser.picture(&format!("badges-{theme}")).await?;
        accessibility::demand(&stage.browser).await?;
    }
    stage.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_badge_never_shows_as_live_what_is_only_what_was_last_known() -> Result<()> {
    let mut snapshot = every_state();
    let stage = rehearse(UserRole::Monitor, &snapshot).await?;
    stage.open("/monitoring", &[]).await?;
    stage.browser.expect("[data-testid=monitor-state-node13][data-tone=ok][data-state=PRIM]", PATIENCE).await?;
    // One node is not heard of any more; its neighbour is.
    snapshot.modules[0].nodes[12].fresh = false;
    stage.tell(&snapshot).await?;
    stage.browser.expect("[data-testid=monitor-state-node13][data-tone=lost][data-state='']", PATIENCE).await?;
    stage.browser.expect_text("monitor-state-node13", "was PRIM").await?;
    stage.browser.expect("[data-testid=monitor-state-node17][data-tone=ok][data-state=SECOND]", PATIENCE).await?;
    // The server is away: nothing is known to be as it was.
    stage.do_in_page("connect(false)").await?;
    let none_live = "const all = [...document.querySelectorAll('[data-testid^=monitor-state-]')]; return all.length > 20 && \
                     all.every((one) => one.dataset.tone === 'lost' && one.dataset.state === '' && one.dataset.readiness === '')";
    stage.browser.until(none_live).await?;
    stage.browser.expect_text("monitor-state-node17", "was SECOND").await?;
    stage.browser.expect_text("monitor-state-node17", "not live").await?;
    stage.browser.expect("[data-testid=stale-banner][role=alert]", PATIENCE).await?;
    stage.browser.picture("badges-stale").await?;
    accessibility::demand(&stage.browser).await?;
    stage.do_in_page("connect(true)").await?;
    stage.browser.expect("[data-testid=monitor-state-node17][data-tone=ok][data-state=SECOND]", PATIENCE).await?;
    stage.end().await
}
