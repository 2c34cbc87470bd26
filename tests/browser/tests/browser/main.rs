//! The story a new operator lives: from the set-up link to a failover seen and its logs saved, in a real browser.

mod appearance;
mod aside;
mod beyond;
mod components;
mod editing;
mod figures;
mod haste;
mod keeping;
mod logs;
mod plain;
mod roles;

use anyhow::{Context, Result, ensure};
use holdfast_browser::accessibility;
use holdfast_browser::browser::{Browser, PATIENCE};
use holdfast_browser::stage::{Stage, dns_name, pictures_folder};
use holdfast_tests::bank::client::{Load, LoadPlan};
use holdfast_tests::lab::cluster::ModulePlan;
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";
const MODULE: &str = "bank";
/// The screens of the rail, as their links are called.
const SCREENS: [&str; 9] = [
    "control",
    "configuration",
    "cluster",
    "monitoring",
    "troubleshooting",
    "support",
    "users",
    "settings",
    "advanced",
];
/// A failover or resync on a busy machine.
const SLOW: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn the_story_from_set_up_to_a_failover_with_its_logs_saved() -> Result<()> {
    let mut stage = tokio::task::block_in_place(Stage::set)?;
    let plan = ModulePlan::bank(5000);
    tokio::task::block_in_place(|| stage.lab.make_directory(&plan))?;
    std::fs::write(stage.lab.backing(1, &plan.directory).join("opening-balance.txt"), "the newest data\n")?;
    std::fs::write(stage.lab.backing(2, &plan.directory).join("left-over.txt"), "to be deleted\n")?;
    let downloads = stage.lab.folder().join("downloads");
    let browser = Browser::start(&downloads, &pictures_folder()).await?;
    let result = story(&mut stage, &browser, &plan).await;
    let complaints = browser.complaints().await.unwrap_or_default();
    // A failed story leaves no browser behind either.
    let ended = browser.end().await;
    result.with_context(|| stage.diagnosis())?;
    ensure!(complaints.is_empty(), "the browser complained: {complaints:#?}");
    ended
}

async fn story(stage: &mut Stage, browser: &Browser, plan: &ModulePlan) -> Result<()> {
    // From the login to the logs without a mouse.
    browser.use_keys(true);
    set_up_and_log_in(stage, browser).await?;
    enter_the_nodes(stage, browser).await?;
    keeping::cluster_history(browser).await?;
    configure_the_module(stage, browser, plan).await?;
    start_in_the_right_direction(browser).await?;
    ensure!(
        !stage.lab.backing(2, "/srv/bank/left-over.txt").exists(),
        "node2 still holds what the console said it would delete"
    );
    swap_there_and_back(browser).await?;
    fail_over(stage, browser).await?;
    watch_a_node_without_redundancy(browser).await?;
    come_back(browser).await?;
    look_into_it(browser).await?;
    keep_users(browser).await?;
    look_at_logs_and_snapshots(browser).await?;
    browser.use_keys(false);
    logs::a_log_of_a_million_lines(stage.lab.host(1).folder(), browser).await?;
    keeping::server_settings(stage.lab.folder(), browser).await?;
    haste::screens_are_left_before_they_come(browser).await?;
    plain::console_over_plain_http(stage, browser).await?;
    roles::every_screen_as_every_role(browser).await?;
    editing::edit_files(browser).await?;
    beyond::files_are_applied_and_versions_brought_back(browser).await?;
    beyond::a_package_goes_out_and_comes_in(browser).await?;
    beyond::snapshots_tell_no_names(browser).await?;
    beyond::a_token_is_withdrawn(browser).await?;
    beyond::a_network_is_added_and_discarded(browser).await?;
    appearance::by_keyboard(browser).await?;
    appearance::dark_and_narrow(browser).await?;
    appearance::in_french(browser).await?;
    beyond::both_copies_are_compared(browser).await?;
    figures::figures(stage, browser).await?;
    aside::look_at_what_was_set_aside(stage, browser).await?;
    demand_silence(browser).await?;
    lose_a_node(stage, browser).await
}

