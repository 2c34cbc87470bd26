//! `<rfs>`: the replication.

use super::super::define::{Attribute, Child, DAY, Element, HOUR, Kind, MINUTE, SECOND, SWITCH};
use super::super::value::Parsed;
use super::super::value::Value;
use super::super::{Acknowledge, Excluded, Exclusion, Heart, Rfs, compile};
use super::reader::Reader;
use crate::config::{DIRECTORIES_MAX, is_within};
use roxmltree::Node;

const COUNT: Kind = Kind::Number { min: 0, max: u32::MAX as u64 };
const TIME_S: Kind = Kind::Time { unit_ms: SECOND, min_ms: 0, max_ms: 7 * DAY };
const TIME_MS: Kind = Kind::Time { unit_ms: 1, min_ms: 0, max_ms: 7 * DAY };
const TIME_M: Kind = Kind::Time { unit_ms: MINUTE, min_ms: 0, max_ms: 7 * DAY };
const WORD: Kind = Kind::Free { max: 255 };
const WINDOWS: &str = "it is for Windows";
const ITSELF: &str = "this replication finds the right value itself";
const NEVER_OUTDATED: &str = "an outdated copy never becomes primary by itself, however young: it would lose what was acknowledged \
    since. A node that was up to date serves alone after a power failure of both when its witness is a register; \
    `holdfast primforce` is an operator's way out";
const ALWAYS_IN_SYNC: &str = "data is replicated while it is written, so nothing is left to be copied at set times. A secondary that \
    lags behind on purpose does not exist here: keep backups for that";
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
        Attribute::preset(
            "encryption",
            SWITCH,
            "on",
            "Encrypt what travels between the nodes; off only on a trusted link.",
        )
        .fixed(),
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
        Attribute::preset(
            "nbrei",
            Kind::Number { min: 1, max: 64 },
            "6",
            "Threads of a resync that compare and send contents. They yield to the application, whatever their number.",
        )
        .fixed(),
        Attribute::unused("reipacketsize", COUNT, "8388608", ITSELF),
        Attribute::unused("ruzone_blocksize", COUNT, "8388608", ITSELF),
        Attribute::unused("packetsize", COUNT, "1048576", NO_NFS),
        Attribute::unused("locktimeout", TIME_S, "100s", "sendtimeout and the timeout of <heart> bound every request"),
        Attribute::unused("reitimeout", TIME_S, "150s", "sendtimeout and the timeout of <heart> bound every request"),
        Attribute::unused(
            "reicommit",
            COUNT,
            "0",
            "the secondary's disk is synced once, before it counts as up to date",
        ),
        Attribute::unused("reidetail", SWITCH, "off", "progress of a resync is shown always"),
        Attribute::optional(
            "reiallowedbw",
            Kind::Number { min: 1, max: u32::MAX as u64 },
            ("20000", "no limit"),
            "Most KiB per second that a resync sends. What the application writes is never limited.",
        )
        .fixed(),
        Attribute::unused("nbremconn", COUNT, "1", ITSELF),
        Attribute::unused("namespacepolicy", COUNT, "4", "only what may differ is compared, after a reboot too"),
        Attribute::unused("checktime", TIME_MS, "220000ms", NO_NFS),
        Attribute::unused("checkintv", TIME_S, "120s", NO_NFS),
        Attribute::unused("iotimeout", TIME_S, "300s", WINDOWS),
        Attribute::unused("allocthreshold", COUNT, "0", WINDOWS),
        Attribute::unused("roflags", WORD, "0x10", WINDOWS),
        Attribute::unused("nfsbox_options", WORD, "cross", WINDOWS),
        Attribute::preset("scripts", Kind::Only(&["off"]), "off", "Call scripts of the replication's own.").fixed(),
        Attribute::unused("syncdelta", TIME_M, "0m", NEVER_OUTDATED),
        Attribute::unused("syncat", WORD, "0 3 * * *", ALWAYS_IN_SYNC),
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
            Kind::OneOf(&["read_only", "read_write"]),
            "read_only",
            "Nobody writes into the secondary's copy; so it is always, whatever is written here.",
        )
        .fixed(),
    ],
    &[Child::many(&NOTREPLICATED, 64), Child::many(&TOCHECK, 64)],
);

