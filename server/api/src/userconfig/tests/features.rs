//! What each element means once it is read: values, presets, generated checkers and rules, places of errors.

use super::super::{
    AddressPlace, Boot, CheckAction, Checker, DefaultPrim, Mode, Probe, ProcAction, UserConfig, UserConfigError, When,
    Witness,
};
use crate::rules::{default_rules, effective_rules};

fn mirror(inner: &str) -> String {
    format!("<safe><service mode=\"mirror\"><heart><heartbeat name=\"default\"/></heart>\n{inner}\n</service></safe>")
}

fn read(inner: &str) -> UserConfig {
    UserConfig::parse(&mirror(inner)).unwrap_or_else(|error| panic!("{inner}: {error}"))
}

fn refused(inner: &str) -> UserConfigError {
    UserConfig::parse(&mirror(inner)).expect_err(inner)
}

fn vip(interface: &str, addresses: &str) -> String {
    format!(
        "<vip><interface_list><interface {interface}><real_interface>{addresses}</real_interface></interface>\
         </interface_list></vip>"
    )
}

#[test]
fn service_and_heart_say_all_they_can() {
    let text = r#"<safe><service mode="mirror" boot="auto" boot_delay="90" failover="off" defaultprim="node2" maxloop="0"
        loop_interval="90m" automatic_reboot="on"><heart port="9000" pulse="500ms" timeout="3s">
        <heartbeat name="default" pulse="100" timeout="1s"/><heartbeat name="private" ident="flow"/></heart></service></safe>"#;
    let config = UserConfig::parse(text).unwrap();
    let service = &config.service;
    assert_eq!((service.boot, service.boot_delay_ms, service.failover), (Boot::Auto, 90_000, false));
    assert_eq!(service.defaultprim, DefaultPrim::Node("node2".into()));
    assert_eq!((service.maxloop, service.loop_interval_ms, service.automatic_reboot), (0, 5_400_000, true));
    assert_eq!((config.heart.port, config.flow_lan()), (Some(9000), "private"));
    assert_eq!(config.heart.links[0].ident, "default");
    assert_eq!(
        config.heart.links.iter().map(|link| config.heart.times_of(link)).collect::<Vec<_>>(),
        [(100, 1000), (500, 3000)]
    );
    let error = UserConfig::parse(&text.replace("timeout=\"3s\"", "timeout=\"1200\"")).unwrap_err();
    assert_eq!(error.line, 2, "{error}");
}

#[test]
fn a_light_module_has_no_second_node() {
    let light = |inner: &str| format!("<safe><service mode=\"light\">{inner}</service></safe>");
    let config = UserConfig::parse(&light("<user/><errd><proc name=\"a\" class=\"both\"/></errd>")).unwrap();
    assert_eq!((config.service.mode, config.heart.links.len()), (Mode::Light, 0));
    for inner in [
        "<heart><heartbeat name=\"default\"/></heart>",
        "<rfs><replicated dir=\"/a\"/></rfs>",
        &vip("", "<virtual_addr addr=\"192.0.2.1\"/>"),
        "<check><splitbrain exec=\"register\"/></check>",
        "<check><tcp ident=\"a\" when=\"prim\"><to addr=\"::1\" port=\"1\"/></tcp></check>",
        "<failover><![CDATA[a: if (remote.tcp.a == down) then stop();]]></failover>",
    ] {
        let error = UserConfig::parse(&light(inner)).expect_err(inner);
        assert!(error.problem.contains("light module"), "{error}");
    }
    let noted = UserConfig::parse("<safe><service mode=\"light\" failover=\"off\"/></safe>").unwrap();
    assert_eq!(noted.notes.len(), 1);
}

