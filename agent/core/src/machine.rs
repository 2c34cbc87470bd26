//! The failover machine: evaluates rules on resources, and says what is to be done.
//!
//! Truth has three values: what depends on a resource that is `init` or `unknown` is open, and a rule whose condition is
//! open does not fire, unless it asks for just that value (`remote.state == unknown`).

use crate::resources::Resources;
use crate::time::Instant;
use holdfast_api::checker::CheckAction;
use holdfast_api::resource::ResourceValue;
use holdfast_api::rules::{Condition, Id, Rule, Selector};

/// If several actions are due, the first of these is taken.
const STRENGTH: [CheckAction; 5] =
    [CheckAction::Stop, CheckAction::Wait, CheckAction::StopStart, CheckAction::Swap, CheckAction::Restart];

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// This node's resources.
    pub local: &'a Resources,
    /// The peer's, as far as rules name them; `None`: it is stopped or silent.
    pub remote: Option<&'a [(String, ResourceValue)]>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// This.
    pub action: CheckAction,
    /// Because of this rule and these resources, in plain words.
    pub reason: String,
}

/// When which action began to hold.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    next_at: Instant,
    holds_since: [Option<Instant>; STRENGTH.len()],
    /// Actions that began to hold or ceased to in the last evaluation, and are not due yet, in plain words.
    said: Vec<String>,
}

impl Machine {
    /// Evaluates the rules if it is time to; an action is due once it has held for `handle_time_ms` at each evaluation.
    pub fn evaluate(&mut self, now: Instant, rules: &crate::settings::Rules, facts: Facts<'_>) -> Option<Due> {
        if now < self.next_at {
            return None;
        }
        self.next_at = now.after(rules.period_ms.max(1));
        self.said.clear();
        let mut due = None;
        for (action, since) in STRENGTH.into_iter().zip(&mut self.holds_since) {
            let holding =
                rules.rules.iter().find(|rule| rule.action == action && facts.holds(&rule.condition) == Some(true));
            let Some(rule) = holding else {
                if since.take().is_some() {
                    self.said.push(format!("no rule asks for {} any more", action.as_str()));
                }
                continue;
            };
            if since.is_none() && rules.handle_time_ms > 0 {
                let (action, within) = (action.as_str(), rules.handle_time_ms);
                self.said.push(format!("{}: {action} follows if it holds for {within} ms", facts.reason(rule)));
            }
            let held_ms = now.since(*since.get_or_insert(now));
            if held_ms >= rules.handle_time_ms && due.is_none() {
                due = Some(Due { action, reason: facts.reason(rule) });
            }
        }
        if due.is_some() {
            self.reset();
        }
        due
    }

    /// What the last evaluation saw begin or end, told once.
    pub fn tell(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    /// Something is under way: what held before does not count.
    pub fn reset(&mut self) {
        self.holds_since = Default::default();
    }

    /// When the next evaluation is.
    pub fn next_at(&self) -> Instant {
        self.next_at
    }
}

impl Facts<'_> {
    /// Whether a condition holds; `None`: it depends on what is not known.
    pub fn holds(&self, condition: &Condition) -> Option<bool> {
        match condition {
            Condition::Is(selector, wanted) => self.compare(selector, |value| is(value, wanted)),
            Condition::IsNot(selector, wanted) => self.compare(selector, |value| is(value, wanted).map(|same| !same)),
            Condition::All(conditions) => all(conditions.iter().map(|condition| self.holds(condition))),
            Condition::Any(conditions) => any(conditions.iter().map(|condition| self.holds(condition))),
            Condition::Not(condition) => self.holds(condition).map(|holds| !holds),
        }
    }

    fn compare(&self, selector: &Selector, matches: impl Fn(&ResourceValue) -> Option<bool>) -> Option<bool> {
        let selected = self.select(selector);
        let results = selected.iter().map(|(_, value)| matches(value));
        match selector.id {
            // Of a resource that nobody has spoken of nothing is known.
            Id::Named(_) => results.into_iter().next().unwrap_or(None),
            Id::Any => any(results),
            Id::Every => {
                if selected.is_empty() {
                    Some(false)
                } else {
                    all(results)
                }
            }
        }
    }

    /// The resources that a selector names, with their values.
    fn select(&self, selector: &Selector) -> Vec<(String, ResourceValue)> {
        let shown = |name: &str| if selector.remote { format!("remote.{name}") } else { name.to_owned() };
        if !selector.remote {
            let local = self.local.iter().filter(|(name, _)| selects(selector, name));
            return local.map(|(name, resource)| (shown(name), resource.value.clone())).collect();
        }
        let Some(remote) = self.remote else {
            let id = if let Id::Named(id) = &selector.id { id } else { "?" };
            return vec![(shown(&format!("{}.{id}", selector.class)), ResourceValue::Unknown)];
        };
        remote
            .iter()
            .filter(|(name, _)| selects(selector, name))
            .map(|(name, value)| (shown(name), value.clone()))
            .collect()
    }

