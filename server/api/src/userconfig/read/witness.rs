//! `<splitbrain>`: who is asked when every network of the heartbeat is silent.

use super::super::define::{Attribute, Element, Kind};
use super::super::value::{Parsed, Value};
use super::super::{Mode, Witness};
use super::reader::Reader;
use crate::witness::{ENDPOINTS_MAX, ETCD_PORT, Endpoint};
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
        Attribute::preset("when", Kind::OneOf(&["pre"]), "pre", "The only value.").fixed(),
    ],
    &[],
);

/// Most addresses to ping, or members of etcd.
const MEMBERS_MAX: usize = ENDPOINTS_MAX;

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
                let cure = if exec == "etcd" {
                    "add arg=\"http://host:2379\", a URL for each member of etcd"
                } else {
                    "add arg=\"192.0.2.1 192.0.2.2\", addresses that answer pings while this node is connected"
                };
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

/// Checks a URL of an etcd member; the file names the port, so that nobody has to guess it.
fn endpoint(arg: &Value, url: &str) -> Parsed<()> {
    match Endpoint::parse(url) {
        Ok(_) if has_port(url) => Ok(()),
        Ok(_) => Err(arg.wrong(format!("add the port to {url}: write http://host:{ETCD_PORT}"))),
        Err(problem) => Err(arg.wrong(format!("correct it: {problem}"))),
    }
}

/// Whether a good URL ends with a port.
fn has_port(url: &str) -> bool {
    let last = url.trim_end_matches('/').rsplit_once(':');
    last.is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}