#[test]
fn macros_are_put_in_and_places_are_those_of_the_file() {
    let text = "<safe>\n<macro name=\"dir\" value=\"/srv\"/><macro name=\"data\" value=\"%dir%/data\"/>\n\
        <service mode=\"mirror\"><heart><heartbeat name=\"default\"/></heart>\n\
        <rfs><replicated dir=\"%data%\"/></rfs><user><var name=\"A\" value=\"100% %b% %dir%\"/></user>\n\
        <failover><![CDATA[\n/* %dir% */ a: if (tcp.%data == down) then stop();\n]]></failover></service></safe>";
    let error = UserConfig::parse(text).unwrap_err();
    assert_eq!((error.line, error.column), (6, 20), "{error}");
    let config = UserConfig::parse(&text.replace("tcp.%data", "tcp.data")).unwrap();
    assert_eq!(config.rfs.unwrap().directories, ["/srv/data"]);
    assert_eq!(config.user.unwrap().vars[0].value, "100% %b% /srv");
    assert_eq!((config.notes.len(), config.notes[0].line), (1, 4));
    assert!(config.notes[0].text.starts_with("%b% stays"), "{}", config.notes[0].text);
    let error = UserConfig::parse(&text.replace("100%", "%SAFEVAR%")).unwrap_err();
    assert!(error.problem.contains("environment") && error.cure.contains("<macro name=\"SAFEVAR\""), "{error}");
    let bomb: String =
        (0..60).map(|i| format!("<macro name=\"m{}\" value=\"%m{i}%%m{i}%%m{i}%xx\"/>", i + 1)).collect();
    assert!(UserConfig::parse(&format!("<safe>{bomb}<service mode=\"light\"/></safe>")).is_err());
    for bad in [
        "<macro name=\"a\" value=\"\"/><macro name=\"a\" value=\"\"/><service mode=\"light\"/>",
        "<service mode=\"light\"/><macro name=\"a\" value=\"\"/>",
    ] {
        UserConfig::parse(&format!("<safe>{bad}</safe>")).expect_err(bad);
    }
}

#[test]
fn virtual_addresses_bring_their_checkers_last() {
    let addresses = "<virtual_addr addr=\"192.0.2.77\" netmask=\"255.255.255.192\"/>\
        <virtual_addr addr=\"2001:db8::7\" where=\"one_side\" netmask=\"64\" connections=\"on\"/>\
        <virtual_addr addr=\"www.example.org\" check=\"off\"/>";
    let custom = "<check><custom ident=\"c\" when=\"prim\" exec=\"c.sh\"/></check>";
    let config = read(&format!("{}{custom}", vip("name=\"eth1\" arpreroute=\"on\" arpelapse=\"1h\"", addresses)));
    let vip_read = config.vip.as_ref().unwrap();
    let interface = &vip_read.interfaces[0];
    assert!(vip_read.tcpreset && interface.arpreroute && interface.check);
    assert_eq!((interface.arpinterval_ms, interface.arpelapse_ms), (60_000, 3_600_000));
    assert_eq!(interface.addresses[0].prefix, Some(26));
    assert_eq!((interface.addresses[1].place, interface.addresses[1].prefix), (AddressPlace::OneSide, Some(64)));
    let resources: Vec<_> = config.check.checkers.iter().map(Checker::resource).collect();
    assert_eq!(resources, ["custom.c", "intf.192.0.2.64", "ip.192.0.2.77", "ip.2001:db8::7"]);
    let (link, address) = (&config.check.checkers[1], &config.check.checkers[2]);
    assert_eq!((link.when, link.action), (When::Pre, CheckAction::Wait));
    assert_eq!(link.probe, Probe::Intf { local_addr: None, interface: Some("eth1".into()) });
    assert_eq!((address.when, address.action), (When::Prim, CheckAction::StopStart));
    // Without a netmask the network is not known here, and the address stands for it.
    let config = read(&vip("", "<virtual_addr addr=\"192.0.2.7\"/>"));
    assert_eq!(config.check.checkers[0].resource(), "intf.192.0.2.7");
    // What the user wrote is not generated again.
    let own = "<check><ip ident=\"192.0.2.7\"><to addr=\"192.0.2.7\" interval=\"3s\"/></ip></check>";
    let config = read(&format!("{}{own}", vip("check=\"off\"", "<virtual_addr addr=\"192.0.2.7\"/>")));
    assert_eq!(config.check.checkers.len(), 1);
    assert_eq!(config.check.checkers[0].probe, Probe::Ip { addr: "192.0.2.7".into(), interval_ms: 3000 });
}

