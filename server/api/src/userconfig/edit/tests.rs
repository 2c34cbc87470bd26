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

#[test]
fn networks_addresses_checkers_and_witness_are_added_changed_and_removed() {
    use super::super::{CheckAction, Checker, HeartbeatLink, Probe, Vip, VipInterface, VirtualAddress, When, Witness};
    let tcp = |ident: &str, port: u16| Checker {
        ident: ident.to_owned(),
        when: When::Prim,
        action: CheckAction::Restart,
        probe: Probe::Tcp { addr: "10.0.0.9".to_owned(), port, interval_ms: 10_000, timeout_ms: 2_000 },
    };
    let address = VirtualAddress { addr: "10.0.0.9".into(), prefix: Some(24), check: true, ..address() };
    let interface = VipInterface {
        name: Some("eth1".to_owned()),
        check: true,
        arpreroute: false,
        arpinterval_ms: 60_000,
        arpelapse_ms: 1_200_000,
        addresses: vec![address],
    };
    let vip = Vip { tcpreset: true, interfaces: vec![interface] };
    let all = edited(TEXT, |config| {
        config.heart.links.push(HeartbeatLink::new("second", "second"));
        config.set_checked(Some(vip.clone()), vec![tcp("web", 80), tcp("more", 81)]);
        config.witness = Witness::Ping { ident: "witness".into(), addresses: vec!["10.0.0.1".into()] };
    });
    for written in [
        "<heartbeat name=\"default\" ident=\"flow\"/><heartbeat name=\"second\"/></heart>",
        "\n          <real_interface>\n            <virtual_addr addr=\"10.0.0.9\" netmask=\"24\"/>\n",
        "\n      <tcp ident=\"web\" when=\"prim\">\n        <to addr=\"10.0.0.9\" port=\"80\" timeout=\"2s\"/>\n      </tcp>\n",
        "<splitbrain ident=\"witness\" exec=\"ping\" arg=\"10.0.0.1\"/>",
        "<!-- about two -->",
    ] {
        assert!(all.contains(written), "{written}\nnot in\n{all}");
    }
    assert_eq!(UserConfig::parse(&all).unwrap().written_checkers().len(), 2);
    let less = edited(&all, |config| {
        config.set_checked(Some(vip.clone()), vec![tcp("more", 8081), tcp("last", 1)]);
        config.witness = Witness::Server { ident: "witness".into() };
    });
    assert!(!less.contains("ident=\"web\"") && less.contains("8081") && less.contains("exec=\"register\"/>"), "{less}");
    let none = edited(&less, |config| {
        config.heart.links.truncate(1);
        config.set_checked(None, Vec::new());
        config.witness = Witness::None;
        config.set_directories(Vec::new());
    });
    for gone in ["vip", "tcp", "splitbrain", "second", "rfs"] {
        assert!(!none.contains(&format!("<{gone}")), "{gone} in {none}");
    }
    let again = edited(&none, |config| config.set_directories(vec!["/new".to_owned()]));
    assert!(again.contains("<rfs async=\"second\">\n      <replicated dir=\"/new\" mode=\"read_only\"/>"), "{again}");
}

fn address() -> super::super::VirtualAddress {
    super::super::VirtualAddress {
        addr: String::new(),
        place: super::super::AddressPlace::OneSideAlias,
        check: true,
        connections: false,
        prefix: None,
    }
}

#[test]
fn every_kind_of_checker_is_written_as_it_is_read() {
    let text = "<safe><service mode=\"mirror\"><heart><heartbeat name=\"a\"/></heart><check>\
        <tcp ident=\"t\" when=\"pre\" action=\"noaction\"><to addr=\"::1\" port=\"80\" interval=\"1s\"/></tcp>\
        <ping ident=\"p\" when=\"both\"><to addr=\"a.example\" timeout=\"1500ms\"/></ping>\
        <intf ident=\"i\"><to local_addr=\"10.0.0.1\"/></intf><ip ident=\"v\" when=\"both\"><to addr=\"10.0.0.9\"/></ip>\
        <custom ident=\"c\" when=\"prim\" exec=\"a b.sh\" arg=\"x &amp; y\" action=\"stop\"/>\
        <module name=\"db\"/><module name=\"db\" ident=\"far\"><to addr=\"10.0.0.8\" port=\"9011\"/></module>\
        </check></service></safe>";
    let config = UserConfig::parse(text).unwrap();
    let written: String = config.check.checkers.iter().map(super::sections::checker).collect();
    let again = format!(
        "<safe><service mode=\"mirror\"><heart><heartbeat name=\"a\"/></heart><check>{written}</check></service></safe>"
    );
    assert_eq!(UserConfig::parse(&again).unwrap().check, config.check, "{written}");
}

#[test]
fn macros_are_shown_as_written_and_changed_in_place() {
    assert_eq!(UserConfig::macros(TEXT).unwrap(), [("limit".to_owned(), "5".to_owned())]);
    let wanted = [("limit".to_owned(), "6".to_owned()), ("other".to_owned(), "x".to_owned())];
    assert_eq!(UserConfig::set_macros(TEXT, &wanted).unwrap(), TEXT.replace("value=\"5\"", "value=\"6\""));
}

#[test]
fn what_is_expanded_says_the_same_without_macros() {
    let text = TEXT.replace(
        "<user/>",
        "<user><var name=\"A\" value='&quot;%limit%&quot; 100% %other%'/></user>\n    \
         <failover><![CDATA[a: if (custom.%limit% == \"x\") then stop();]]></failover>",
    );
    let text = text
        .replace("  <service", "  <macro name=\"twice\" value=\"%limit%%limit%\"/>\n  <service boot_delay=\"%twice%\"");
    let out = UserConfig::expanded(&text).unwrap();
    assert!(!out.contains("<macro") && out.contains("maxloop='5'") && out.contains("boot_delay=\"55\""), "{out}");
    assert!(out.contains("value='\"5\" 100% %other%'") && out.contains("[CDATA[a: if (custom.5 =="), "{out}");
    assert!(out.starts_with("<!DOCTYPE safe>\n<safe>\n") && out.contains("argregex=\"x &amp; y\""), "{out}");
    let (read, meant) = (UserConfig::parse(&out).unwrap(), UserConfig::parse(&text).unwrap());
    assert_eq!(UserConfig { notes: vec![], ..read }, UserConfig { notes: vec![], ..meant });
    assert!(UserConfig::expanded("<safe>").is_err());
}

#[test]
fn what_would_grow_beyond_bounds_is_not_expanded() {
    let long = "x".repeat(4000);
    let vars: String = (0..64).map(|at| format!("<var name=\"V{at}\" value=\"%m%\"/>")).collect();
    let text = format!(
        "<safe><macro name=\"m\" value=\"{long}\"/><service mode=\"light\"><user>{vars}</user><failover><![CDATA[/*%m%*/]]>\
         </failover></service></safe>"
    );
    UserConfig::parse(&text).unwrap();
    let error = UserConfig::expanded(&text).unwrap_err();
    assert!(error.problem.contains("too long"), "{error}");
}
