//! What happened, read from the module logs of both nodes: one timeline in plain words, and why the last failover was.

use crate::language::tf;
use holdfast_api::agent::LogLine;

/// A line of the log of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// The node's name.
    pub node: String,
    /// The line.
    pub line: LogLine,
}

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A node took over, or became primary.
    Primary,
    /// Both copies are the same again.
    Redundant,
    /// Something was stopped, lost or went wrong.
    Trouble,
    /// Anything else worth a line.
    Step,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When, by the node's clock.
    pub unix_ms: u64,
    /// On which node.
    pub node: String,
    /// What kind of thing.
    pub kind: Kind,
    /// In plain words.
    pub title: String,
    /// Why; may be empty.
    pub reason: String,
    /// A node took over without being ordered to.
    pub failover: bool,
    /// What kind of step of a takeover it is.
    step: Step,
}

/// What a moment is to a takeover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The primary stops the application because a person or the end of its machine ordered it.
    OrderedStop,
    /// The primary stops the application for another reason.
    Stop,
    /// The other node takes over.
    Takeover,
    /// The application runs again.
    Runs,
    /// None.
    None,
}

/// Lines looked back from a failover, at most.
const CHAIN_MAX: usize = 12;
/// Time looked back from a failover.
const CHAIN_MS: u64 = 120_000;

/// The lines of several nodes by time; those of one node keep their order.
pub fn merged(pages: impl IntoIterator<Item = (String, Vec<LogLine>)>) -> Vec<NodeLine> {
    let mut all: Vec<NodeLine> = pages
        .into_iter()
        .flat_map(|(node, lines)| lines.into_iter().map(move |line| NodeLine { node: node.clone(), line }))
        .collect();
    all.sort_by_key(|one| one.line.unix_ms);
    all
}

/// What is worth telling of the lines, oldest first.
pub fn moments(lines: &[NodeLine]) -> Vec<Moment> {
    let mut all: Vec<Moment> = lines.iter().filter_map(moment).collect();
    for index in 0..all.len() {
        if all[index].step == Step::Takeover {
            all[index].failover = !is_ordered(&all[..index], &all[index]);
        }
    }
    all
}

/// True if the takeover follows a stop that was ordered. What no log tells was not ordered.
fn is_ordered(before: &[Moment], takeover: &Moment) -> bool {
    let of_the_other = |moment: &&Moment| {
        moment.node != takeover.node && matches!(moment.step, Step::OrderedStop | Step::Stop | Step::Runs)
    };
    let since_the_last = before.iter().rev().take_while(|moment| moment.step != Step::Takeover);
    since_the_last.into_iter().find(of_the_other).is_some_and(|last| last.step == Step::OrderedStop)
}

/// True for a stop that a person ordered, here or on the other node, or that comes with the orderly end of the machine.
fn is_order(reason: &str) -> bool {
    let by_person = reason.split_once(" by ").is_some_and(|(what, actor)| {
        matches!(what, "stop" | "swap" | "stopstart" | "forcestop") && !actor.starts_with("rule ")
    });
    by_person || reason.starts_with("swap asked for on ") || reason.starts_with("the agent ends by ")
}

/// What led to the latest unplanned failover, oldest first, the takeover and the start of the application last; empty if
/// there was none.
pub fn why(lines: &[NodeLine]) -> Vec<Moment> {
    let all = moments(lines);
    let Some(last) = all.iter().rposition(|moment| moment.failover) else { return Vec::new() };
    let at = all[last].unix_ms;
    let end = all
        .iter()
        .enumerate()
        .skip(last)
        .find(|(_, moment)| moment.node == all[last].node && moment.step == Step::Runs)
        .map_or(last, |(index, _)| index);
    // What went before an earlier takeover, ordered or not, belongs to that one.
    let start = all[..last].iter().rposition(|moment| moment.step == Step::Takeover).map_or(0, |index| index + 1);
    let begin = end.saturating_sub(CHAIN_MAX - 1).max(start);
    all[begin..=end].iter().filter(|moment| at.saturating_sub(moment.unix_ms) <= CHAIN_MS).cloned().collect()
}

/// The words after the state that a line begins with.
fn message(text: &str) -> &str {
    text.split_once(" | ").map_or(text, |(_, rest)| rest)
}

fn moment(one: &NodeLine) -> Option<Moment> {
    let text = message(&one.line.text);
    let (kind, title, reason, step) = match text.split_once(" -> ") {
        Some((from, rest)) if is_state(from) => change(&one.node, rest)?,
        _ => event(&one.node, &one.line.level, text)?,
    };
    Some(Moment { unix_ms: one.line.unix_ms, node: one.node.clone(), kind, title, reason, failover: false, step })
}

