//! The rules every module has, and those generated for its checkers.

use super::{Condition, Id, Rule, Selector};
use crate::checker::CheckAction;
use crate::resource::ResourceValue;
use crate::userconfig::{Checker, Probe, UserConfig};

/// The default rules of a module: the fixed ones, then one for each checker with an action of its own.
///
/// The reference's `splitbrain_failure` is none of them: what the witness says binds a node before any rule is evaluated.
pub fn default_rules(config: &UserConfig) -> Vec<Rule> {
    let any = |class: &str| (class.to_owned(), Id::Any);
    let fixed = [
        ("interface_failure", any("intf"), CheckAction::Wait),
        ("ip_failure", any("ip"), CheckAction::StopStart),
        ("module_failure", any("module"), CheckAction::Wait),
    ];
    let fixed = fixed.into_iter().map(|(label, resource, action)| when_down(label.to_owned(), resource, action));
    fixed.chain(config.check.checkers.iter().filter_map(generated)).collect()
}

/// The rules in force: the default rules unless `<failover extends="no">`, without those whose label a rule of the
/// user has, then the user's.
pub fn effective_rules(config: &UserConfig) -> Vec<Rule> {
    let failover = &config.failover;
    let mut rules = if failover.extends { default_rules(config) } else { Vec::new() };
    rules.retain(|rule| !failover.rules.iter().any(|own| own.label == rule.label));
    rules.extend(failover.rules.iter().cloned());
    rules
}

fn when_down(label: String, (class, id): (String, Id), action: CheckAction) -> Rule {
    let selector = Selector { remote: false, class, id };
    Rule { label, condition: Condition::Is(selector, ResourceValue::Down), action }
}

fn generated(checker: &Checker) -> Option<Rule> {
    let (letter, class) = match checker.probe {
        Probe::Tcp { .. } => ("t", "tcp"),
        Probe::Ping { .. } => ("p", "ping"),
        Probe::Custom { .. } => ("c", "custom"),
        Probe::Intf { .. } | Probe::Ip { .. } | Probe::Module { .. } => return None,
    };
    if checker.action == CheckAction::NoAction {
        return None;
    }
    let resource = (class.to_owned(), Id::Named(checker.ident.clone()));
    Some(when_down(format!("{letter}_{}", checker.ident), resource, checker.action))
}