#[test]
fn wrong_virtual_addresses_are_refused() {
    for (interface, addresses) in [
        ("", "<virtual_addr addr=\"192.0.2.7\" netmask=\"255.0.255.0\"/>"),
        ("", "<virtual_addr addr=\"192.0.2.7\" netmask=\"33\"/>"),
        ("", "<virtual_addr addr=\"2001:db8::1\" netmask=\"255.255.255.0\"/>"),
        ("", "<virtual_addr addr=\"192.0.2.7\"/><virtual_addr addr=\"192.0.2.7\"/>"),
        ("", "<virtual_addr addr=\"192.0.2.7\" where=\"alias\"/>"),
        ("name=\"a/b\"", "<virtual_addr addr=\"192.0.2.7\"/>"),
        ("", ""),
    ] {
        assert!(!refused(&vip(interface, addresses)).cure.is_empty());
    }
    let virtual_interface = "<vip><interface_list><interface><virtual_interface/></interface></interface_list></vip>";
    assert!(refused(virtual_interface).problem.contains("not available"));
    assert!(refused("<vip><interface_list/><loadbalancing_list/></vip>").problem.contains("not available"));
}

#[test]
fn processes_units_and_handlers_are_watched() {
    let config = read(
        "<errd polltimer=\"2500ms\"><proc name=\"post\" nameregex=\"^post\" argregex=\"-D /srv\" atmax=\"3\" start_after=\"2\"/>\
         <proc name=\"nginx.service\" service=\"yes\" action=\"restart\" restart_services=\"a, b ,\" class=\"both\"/>\
         <proc name=\"bad\" atmax=\"0\" action=\"noaction\"/><proc name=\"x\" action=\"bin/look.sh\" class=\"mine\" atleast=\"2\"/></errd>",
    );
    let procs = &config.errd.procs;
    assert_eq!((config.errd.polltimer_ms, procs.len()), (2500, 4));
    assert_eq!((procs[0].atleast, procs[0].atmax, procs[0].start_after), (Some(1), Some(3), 2));
    assert_eq!((procs[0].action.clone(), procs[0].class.as_str()), (ProcAction::StopStart, "prim"));
    assert!(procs[1].service);
    assert_eq!(procs[1].restart_services, ["a", "b"]);
    assert_eq!((procs[2].atleast, procs[2].atmax), (None, Some(0)));
    assert_eq!(procs[3].action, ProcAction::Handler("bin/look.sh".into()));
    for bad in [
        "<proc name=\"sixteen-letters-x\"/>",
        "<proc name=\"a\" atleast=\"-1\"/>",
        "<proc name=\"a\" atleast=\"3\" atmax=\"2\"/>",
        "<proc name=\"a\" restart_services=\"b\"/>",
        "<proc name=\"a\" service=\"yes\" argregex=\"b\"/>",
        "<proc name=\"a\" action=\"../x\"/>",
        "<proc/>",
    ] {
        refused(&format!("<errd>{bad}</errd>"));
    }
    let twice = read("<errd><proc name=\"java\" argregex=\"a\"/><proc name=\"java\" argregex=\"b\"/></errd>");
    assert_eq!((twice.errd.procs.len(), twice.notes.len()), (2, 1));
}

