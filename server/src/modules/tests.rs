//! Tests of what a package means.

use super::*;

fn mirror() -> Package {
    template("mirror.safe").unwrap()
}

#[test]
fn the_catalogue_offers_mirror_and_its_settings_can_be_read() {
    assert!(catalogue().iter().any(|entry| entry.template == "mirror.safe"));
    let settings = settings(&mirror(), "mirror").unwrap();
    assert!(settings.scripts.contains_key("start_prim"));
    assert_eq!((settings.polltimer_s, settings.pulse_ms, settings.timeout_ms), (10, 250, 800));
    assert!(template("nothing.safe").is_err());
    let light = catalogue().into_iter().find(|entry| entry.template == "light.safe").unwrap();
    assert_eq!(light.mode, ModuleMode::Light);
    let package = template("light.safe").unwrap();
    let light = super::settings(&package, "light").unwrap();
    assert!(light.scripts.contains_key("start_both") && light.validate().is_empty());
    assert_eq!(check(&package).0, vec![]);
}

#[test]
fn settings_go_in_and_come_out_again() {
    let mut wanted = settings(&mirror(), "mirror").unwrap();
    wanted.directories = vec!["/srv/ledger".into()];
    wanted.timeout_ms = 5000;
    wanted.processes = vec![ProcessChecker {
        name: "ledger".into(),
        argregex: "--port 80".into(),
        atleast: 1,
        action: ProcAction::Restart,
        class: "prim".into(),
    }];
    wanted.scripts.insert("start_prim".into(), "#!/bin/sh\nexit 0\n".into());
    let package = with_settings(&mirror(), &wanted, "mirror").unwrap();
    assert_eq!(settings(&package, "mirror").unwrap(), wanted);
    let zip = write(&package).unwrap();
    assert_eq!(settings(&read(&zip).unwrap(), "mirror").unwrap(), wanted);
    assert_eq!(check(&package).0, vec![]);
}

#[test]
fn unchanged_settings_leave_the_text_as_it_was() {
    let mut same = settings(&mirror(), "mirror").unwrap();
    same.processes.retain(|process| process.name != "PROCESS_NAME");
    let once = with_settings(&mirror(), &same, "mirror").unwrap();
    let twice = with_settings(&once, &settings(&once, "mirror").unwrap(), "mirror").unwrap();
    assert_eq!(once, twice);
}

#[test]
fn saved_settings_keep_comments_macros_and_what_the_wizard_does_not_show() {
    let text = "<safe><macro name=\"d\" value=\"/srv\"/>\n<service mode=\"mirror\" boot='auto'>\n\
        <!-- ours --><heart timeout=\"5s\"><heartbeat name=\"default\"/></heart>\n\
        <rfs nbrei=\"3\"><replicated dir=\"%d%/a\"/></rfs>\n\
        <errd>\n  <proc name=\"nginx.service\" service=\"yes\"/>\n  <proc name=\"app\" action=\"check.sh\" class=\"own\" atmax=\"4\"/>\n</errd>\n\
        <check><tcp ident=\"w\" when=\"prim\"><to addr=\"::1\" port=\"80\"/></tcp></check>\n</service></safe>\n";
    let change = FileChange { path: USERCONFIG.into(), text: Some(text.into()) };
    let package = with_changes(&mirror(), &[change]).unwrap();
    let mut wanted = settings(&package, "mirror").unwrap();
    assert_eq!((wanted.directories[0].as_str(), wanted.processes.len()), ("/srv/a", 1));
    assert_eq!(with_settings(&package, &wanted, "mirror").unwrap(), package);
    wanted.timeout_ms = 6000;
    wanted.processes[0].name = "appd".into();
    let saved = with_settings(&package, &wanted, "mirror").unwrap();
    let expected = text.replace("\"5s\"", "\"6000\"").replace("\"app\"", "\"appd\"");
    assert_eq!(saved.userconfig().unwrap(), expected);
}