/// First run: the link on the terminal makes the administrator; then out, and in by the login page.
async fn set_up_and_log_in(stage: &Stage, browser: &Browser) -> Result<()> {
    let token = tokio::task::block_in_place(|| stage.setup_token())?;
    browser.open(&stage.url()).await?;
    browser.find("setup-no-token").await?;
    browser.open("about:blank").await?;
    browser.open(&format!("{}setup#{token}", stage.url())).await?;
    browser.fill("password", PASSWORD).await?;
    browser.fill("password-again", PASSWORD).await?;
    browser.find("ca-download").await?;
    screen(browser, "01-set-up").await?;
    browser.click("setup").await?;
    browser.find("first-node").await?;
    browser.click("user-menu").await?;
    browser.click("user-menu-logout").await?;
    browser.fill("user", "admin").await?;
    browser.fill("password", PASSWORD).await?;
    screen(browser, "02-login").await?;
    browser.click("login").await?;
    browser.find("first-node").await?;
    browser.expect("[data-testid=link][data-link=live]", PATIENCE).await
}

/// The first node by its address and pairing code, then the second, then save: one result for each.
async fn enter_the_nodes(stage: &Stage, browser: &Browser) -> Result<()> {
    screen(browser, "03-first-node").await?;
    for number in [1, 2] {
        if number == 2 {
            browser.click("add-node").await?;
        }
        browser.fill("node-address", &dns_name(number)).await?;
        browser.click("probe").await?;
        browser.find("pair-form").await?;
        let key = tokio::task::block_in_place(|| stage.lab.cli(number, &["key"]))?;
        let shown = browser.text("probe-fingerprint").await?.replace(' ', "");
        ensure!(shown == key.trim(), "the console shows {shown}, the node's key is {key}");
        let code = tokio::task::block_in_place(|| stage.pairing_code(number))?;
        browser.fill("pairing-code", &code).await?;
        screen(browser, &format!("04-pairing-node{number}")).await?;
        browser.click("enrol").await?;
        browser.find(&format!("node-node{number}")).await?;
    }
    for number in [1, 2] {
        browser.fill(&format!("address-{number}"), &dns_name(number)).await?;
    }
    browser.fill("cluster-name-field", "demo").await?;
    screen(browser, "05-not-saved").await?;
    browser.click("save-cluster").await?;
    for number in [1, 2] {
        browser.expect(&format!("[data-testid=cluster-results-node{number}][data-tone=ok]"), PATIENCE).await?;
    }
    screen(browser, "06-cluster").await
}

/// The wizard, from the catalogue to the green message of both nodes, though one of them is away for a while.
async fn configure_the_module(stage: &Stage, browser: &Browser, plan: &ModulePlan) -> Result<()> {
    browser.click("rail-configuration").await?;
    browser.click("use-mirror.safe").await?;
    browser.fill("module-name", MODULE).await?;
    browser.click("wizard-next").await?;
    browser.fill("directory-0", &plan.directory).await?;
    for key in 1..8 {
        let remove = format!("add-directory-remove-{key}");
        if browser.is_there(&remove).await? {
            browser.click(&remove).await?;
        }
    }
    for number in [1, 2] {
        browser.expect_text(&format!("directory-on-node{number}"), "1 entry").await?;
    }
    screen(browser, "07-directories").await?;
    browser.click("wizard-next").await?;
    browser.expect("[data-testid=network-default]:checked", PATIENCE).await?;
    browser.expect("[data-testid=flow-default]:checked", PATIENCE).await?;
    screen(browser, "07a-networks").await?;
    browser.click("wizard-next").await?;
    browser.click("address-own").await?;
    browser.fill("vip-0", "no address").await?;
    browser.find("vip-0-problem").await?;
    screen(browser, "07b-address").await?;
    appearance::change_of_language_keeps(browser, "vip-0", "no address").await?;
    browser.click("address-cloud").await?;
    browser.expect_text("health-addresses", "/var/modules/bank/ready.txt").await?;
    browser.click("wizard-next").await?;
    browser.click("processes-of-node1").await?;
    browser.find("process-list").await?;
    for key in 1..8 {
        let remove = format!("add-process-remove-{key}");
        if browser.is_there(&remove).await? {
            browser.click(&remove).await?;
        }
    }
    if !browser.is_there("process-0").await? {
        browser.click("add-process").await?;
    }
    browser.fill("process-0", "holdfast-bank").await?;
    screen(browser, "08-processes").await?;
    browser.click("wizard-next").await?;
    browser.click("add-checker").await?;
    screen(browser, "08a-checkers").await?;
    browser.click("add-checker-remove-0").await?;
    browser.click("wizard-next").await?;
    browser.expect("[data-testid=witness-none]:checked", PATIENCE).await?;
    screen(browser, "08b-witness").await?;
    browser.click("wizard-next").await?;
    let files = plan.files()?;
    for name in ["start_prim", "stop_prim"] {
        let script = files.iter().find(|(path, _)| *path == format!("bin/{name}")).context("no such script")?;
        browser.fill_code(&format!("script-{name}"), &script.1).await?;
    }
    screen(browser, "09-scripts").await?;
    browser.click("wizard-next").await?;
    browser.expect("[data-testid=verdict]:not([data-tone=bad])", PATIENCE).await?;
    browser.find("validate-matrix").await?;
    screen(browser, "10-validate").await?;
    browser.click("wizard-next").await?;
    configure_while_a_node_is_away(stage, browser).await?;
    browser.find("configured").await?;
    screen(browser, "11-configured").await?;
    browser.click("wizard-next").await
}

