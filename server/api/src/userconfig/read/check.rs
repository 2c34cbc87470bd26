//! `<check>`: the checkers.

use super::super::define::{Attribute, Child, Element, HOUR, Kind, SECOND};
use super::super::value::{Parsed, Value};
use super::super::{Check, CheckAction, Checker, Mode, Probe, When, Witness};
use super::reader::{Fields, Reader};
use super::witness::SPLITBRAIN;
use roxmltree::Node;

/// Most checkers of a module, of all kinds.
const CHECKERS_MAX: usize = 128;
const TIME: Kind = Kind::Time { unit_ms: SECOND, min_ms: 100, max_ms: HOUR };
const PORT: Kind = Kind::Number { min: 1, max: 65_535 };
const WHEN: Kind = Kind::OneOf(&["pre", "prim", "both", "second", "sec"]);
const ACTION: Kind = Kind::OneOf(&["restart", "stopstart", "stop", "wait", "noaction"]);
const IDENT: Attribute = Attribute::required("ident", Kind::Name, "web", "Second half of the name of its resource.");
const INTERVAL: Attribute = Attribute::preset("interval", TIME, "10s", "Time between two looks.");
const TIMEOUT: Attribute = Attribute::preset("timeout", TIME, "5s", "Longest time for an answer.");
const WHEN_MEANING: &str = "When it looks: pre, from after prestart to before poststop; prim, both, second or sec, from \
     after the start script of that name to before the stop script.";
const ACTION_MEANING: &str = "What its rule does when the resource is down: wait or noaction with when=\"pre\"; restart, \
     stopstart, stop or noaction otherwise.";
const BY_WHEN: (&str, &str) = ("noaction", "wait with when=\"pre\", restart otherwise");

/// `<check>`.
pub(in super::super) static CHECK: Element = Element::new(
    "check",
    "What is checked besides processes. Each checker sets a resource, up or down; rules act on resources.",
    &[],
    &[
        Child::many(&TCP, 64),
        Child::many(&PING, 64),
        Child::many(&INTF, 64),
        Child::many(&IP, 64),
        Child::many(&CUSTOM, 64),
        Child::many(&MODULE, 64),
        Child::once(&SPLITBRAIN),
    ],
);

static TCP: Element = Element::new(
    "tcp",
    "A TCP connection can be made. Resource tcp.<ident>, rule t_<ident>.",
    &[
        IDENT,
        Attribute::required("when", WHEN, "pre", WHEN_MEANING),
        Attribute::optional("action", ACTION, BY_WHEN, ACTION_MEANING),
    ],
    &[Child::one(&TCP_TO)],
);

static TCP_TO: Element = Element::new(
    "to",
    "Where the connection goes.",
    &[
        Attribute::required("addr", Kind::Address, "127.0.0.1", "Address or name."),
        Attribute::required("port", PORT, "80", "Port."),
        INTERVAL,
        TIMEOUT,
    ],
    &[],
);

static PING: Element = Element::new(
    "ping",
    "An address answers pings. Resource ping.<ident>, rule p_<ident>.",
    &[
        IDENT,
        Attribute::preset("when", WHEN, "pre", WHEN_MEANING),
        Attribute::optional("action", ACTION, BY_WHEN, ACTION_MEANING),
    ],
    &[Child::one(&PING_TO)],
);

static PING_TO: Element = Element::new(
    "to",
    "The address that is pinged.",
    &[Attribute::required("addr", Kind::Address, "192.0.2.1", "Address or name."), INTERVAL, TIMEOUT],
    &[],
);

static INTF: Element = Element::new(
    "intf",
    "The link of a network interface is up. Resource intf.<ident>; the default rule interface_failure waits.",
    &[
        IDENT,
        Attribute::preset(
            "when",
            Kind::OneOf(&["pre"]),
            "pre",
            "The only value: it looks from after prestart to before poststop.",
        ),
    ],
    &[Child::one(&INTF_TO)],
);

static INTF_TO: Element = Element::new(
    "to",
    "Which interface.",
    &[Attribute::required("local_addr", Kind::Address, "192.0.2.2", "An address of this node on the interface.")],
    &[],
);