#[test]
fn checkers_have_their_presets_and_actions_that_suit_their_time() {
    let config = read(
        "<check><tcp ident=\"w\" when=\"both\"><to addr=\"127.0.0.1\" port=\"80\"/></tcp>\
         <ping ident=\"r\"><to addr=\"192.0.2.1\" interval=\"1s\" timeout=\"500ms\"/></ping>\
         <intf ident=\"lan\"><to local_addr=\"192.0.2.2\"/></intf>\
         <custom ident=\"c\" when=\"prim\" exec=\"check/c.sh\" arg=\"a b\" action=\"stop\"/>\
         <module name=\"db\"/><module name=\"db\"><to addr=\"node2\"/></module></check>",
    );
    let [tcp, ping, intf, custom, here, there] = &config.check.checkers[..] else { panic!("six") };
    assert_eq!((tcp.when, tcp.action), (When::Both, CheckAction::Restart));
    let probe = Probe::Tcp { addr: "127.0.0.1".into(), port: 80, interval_ms: 10_000, timeout_ms: 5000 };
    assert_eq!(tcp.probe, probe);
    assert_eq!((ping.when, ping.action), (When::Pre, CheckAction::Wait));
    assert_eq!(ping.probe, Probe::Ping { addr: "192.0.2.1".into(), interval_ms: 1000, timeout_ms: 500 });
    assert_eq!(intf.probe, Probe::Intf { local_addr: Some("192.0.2.2".into()), interface: None });
    assert_eq!(custom.probe, Probe::Custom { exec: "check/c.sh".into(), arg: "a b".into() });
    assert_eq!((here.resource(), there.resource()), ("module.db".into(), "module.db_node2".into()));
    let labels: Vec<_> = default_rules(&config).iter().map(ToString::to_string).collect();
    assert_eq!(labels[0], "interface_failure: if (intf.? == down) then wait();");
    assert_eq!(
        labels[3..],
        [
            "t_w: if (tcp.w == down) then restart();",
            "p_r: if (ping.r == down) then wait();",
            "c_c: if (custom.c == down) then stop();",
        ]
    );
    for bad in [
        "<tcp ident=\"w\"><to addr=\"::1\" port=\"80\"/></tcp>",
        "<tcp ident=\"w\" when=\"pre\" action=\"restart\"><to addr=\"::1\" port=\"80\"/></tcp>",
        "<tcp ident=\"w\" when=\"prim\" action=\"wait\"><to addr=\"::1\" port=\"80\"/></tcp>",
        "<tcp ident=\"w\" when=\"prim\"/>",
        "<tcp ident=\"w\" when=\"prim\"><to addr=\"::1\" port=\"80\"/><to addr=\"::1\" port=\"81\"/></tcp>",
        "<custom ident=\"c\" when=\"prim\" exec=\"/bin/c\"/>",
        "<module name=\"db\"/><module name=\"db\"/>",
        "<module name=\"db\"><to addr=\"n\" secure=\"on\"/></module>",
        "<intf ident=\"lan\" when=\"prim\"><to local_addr=\"192.0.2.2\"/></intf>",
    ] {
        refused(&format!("<check>{bad}</check>"));
    }
}

#[test]
fn a_witness_is_nobody_addresses_the_server_or_etcd() {
    let witness = |inner: &str| read(&format!("<check><splitbrain ident=\"w\" {inner}/></check>")).witness;
    let ident = || "w".to_owned();
    assert_eq!(read("").witness, Witness::None);
    let addresses = vec!["192.0.2.1".to_owned(), "gateway".to_owned()];
    assert_eq!(witness("exec=\"ping\" arg=\" 192.0.2.1  gateway\""), Witness::Ping { ident: ident(), addresses });
    assert_eq!(witness("exec=\"register\""), Witness::Server { ident: ident() });
    let endpoints = vec!["http://h:2379".to_owned(), "http://[2001:db8::1]:2379".to_owned()];
    assert_eq!(
        witness("exec=\"etcd\" arg=\"http://h:2379 http://[2001:db8::1]:2379\""),
        Witness::Etcd { ident: ident(), endpoints }
    );
    for bad in [
        "",
        "exec=\"ping\" arg=\"http://x\"",
        "exec=\"ping\" arg=\" \"",
        "exec=\"register\" arg=\"x\"",
        "exec=\"etcd\"",
        "exec=\"etcd\" arg=\"https://h:2379\"",
        "exec=\"etcd\" arg=\"http://h\"",
        "exec=\"etcd\" arg=\"http://h:2379/x\"",
        "exec=\"etcd\" arg=\"http://2001:db8::1:2379\"",
    ] {
        refused(&format!("<check><splitbrain ident=\"w\" {bad}/></check>"));
    }
    refused("<check><splitbrain exec=\"register\"/><splitbrain exec=\"register\"/></check>");
}

#[test]
fn rules_join_the_default_rules_or_replace_them() {
    let rules = "<![CDATA[ip_failure: if (ip.* == down) then wait();]]><!-- and --><![CDATA[\nb: if (tcp.x == down) then stop();\n]]>";
    let config = read(&format!("<failover period=\"1s\" handle_time=\"2500\">{rules}</failover>"));
    assert_eq!((config.failover.period_ms, config.failover.handle_time_ms), (1000, 2500));
    assert!(config.notes[0].text.contains("3000ms"), "{:?}", config.notes);
    let labels = |config: &UserConfig| effective_rules(config).into_iter().map(|rule| rule.label).collect::<Vec<_>>();
    assert_eq!(labels(&config), ["interface_failure", "module_failure", "ip_failure", "b"]);
    let config = read(&format!("<failover extends=\"no\">{rules}</failover>"));
    assert_eq!(labels(&config), ["ip_failure", "b"]);
    assert_eq!(labels(&read("")).len(), 3);
}

