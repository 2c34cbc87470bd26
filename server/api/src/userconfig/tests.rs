//! Tests of reading and writing `userconfig.xml`.

mod definitions;
mod features;
mod networks;
mod table;

use super::{Acknowledge, ProcAction, UserConfig, UserConfigError};
use proptest::prelude::*;

/// The Linux example every administrator starts from.
const EXAMPLE: &str = r#"<!DOCTYPE safe>
<safe>
<service mode="mirror" defaultprim="alone" maxloop="3" loop_interval="24" failover="on">
<!-- Server Configuration -->
<!-- Names or IP addresses on the default network are set during initialization in the console -->
<heart pulse="700" timeout="30000">
<heartbeat name="default" ident="flow"/>
</heart>
<errd polltimer="10">
<proc name="PROCESS_NAME" atleast="1" action="restart" class="prim" />
</errd>
<rfs mountover="off" async="second" acl="off" nbrei="3" >
<replicated dir="/test1replicated" mode="read_only"/>
<replicated dir="/test2replicated" mode="read_only"/>
</rfs>
<user nicestoptimeout="300" forcestoptimeout="300" logging="userlog"/>
</service>
</safe>
"#;

fn refused(text: &str) -> UserConfigError {
    UserConfig::parse(text).expect_err("the text is refused")
}

#[test]
fn the_linux_example_is_read_as_meant() {
    let config = UserConfig::parse(EXAMPLE).unwrap();
    assert_eq!((config.service.maxloop, config.service.loop_interval_ms), (3, 24 * 3_600_000));
    assert_eq!((config.heart.pulse_ms, config.heart.timeout_ms), (700, 30_000));
    assert_eq!(config.flow_lan(), "default");
    assert_eq!(config.errd.polltimer_ms, 10_000);
    assert_eq!(config.errd.procs[0].action, ProcAction::Restart);
    let rfs = config.rfs.as_ref().unwrap();
    assert_eq!(rfs.directories, ["/test1replicated", "/test2replicated"]);
    assert_eq!((rfs.acknowledge, rfs.encryption, rfs.resync_threads), (Acknowledge::Second, true, 3));
    assert_eq!(config.user.as_ref().unwrap().nicestop_timeout_ms, 300_000);
    let notes: Vec<_> = config.notes.iter().map(|note| (note.line, note.text.as_str())).collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(notes[0].0, 12);
}