    /// A rule in plain words: its label, and what its resources are.
    pub fn reason(&self, rule: &Rule) -> String {
        let mut said: Vec<String> = Vec::new();
        each_selector(&rule.condition, &mut |selector| {
            for (name, value) in self.select(selector) {
                // Of many resources of a class only those tell something that are not up.
                if matches!(selector.id, Id::Named(_)) || value != ResourceValue::Up {
                    said.push(format!("{name} is {value}"));
                }
            }
        });
        said.dedup();
        said.truncate(8);
        format!("rule {}: {}", rule.label, said.join(", "))
    }

    /// The first wait rule that holds, in plain words.
    pub fn wait_rule(&self, rules: &[Rule]) -> Option<String> {
        let mut waits = rules.iter().filter(|rule| rule.action == CheckAction::Wait);
        waits.find(|rule| self.holds(&rule.condition) == Some(true)).map(|rule| self.reason(rule))
    }

    /// Resources that a wait rule reads and whose checker has not looked yet.
    pub fn unchecked(&self, rules: &[Rule]) -> Vec<String> {
        let mut names = Vec::new();
        for rule in rules.iter().filter(|rule| rule.action == CheckAction::Wait) {
            each_selector(&rule.condition, &mut |selector| {
                let open = self.select(selector).into_iter().filter(|(_, value)| *value == ResourceValue::Init);
                names.extend(open.map(|(name, _)| name));
            });
        }
        names.sort();
        names.dedup();
        names
    }
}

/// Whether a selector names this resource (of its node).
pub fn selects(selector: &Selector, name: &str) -> bool {
    let Some((class, id)) = name.split_once('.') else { return false };
    class == selector.class && matches!(&selector.id, Id::Any | Id::Every)
        || matches!(&selector.id, Id::Named(named) if class == selector.class && id == named)
}

/// Calls `each` for every selector in a condition.
pub fn each_selector<'a>(condition: &'a Condition, each: &mut impl FnMut(&'a Selector)) {
    match condition {
        Condition::Is(selector, _) | Condition::IsNot(selector, _) => each(selector),
        Condition::All(conditions) | Condition::Any(conditions) => {
            for condition in conditions {
                each_selector(condition, each);
            }
        }
        Condition::Not(condition) => each_selector(condition, each),
    }
}

fn is(value: &ResourceValue, wanted: &ResourceValue) -> Option<bool> {
    match value {
        ResourceValue::Init | ResourceValue::Unknown if value != wanted => None,
        _ => Some(value == wanted),
    }
}

fn any(results: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut open = false;
    for result in results {
        match result {
            Some(true) => return Some(true),
            Some(false) => {}
            None => open = true,
        }
    }
    (!open).then_some(false)
}