#[test]
fn networks_addresses_checkers_and_witness_go_in_and_come_out_again() {
    use holdfast_api::config::{CheckerKind, CheckerSettings, VirtualIp, WitnessKind, WitnessSettings};
    use holdfast_api::userconfig::{CheckAction, When};
    let mut wanted = settings(&mirror(), "mirror").unwrap();
    let ip =
        |addr: &str, interface: &str| VirtualIp { addr: addr.into(), interface: interface.into(), prefix: Some(24) };
    let checker = |kind, ident: &str, target: &str, port| CheckerSettings {
        kind,
        ident: ident.into(),
        when: When::Pre,
        action: CheckAction::Wait,
        target: target.into(),
        port,
        arg: String::new(),
        interval_ms: 10_000,
        timeout_ms: 5000,
    };
    wanted.networks.push("second".into());
    wanted.flow = "second".into();
    wanted.addresses = vec![ip("10.0.0.9", ""), ip("10.0.1.9", ""), ip("10.0.2.9", "eth2")];
    wanted.checkers = vec![
        checker(CheckerKind::Ping, "gateway", "10.0.0.254", 0),
        checker(CheckerKind::Module, "", "database", 9010),
    ];
    wanted.witness = WitnessSettings { kind: WitnessKind::Ping, addresses: vec!["10.0.0.254".into()] };
    let package = with_settings(&mirror(), &wanted, "mirror").unwrap();
    assert_eq!(settings(&package, "mirror").unwrap(), wanted);
    let facts = facts(&write(&package).unwrap()).unwrap();
    assert_eq!((facts.flow.as_str(), facts.addresses.len(), facts.witness), ("second", 3, WitnessKind::Ping));
    wanted.networks.truncate(1);
    wanted.flow = "default".into();
    wanted.addresses.remove(0);
    wanted.checkers.clear();
    wanted.witness = WitnessSettings::default();
    wanted.directories.clear();
    let less = with_settings(&package, &wanted, "mirror").unwrap();
    assert_eq!(settings(&less, "mirror").unwrap(), wanted);
    assert!(less.userconfig().unwrap().contains("<!-- The process that must run"), "comments are gone");
}

#[test]
fn a_field_that_was_not_edited_follows_its_macro() {
    let text = "<safe><macro name=\"p\" value=\"80\"/><service mode=\"mirror\"><heart><heartbeat name=\"a\"/></heart>\
        <check><tcp ident=\"w\" when=\"prim\"><to addr=\"::1\" port=\"%p%\"/></tcp></check></service></safe>";
    let change = FileChange { path: USERCONFIG.into(), text: Some(text.into()) };
    let package = with_changes(&mirror(), &[change]).unwrap();
    let mut wanted = settings(&package, "m").unwrap();
    wanted.macros[0].value = "81".into();
    let saved = with_settings(&package, &wanted, "m").unwrap();
    assert_eq!(saved.userconfig().unwrap(), text.replace("\"80\"", "\"81\""));
    assert_eq!(settings(&saved, "m").unwrap().checkers[0].port, 81);
}

#[test]
fn programs_that_are_missing_are_named() {
    let text = "<safe><service mode=\"light\"><user/><errd><proc name=\"a\" action=\"restat\"/></errd>\
        <check><custom ident=\"c\" when=\"pre\" exec=\"c.sh\"/></check></service></safe>";
    let change = |path: &str, text: &str| FileChange { path: path.into(), text: Some(text.into()) };
    let package = with_changes(&mirror(), &[change(USERCONFIG, text), change("bin/c.sh", "#!/bin/sh\n")]).unwrap();
    let (problems, ..) = check(&package);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("bin/restat"), "{problems:?}");
}

#[test]
fn changes_outside_the_module_are_refused_by_name() {
    for path in ["../x", "/etc/passwd", "conf/../../x", "other/x", ""] {
        let change = FileChange { path: path.into(), text: Some(String::new()) };
        let failure = with_changes(&mirror(), &[change]).unwrap_err();
        assert_eq!(failure.0.errors[0].field, "changes[0].path", "{path}");
    }
    let gone = FileChange { path: USERCONFIG.into(), text: None };
    assert!(with_changes(&mirror(), &[gone]).is_err());
}

#[test]
fn bad_xml_is_named_with_line_and_column() {
    let change = FileChange { path: USERCONFIG.into(), text: Some("<safe>\n<nonsense/>\n</safe>".into()) };
    let package = with_changes(&mirror(), &[change]).unwrap();
    let (problems, ..) = check(&package);
    assert_eq!(problems[0].field, USERCONFIG);
    assert!(problems[0].message.contains("line 2"), "{}", problems[0].message);
}