/// node2 goes away in the middle: it is named, node1 gets its part, and node2 its own when it is back.
async fn configure_while_a_node_is_away(stage: &Stage, browser: &Browser) -> Result<()> {
    tokio::task::block_in_place(|| stage.stop_agent(2))?;
    browser.click("configure").await?;
    browser.expect("[data-testid=configure-results-node1][data-tone=ok]", PATIENCE).await?;
    browser.expect_text("configure-results-node2", "not connected").await?;
    ensure!(!browser.is_there("configured").await?, "a module is said to be everywhere that node2 has never heard of");
    screen(browser, "10a-node-away").await?;
    tokio::task::block_in_place(|| stage.lab.start_agent(2))?;
    for number in [1, 2] {
        browser.expect(&format!("[data-testid=configure-results-node{number}][data-tone=ok]"), PATIENCE).await?;
    }
    Ok(())
}

/// node1 has the newest data; node2's file is named as what goes; then the second node, until both are green.
async fn start_in_the_right_direction(browser: &Browser) -> Result<()> {
    browser.click("newest-node1").await?;
    browser.expect_text("overwrite", "node2").await?;
    let dated = "const all = [...document.querySelectorAll('.choice dd')]; return all.length === 4 && all.every((e) => !['–', 'not counted yet'].includes(e.textContent))";
    ensure!(browser.script(dated).await? == true, "what the stopped nodes hold is not shown");
    screen(browser, "12-newest-data").await?;
    browser.click("start-primary").await?;
    browser.expect(&state("start-state-node1", "ALONE", "Ready"), SLOW).await?;
    browser.click("start-second").await?;
    browser.find("confirm-dialog").await?;
    screen(browser, "13-start-second").await?;
    browser.click("confirm-yes").await?;
    browser.expect("[data-testid=operational]", SLOW).await?;
    browser.expect(&state("start-state-node1", "PRIM", "Ready"), SLOW).await?;
    browser.expect(&state("start-state-node2", "SECOND", "Ready"), SLOW).await?;
    screen(browser, "14-operational").await?;
    browser.click("to-control").await
}

/// The roles are exchanged and exchanged back; what cannot be ordered says why.
async fn swap_there_and_back(browser: &Browser) -> Result<()> {
    for (from, to) in [(1, 2), (2, 1)] {
        browser.click(&format!("select-node{from}")).await?;
        browser.expect(&format!("[data-testid=select-node{from}][aria-current]"), PATIENCE).await?;
        browser.expect(&state("state", "PRIM", "Ready"), SLOW).await?;
        browser.click("commands").await?;
        browser.expect_text("commands-start", "started already").await?;
        browser.expect_text("commands-second-fullsync", "Stop it first").await?;
        browser.click("commands-swap").await?;
        browser.expect_text("confirm-dialog", &format!("starts on node{to}")).await?;
        browser.click("confirm-yes").await?;
        browser.expect("[data-testid=commands]:focus", PATIENCE).await.context("the focus does not return")?;
        browser.expect(&state(&format!("state-node{to}"), "PRIM", "Ready"), SLOW).await?;
        browser.expect(&state(&format!("state-node{from}"), "SECOND", "Ready"), SLOW).await?;
    }
    browser.click("all-bank").await?;
    browser.expect_text("all-bank-start", "started on every node").await?;
    screen(browser, "14a-all-nodes").await?;
    browser.click("all-bank-stop").await?;
    browser.expect_text("confirm-dialog", "node1 and node2").await?;
    screen(browser, "14b-all-nodes-stop").await?;
    browser.click("confirm-no").await
}