static NOTREPLICATED: Element = Element::new(
    "notreplicated",
    "Names below the directory that are each node's own: served on the primary like all others, but not sent, not \
     compared and not deleted on the secondary, which keeps what it has. What is below an excluded directory is excluded. \
     Exactly one of the two attributes. Renaming or linking between an excluded and a replicated name fails with EXDEV \
     (`mv` then copies). A directory that is removed or renamed on the primary takes the secondary's excluded names in it \
     along. A file that has an excluded and a replicated name (a hard link made while the module was stopped) is not \
     supported.",
    &[
        Attribute::optional(
            "path",
            Kind::Text { max: 1024 },
            ("cache/tmp", "regexpath says it"),
            "A path below the directory, without a leading \"/\".",
        )
        .fixed(),
        Attribute::optional(
            "regexpath",
            Kind::Text { max: 1024 },
            ("[.]tmp$", "path says it"),
            "A regular expression. With a \"/\" in it, it is looked for in the path below the directory, else in the last \
             part of the path; \"^\" and \"$\" are the ends of that. A leading \"!\" inverts it: of everything that is not a \
             directory, only what matches is replicated. POSIX extended syntax, save that there are no back-references, \
             no [.x.] and [=x=], that \"\\\" is special inside [ ] too, and that of several alternatives the first counts, \
             not the longest (which never changes whether a name matches).",
        )
        .fixed(),
    ],
    &[],
);

static TOCHECK: Element = Element::new(
    "tocheck",
    "A path below the directory that must be there before replication starts: a guard against an empty directory whose \
     disk is not mounted. While it is missing the module waits, says so, and goes on by itself when it appears.",
    &[Attribute::required(
        "path",
        Kind::Text { max: 1024 },
        "here",
        "The path, without a leading \"/\"; best that of a file that is on the disk since it was made.",
    )
    .fixed()],
    &[],
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
            resync_threads: u32::try_from(fields.number("nbrei")?).unwrap_or(1),
            resync_bytes_per_s: fields.number_if("reiallowedbw")?.unwrap_or(0) * 1024,
            directories: Vec::new(),
            exclusions: Vec::new(),
            required: Vec::new(),
            flow: None,
        };
        for (child, definition) in self.children(node, &RFS)? {
            if definition.name == FLOW.name {
                rfs.flow = Some(self.flow(child, heart)?);
            } else {
                self.replicated(child, &mut rfs)?;
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

    fn replicated(&mut self, node: Node<'d, 'd>, rfs: &mut Rfs) -> Parsed<()> {
        let fields = self.fields(node, &REPLICATED)?;
        let children = self.children(node, &REPLICATED)?;
        if let Some(mode) = fields.get("mode").filter(|mode| mode.text != "read_only") {
            self.unused(mode, "nobody writes into the secondary's copy, which would no longer be one");
        }
        let dir = fields.text("dir")?.trim_end_matches('/').to_owned();
        if let Some(other) = rfs.directories.iter().find(|other| is_within(&dir, other) || is_within(other, &dir)) {
            return Err(self.error(node, format!("{dir} and {other} overlap"), "keep the outer one only"));
        }
        for (child, definition) in children {
            if definition.name == TOCHECK.name {
                let fields = self.fields(child, &TOCHECK)?;
                self.children(child, &TOCHECK)?;
                rfs.required.push(format!("{dir}/{}", below(&fields.value("path")?)?));
            } else {
                rfs.exclusions.push(Exclusion { directory: dir.clone(), names: self.excluded(child)? });
            }
        }
        rfs.directories.push(dir);
        Ok(())
    }

    fn excluded(&mut self, node: Node<'d, 'd>) -> Parsed<Excluded> {
        let fields = self.fields(node, &NOTREPLICATED)?;
        self.children(node, &NOTREPLICATED)?;
        match (fields.get("path"), fields.get("regexpath")) {
            (Some(path), None) => Ok(Excluded::Path(below(path)?)),
            (None, Some(regex)) => {
                let (inverted, text) = match regex.text.strip_prefix('!') {
                    Some(text) => (true, text),
                    None => (false, regex.text.as_str()),
                };
                compile(text).map_err(|problem| regex.wrong(format!("correct the expression: {problem}")))?;
                let text = text.to_owned();
                Ok(if inverted { Excluded::NotMatching(text) } else { Excluded::Matching(text) })
            }
            _ => Err(fields.error("<notreplicated> needs one of path and regexpath", "write one of the two")),
        }
    }
}

/// A path below a directory, checked.
fn below(path: &Value) -> Parsed<String> {
    let text = path.text.trim_end_matches('/');
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.len() > 255;
    if text.split('/').any(bad) {
        return Err(
            path.wrong("write a path below the directory, without a leading \"/\", \".\", \"..\" or empty parts")
        );
    }
    Ok(text.to_owned())
}
