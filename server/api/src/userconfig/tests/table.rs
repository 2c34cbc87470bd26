//! Every element and attribute that a file of the product we replace may hold, and what happens with it here.

use super::super::read::SAFE;
use super::super::{UserConfig, UserConfigError};
use super::definitions::{Path, beside, parse};

/// What happens with an attribute that has this value, or with an element.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// It does what it did there.
    Does,
    /// The same, and this value holds where none is written.
    Preset,
    /// It changes nothing, and `confcheck` says so.
    Told,
    /// With its place and a cure: the module would not do what the file asks for.
    Refused,
}
use Fate::{Does, Preset, Refused, Told};

/// Elements with the values of their attributes; `""` is the element itself.
type Rows = &'static [(&'static str, &'static [(&'static str, &'static str, Fate)])];

const TABLE: Rows = &[
    ("macro", &[("name", "PORT", Does), ("value", "80", Does)]),
    (
        "service",
        &[
            ("mode", "mirror", Does),
            ("mode", "farm", Refused),
            ("boot", "ignore", Preset),
            ("boot", "on", Does),
            ("boot", "off", Does),
            ("boot", "auto", Does),
            ("boot_delay", "0s", Preset),
            ("failover", "on", Preset),
            ("failover", "off", Does),
            ("defaultprim", "alone", Preset),
            ("defaultprim", "lastprim", Does),
            ("defaultprim", "node1", Does),
            ("maxloop", "3", Preset),
            ("loop_interval", "24h", Preset),
            ("automatic_reboot", "off", Preset),
            ("automatic_reboot", "on", Does),
        ],
    ),
    (
        "service/heart",
        &[
            ("port", "8888", Does),
            ("pulse", "700ms", Preset),
            ("timeout", "30000ms", Preset),
            ("permanent_arp", "on", Told),
        ],
    ),
    (
        "service/heart/heartbeat",
        &[("name", "default", Does), ("ident", "flow", Does), ("pulse", "900ms", Does), ("timeout", "9s", Does)],
    ),
    ("service/heart/heartbeat/server", &[("", "", Told)]),
    ("service/farm", &[("", "", Refused)]),
    (
        "service/vip",
        &[
            ("tcpreset", "on", Preset),
            ("tcpreset", "off", Does),
            ("scriptcontrol", "off", Preset),
            ("scriptcontrol", "on", Refused),
        ],
    ),
    ("service/vip/loadbalancing_list", &[("", "", Refused)]),
    (
        "service/vip/interface_list/interface",
        &[
            ("check", "on", Preset),
            ("check", "off", Does),
            ("arpreroute", "off", Preset),
            ("arpreroute", "on", Does),
            ("arpinterval", "60s", Preset),
            ("arpelapse", "1200s", Preset),
            ("name", "bond0", Does),
        ],
    ),
    ("service/vip/interface_list/interface/virtual_interface", &[("", "", Refused)]),
    (
        "service/vip/interface_list/interface/real_interface/virtual_addr",
        &[
            ("addr", "192.0.2.7", Does),
            ("addr", "2001:db8::7", Does),
            ("addr", "www.example.com", Does),
            ("where", "one_side_alias", Preset),
            ("where", "one_side", Does),
            ("where", "alias", Refused),
            ("check", "on", Preset),
            ("check", "off", Does),
            ("connections", "off", Preset),
            ("connections", "on", Does),
            ("netmask", "255.255.255.0", Does),
        ],
    ),
    (
        "service/rfs",
        &[
            ("async", "second", Preset),
            ("async", "none", Does),
            ("acl", "off", Told),
            ("acl", "on", Told),
            ("nbrei", "6", Preset),
            ("nbrei", "3", Does),
            ("reipacketsize", "8388608", Told),
            ("ruzone_blocksize", "8388608", Told),
            ("packetsize", "1048576", Told),
            ("locktimeout", "100s", Told),
            ("sendtimeout", "30s", Preset),
            ("iotimeout", "300s", Told),
            ("reitimeout", "150s", Told),
            ("reicommit", "0", Told),
            ("reidetail", "on", Told),
            ("reiallowedbw", "20000", Does),
            ("scrub", "30 3 * * SUN", Does),
            ("scrub", "0 4 1 * * Europe/Paris", Does),
            ("nbremconn", "2", Told),
            ("namespacepolicy", "0", Told),
            ("namespacepolicy", "1", Told),
            ("namespacepolicy", "3", Told),
            ("namespacepolicy", "4", Told),
            ("allocthreshold", "0", Told),
            ("checktime", "220000ms", Told),
            ("checkintv", "120s", Told),
            ("roflags", "0x10", Told),
            ("roflags", "0x10000", Told),
            ("nfsbox_options", "cross", Told),
            ("nfsbox_options", "nocross", Told),
            ("mountover", "off", Told),
            ("mountoversuffix", "_For_Replication", Told),
            ("scripts", "off", Preset),
            ("syncdelta", "10m", Told),
            ("syncat", "0 3 * * *", Told),
        ],
    ),
    ("service/rfs/flow", &[("name", "default", Does)]),
    (
        "service/rfs/replicated",
        &[("dir", "/srv/data", Does), ("mode", "read_only", Preset), ("mode", "read_write", Told)],
    ),
    ("service/rfs/replicated/notreplicated", &[("path", "tmp", Does), ("regexpath", "!.*[.]db$", Does)]),
    ("service/rfs/replicated/tocheck", &[("path", "here", Does)]),
    (
        "service/user",
        &[
            ("nicestoptimeout", "300s", Preset),
            ("forcestoptimeout", "300s", Preset),
            ("logging", "userlog", Preset),
            ("logging", "none", Does),
            ("userlogsize", "2048", Preset),
        ],
    ),
    ("service/user/var", &[("name", "PORT", Does), ("value", "80", Does)]),
    (
        "service/vhost/virtualhostname",
        &[
            ("name", "accounts", Does),
            ("envfile", "vhostenv", Does),
            ("when", "prim", Preset),
            ("when", "second", Does),
            ("when", "both", Does),
        ],
    ),
    ("service/errd", &[("polltimer", "30s", Preset)]),
    (
        "service/errd/proc",
        &[
            ("name", "nginx", Does),
            ("service", "no", Preset),
            ("service", "yes", Does),
            ("nameregex", "^ngi", Does),
            ("argregex", "-c /etc", Does),
            ("atleast", "1", Preset),
            ("atmax", "-1", Preset),
            ("atmax", "0", Does),
            ("action", "stopstart", Preset),
            ("action", "restart", Does),
            ("action", "stop", Does),
            ("action", "noaction", Does),
            ("action", "handler.sh", Does),
            ("class", "prim", Does),
            ("class", "both", Does),
            ("class", "pre", Does),
            ("class", "second", Does),
            ("class", "sec", Does),
            ("class", "own", Does),
            ("restart_services", "a, b", Does),
            ("start_after", "0", Preset),
        ],
    ),
    (
        "service/check/tcp",
        &[
            ("ident", "web", Does),
            ("when", "prim", Does),
            ("when", "second", Does),
            ("when", "both", Does),
            ("when", "pre", Does),
            ("action", "wait", Does),
            ("action", "noaction", Does),
        ],
    ),
    (
        "service/check/tcp/to",
        &[("addr", "192.0.2.1", Does), ("port", "80", Does), ("interval", "10s", Preset), ("timeout", "5s", Preset)],
    ),
    ("service/check/ping", &[("ident", "gate", Does), ("when", "pre", Preset), ("action", "wait", Preset)]),
    ("service/check/ping/to", &[("addr", "192.0.2.1", Does), ("interval", "10s", Preset), ("timeout", "5s", Preset)]),
    ("service/check/intf", &[("ident", "lan", Does), ("when", "pre", Preset)]),
    ("service/check/intf/to", &[("local_addr", "192.0.2.1", Does)]),
    ("service/check/ip", &[("ident", "vip", Does), ("when", "prim", Does), ("when", "both", Does)]),
    ("service/check/ip/to", &[("addr", "192.0.2.1", Does), ("interval", "10s", Preset)]),
    (
        "service/check/custom",
        &[
            ("ident", "own", Does),
            ("when", "pre", Does),
            ("exec", "checker.sh", Does),
            ("arg", "a b", Does),
            ("action", "noaction", Preset),
        ],
    ),
    ("service/check/module", &[("name", "database", Does), ("ident", "db", Does)]),
    (
        "service/check/module/to",
        &[
            ("addr", "192.0.2.1", Does),
            ("port", "9010", Preset),
            ("interval", "10s", Preset),
            ("timeout", "5s", Preset),
            ("secure", "off", Preset),
            ("secure", "on", Refused),
        ],
    ),
    (
        "service/check/splitbrain",
        &[
            ("ident", "witness", Does),
            ("exec", "ping", Preset),
            ("arg", "192.0.2.1 192.0.2.2", Does),
            ("when", "pre", Preset),
        ],
    ),
    (
        "service/failover",
        &[
            ("extends", "yes", Preset),
            ("extends", "no", Does),
            ("period", "5000ms", Preset),
            ("handle_time", "15000ms", Preset),
        ],
    ),
];

