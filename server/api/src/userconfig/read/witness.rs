//! `<splitbrain>`: who is asked when every network of the heartbeat is silent.

use super::super::define::{Attribute, Element, Kind};
use super::super::value::{Parsed, Value};
use super::super::{Mode, Witness};
use super::reader::Reader;
use roxmltree::Node;

/// `<splitbrain>`.
pub(in super::super) static SPLITBRAIN: Element = Element::new(
    "splitbrain",
    "Who is asked when every network of the heartbeat is silent, so that of two nodes cut off from each other only one \
     serves. Without this element both serve then. exec=\"ping\": at least one of the addresses in arg must answer; \
     safe only if a node that is cut off from its peer is cut off from them too, on one side. exec=\"register\": the \
     management server keeps a record that lets one node on. exec=\"etcd\": etcd keeps it. With a register, at most \
     one node serves, and an unplanned failover needs the register to answer. Resource splitbrain.uptodate: down \
     while the witness keeps this node from serving. Changed only while the module is stopped on both nodes.",
    &[
        Attribute::preset("ident", Kind::Name, "witness", "Second half of the resource splitbrain.<ident>.").fixed(),
        Attribute::preset("exec", Kind::OneOf(&["ping", "register", "etcd"]), "ping", "Who is asked.").fixed(),
        Attribute::optional(
            "arg",
            Kind::Text { max: 1024 },
            ("192.0.2.1 192.0.2.2", "nothing, with exec=\"register\" only"),
            "With ping, one to eight addresses or names; with etcd, one to eight URLs such as http://192.0.2.5:2379; \
             separated by blanks.",
        )
        .fixed(),
        Attribute::preset("when", Kind::OneOf(&["pre"]), "pre", "Always.").fixed(),
    ],
    &[],
);

const MEMBERS_MAX: usize = 8;

impl<'d> Reader<'d> {
    pub(super) fn splitbrain(&mut self, node: Node<'d, 'd>, mode: Mode) -> Parsed<Witness> {
        let fields = self.fields(node, &SPLITBRAIN)?;
        self.children(node, &SPLITBRAIN)?;
        if mode == Mode::Light {
            return Err(self.error(node, "<splitbrain> in a light module, which has no peer", "remove it"));
        }
        let (ident, exec) = (fields.text("ident")?, fields.text("exec")?);
        let arg = match (exec.as_str(), fields.get("arg")) {
            ("register", Some(arg)) => return Err(arg.wrong("remove it: the register is at the management server")),
            ("register", None) => return Ok(Witness::Server { ident }),
            (_, Some(arg)) => arg,
            (_, None) => {
                let cure = if exec == "etcd" { "add arg=\"http://host:2379\"" } else { "add arg=\"address ...\"" };
                return Err(fields.error(format!("<splitbrain exec=\"{exec}\"> asks nobody"), cure));
            }
        };
        let words: Vec<String> = arg.text.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() || words.len() > MEMBERS_MAX {
            return Err(arg.wrong(format!("write one to {MEMBERS_MAX}, separated by blanks")));
        }
        if exec == "etcd" {
            words.iter().try_for_each(|url| endpoint(arg, url))?;
            return Ok(Witness::Etcd { ident, endpoints: words });
        }
        for word in &words {
            crate::config::check_address(word).map_err(|problem| arg.wrong(format!("correct {word}: {problem}")))?;
        }
        Ok(Witness::Ping { ident, addresses: words })
    }
}

/// Checks a URL of an etcd member: `http://host:port`.
fn endpoint(arg: &Value, url: &str) -> Parsed<()> {
    let cure = || arg.wrong(format!("correct {url}: write http://host:port, without a path"));
    let rest = url.strip_prefix("http://").ok_or_else(cure)?;
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(cure)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match bare {
        Some(ipv6) => ipv6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.contains(':') && crate::config::check_address(host).is_ok(),
    };
    let port = port.parse::<u16>().is_ok_and(|port| port > 0);
    if good && port { Ok(()) } else { Err(cure()) }
}
