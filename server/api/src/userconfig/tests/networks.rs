//! A network's own pulse and timeout: read, bounded, signed, kept through a change in place; and `<vhost>`.

use super::super::{UserConfig, When};

fn file(heart: &str, networks: &str, more: &str) -> String {
    format!("<safe><service mode=\"mirror\">\n<heart {heart}>\n{networks}</heart>{more}</service></safe>")
}

fn read(heart: &str, networks: &str) -> UserConfig {
    UserConfig::parse(&file(heart, networks, "")).unwrap_or_else(|error| panic!("{networks}: {error}"))
}

const TWO: &str = "<heartbeat name=\"default\" ident=\"flow\"/><heartbeat name=\"line\" pulse=\"2s\" timeout=\"20s\"/>";

#[test]
fn shortest_times_of_all_networks_are_those_that_a_gap_is_measured_by() {
    let heart = read("pulse=\"500\" timeout=\"3s\"", TWO).heart;
    assert_eq!((heart.shortest_pulse_ms(), heart.shortest_timeout_ms()), (500, 3000));
    let heart = read("pulse=\"500\" timeout=\"3s\"", "<heartbeat name=\"line\" timeout=\"9s\"/>").heart;
    assert_eq!((heart.shortest_pulse_ms(), heart.shortest_timeout_ms()), (500, 9000), "nobody uses the 3 s");
    let heart = read("pulse=\"500\" timeout=\"3s\"", "<heartbeat name=\"a\" pulse=\"100\" timeout=\"400\"/>").heart;
    assert_eq!((heart.shortest_pulse_ms(), heart.shortest_timeout_ms()), (100, 400));
}

#[test]
fn timeout_of_a_network_below_three_of_its_pulses_is_refused_at_its_place() {
    for network in [
        "<heartbeat name=\"a\" pulse=\"2s\" timeout=\"5s\"/>",
        // Beside what <heart> says for the other of the two.
        "<heartbeat name=\"a\" pulse=\"2s\"/>",
        "<heartbeat name=\"a\" timeout=\"1400\"/>",
    ] {
        let error = UserConfig::parse(&file("pulse=\"500\" timeout=\"5s\"", network, "")).expect_err(network);
        assert!(error.line == 3 && error.problem.contains("three pulses") && !error.cure.is_empty(), "{error}");
    }
}

#[test]
fn both_nodes_must_agree_on_the_times_of_each_network_and_not_on_how_they_are_written() {
    let signature = |heart: &str, networks: &str| read(heart, networks).signature();
    let heart = "pulse=\"500\" timeout=\"3s\"";
    let plain = signature(heart, "<heartbeat name=\"a\"/>");
    assert_eq!(signature(heart, "<heartbeat name=\"a\" pulse=\"500ms\" timeout=\"3000\"/>"), plain);
    assert_ne!(signature(heart, "<heartbeat name=\"a\" timeout=\"4s\"/>"), plain);
    assert_ne!(signature(heart, "<heartbeat name=\"a\" pulse=\"400\"/>"), plain);
}

#[test]
fn change_of_another_network_leaves_the_times_of_this_one_as_written() {
    let text = file("timeout=\"5s\"", TWO, "");
    let mut wanted = UserConfig::parse(&text).unwrap();
    wanted.heart.links.remove(0);
    wanted.heart.links[0].timeout_ms = Some(30_000);
    let edited = UserConfig::edit(&text, &wanted).unwrap();
    assert!(edited.contains("<heartbeat name=\"line\" pulse=\"2s\" timeout=\"30s\"/>"), "{edited}");
    assert_eq!(UserConfig::parse(&edited).unwrap().heart, wanted.heart);
}

#[test]
fn virtual_host_names_have_files_of_their_own_that_are_no_scripts() {
    let parse =
        |hosts: &str| UserConfig::parse(&file("", "<heartbeat name=\"a\"/>", &format!("<vhost>{hosts}</vhost>")));
    let host = |name: &str, envfile: &str| format!("<virtualhostname name=\"{name}\" envfile=\"{envfile}\"/>");
    let config = parse(&host("accounts", "vhostenv")).unwrap();
    let read = &config.vhosts[0];
    assert_eq!((read.name.as_str(), read.envfile.as_str(), read.when), ("accounts", "vhostenv", When::Prim));
    for bad in
        [host("a", "start_prim"), host("a", ".x"), host("a", "x") + &host("b", "x"), host("-x", "y"), String::new()]
    {
        let error = parse(&bad).expect_err(&bad);
        assert!(error.line == 3 && !error.cure.is_empty(), "{error}");
    }
}