/// True for a state and its readiness, such as `PRIM Ready`.
fn is_state(text: &str) -> bool {
    text.split_once(' ').is_some_and(|(state, readiness)| {
        !state.is_empty()
            && state.chars().all(|c| c.is_ascii_uppercase())
            && matches!(readiness, "Ready" | "NotReady" | "Transient")
    })
}

type Told = (Kind, String, String, Step);

/// A change of state: `ALONE Transient: take over (2:B: node1 has been silent …)`.
fn change(node: &str, rest: &str) -> Option<Told> {
    let (state, reason) = rest.split_once(": ").unwrap_or((rest, ""));
    let (what, why) = match reason.split_once(" (") {
        Some((what, why)) => (what, why.strip_suffix(')').unwrap_or(why)),
        None => (reason, ""),
    };
    // The number of the generation says nothing to a reader.
    let plain = why.split_once(": ").filter(|(head, _)| head.contains(':') && !head.contains(' '));
    let why = plain.map_or(why, |(_, rest)| rest).to_owned();
    let told = |kind, title: String| Some((kind, title, why.clone(), Step::None));
    match what {
        "take over" => Some((Kind::Primary, tf!("{node} takes over", node), why.clone(), Step::Takeover)),
        "become primary" => told(Kind::Primary, tf!("{node} becomes primary", node)),
        "application started" => {
            Some((Kind::Step, tf!("The application runs on {node}", node), why.clone(), Step::Runs))
        }
        "start" => told(Kind::Step, tf!("{node} starts the module", node)),
        "stopped" => told(Kind::Step, tf!("The module is stopped on {node}", node)),
        what if what.starts_with("stop the application") => {
            let step = if is_order(&why) { Step::OrderedStop } else { Step::Stop };
            Some((Kind::Trouble, tf!("{node} stops the application", node), why.clone(), step))
        }
        what if what.starts_with("the peer is primary") => told(Kind::Step, tf!("{node} begins a resync", node)),
        what if what.starts_with("resync complete") => told(Kind::Redundant, tf!("{node} has all data again", node)),
        what if what.starts_with("the secondary is up to date") => None,
        what if what.starts_with("no longer in sync") => {
            told(Kind::Trouble, tf!("{node} lost the replication stream", node))
        }
        what if what.starts_with("the secondary is lost") => told(Kind::Trouble, tf!("{node} goes on alone", node)),
        "blocked" | "no longer blocked" => None,
        what if what.starts_with("application stopped") => None,
        what if state.starts_with("ALONE Ready") => {
            Some((Kind::Trouble, tf!("{node} goes on alone", node), joined(what, &why), Step::None))
        }
        what => Some((Kind::Step, tf!("{node} is {state}", node, state), joined(what, &why), Step::None)),
    }
}