fn all(results: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    any(results.map(|result| result.map(|holds| !holds))).map(|some_fails| !some_fails)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Rules;
    use ResourceValue::{Down, Init, Unknown, Up};

    fn selector(text: &str) -> Selector {
        let (remote, name) = text.strip_prefix("remote.").map_or((false, text), |name| (true, name));
        let (class, id) = name.split_once('.').unwrap();
        let id = match id {
            "?" => Id::Any,
            "*" => Id::Every,
            id => Id::Named(id.to_owned()),
        };
        Selector { remote, class: class.to_owned(), id }
    }

    fn rule(label: &str, resource: &str, value: ResourceValue, action: CheckAction) -> Rule {
        Rule { label: label.to_owned(), condition: Condition::Is(selector(resource), value), action }
    }

    fn resources(values: &[(&str, ResourceValue)]) -> Resources {
        let mut resources = Resources::default();
        for (name, value) in values {
            resources.set(name, value.clone(), "test", Instant(0)).unwrap();
        }
        resources
    }

    fn truth(
        local: &Resources,
        remote: Option<&[(String, ResourceValue)]>,
        resource: &str,
        value: ResourceValue,
    ) -> Option<bool> {
        Facts { local, remote }.holds(&Condition::Is(selector(resource), value))
    }

    #[test]
    fn question_mark_means_any_and_star_all_and_what_is_not_known_is_open() {
        let local = resources(&[("ip.a", Down), ("ip.b", Up), ("tcp.web", Init), ("intf.x", Down), ("intf.y", Init)]);
        for (resource, value, expected) in [
            ("ip.a", Down, Some(true)),
            ("ip.?", Down, Some(true)),
            ("ip.*", Down, Some(false)),
            ("tcp.web", Down, None),
            ("tcp.web", Init, Some(true)),
            ("tcp.none", Down, None),
            ("intf.?", Down, Some(true)),
            ("intf.*", Down, None),
            ("none.?", Down, Some(false)),
            ("none.*", Down, Some(false)),
            ("remote.ip.a", Down, None),
            ("remote.ip.a", Unknown, Some(true)),
            ("remote.ip.?", Down, None),
        ] {
            assert_eq!(truth(&local, None, resource, value), expected, "{resource}");
        }
        let peer = [("ip.a".to_owned(), Down)];
        assert_eq!(truth(&local, Some(&peer), "remote.ip.a", Down), Some(true));
        assert_eq!(truth(&local, Some(&peer), "remote.tcp.web", Down), None);
    }

    #[test]
    fn open_conditions_are_neither_true_nor_false_when_combined() {
        let local = resources(&[("a.x", Down), ("b.x", Init)]);
        let facts = Facts { local: &local, remote: None };
        let down = Condition::Is(selector("a.x"), Down);
        let open = Condition::Is(selector("b.x"), Down);
        assert_eq!(facts.holds(&Condition::All(vec![down.clone(), open.clone()])), None);
        assert_eq!(facts.holds(&Condition::Any(vec![down.clone(), open.clone()])), Some(true));
        assert_eq!(facts.holds(&Condition::Not(Box::new(open.clone()))), None);
        assert_eq!(facts.holds(&Condition::All(vec![Condition::Not(Box::new(down)), open])), Some(false));
        assert_eq!(facts.holds(&Condition::IsNot(selector("a.x"), Up)), Some(true));
        assert_eq!(facts.holds(&Condition::IsNot(selector("b.x"), Up)), None);
    }

    #[test]
    fn an_action_is_due_only_after_it_held_for_the_handle_time() {
        let rules = Rules {
            rules: vec![
                rule("r", "tcp.web", Down, CheckAction::Restart),
                rule("w", "ping.gw", Down, CheckAction::Wait),
            ],
            period_ms: 5,
            handle_time_ms: 15,
        };
        let mut local = resources(&[("tcp.web", Down), ("ping.gw", Up)]);
        let mut machine = Machine::default();
        let mut at =
            |now: u64, local: &Resources| machine.evaluate(Instant(now), &rules, Facts { local, remote: None });
        for now in [100, 101, 105, 110] {
            assert_eq!(at(now, &local), None, "{now}");
        }
        let due = at(115, &local).unwrap();
        assert_eq!((due.action, due.reason.as_str()), (CheckAction::Restart, "rule r: tcp.web is down"));
        assert_eq!(at(120, &local), None, "it has to hold again from the beginning");
        local.set("tcp.web", Up, "test", Instant(122)).unwrap();
        assert_eq!(at(125, &local), None);
        local.set("tcp.web", Down, "test", Instant(126)).unwrap();
        assert_eq!(at(130, &local), None);
        assert_eq!(at(140, &local), None, "a gap counts anew");
        local.set("ping.gw", Down, "test", Instant(141)).unwrap();
        assert!(at(145, &local).is_some_and(|due| due.action == CheckAction::Restart));
        assert_eq!(at(150, &local), None);
        assert!(
            at(160, &local).is_none() && at(165, &local).is_some_and(|due| due.action == CheckAction::Wait),
            "the stronger first"
        );
    }

    #[test]
    fn what_begins_to_hold_and_ceases_to_is_told_once() {
        let rules =
            Rules { rules: vec![rule("r", "tcp.web", Down, CheckAction::Restart)], period_ms: 5, handle_time_ms: 15 };
        let mut local = resources(&[("tcp.web", Down)]);
        let mut machine = Machine::default();
        let mut at = |now: u64, local: &Resources| {
            machine.evaluate(Instant(now), &rules, Facts { local, remote: None });
            machine.tell()
        };
        assert_eq!(at(100, &local), ["rule r: tcp.web is down: restart follows if it holds for 15 ms"]);
        assert!(at(101, &local).is_empty() && at(105, &local).is_empty());
        local.set("tcp.web", Up, "test", Instant(106)).unwrap();
        assert_eq!(at(110, &local), ["no rule asks for restart any more"]);
        assert!(at(115, &local).is_empty());
    }

    #[test]
    fn a_wait_rule_is_told_with_its_resource_and_what_is_not_checked_yet() {
        let rules = [rule("p_gw", "ping.gw", Down, CheckAction::Wait), rule("any", "intf.?", Down, CheckAction::Wait)];
        let local = resources(&[("ping.gw", Init), ("intf.eth0", Down), ("intf.eth1", Up)]);
        let facts = Facts { local: &local, remote: None };
        assert_eq!(facts.wait_rule(&rules).unwrap(), "rule any: intf.eth0 is down");
        assert_eq!(facts.unchecked(&rules), ["ping.gw"]);
    }
}