#[test]
fn a_bad_rule_is_named_with_its_place_in_the_file() {
    let error = refused("<failover>\n  <![CDATA[ä: if (tcp.x == down) then stop();]]></failover>");
    assert_eq!((error.line, error.column), (3, 12), "{error}");
    let error = refused("<failover><![CDATA[\n\n  a: if (tcp.x == doun) then stop();]]></failover>");
    assert_eq!((error.line, error.column), (4, 19), "{error}");
    let error = refused("<failover extends=\"yes\"> <![CDATA[--Lua Rules\n]]></failover>");
    assert!(error.problem.contains("Lua"), "{error}");
    let error = refused("<failover>a: if (tcp.x == down) then stop();</failover>");
    assert_eq!((error.line, error.column), (2, 11), "{error}");
    assert!(error.cure.contains("CDATA"), "{error}");
    let one = "<![CDATA[a: if (tcp.x == down) then stop();]]>";
    let error = refused(&format!("<failover>{one}\n{one}</failover>"));
    assert_eq!((error.line, error.column), (3, 10), "{error}");
    refused("<failover><rule/></failover>");
}

#[test]
fn the_replication_accepts_all_it_knows_and_says_what_does_nothing() {
    let config = read(
        "<rfs async=\"none\" encryption=\"off\" sendtimeout=\"5s\" acl=\"on\" nbrei=\"6\" namespacepolicy=\"3\" checktime=\"220000\" \
         reiallowedbw=\"20000\" roflags=\"0x10000\" scripts=\"off\" syncdelta=\"0m\"><flow name=\"default\"/>\
         <replicated dir=\"/a\"/><replicated dir=\"/b c\" mode=\"read_only\"/></rfs>",
    );
    let rfs = config.rfs.as_ref().unwrap();
    assert_eq!((rfs.encryption, rfs.send_timeout_ms, rfs.flow.as_deref()), (false, 5000, Some("default")));
    assert_eq!(rfs.directories, ["/a", "/b c"]);
    assert_eq!((rfs.resync_threads, rfs.resync_bytes_per_s), (6, 20000 * 1024));
    assert_eq!(config.notes.len(), 5, "{:?}", config.notes);
    refused("<rfs/>");
    refused("<rfs><flow name=\"other\"/><replicated dir=\"/a\"/></rfs>");
}

#[test]
fn excluded_names_and_paths_to_check_are_read() {
    let config = read(
        "<rfs><replicated dir=\"/a/\"><notreplicated path=\"log/\"/><notreplicated regexpath=\"[.]tmp$\"/>\
         <tocheck path=\"here/it is\"/></replicated><replicated dir=\"/b\"><notreplicated regexpath=\"![.]db$\"/></replicated></rfs>",
    );
    let rfs = config.rfs.as_ref().unwrap();
    let shown: Vec<String> = rfs.exclusions.iter().map(|e| format!("{} {:?}", e.directory, e.names)).collect();
    assert_eq!(shown, ["/a Path(\"log\")", "/a Matching(\"[.]tmp$\")", "/b NotMatching(\"[.]db$\")"]);
    assert_eq!(rfs.required, ["/a/here/it is"]);
    for (bad, line) in [
        ("<notreplicated/>", 4),
        ("<notreplicated path=\"x\" regexpath=\"x\"/>", 4),
        ("<notreplicated path=\"/x\"/>", 4),
        ("<notreplicated path=\"x/../y\"/>", 4),
        ("<notreplicated regexpath=\"(\"/>", 4),
        ("<notreplicated regexpath=\"!a{1000}{1000}\"/>", 4),
        ("<tocheck path=\"..\"/>", 4),
    ] {
        let error = refused(&format!("<rfs>\n<replicated dir=\"/a\">\n{bad}</replicated></rfs>"));
        assert_eq!(error.line, line, "{error}");
    }
    let plain = read("<rfs><replicated dir=\"/a\"/></rfs>").signature();
    let excluding = read("<rfs><replicated dir=\"/a\"><notreplicated path=\"x\"/></replicated></rfs>").signature();
    let checking = read("<rfs><replicated dir=\"/a\"><tocheck path=\"x\"/></replicated></rfs>").signature();
    assert!(plain != excluding && plain != checking, "both are the same on both nodes");
}