/// Clients work, the primary is stopped, the other takes over, nothing acknowledged is missing.
async fn fail_over(stage: &Stage, browser: &Browser) -> Result<()> {
    let bank = stage.lab.bank(MODULE);
    let plan = LoadPlan {
        run: "browser".into(),
        writers: 2,
        transfers_max: 100_000,
        time_max: Duration::from_secs(600),
        pause: Duration::from_millis(20),
    };
    let load = Load::start(&bank, plan);
    some_more(&load, 20)?;
    browser.click("select-node1").await?;
    browser.expect(&state("state", "PRIM", "Ready"), SLOW).await?;
    browser.expect_text("log", "PRIM").await?;
    screen(browser, "15-control").await?;
    browser.click("commands").await?;
    browser.find("commands-stop").await?;
    screen(browser, "16-commands").await?;
    browser.click("commands-stop").await?;
    browser.expect_text("confirm-dialog", "node2").await?;
    browser.click("confirm-yes").await?;
    browser.expect(&state("state-node2", "ALONE", "Ready"), SLOW).await?;
    browser.expect(&state("state-node1", "STOP", "NotReady"), SLOW).await?;
    some_more(&load, 20)?;
    screen(browser, "17-failover").await?;
    let report = tokio::task::block_in_place(|| load.finish());
    tokio::task::block_in_place(|| bank.demand(&report.acknowledged))?;
    Ok(())
}

/// Waits until the load has had `more` further transfers acknowledged.
fn some_more(load: &Load, more: u64) -> Result<()> {
    let before = load.acknowledged();
    tokio::task::block_in_place(|| {
        holdfast_tests::lab::wait::wait_until("acknowledged transfers", SLOW, || {
            Ok(load.acknowledged() >= before + more)
        })
    })
    .with_context(|| format!("last failure of a client: {:?}", load.last_failure()))
}

/// While one node is stopped, Monitoring says so first, and shows what happened.
async fn watch_a_node_without_redundancy(browser: &Browser) -> Result<()> {
    browser.click("rail-monitoring").await?;
    browser.expect_text("issues", "without redundancy").await?;
    browser.expect(&state("monitor-state-node2", "ALONE", "Ready"), SLOW).await?;
    browser.expect_text("timeline", "node2").await?;
    screen(browser, "17a-monitoring-alone").await?;
    browser.click("rail-control").await?;
    browser.click("select-node1").await
}

/// Both nodes back: nothing is bad; resources, the merged logs and the commands of a node can be read.
async fn look_into_it(browser: &Browser) -> Result<()> {
    browser.click("tab-resources").await?;
    browser.expect_text("resources", "heartbeat.flow").await?;
    screen(browser, "17b-resources").await?;
    browser.click("rail-monitoring").await?;
    browser.expect("[data-testid=flow] [data-live=true]", SLOW).await?;
    ensure!(!browser.is_there("all-well").await?, "a single heartbeat network is to be minded");
    screen(browser, "17c-monitoring").await?;
    browser.click("rail-troubleshooting").await?;
    browser.expect_text("merged-log", "node1").await?;
    browser.expect_text("connectivity", "hears the other node").await?;
    browser.click("commands-of-node1").await?;
    browser.expect_text("commands-log", "admin@").await?;
    screen(browser, "17d-troubleshooting").await?;
    browser.click("rail-control").await
}

/// A user is added with a role, and a token is made for a script.
async fn keep_users(browser: &Browser) -> Result<()> {
    browser.click("rail-users").await?;
    browser.fill("new-user", "berta").await?;
    browser.fill("new-user-password", PASSWORD).await?;
    browser.click("add-user").await?;
    browser.expect_text("users", "berta").await?;
    browser.fill("new-token", "backup").await?;
    browser.click("add-token").await?;
    browser.find("token-secret").await?;
    screen(browser, "17e-users").await?;
    browser.click("rail-control").await
}

