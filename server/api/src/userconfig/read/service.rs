//! `<safe>` and `<service>`: the whole file.

use super::super::define::{Attribute, Child, DAY, Element, HOUR, Kind, SECOND, SWITCH};
use super::super::value::Parsed;
use super::super::{Boot, Check, DefaultPrim, Heart, Mode, Service, UserConfig, Witness};
use super::check::CHECK;
use super::errd::ERRD;
use super::failover::FAILOVER;
use super::heart::HEART;
use super::macros::MACRO;
use super::reader::{Fields, Reader};
use super::rfs::RFS;
use super::user::USER;
use super::vhost::VHOST;
use super::vip::{VIP, add_checkers};
use roxmltree::Node;

/// The outermost element.
pub(in super::super) static SAFE: Element = Element::new(
    "safe",
    "The outermost element: macros, then one <service>.",
    &[],
    &[Child::many(&MACRO, 64), Child::one(&SERVICE)],
);

static SERVICE: Element = Element::new(
    "service",
    "The module: what kind it is, when it starts, and how often it is tried again before it is given up here.",
    &[
        Attribute::required(
            "mode",
            Kind::Only(&["mirror", "light"]),
            "mirror",
            "mirror: two nodes, of which one is primary, with replicated directories and virtual addresses. light: one \
             node, where the application is started, watched and started again.",
        )
        .fixed(),
        Attribute::preset(
            "boot",
            Kind::OneOf(&["ignore", "on", "off", "auto"]),
            "ignore",
            "Start at boot: on, off, auto (if it ran before), or ignore: as `holdfast boot` and the console say.",
        ),
        Attribute::preset(
            "boot_delay",
            Kind::Time { unit_ms: SECOND, min_ms: 0, max_ms: DAY },
            "0s",
            "Time to wait before a start at boot.",
        ),
        Attribute::preset(
            "failover",
            SWITCH,
            "on",
            "off: a secondary that loses its primary waits for an operator instead of taking over. Mirror only.",
        )
        .fixed(),
        Attribute::preset(
            "defaultprim",
            Kind::Name,
            "alone",
            "Who is primary once both nodes are in sync again. alone: the one that served alone; lastprim: the one that \
             was primary before its last stop; else the name of a node. Mirror only.",
        )
        .fixed(),
        Attribute::preset(
            "maxloop",
            Kind::Number { min: 0, max: 1000 },
            "3",
            "So many automatic restarts within the interval; one more stops the module here.",
        ),
        Attribute::preset(
            "loop_interval",
            Kind::Time { unit_ms: HOUR, min_ms: 0, max_ms: 366 * DAY },
            "24h",
            "Interval in which they are counted; 0 does not count.",
        ),
        Attribute::preset(
            "automatic_reboot",
            SWITCH,
            "off",
            "on: an automatic stop and start of the module reboots the machine instead.",
        ),
    ],
    &[
        Child::once(&HEART),
        Child::once(&VIP),
        Child::once(&RFS),
        Child::once(&USER),
        Child::once(&ERRD),
        Child::once(&CHECK),
        Child::once(&FAILOVER),
        Child::once(&FARM),
        Child::once(&VHOST),
    ],
);

static FARM: Element = Element::refused("farm", "remove it, and write mode=\"mirror\" or mode=\"light\"");

impl<'d> Reader<'d> {
    /// Reads the document.
    pub(super) fn safe(mut self) -> Parsed<UserConfig> {
        let root = self.document.root_element();
        if root.tag_name().name() != SAFE.name || root.tag_name().namespace().is_some() {
            let name = super::super::value::shorten(root.tag_name().name());
            return Err(self.error(root, format!("the outermost element is <{name}>"), "make it <safe>"));
        }
        self.fields(root, &SAFE)?;
        let mut config = None;
        for (child, definition) in self.children(root, &SAFE)? {
            if definition.name == SERVICE.name {
                config = Some(self.service(child)?);
            } else if config.is_some() {
                let cure = "move it above <service>";
                return Err(self.error(child, "a <macro> after <service> replaces nothing", cure));
            } else {
                self.macro_(child)?;
            }
        }
        let mut config = config.ok_or_else(|| self.error(root, "<safe> is empty", "put one <service> into it"))?;
        config.notes = self.notes;
        config.notes.sort_by_key(|note| (note.line, note.column));
        Ok(config)
    }

