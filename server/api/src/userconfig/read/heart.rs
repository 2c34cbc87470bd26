//! `<heart>`: the heartbeat and its networks.

use super::super::define::{Attribute, Child, Effect, Element, Kind, SWITCH};
use super::super::value::Parsed;
use super::super::{Heart, HeartbeatLink};
use super::reader::{Fields, Reader};
use roxmltree::Node;

const PULSE: Kind = Kind::Time { unit_ms: 1, min_ms: 20, max_ms: 60_000 };
const TIMEOUT: Kind = Kind::Time { unit_ms: 1, min_ms: 100, max_ms: 600_000 };

/// `<heart>`.
pub(in super::super) static HEART: Element = Element::new(
    "heart",
    "How the two nodes of a mirror module tell each other what they are. Written the same on both nodes; changed only \
     while the module is stopped on both. The timeout is at least three pulses, so that one lost packet is no failover. \
     What is not written keeps the value of old configurations; the mirror template writes 250 and 800 ms, for a failover \
     within a second.",
    &[
        Attribute::optional(
            "port",
            Kind::Number { min: 1, max: 65_535 },
            ("8888", "8888 for module 1, 8889 for module 2, and so on"),
            "UDP port of the heartbeats, on every network.",
        )
        .fixed(),
        Attribute::preset("pulse", PULSE, "700ms", "Time between two heartbeats.").fixed(),
        Attribute::preset("timeout", TIMEOUT, "30s", "A peer silent for so long on every network counts as lost.")
            .fixed(),
        Attribute::unused("permanent_arp", SWITCH, "on", "static entries of neighbours are not set"),
    ],
    &[Child::some(&HEARTBEAT, 8)],
);

static HEARTBEAT: Element = Element::new(
    "heartbeat",
    "One network of the heartbeat. With two of them, the loss of one network is no failover.",
    &[
        Attribute::required("name", Kind::Name, "default", "The network's name in the cluster configuration.").fixed(),
        Attribute::optional(
            "ident",
            Kind::Name,
            ("flow", "the network's name"),
            "Second half of the resource heartbeat.<ident>. The network with ident=\"flow\" carries the replication; \
             without one, the first does.",
        )
        .fixed(),
        Attribute::optional(
            "pulse",
            PULSE,
            ("700ms", "that of <heart>"),
            "Time between two heartbeats on this network, such as a longer one for a line that is paid by volume.",
        )
        .fixed(),
        Attribute::optional(
            "timeout",
            TIMEOUT,
            ("30s", "that of <heart>"),
            "Silence after which this network counts as lost, at least three of its pulses. The peer counts as lost when \
             the last network is: where all are cut at once, the longest timeout decides, and the application may be held \
             for so long.",
        )
        .fixed(),
    ],
    &[Child::many(&SERVER, 8)],
);

/// Older files name the nodes' addresses here. The name of the network is required, so nothing hangs on them.
static SERVER: Element = Element {
    effect: Effect::None("the nodes' addresses come from the network that <heartbeat name> names"),
    ..Element::new("server", "", &[], &[])
};

impl<'d> Reader<'d> {
    pub(super) fn heart(&mut self, node: Node<'d, 'd>) -> Parsed<Heart> {
        let fields = self.fields(node, &HEART)?;
        let mut heart = Heart {
            port: fields.number_if("port")?.and_then(|port| u16::try_from(port).ok()),
            pulse_ms: fields.time("pulse")?,
            timeout_ms: fields.time("timeout")?,
            links: Vec::new(),
        };
        three_pulses(&fields, heart.pulse_ms, heart.timeout_ms)?;
        for (child, _) in self.children(node, &HEART)? {
            let link = self.heartbeat(child, &heart)?;
            if heart.links.iter().any(|other| other.lan == link.lan || other.ident == link.ident) {
                return Err(self.error(child, "two heartbeats have the same name or ident", "give each its own"));
            }
            heart.links.push(link);
        }
        Ok(heart)
    }

    fn heartbeat(&mut self, node: Node<'d, 'd>, heart: &Heart) -> Parsed<HeartbeatLink> {
        let fields = self.fields(node, &HEARTBEAT)?;
        self.children(node, &HEARTBEAT)?;
        let lan = fields.text("name")?;
        let link = HeartbeatLink {
            ident: fields.text_if("ident").unwrap_or_else(|| lan.clone()),
            lan,
            pulse_ms: fields.time_if("pulse")?,
            timeout_ms: fields.time_if("timeout")?,
        };
        let (pulse_ms, timeout_ms) = heart.times_of(&link);
        three_pulses(&fields, pulse_ms, timeout_ms)?;
        Ok(link)
    }
}

fn three_pulses(fields: &Fields, pulse_ms: u64, timeout_ms: u64) -> Parsed<()> {
    if timeout_ms >= pulse_ms.saturating_mul(3) {
        return Ok(());
    }
    let problem = format!("timeout ({timeout_ms} ms) is shorter than three pulses ({pulse_ms} ms each)");
    Err(fields.error(problem, "raise timeout or lower pulse"))
}
