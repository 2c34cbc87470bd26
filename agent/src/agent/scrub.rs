//! The comparison of both copies by a module's schedule: begun by the primary beside a secondary, followed to its end, and
//! told by the module's log, a resource and the report.

use super::Agent;
use crate::engine::ToEngine;
use crate::{clock, files};
use holdfast_api::agent::{ScrubReport, ScrubResult};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::ModuleState;
use holdfast_api::userconfig::schedule::next_after;
use holdfast_core::output::EventLevel;
use holdfast_replica::control::VerifyReport;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// Down while the copies differ, as far as the last comparison knows.
const RESOURCE: &str = "rfs.scrub";
/// Who sets it.
const BY: &str = "scrub";
/// What the file of the last result is, and how long at most.
const FILE: (&str, u64) = ("scrub", 256 * 1024);

/// The schedule of one module, and where it stands.
struct Plan {
    schedule: String,
    /// Until when the schedule has been looked at, Unix milliseconds.
    looked: u64,
    next: Option<u64>,
    /// When the one that goes on began.
    began: Option<u64>,
    last: Option<ScrubResult>,
    /// The resource is not `init`.
    said: bool,
    file: PathBuf,
}

impl Plan {
    /// From now on: what was due before, and the node was off or the module not configured, is not made up for.
    fn new(schedule: String, now: u64, last: Option<ScrubResult>, file: PathBuf) -> Self {
        let next = next_after(&schedule, now);
        Self { schedule, looked: now, next, began: None, last, said: false, file }
    }

    /// Follows the clock, which may also have been set back; true if the schedule has named a time since the last look.
    fn is_due(&mut self, now: u64) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due || now < self.looked {
            self.next = next_after(&self.schedule, now);
        }
        self.looked = now;
        due
    }

    fn report(&self) -> ScrubReport {
        let schedule = self.schedule.clone();
        ScrubReport { schedule, next_unix_ms: self.next, running: self.began.is_some(), last: self.last.clone() }
    }

    /// The one that went on has ended.
    fn ended(&mut self, report: VerifyReport, now: u64) -> ScrubResult {
        let VerifyReport { entries, bytes, differences, named, failed, .. } = report;
        let began_unix_ms = self.began.take().unwrap_or(now);
        let result = ScrubResult { began_unix_ms, ended_unix_ms: now, entries, bytes, differences, named, failed };
        self.last = Some(result.clone());
        result
    }
}