static IP: Element = Element::new(
    "ip",
    "An address is set here, and on no other machine. Resource ip.<ident>; the default rule ip_failure stops and starts \
     the module.",
    &[IDENT, Attribute::preset("when", Kind::OneOf(&["prim", "both"]), "prim", WHEN_MEANING)],
    &[Child::one(&IP_TO)],
);

static IP_TO: Element = Element::new(
    "to",
    "Which address.",
    &[Attribute::required("addr", Kind::Address, "192.0.2.10", "The address."), INTERVAL],
    &[],
);

static CUSTOM: Element = Element::new(
    "custom",
    "A program of the module that runs for ever and sets its resource custom.<ident> with `holdfast set`. It is called \
     with the module's name, the resource's name and the words of arg. Rule c_<ident>, unless the action is noaction.",
    &[
        IDENT,
        Attribute::required("when", WHEN, "pre", WHEN_MEANING),
        Attribute::required("exec", Kind::Text { max: 1024 }, "checker.sh", "The program, in the module's bin folder."),
        Attribute::preset("arg", Kind::Free { max: 4096 }, "", "Further arguments."),
        Attribute::preset("action", ACTION, "noaction", ACTION_MEANING),
    ],
    &[],
);

static MODULE: Element = Element::new(
    "module",
    "Another module is Ready. Resource module.<ident>; the default rule module_failure waits. If that module starts \
     anew, this one is stopped and started.",
    &[
        Attribute::required("name", Kind::Name, "database", "The other module's name."),
        Attribute::optional(
            "ident",
            Kind::Name,
            ("database", "the module's name; with an address, <name>_<addr>"),
            "Second half of the name of its resource.",
        ),
    ],
    &[Child::once(&MODULE_TO)],
);

static MODULE_TO: Element = Element::new(
    "to",
    "Where it runs; without this element, here.",
    &[
        Attribute::required(
            "addr",
            Kind::Address,
            "192.0.2.20",
            "Address or name of a node, or the module's virtual address.",
        ),
        Attribute::preset("port", PORT, "9010", "Port of the health page there."),
        INTERVAL,
        TIMEOUT,
        Attribute::preset(
            "secure",
            Kind::Only(&["off"]),
            "off",
            "Ask over HTTPS. A node answers for the health of its modules over HTTP alone, on port 9010: there is nothing \
             secret in it, and a load balancer asks the same.",
        ),
    ],
    &[],
);

impl<'d> Reader<'d> {
    pub(super) fn check(&mut self, node: Node<'d, 'd>, mode: Mode) -> Parsed<(Check, Witness)> {
        self.fields(node, &CHECK)?;
        let (mut check, mut witness) = (Check::default(), Witness::None);
        for (child, definition) in self.children(node, &CHECK)? {
            if definition.name == SPLITBRAIN.name {
                witness = self.splitbrain(child, mode)?;
                continue;
            }
            let checker = self.checker(child, definition)?;
            if check.checkers.len() == CHECKERS_MAX {
                return Err(self.error(child, "too many checkers", format!("keep at most {CHECKERS_MAX}")));
            }
            if check.checkers.iter().any(|other| other.resource() == checker.resource()) {
                let problem = format!("a second checker for the resource {}", checker.resource());
                return Err(self.error(child, problem, "give each its own ident"));
            }
            if mode == Mode::Light && matches!(checker.when, When::Prim | When::Second | When::Sec) {
                let problem =
                    format!("when=\"{}\" in a light module, which has no primary and secondary", checker.when);
                return Err(self.error(child, problem, "write when=\"both\" or when=\"pre\""));
            }
            check.checkers.push(checker);
        }
        Ok((check, witness))
    }

