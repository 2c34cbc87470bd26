//! Tests of the rules' language.

use super::{Condition, Id, RuleError, Selector, parse};
use crate::checker::CheckAction;
use crate::resource::ResourceValue;
use proptest::prelude::*;

fn refused(text: &str) -> RuleError {
    parse(text).expect_err(text)
}

fn down(class: &str, id: Id) -> Condition {
    Condition::Is(Selector { remote: false, class: class.into(), id }, ResourceValue::Down)
}

#[test]
fn a_rule_says_label_condition_and_action() {
    let rules = parse("/* web */ web_gone: if (tcp.web == down) then stopstart();").unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!((rules[0].label.as_str(), rules[0].action), ("web_gone", CheckAction::StopStart));
    assert_eq!(rules[0].condition, down("tcp", Id::Named("web".into())));
    assert_eq!(parse(" \n/* nothing */").unwrap(), vec![]);
}

#[test]
fn and_binds_tighter_than_or_and_not_tightest() {
    let rule = &parse("a: if (! ping.? == down || ip.* == down && tcp.x == down) then wait();").unwrap()[0];
    let not = Condition::Not(Box::new(down("ping", Id::Any)));
    let and = Condition::All(vec![down("ip", Id::Every), down("tcp", Id::Named("x".into()))]);
    assert_eq!(rule.condition, Condition::Any(vec![not, and]));
}

#[test]
fn resources_may_be_the_peers_and_their_ids_addresses() {
    let text = "a: if (remote.ip.192.0.2.7 != up && local.ip.2001:db8::7==down) then swap();";
    let rule = &parse(text).unwrap()[0];
    let Condition::All(parts) = &rule.condition else { panic!("{rule}") };
    let Condition::IsNot(remote, ResourceValue::Up) = &parts[0] else { panic!("{rule}") };
    assert!(remote.remote && rule.condition.reads_peer());
    assert_eq!(remote.id, Id::Named("192.0.2.7".into()));
    assert_eq!(parts[1], down("ip", Id::Named("2001:db8::7".into())));
}

#[test]
fn other_values_are_quoted_so_that_a_misspelt_state_is_an_error() {
    let rule = &parse("a: if (state.remote == \"PRIM Ready\" || heart.maxloop == true) then stop();").unwrap()[0];
    assert!(format!("{rule}").contains("\"PRIM Ready\""));
    let error = refused("a: if (tcp.web == dwon) then stop();");
    assert_eq!((error.line, error.column), (1, 19), "{error}");
    assert!(error.cure.contains("double quotes"), "{error}");
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_cure() {
    for (text, line, column, word) in [
        ("a if (tcp.x == down) then stop();", 1, 3, "colon"),
        ("\na: if tcp.x == down then stop();", 2, 7, "parentheses"),
        ("a: if (tcp.x == down) then reboot();", 1, 28, "stopstart"),
        ("a: if (tcp.x == down) then rfs.uptodate=up;", 1, 28, "stopstart"),
        ("a: if (tcp.x = down) then stop();", 1, 14, "compare"),
        ("a: if (tcp.x == down) then stop()", 1, 34, "semicolon"),
        ("a: if (tcp == down) then stop();", 1, 8, "class.id"),
        ("a: if (ip.192.* == down) then stop();", 1, 8, "whole id"),
        ("a: if (cluster() == down) then stop();", 1, 8, "compare"),
        ("a: if (tcp.x == down then stop();", 1, 22, "close"),
        ("/* a: if", 1, 1, "*/"),
        ("--Lua Rules\nRules = Rules + {}", 1, 1, "label: if"),
        ("a: if (a.b == up) then stop(); a: if (a.b == up) then stop();", 1, 32, "label"),
    ] {
        let error = refused(text);
        assert_eq!((error.line, error.column), (line, column), "{error}");
        assert!(error.cure.contains(word), "{error}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    for deep in ["(".repeat(100_000), "!".repeat(100_000)] {
        let error = refused(&format!("a: if ({deep}"));
        assert!(error.problem.contains("deep"), "{error}");
    }
    let wide = vec!["a.b == up"; 1000].join(" && ");
    refused(&format!("a: if ({wide}) then stop();"));
    refused(&format!("{}: if (a.b == up) then stop();", "x".repeat(1000)));
    let many: String = (0..1000).map(|i| format!("r{i}: if (a.b == up) then stop();\n")).collect();
    refused(&many);
}

fn condition() -> impl Strategy<Value = Condition> {
    let id = prop_oneof![Just(Id::Any), Just(Id::Every), "[a-z0-9][a-z0-9_.:-]{0,8}".prop_map(Id::Named)];
    let value = prop_oneof![
        Just(ResourceValue::Init),
        Just(ResourceValue::Up),
        Just(ResourceValue::Down),
        Just(ResourceValue::Unknown),
        "[A-Z]{1,6} [A-Za-z%0-9]{1,6}".prop_map(ResourceValue::Other),
    ];
    let term = (any::<bool>(), any::<bool>(), "[a-z]{1,6}", id, value)
        .prop_filter("a class is no side", |(_, _, class, ..)| class != "local" && class != "remote");
    let term = term.prop_map(|(equal, remote, class, id, value)| {
        let selector = Selector { remote, class, id };
        if equal { Condition::Is(selector, value) } else { Condition::IsNot(selector, value) }
    });
    term.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Condition::All),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Condition::Any),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back_as_the_same(condition in condition()) {
        let rule = super::Rule { label: "r".into(), condition, action: CheckAction::Stop };
        prop_assert_eq!(parse(&rule.to_string()).unwrap(), vec![rule]);
    }

    #[test]
    fn no_text_panics(text in "[a-z:.()!&|=;*?/\" \n\u{e4}-]{0,80}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.line >= 1 && error.column >= 1 && !error.cure.is_empty());
        }
    }
}