/// Looks every second, for as long as the agent runs.
pub(super) async fn run(agent: Arc<Agent>) {
    let mut plans: BTreeMap<String, Plan> = BTreeMap::new();
    loop {
        let wanted = agent.schedules().await;
        let gone: Vec<String> = plans.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in gone {
            plans.remove(&name);
            agent.reports.set_scrub(&name, None);
        }
        for (name, schedule) in wanted {
            let plan = match plans.remove(&name) {
                Some(plan) if plan.schedule == schedule => plan,
                Some(Plan { began, last, said, file, .. }) => {
                    Plan { began, said, ..Plan::new(schedule, clock::unix_ms(), last, file) }
                }
                None => fresh(&agent, &name, schedule),
            };
            let plan = plans.entry(name.clone()).or_insert(plan);
            look(&agent, &name, plan).await;
            agent.reports.set_scrub(&name, Some(plan.report()));
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn fresh(agent: &Agent, name: &str, schedule: String) -> Plan {
    let file = agent.layout.module_var(name).join("scrub.json");
    let last = files::load(&file, FILE.0, FILE.1).unwrap_or_else(|error| {
        tracing::warn!(module = name, "the result of the last scrub cannot be read: {error:#}");
        None
    });
    Plan::new(schedule, clock::unix_ms(), last, file)
}

/// Begins what is due and ends what has come to its end.
async fn look(agent: &Agent, name: &str, plan: &mut Plan) {
    let state = agent.state(name);
    let due = plan.is_due(clock::unix_ms());
    if plan.began.is_some() {
        match compared(agent, name, false).await {
            Some(report) if report.running => {}
            Some(report) => settle(agent, name, plan, report).await,
            None => {
                let failed = Some("this node ceased to be primary, or its agent ended".to_owned());
                settle(agent, name, plan, VerifyReport { failed, ..VerifyReport::default() }).await;
            }
        }
    } else if due && state == ModuleState::Prim {
        begin(agent, name, plan).await;
    } else if due && state == ModuleState::Alone {
        tell(
            agent,
            name,
            EventLevel::Event,
            "the scheduled comparison is left out: there is no secondary; the next one tries again".into(),
        )
        .await;
    }
    if plan.said && !matches!(state, ModuleState::Prim | ModuleState::Alone) {
        // What was found of a copy that this node then followed or lost says nothing of the present one.
        plan.said = false;
        say(agent, name, ResourceValue::Init).await;
    }
}

async fn begin(agent: &Agent, name: &str, plan: &mut Plan) {
    if compared(agent, name, false).await.is_some_and(|report| report.running) {
        let text = "the scheduled comparison is left out: another one goes on";
        return tell(agent, name, EventLevel::Event, text.into()).await;
    }
    match compared(agent, name, true).await {
        Some(report) => {
            plan.began = Some(clock::unix_ms());
            tell(agent, name, EventLevel::Event, format!("both copies are compared by schedule ({})", plan.schedule))
                .await;
            if !report.running {
                settle(agent, name, plan, report).await;
            }
        }
        None => tracing::debug!(module = name, "the node ceased to be primary before its scrub began"),
    }
}

/// Begins a comparison, or asks how far it is; `None`: this node is not primary.
async fn compared(agent: &Agent, name: &str, start: bool) -> Option<VerifyReport> {
    agent.verify(name, start).await.ok()?.ok()
}

/// Tells and keeps how it went.
async fn settle(agent: &Agent, name: &str, plan: &mut Plan, report: VerifyReport) {
    let result = plan.ended(report, clock::unix_ms());
    let (level, text, value) = told(name, &result);
    tell(agent, name, level, text).await;
    plan.said = true;
    say(agent, name, value).await;
    let file = plan.file.clone();
    let saved = tokio::task::spawn_blocking(move || files::save(&file, FILE.0, &result)).await;
    if let Ok(Err(error)) = saved {
        tracing::error!(module = name, "the result of the scrub cannot be saved: {error:#}");
    }
}

/// What is written into the module's log and set as the resource.
fn told(name: &str, result: &ScrubResult) -> (EventLevel, String, ResourceValue) {
    let ScrubResult { entries, bytes, differences, named, failed, .. } = result;
    let seconds = result.ended_unix_ms.saturating_sub(result.began_unix_ms) / 1000;
    let compared = format!("{entries} entries and {bytes} bytes compared in {seconds} s");
    match (failed, differences) {
        (_, 1..) => {
            let first = named.first().map(|first| format!(", such as {first}")).unwrap_or_default();
            let text = format!(
                "the copies differ: {differences} differences in {compared}{first}; `holdfast rfsverify -m {name}` names them; \
                 if the primary's copy is the good one, stop the module on the secondary and order `second fullsync` there"
            );
            (EventLevel::Error, text, ResourceValue::Down)
        }
        (Some(reason), 0) => {
            let text = format!("the scheduled comparison did not come to its end: {reason}; the next one tries again");
            (EventLevel::Warning, text, ResourceValue::Unknown)
        }
        (None, 0) => (EventLevel::Event, format!("both copies are the same: {compared}"), ResourceValue::Up),
    }
}

async fn tell(agent: &Agent, name: &str, level: EventLevel, text: String) {
    send(agent, name, ToEngine::Print { level, text }).await;
}

async fn say(agent: &Agent, name: &str, value: ResourceValue) {
    send(agent, name, ToEngine::SetResource { name: RESOURCE.to_owned(), value, by: BY.to_owned() }).await;
}

async fn send(agent: &Agent, name: &str, request: ToEngine) {
    // A module that goes is told nothing any more.
    if let Ok(requests) = agent.requests(name).await {
        let _ = requests.send(request).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn plan(schedule: &str, now: u64) -> Plan {
        Plan::new(schedule.to_owned(), now, None, PathBuf::new())
    }

    #[test]
    fn each_time_of_the_schedule_is_due_once_and_a_missed_one_is_not_made_up_for() {
        let mut plan = plan("*/10 * * * * UTC", MINUTE);
        assert!(!plan.is_due(9 * MINUTE));
        assert!(plan.is_due(10 * MINUTE));
        assert!(!plan.is_due(10 * MINUTE + 1));
        // The machine slept over five of them.
        assert!(plan.is_due(65 * MINUTE));
        assert!(!plan.is_due(66 * MINUTE));
        assert_eq!(plan.next, Some(70 * MINUTE));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_put_the_next_one_off_for_ever() {
        let mut plan = plan("*/10 * * * * UTC", 1000 * MINUTE);
        assert_eq!(plan.next, Some(1010 * MINUTE));
        assert!(!plan.is_due(5 * MINUTE));
        assert!(plan.is_due(10 * MINUTE));
    }

    #[test]
    fn what_differs_is_down_and_an_interrupted_comparison_says_nothing_of_the_copies() {
        let mut plan = plan("* * * * * UTC", 0);
        plan.began = Some(1000);
        let found = VerifyReport { differences: 2, named: vec!["a: size 1, 2".into()], ..VerifyReport::default() };
        let result = plan.ended(found, 3000);
        assert_eq!((result.began_unix_ms, result.ended_unix_ms), (1000, 3000));
        assert!(!plan.report().running && plan.report().last.is_some());
        let (level, text, value) = told("bank", &result);
        assert_eq!((level, value), (EventLevel::Error, ResourceValue::Down));
        assert!(text.contains("2 differences") && text.contains("a: size 1, 2") && text.contains("fullsync"), "{text}");
        let cut = ScrubResult { differences: 0, failed: Some("the peer is lost".into()), ..result.clone() };
        assert_eq!(told("bank", &cut).2, ResourceValue::Unknown);
        let same = ScrubResult { differences: 0, ..result };
        assert_eq!(told("bank", &same).2, ResourceValue::Up);
    }
}