    fn checker(&mut self, node: Node<'d, 'd>, definition: &'static Element) -> Parsed<Checker> {
        let fields = self.fields(node, definition)?;
        let mut to = None;
        for (child, definition) in self.children(node, definition)? {
            self.children(child, definition)?;
            to = Some(self.fields(child, definition)?);
        }
        let ident = fields.text_if("ident").unwrap_or_default();
        let Some(to) = to else {
            return match definition.name {
                "custom" => custom(&fields, ident),
                _ => Ok(module(&fields, ident, None)?),
            };
        };
        match definition.name {
            "tcp" => {
                let probe = Probe::Tcp {
                    addr: to.text("addr")?,
                    port: to.number("port")? as u16,
                    interval_ms: to.time("interval")?,
                    timeout_ms: to.time("timeout")?,
                };
                watched(&fields, ident, probe)
            }
            "ping" => {
                let addr = to.text("addr")?;
                let (interval_ms, timeout_ms) = (to.time("interval")?, to.time("timeout")?);
                watched(&fields, ident, Probe::Ping { addr, interval_ms, timeout_ms })
            }
            "intf" => {
                let probe = Probe::Intf { local_addr: Some(to.text("local_addr")?), interface: None };
                Ok(Checker { ident, when: When::Pre, action: CheckAction::Wait, probe })
            }
            "ip" => {
                let probe = Probe::Ip { addr: to.text("addr")?, interval_ms: to.time("interval")? };
                Ok(Checker { ident, when: when(&fields.value("when")?), action: CheckAction::StopStart, probe })
            }
            _ => module(&fields, ident, Some(&to)),
        }
    }
}

fn when(value: &Value) -> When {
    match value.text.as_str() {
        "prim" => When::Prim,
        "both" => When::Both,
        "second" => When::Second,
        "sec" => When::Sec,
        _ => When::Pre,
    }
}

/// A checker with `when` and `action`: the action must suit the time.
fn watched(fields: &Fields, ident: String, probe: Probe) -> Parsed<Checker> {
    let when = when(&fields.value("when")?);
    let action = match fields.get("action") {
        Some(value) => action(value, when)?,
        None if matches!(probe, Probe::Custom { .. }) => CheckAction::NoAction,
        None if when == When::Pre => CheckAction::Wait,
        None => CheckAction::Restart,
    };
    Ok(Checker { ident, when, action, probe })
}

fn action(value: &Value, when: When) -> Parsed<CheckAction> {
    let action = match value.text.as_str() {
        "restart" => CheckAction::Restart,
        "stopstart" => CheckAction::StopStart,
        "stop" => CheckAction::Stop,
        "wait" => CheckAction::Wait,
        _ => CheckAction::NoAction,
    };
    match (when, action) {
        (_, CheckAction::NoAction) | (When::Pre, CheckAction::Wait) => Ok(action),
        // The checker looks while the module waits, so only waiting can end.
        (When::Pre, _) => Err(value.wrong("write wait or noaction with when=\"pre\"")),
        // The checker does not look while the module waits, so the wait would never end.
        (_, CheckAction::Wait) => Err(value.wrong("write restart, stopstart, stop or noaction, or when=\"pre\"")),
        _ => Ok(action),
    }
}

fn custom(fields: &Fields, ident: String) -> Parsed<Checker> {
    let exec = fields.value("exec")?;
    if exec.text.starts_with('/') || exec.text.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(exec.wrong("write the path of a program below the module's bin folder"));
    }
    watched(fields, ident, Probe::Custom { exec: exec.text, arg: fields.text("arg")? })
}

fn module(fields: &Fields, ident: String, to: Option<&Fields>) -> Parsed<Checker> {
    let name = fields.text("name")?;
    let preset = |attribute: &'static str| -> Parsed<u64> {
        match (to, MODULE_TO.attribute(attribute)) {
            (Some(to), _) => to.time(attribute),
            (None, Some(attribute)) => {
                let text = attribute.preset.sample().to_owned();
                Value { attribute, text, pos: fields.pos(), written: false }.time_ms()
            }
            (None, None) => Ok(0),
        }
    };
    let addr = to.map(|to| to.text("addr")).transpose()?;
    let ident = match (&addr, ident.is_empty()) {
        (_, false) => ident,
        (Some(addr), true) => format!("{name}_{addr}"),
        (None, true) => name.clone(),
    };
    let probe = Probe::Module {
        name,
        addr,
        port: to.map_or(Ok(9010), |to| to.number("port"))? as u16,
        interval_ms: preset("interval")?,
        timeout_ms: preset("timeout")?,
    };
    Ok(Checker { ident, when: When::Pre, action: CheckAction::Wait, probe })
}