fn joined(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

/// Any other line: warnings and errors are told as they are, and resources that change.
fn event(node: &str, level: &str, text: &str) -> Option<Told> {
    if let Some(rest) = text.strip_prefix("resource ") {
        let (name, rest) = rest.split_once(" is ")?;
        let (value, rest) = rest.split_once(' ')?;
        let by = rest.split_once("says ").map(|(_, by)| by).unwrap_or_default();
        let kind = if value == "down" { Kind::Trouble } else { Kind::Step };
        return Some((kind, tf!("{name} is {value} on {node}", name, value, node), by.to_owned(), Step::None));
    }
    match level {
        "W" | "C" => Some((Kind::Trouble, tf!("{node} says", node), text.to_owned(), Step::None)),
        "U" => Some((Kind::Step, tf!("Ordered on {node}", node), text.to_owned(), Step::None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, merged, moments, why};
    use holdfast_api::agent::LogLine;

    fn line(unix_ms: u64, level: &str, text: &str) -> LogLine {
        LogLine { at: unix_ms, unix_ms, level: level.into(), text: text.into() }
    }

    /// The log of a node that took over, and of the one that died before.
    fn story() -> Vec<(String, Vec<LogLine>)> {
        let one = vec![
            line(1000, "S", "STOP NotReady | STOP NotReady -> WAIT Transient: start (start by operator)"),
            line(
                2000,
                "S",
                "WAIT Transient | WAIT Transient -> ALONE Transient: become primary (1:A: an operator chose this copy)",
            ),
            line(2100, "S", "ALONE Transient | run start_prim"),
            line(3000, "S", "ALONE Ready | ALONE Transient -> ALONE Ready: application started"),
        ];
        let two = vec![
            line(4000, "S", "SECOND Ready | SECOND Transient -> SECOND Ready: resync complete: up to date"),
            line(
                50_000,
                "S",
                "SECOND Transient | SECOND Ready -> SECOND Transient: no longer in sync with the primary (the stream from node1 is lost: no progress)",
            ),
            line(51_000, "I", "SECOND Transient | generation 2: node1 has been silent on every link for the timeout"),
            line(
                51_100,
                "S",
                "ALONE Transient | SECOND Transient -> ALONE Transient: take over (2:B: node1 has been silent on every link for the timeout)",
            ),
            line(51_500, "S", "ALONE Ready | ALONE Transient -> ALONE Ready: application started"),
            line(60_000, "W", "ALONE Ready | resource tcp.web is down (was up), says tcpcheck"),
        ];
        vec![("node1".into(), one), ("node2".into(), two)]
    }

    #[test]
    fn logs_of_two_nodes_become_one_timeline_in_plain_words() {
        let told = moments(&merged(story()));
        let titles: Vec<&str> = told.iter().map(|moment| moment.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "node1 starts the module",
                "node1 becomes primary",
                "The application runs on node1",
                "node2 has all data again",
                "node2 lost the replication stream",
                "node2 takes over",
                "The application runs on node2",
                "tcp.web is down on node2",
            ]
        );
        assert_eq!(told[1].reason, "an operator chose this copy");
        assert_eq!(told[7].kind, Kind::Trouble);
    }

    #[test]
    fn the_chain_of_the_last_failover_begins_with_its_cause_and_ends_with_the_application() {
        let chain = why(&merged(story()));
        assert_eq!(chain.first().map(|moment| moment.title.as_str()), Some("node1 starts the module"));
        assert_eq!(chain.last().map(|moment| moment.title.as_str()), Some("The application runs on node2"));
        assert!(chain.iter().any(|moment| moment.failover && moment.reason.contains("silent on every link")));
        assert_eq!(why(&merged(story().into_iter().take(1))), []);
    }

    /// A primary that stops for this reason, and the other node that takes over.
    fn handed_over(at: u64, from: &str, to: &str, reason: &str) -> Vec<(String, Vec<LogLine>)> {
        let stop = format!("PRIM Transient | PRIM Ready -> PRIM Transient: stop the application ({reason})");
        let over = format!(
            "ALONE Transient | SECOND Ready -> ALONE Transient: take over (2:B: {from} has recorded that its copy is out of date)"
        );
        let runs = "ALONE Ready | ALONE Transient -> ALONE Ready: application started";
        vec![
            (from.to_owned(), vec![line(at, "S", &stop)]),
            (to.to_owned(), vec![line(at + 100, "S", &over), line(at + 500, "S", runs)]),
        ]
    }

    #[test]
    fn a_takeover_that_was_ordered_is_no_failover() {
        for reason in
            ["stop by admin@10.0.0.9", "swap by operator", "swap asked for on node2", "the agent ends by SIGTERM"]
        {
            let lines = merged(handed_over(1000, "node1", "node2", reason));
            assert_eq!(why(&lines), [], "{reason}");
            assert!(moments(&lines).iter().any(|moment| moment.title == "node2 takes over"), "it is still told");
        }
        let mut pages = handed_over(1000, "node1", "node2", "stop by admin@10.0.0.9");
        pages[0].1.push(line(1050, "S", "ALONE Ready | ALONE Transient -> ALONE Ready: application started"));
        assert!(!why(&merged(pages)).is_empty(), "it was started again before it was lost");
        for reason in ["process app is missing", "stopstart by rule r_web: tcp.web is down"] {
            let chain = why(&merged(handed_over(1000, "node1", "node2", reason)));
            assert_eq!(chain.first().map(|moment| moment.reason.as_str()), Some(reason));
        }
    }

    #[test]
    fn the_chain_of_a_failover_does_not_begin_before_an_ordered_one() {
        let mut pages = handed_over(1000, "node1", "node2", "stop by admin@10.0.0.9");
        pages.extend(handed_over(9000, "node2", "node1", "process app is missing"));
        let chain = why(&merged(pages));
        assert_eq!(chain.iter().filter(|moment| moment.title.contains("takes over")).count(), 1);
        assert!(chain.iter().all(|moment| !moment.reason.contains("admin@")), "{chain:#?}");
    }

    #[test]
    fn lines_of_any_shape_are_read() {
        for text in [
            "",
            " | ",
            " -> ",
            "a -> b",
            "a | b -> c: d (",
            "PRIM Ready -> ",
            "PRIM Ready -> x: ",
            "resource ",
            "resource x is ",
            "resource x is y",
        ] {
            for level in ["S", "W", "I", ""] {
                moments(&merged([("n".to_owned(), vec![line(1, level, text)])]));
            }
        }
    }
}
