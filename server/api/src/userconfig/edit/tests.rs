//! Tests of changes in place.

use super::super::{ProcAction, UserConfig};
use proptest::prelude::*;

const TEXT: &str = r#"<!DOCTYPE safe>
<safe>
  <macro name="limit" value="5"/>   <!-- a macro -->
  <service   mode='mirror' maxloop='%limit%'>
    <!-- the heart -->
    <heart timeout = "5000"><heartbeat name="default" ident="flow"/></heart>
    <rfs>
      <replicated dir="/a" mode="read_only"/> <!-- first -->
      <replicated dir="/b"/>
    </rfs>
    <errd polltimer="10">
      <proc name="one" class="both"/>
      <!-- about two -->
      <proc name="two" start_after="3"
            argregex="x &amp; y"/>
    </errd>
    <user/>
  </service>
</safe>
"#;

fn edited(text: &str, change: impl FnOnce(&mut UserConfig)) -> String {
    let mut wanted = UserConfig::parse(text).unwrap();
    change(&mut wanted);
    let out = UserConfig::edit(text, &wanted).unwrap();
    let again = UserConfig::parse(&out).unwrap();
    assert_eq!(UserConfig { notes: vec![], ..again }, UserConfig { notes: vec![], ..wanted });
    out
}

#[test]
fn nothing_changed_is_nothing_written() {
    assert_eq!(edited(TEXT, |_| {}), TEXT);
    let marked = format!("\u{feff}{}", TEXT.replace('\n', "\r\n"));
    assert_eq!(edited(&marked, |_| {}), marked);
}

#[test]
fn only_the_changed_values_differ() {
    let out = edited(TEXT, |config| {
        config.service.maxloop = 7;
        config.heart.timeout_ms = 9000;
        config.heart.pulse_ms = 300;
        config.errd.procs[1].argregex = Some("<'z'>".into());
    });
    let expected = TEXT
        .replace("'%limit%'", "'7'")
        .replace("timeout = \"5000\"", "timeout = \"9000\" pulse=\"300\"")
        .replace("x &amp; y", "&lt;'z'>");
    assert_eq!(out, expected);
}

#[test]
fn elements_are_added_and_removed_with_their_lines() {
    let out = edited(TEXT, |config| {
        let directories = ["/z", "/a", "/c & d", "/e"];
        config.rfs.as_mut().unwrap().directories = directories.map(str::to_owned).to_vec();
        config.errd.procs.remove(0);
    });
    let new = |dir: &str| format!("      <replicated dir=\"{dir}\" mode=\"read_only\"/>\n");
    let first = format!("{} <!-- first -->\n", new("/a").trim_end());
    let expected = TEXT
        .replace("      <replicated dir=\"/b\"/>\n", "")
        .replace(&first, &format!("{}{first}{}{}", new("/z"), new("/c &amp; d"), new("/e")))
        .replace("      <proc name=\"one\" class=\"both\"/>\n", "");
    assert_eq!(out, expected);
}

#[test]
fn missing_elements_are_made_and_empty_ones_opened() {
    let proc = UserConfig::parse(TEXT).unwrap().errd.procs[0].clone();
    let start = TEXT.find("    <errd").unwrap();
    let end = TEXT.find("    <user").unwrap();
    let without = format!("{}{}", &TEXT[..start], &TEXT[end..]);
    let add = |config: &mut UserConfig| {
        config.errd.polltimer_ms = 10_000;
        config.errd.procs.push(proc.clone());
    };
    let out = edited(&without, add);
    let errd = "    <errd polltimer=\"10s\">\n      <proc name=\"one\" atleast=\"1\" action=\"stopstart\" class=\"both\"/>\n    </errd>\n";
    assert_eq!(out, without.replace("  </service>", &format!("{errd}  </service>")));
    for empty in ["<errd polltimer=\"10s\"/>", "<errd polltimer=\"10s\"></errd>", "<errd polltimer=\"10s\">\n</errd>"] {
        for breaks in ["\n", ""] {
            edited(&without.replace("<user/>", &format!("<user/>{breaks}{empty}{breaks}")), add);
        }
    }
}

#[test]
fn a_change_that_cannot_be_made_in_place_changes_nothing() {
    let mut wanted = UserConfig::parse(TEXT).unwrap();
    wanted.rfs.as_mut().unwrap().encryption = false;
    let error = UserConfig::edit(TEXT, &wanted).unwrap_err();
    assert!(error.cure.contains("userconfig.xml"), "{error}");
    let mut wanted = UserConfig::parse(TEXT).unwrap();
    wanted.errd.procs[0].argregex = Some("%limit%".into());
    assert!(UserConfig::edit(TEXT, &wanted).is_err(), "the macro would be put in");
}

proptest! {
    #[test]
    fn any_change_of_lists_arrives(
        directories in proptest::sample::subsequence(vec!["/a", "/b", "/c", "/d"], 1..=4).prop_shuffle(),
        names in proptest::collection::vec("[a-d<&\"']{1,3}", 0..5),
        action in proptest::sample::select(vec![ProcAction::Restart, ProcAction::Stop, ProcAction::Handler("h".into())]),
        atmax in proptest::option::of(5..9u32),
        one_line in any::<bool>(),
        crlf in any::<bool>(),
    ) {
        let text = if one_line { TEXT.replace('\n', " ") } else { TEXT.to_owned() };
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        edited(&text, |config| {
            let proc = config.errd.procs[1].clone();
            config.rfs.as_mut().unwrap().directories = directories.iter().map(|d| (*d).to_owned()).collect();
            config.errd.procs = names.iter().map(|name| super::super::Proc {
                name: name.clone(),
                action: action.clone(),
                atmax,
                ..proc.clone()
            }).collect();
        });
    }
}