fn path_to(names: &str) -> Path {
    let mut path = vec![&SAFE];
    for name in names.split('/') {
        let above = path[path.len() - 1];
        let child = above.children.iter().find(|child| child.element.name == name);
        path.push(child.unwrap_or_else(|| panic!("<{name}> is not defined in <{}>", above.name)).element);
    }
    path
}

/// Whether a note says that it does nothing.
fn is_told(config: &UserConfig, what: &str) -> bool {
    config.notes.iter().any(|note| note.text.starts_with(what) && note.text.contains("not used") && note.line == 1)
}

fn without_notes(config: &UserConfig) -> UserConfig {
    UserConfig { notes: Vec::new(), ..config.clone() }
}

fn fate(path: &Path, attribute: &str, value: &str) -> (Result<Fate, UserConfigError>, Vec<String>) {
    let element = path[path.len() - 1];
    let base = beside(element, attribute);
    let mut with = base.to_vec();
    if !attribute.is_empty() {
        with.insert(0, (attribute, value));
    }
    let config = match parse(path, &with) {
        Ok(config) => config,
        Err(error) => return (Err(error), Vec::new()),
    };
    let what = if attribute.is_empty() { format!("<{}>", element.name) } else { format!("{attribute}=") };
    let unwritten = parse(path, base).ok();
    let same = unwritten.is_some_and(|unwritten| without_notes(&unwritten) == without_notes(&config));
    let fate = match (is_told(&config, &what), same) {
        (true, true) => Told,
        (true, false) => panic!("{what} is said to do nothing and changes the configuration"),
        (false, true) => Preset,
        (false, false) => Does,
    };
    (Ok(fate), config.notes.into_iter().map(|note| note.text).collect())
}

#[test]
fn everything_a_file_may_hold_is_used_or_told_or_refused_with_a_cure() {
    let mut wrong = Vec::new();
    for (names, rows) in TABLE {
        let path = path_to(names);
        for (attribute, value, wanted) in *rows {
            let (found, notes) = fate(&path, attribute, value);
            let right = match (&found, wanted) {
                (Err(error), Refused) => error.line == 1 && error.column > 1 && !error.cure.is_empty(),
                // The sample of a required attribute is its value here; it cannot be left out to compare.
                (Ok(Does | Preset), Does) => true,
                (Ok(found), wanted) => found == wanted,
                (Err(_), _) => false,
            };
            if !right {
                wrong.push(format!("{names} {attribute}={value:?}: wanted {wanted:?}, found {found:?} {notes:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_attribute_that_is_defined_stands_in_the_table() {
    // This product's own, and what has tests of its own.
    const ELSEWHERE: &[&str] = &["encryption"];
    for (names, rows) in TABLE {
        for attribute in path_to(names).last().unwrap().attributes {
            let known = rows.iter().any(|(name, ..)| *name == attribute.name) || ELSEWHERE.contains(&attribute.name);
            assert!(known, "{names} {}", attribute.name);
        }
    }
}