/// The stopped node comes back as secondary; start at boot is switched on for both.
async fn come_back(browser: &Browser) -> Result<()> {
    browser.click("commands").await?;
    browser.click("commands-start").await?;
    browser.expect(&state("state-node1", "SECOND", "Ready"), SLOW).await?;
    browser.expect(&state("state-node2", "PRIM", "Ready"), SLOW).await?;
    for number in [1, 2] {
        browser.click(&format!("select-node{number}")).await?;
        browser.expect(&format!("[data-testid=select-node{number}][aria-current]"), PATIENCE).await?;
        browser.click("boot-start").await?;
        let checked = browser.expect("[data-testid=boot-start]:checked", PATIENCE).await;
        checked.with_context(|| format!("node{number} does not start the module at boot"))?;
    }
    Ok(())
}

/// Both logs of both nodes are read and saved; a snapshot of each node is taken.
async fn look_at_logs_and_snapshots(browser: &Browser) -> Result<()> {
    for number in [1, 2] {
        browser.click(&format!("select-node{number}")).await?;
        browser.expect(&format!("[data-testid=select-node{number}][aria-current]"), PATIENCE).await?;
        browser.expect_text("log", "SECOND").await?;
        browser.click("log-refresh").await?;
        browser.click("log-save").await?;
        let saved = String::from_utf8(browser.downloaded(&format!("{MODULE}_node{number}")).await?)?;
        ensure!(saved.contains("PRIM"), "the module log of node{number} does not tell of PRIM:\n{saved}");
        browser.click("tab-application").await?;
        browser.expect_text("log", "start_prim").await?;
        browser.click("log-save").await?;
        let saved = String::from_utf8(browser.downloaded(&format!("{MODULE}_node{number}")).await?)?;
        ensure!(
            saved.contains("start_prim"),
            "the application log of node{number} lacks the scripts' output:\n{saved}"
        );
        screen(browser, &format!("18-application-log-node{number}")).await?;
        browser.click("tab-module").await?;
    }
    browser.click("rail-support").await?;
    browser.click("make-snapshots").await?;
    for number in [1, 2] {
        browser.expect(&format!("[data-testid=snapshot-results-node{number}][data-tone=ok]"), PATIENCE).await?;
        browser.expect_text("snapshots", &format!("snapshot_node{number}_")).await?;
    }
    browser.click("snapshot-save").await?;
    let zip = browser.downloaded("snapshot_").await?;
    ensure!(zip.starts_with(b"PK"), "the snapshot is no zip");
    screen(browser, "19-support").await
}

/// Up to here the browser had nothing to complain about.
async fn demand_silence(browser: &Browser) -> Result<()> {
    let complaints = browser.complaints().await?;
    ensure!(complaints.is_empty(), "the browser complained: {complaints:#?}");
    Ok(())
}

/// The primary's whole machine dies: the other serves, the dead one is never shown as live.
async fn lose_a_node(stage: &mut Stage, browser: &Browser) -> Result<()> {
    browser.click("rail-control").await?;
    browser.click("select-node1").await?;
    browser.expect(&state("state-node2", "PRIM", "Ready"), SLOW).await?;
    tokio::task::block_in_place(|| stage.lab.kill_node(2))?;
    browser.expect(&state("state-node1", "ALONE", "Ready"), SLOW).await?;
    browser.expect("[data-testid=state-node2][data-tone=lost]", SLOW).await?;
    screen(browser, "22-node-lost").await?;
    browser.click("rail-monitoring").await?;
    browser.expect_text("issues", "node2 has not been in contact since").await?;
    browser.click("rail-troubleshooting").await?;
    browser.expect_text("why-chain", "node1 takes over").await?;
    screen(browser, "23-why").await?;
    beyond::a_lost_node_is_taken_out(browser).await
}

/// A state badge that shows this state as live.
fn state(testid: &str, state: &str, readiness: &str) -> String {
    format!("[data-testid=\"{testid}\"][data-state={state}][data-readiness={readiness}]")
}

/// A screen as a person meets it: its picture, and whether everybody can use it.
async fn screen(browser: &Browser, name: &str) -> Result<()> {
    browser.picture(name).await?;
    accessibility::demand(browser).await.with_context(|| format!("screen {name}"))
}