#[test]
fn typographic_quotes_are_named_with_their_place() {
    let error = refused(&EXAMPLE.replace(r#"name="default""#, "name=\u{201d}default\u{201d}"));
    assert_eq!((error.line, error.column), (7, 17), "{error}");
    assert!(error.problem.contains("typographic quote"), "{error}");
    assert!(error.cure.contains("straight"), "{error}");
}

#[test]
fn entities_and_declarations_are_refused() {
    for text in [
        "<!DOCTYPE safe [<!ENTITY a \"b\">]><safe/>",
        "<!DOCTYPE safe SYSTEM \"file:///etc/passwd\"><safe/>",
        "<!DOCTYPE html><safe/>",
        "<!DOCTYPE safe",
        "<!-- x --><!DOCTYPE safe [ ]><safe>&a;</safe>",
        "<safe>&a;</safe>",
    ] {
        let error = refused(text);
        assert!(!error.cure.is_empty(), "{error}");
    }
}

#[test]
fn unknown_elements_and_attributes_are_errors_with_place_and_cure() {
    let error = refused(&EXAMPLE.replace("maxloop=", "maxlop="));
    assert_eq!((error.line, error.column), (3, 44), "{error}");
    assert!(error.cure.contains("maxloop"), "{error}");
    let error = refused(&EXAMPLE.replace("</heart>", "</heart>\n  <hearth/>"));
    assert_eq!((error.line, error.column), (9, 3), "{error}");
    let error = refused(&EXAMPLE.replace("</heart>", "</heart>\n<farm/>"));
    assert!(error.problem.contains("not available in this version"), "{error}");
    let error = refused(&EXAMPLE.replace("<safe>", "<safe xmlns:x=\"urn:x\">").replace("maxloop=", "x:maxloop="));
    assert!(error.problem.contains("unknown"), "{error}");
    let error = refused(&EXAMPLE.replace("</heart>", "</heart> stray"));
    assert!(error.problem.contains("text"), "{error}");
}

#[test]
fn times_take_units_and_refuse_what_rounds_to_nothing() {
    let config = UserConfig::parse(&EXAMPLE.replace(r#"timeout="30000""#, r#"timeout="5s""#)).unwrap();
    assert_eq!(config.heart.timeout_ms, 5000);
    let error = refused(&EXAMPLE.replace(r#"pulse="700""#, r#"pulse="400us""#));
    assert!(error.cure.contains("rounds to 0"), "{error}");
    for bad in ["", "x", "-1", "5 parsecs", "99999999999999999999d", "1e3"] {
        refused(&EXAMPLE.replace(r#"pulse="700""#, &format!("pulse=\"{bad}\"")));
    }
    let error = refused(&EXAMPLE.replace(r#"timeout="30000""#, r#"timeout="1000""#));
    assert!(error.problem.contains("three pulses"), "{error}");
}

#[test]
fn directories_are_absolute_plain_and_apart() {
    for bad in ["test", "/", "/a/../b", "/a//b", "/a/./b", "c:\\x", ""] {
        refused(&EXAMPLE.replace("/test1replicated", bad));
    }
    let error = refused(&EXAMPLE.replace("/test2replicated", "/test1replicated/below"));
    assert!(error.problem.contains("overlap"), "{error}");
    let config = UserConfig::parse(&EXAMPLE.replace("/test2replicated", "/test1replicated2/")).unwrap();
    assert_eq!(config.rfs.unwrap().directories[1], "/test1replicated2");
}

#[test]
fn what_this_version_cannot_do_is_refused_not_ignored() {
    for (good, bad) in [
        (r#"mode="mirror""#, r#"mode="farm""#),
        (r#"<rfs"#, r#"<rfs scripts="on""#),
        ("</service>", "<farm/></service>"),
    ] {
        let error = refused(&EXAMPLE.replacen(good, bad, 1));
        assert!(error.problem.contains("not available"), "{error}");
    }
}

#[test]
fn old_or_scheduled_copies_are_noted_as_what_this_replication_needs_not() {
    for (attribute, why) in
        [("syncdelta=\"10m\"", "would lose what was acknowledged"), ("syncat=\"0 3 * * *\"", "backups")]
    {
        let config = UserConfig::parse(&EXAMPLE.replacen("<rfs", &format!("<rfs {attribute}"), 1)).unwrap();
        assert!(config.notes.iter().any(|note| note.text.contains(why)), "{attribute}: {:?}", config.notes);
    }
    refused(&EXAMPLE.replacen("<rfs", "<rfs syncdelta=\"soon\"", 1));
}

#[test]
fn signature_covers_mode_heart_rfs_and_witness_only() {
    let signature = |text: &str| UserConfig::parse(text).unwrap().signature();
    let base = signature(EXAMPLE);
    assert_eq!(base, signature(&EXAMPLE.replace(r#"maxloop="3""#, r#"maxloop="5""#)));
    assert_eq!(base, signature(&EXAMPLE.replace(r#"timeout="30000""#, r#"timeout="30s""#)));
    assert_eq!(base, signature(&EXAMPLE.replace(r#"ident="flow""#, r#"ident="flow" pulse="700""#)));
    assert_eq!(
        base,
        signature(&EXAMPLE.replace("<replicated dir=\"/test1", "<flow name=\"default\"/><replicated dir=\"/test1"))
    );
    let witness = |exec: &str| format!("<check><splitbrain {exec}/></check></service>");
    for (from, to) in [
        (r#"timeout="30000""#, r#"timeout="20000""#.to_owned()),
        ("/test1replicated", "/other".to_owned()),
        (r#"async="second""#, r#"async="none""#.to_owned()),
        ("</service>", witness(r#"exec="register""#)),
        ("</service>", witness(r#"exec="ping" arg="10.0.0.1""#)),
        ("</service>", witness(r#"exec="etcd" arg="http://10.0.0.1:2379""#)),
    ] {
        assert_ne!(base, signature(&EXAMPLE.replace(from, &to)), "{to}");
    }
}

#[test]
fn deep_nesting_and_size_are_bounded() {
    refused(&"<safe>".repeat(40_000));
    refused(&" ".repeat(super::TEXT_MAX + 1));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = UserConfig::parse(&text);
    }

    #[test]
    fn no_damaged_example_panics(at in 0..EXAMPLE.len(), cut in 0..40usize, junk in "[<>&\"'/=!\\[\\]a-z\u{201d} ]{0,8}") {
        let end = (at + cut).min(EXAMPLE.len());
        let mut text = EXAMPLE.to_owned();
        text.replace_range(at..end, &junk);
        if let Err(error) = UserConfig::parse(&text) {
            prop_assert!(error.line >= 1 && error.column >= 1);
        }
    }
}
