//! `<rfs>`: the replication.

use super::super::define::{Attribute, Child, DAY, Element, HOUR, Kind, SECOND, SWITCH};
use super::super::value::Parsed;
use super::super::{Acknowledge, Heart, Rfs};
use super::reader::Reader;
use crate::config::{DIRECTORIES_MAX, is_within};
use roxmltree::Node;

const COUNT: Kind = Kind::Number { min: 0, max: u32::MAX as u64 };
const TIME_S: Kind = Kind::Time { unit_ms: SECOND, min_ms: 0, max_ms: 7 * DAY };
const TIME_MS: Kind = Kind::Time { unit_ms: 1, min_ms: 0, max_ms: 7 * DAY };
const WORD: Kind = Kind::Free { max: 255 };
const WINDOWS: &str = "it is for Windows";
const ITSELF: &str = "this replication finds the right value itself";
const NO_NFS: &str = "no NFS is used here";

/// `<rfs>`.
pub(in super::super) static RFS: Element = Element::new(
    "rfs",
    "The directories that are replicated to the other node while they are written. Written the same on both nodes; \
     changed only while the module is stopped on both. Not in a light module.",
    &[
        Attribute::preset(
            "async",
            Kind::OneOf(&["second", "none"]),
            "second",
            "A write is acknowledged once it is applied on both nodes (second), or on the disks of both (none: slower, \
             and safe when both lose power at once).",
        )
        .fixed(),
        Attribute::preset("encryption", SWITCH, "on", "Encrypt what travels between the nodes; off only on a trusted link.").fixed(),
        Attribute::preset(
            "sendtimeout",
            Kind::Time { unit_ms: SECOND, min_ms: 100, max_ms: HOUR },
            "30s",
            "A peer that takes nothing for so long is lost; never longer than the timeout of <heart>.",
        )
        .fixed(),
        Attribute::unused("acl", SWITCH, "off", "access lists and extended attributes are replicated always"),
        Attribute::unused("mountover", SWITCH, "off", "a directory is replicated where it is"),
        Attribute::unused("mountoversuffix", WORD, "_real", "no directory is renamed"),
        Attribute::unused("nbrei", COUNT, "3", ITSELF),
        Attribute::unused("reipacketsize", COUNT, "8388608", ITSELF),
        Attribute::unused("ruzone_blocksize", COUNT, "8388608", ITSELF),
        Attribute::unused("packetsize", COUNT, "1048576", NO_NFS),
        Attribute::unused("locktimeout", TIME_S, "100s", "sendtimeout and the timeout of <heart> bound every request"),
        Attribute::unused("reitimeout", TIME_S, "150s", "sendtimeout and the timeout of <heart> bound every request"),
        Attribute::unused("reicommit", COUNT, "0", "the secondary's disk is synced once, before it counts as up to date"),
        Attribute::unused("reidetail", SWITCH, "off", "progress of a resync is shown always"),
        Attribute::unused("reiallowedbw", COUNT, "20000", "a resync is not limited in this version"),
        Attribute::unused("nbremconn", COUNT, "1", ITSELF),
        Attribute::unused("namespacepolicy", COUNT, "4", "only what may differ is compared, after a reboot too"),
        Attribute::unused("checktime", TIME_MS, "220000ms", NO_NFS),
        Attribute::unused("checkintv", TIME_S, "120s", NO_NFS),
        Attribute::unused("iotimeout", TIME_S, "300s", WINDOWS),
        Attribute::unused("allocthreshold", COUNT, "0", WINDOWS),
        Attribute::unused("roflags", WORD, "0x10", WINDOWS),
        Attribute::unused("nfsbox_options", WORD, "cross", WINDOWS),
        Attribute::preset("scripts", Kind::Only(&["off"]), "off", "Call scripts of the replication's own.").fixed(),
        Attribute::preset(
            "syncdelta",
            Kind::Only(&["0", "0m", "1", "1m"]),
            "0m",
            "Age up to which outdated data may become primary alone. Only up-to-date data does here; `holdfast primforce` \
             is an operator's way out.",
        )
        .fixed(),
        Attribute::refused("syncat", "remove it: data is replicated always, not at set times"),
    ],
    &[Child::some(&REPLICATED, DIRECTORIES_MAX), Child::once(&FLOW)],
);

static REPLICATED: Element = Element::new(
    "replicated",
    "One replicated directory, with the same path on both nodes. None lies inside another.",
    &[
        Attribute::required("dir", Kind::Directory, "/srv/data", "Its absolute path.").fixed(),
        Attribute::preset(
            "mode",
            Kind::Only(&["read_only"]),
            "read_only",
            "Nobody writes into the secondary's copy; so it is always.",
        )
        .fixed(),
    ],
    &[Child::many(&NOTREPLICATED, 64), Child::many(&TOCHECK, 64)],
);

static NOTREPLICATED: Element = Element::refused(
    "notreplicated",
    "remove it and keep such files outside the replicated directory: everything in it is replicated",
);

static TOCHECK: Element = Element::refused(
    "tocheck",
    "remove it, and look for the file in the module's prestart script instead (`holdfast stop` if it is missing)",
);

static FLOW: Element = Element::new(
    "flow",
    "The network that carries the replication, as an older way to say <heartbeat ident=\"flow\">.",
    &[Attribute::required("name", Kind::Name, "default", "Name of one of the networks in <heart>.").fixed()],
    &[],
);

impl<'d> Reader<'d> {
    pub(super) fn rfs(&mut self, node: Node<'d, 'd>, heart: &Heart) -> Parsed<Rfs> {
        let fields = self.fields(node, &RFS)?;
        let mut rfs = Rfs {
            acknowledge: match fields.text("async")?.as_str() {
                "none" => Acknowledge::None,
                _ => Acknowledge::Second,
            },
            encryption: fields.switch("encryption")?,
            send_timeout_ms: fields.time("sendtimeout")?,
            directories: Vec::new(),
            flow: None,
        };
        for (child, definition) in self.children(node, &RFS)? {
            if definition.name == FLOW.name {
                rfs.flow = Some(self.flow(child, heart)?);
            } else {
                self.replicated(child, &mut rfs.directories)?;
            }
        }
        Ok(rfs)
    }

    fn flow(&mut self, node: Node<'d, 'd>, heart: &Heart) -> Parsed<String> {
        let fields = self.fields(node, &FLOW)?;
        self.children(node, &FLOW)?;
        let name = fields.value("name")?;
        if !heart.links.iter().any(|link| link.lan == name.text) {
            return Err(name.wrong("write the name of one of the <heartbeat>"));
        }
        if heart.links.iter().any(|link| link.ident == "flow" && link.lan != name.text) {
            return Err(name.wrong("another <heartbeat> has ident=\"flow\": remove <flow> or that ident"));
        }
        Ok(name.text)
    }

    fn replicated(&mut self, node: Node<'d, 'd>, directories: &mut Vec<String>) -> Parsed<()> {
        let fields = self.fields(node, &REPLICATED)?;
        self.children(node, &REPLICATED)?;
        let dir = fields.text("dir")?.trim_end_matches('/').to_owned();
        if let Some(other) = directories.iter().find(|other| is_within(&dir, other) || is_within(other, &dir)) {
            return Err(self.error(node, format!("{dir} and {other} overlap"), "keep the outer one only"));
        }
        directories.push(dir);
        Ok(())
    }
}