    fn macro_(&mut self, node: Node<'d, 'd>) -> Parsed<()> {
        let fields = self.fields(node, &MACRO)?;
        self.children(node, &MACRO)?;
        let name = fields.value("name")?;
        if self.macros.add(name.text.clone(), fields.text("value")?) {
            return Ok(());
        }
        Err(name.error(format!("a second <macro name=\"{}\">", name.text), "keep one"))
    }

    fn service(&mut self, node: Node<'d, 'd>) -> Parsed<UserConfig> {
        let fields = self.fields(node, &SERVICE)?;
        let service = service(&fields)?;
        let mode = service.mode;
        if mode == Mode::Light {
            for name in ["failover", "defaultprim"] {
                if let Some(value) = fields.get(name) {
                    self.unused(value, "a light module has no second node");
                }
            }
        }
        let children = self.children(node, &SERVICE)?;
        let child = |name: &str| children.iter().find(|(_, other)| other.name == name).map(|(node, _)| *node);
        if mode == Mode::Light {
            for name in [HEART.name, VIP.name, RFS.name] {
                if let Some(child) = child(name) {
                    let problem = format!("a light module has no <{name}>");
                    return Err(self.error(child, problem, "remove it, or write mode=\"mirror\""));
                }
            }
        }
        let heart = match (child(HEART.name), mode) {
            (Some(heart), _) => self.heart(heart)?,
            (None, Mode::Light) => Heart { port: None, pulse_ms: 700, timeout_ms: 30_000, links: Vec::new() },
            (None, Mode::Mirror) => {
                let cure = "add <heart><heartbeat name=\"default\" ident=\"flow\"/></heart>";
                return Err(self.error(node, "<service> has no <heart>", cure));
            }
        };
        let rfs = child(RFS.name).map(|rfs| self.rfs(rfs, &heart)).transpose()?;
        let vip = child(VIP.name).map(|vip| self.vip(vip)).transpose()?;
        let user = child(USER.name).map(|user| self.user(user)).transpose()?;
        let vhosts = child(VHOST.name).map(|vhost| self.vhost(vhost)).transpose()?;
        let errd = child(ERRD.name).map(|errd| self.errd(errd)).transpose()?;
        let check = child(CHECK.name).map(|check| self.check(check, mode)).transpose()?;
        let failover = child(FAILOVER.name).map(|failover| self.failover(failover, mode)).transpose()?;
        let (mut check, witness) = check.unwrap_or((Check::default(), Witness::None));
        if let Some(vip) = &vip {
            add_checkers(&mut check, vip, mode);
        }
        Ok(UserConfig {
            service,
            heart,
            vip,
            errd: errd.unwrap_or_default(),
            rfs,
            user,
            vhosts: vhosts.unwrap_or_default(),
            check,
            witness,
            failover: failover.unwrap_or_default(),
            notes: Vec::new(),
        })
    }
}

fn service(fields: &Fields) -> Parsed<Service> {
    Ok(Service {
        mode: match fields.text("mode")?.as_str() {
            "light" => Mode::Light,
            _ => Mode::Mirror,
        },
        boot: match fields.text("boot")?.as_str() {
            "on" => Boot::On,
            "off" => Boot::Off,
            "auto" => Boot::Auto,
            _ => Boot::Ignore,
        },
        boot_delay_ms: fields.time("boot_delay")?,
        failover: fields.switch("failover")?,
        defaultprim: match fields.text("defaultprim")? {
            name if name == "alone" => DefaultPrim::Alone,
            name if name == "lastprim" => DefaultPrim::Lastprim,
            name => DefaultPrim::Node(name),
        },
        automatic_reboot: fields.switch("automatic_reboot")?,
        maxloop: fields.number("maxloop")? as u32,
        loop_interval_ms: fields.time("loop_interval")?,
    })
}
