//! `<errd>`: which processes must run.

use super::super::define::{Attribute, Child, Element, HOUR, Kind, SECOND};
use super::super::value::{Parsed, Value};
use super::super::{Errd, Proc, ProcAction};
use super::reader::{Fields, Reader};
use roxmltree::Node;

const REGEX: Kind = Kind::Text { max: 1024 };
const COUNT: Kind = Kind::Count { min: 0, max: 100_000 };

/// `<errd>`.
pub(in super::super) static ERRD: Element = Element::new(
    "errd",
    "The processes and systemd units that must run, or must not. The scripts of a restart need <user>.",
    &[Attribute::preset(
        "polltimer",
        Kind::Time { unit_ms: SECOND, min_ms: 100, max_ms: HOUR },
        "30s",
        "Time between two looks at the processes.",
    )],
    &[Child::many(&PROC, 64)],
);

static PROC: Element = Element::new(
    "proc",
    "One check: how many processes run with this name and these arguments. Its resource is proc.<name>.",
    &[
        Attribute::required(
            "name",
            Kind::Text { max: 255 },
            "postgres",
            "Command name as the kernel keeps it (1 to 15 bytes, `ps -eo comm`), or the systemd unit with service=\"yes\".",
        ),
        Attribute::preset(
            "service",
            Kind::OneOf(&["no", "yes"]),
            "no",
            "The name is that of a systemd unit, which must be active.",
        ),
        Attribute::optional(
            "nameregex",
            REGEX,
            ("post(gres|master)", "the name itself"),
            "Regular expression on the command name, in place of the name.",
        ),
        Attribute::optional(
            "argregex",
            REGEX,
            ("-D /srv/db", "any arguments"),
            "Regular expression on the whole command line, besides the name.",
        ),
        Attribute::preset("atleast", COUNT, "1", "Fewer of them running is a failure."),
        Attribute::preset("atmax", COUNT, "-1", "More of them running is a failure."),
        Attribute::preset(
            "action",
            Kind::Text { max: 1024 },
            "stopstart",
            "What a failure does: restart, stopstart, stop, noaction, or a program of the module's bin folder (or with an \
             absolute path). Such a program ends with 0 if all is well, else the module is stopped and started.",
        ),
        Attribute::preset(
            "class",
            Kind::Name,
            "prim",
            "When it is looked at: prim, second, both, sec or pre, from the end of the start script of that name to the \
             stop script. Any other name is a class of the module's own, switched on and off by `holdfast errd`.",
        ),
        Attribute::optional(
            "restart_services",
            Kind::Text { max: 1024 },
            ("web.service, mail.service", "all"),
            "Names handed to the scripts of a restart as -Services \"a, b\". Only with service=\"yes\" and \
             action=\"restart\".",
        ),
        Attribute::preset(
            "start_after",
            Kind::Number { min: 0, max: 10_000 },
            "0",
            "The first look comes (n - 1) poll timers after the start.",
        ),
    ],
    &[],
);

impl<'d> Reader<'d> {
    pub(super) fn errd(&mut self, node: Node<'d, 'd>) -> Parsed<Errd> {
        let fields = self.fields(node, &ERRD)?;
        let mut errd = Errd { polltimer_ms: fields.time("polltimer")?, procs: Vec::new() };
        for (child, _) in self.children(node, &ERRD)? {
            let proc = self.proc(child)?;
            if errd.procs.iter().any(|other| other.name == proc.name) {
                let text =
                    format!("a second <proc name=\"{0}\">: both are watched, as one resource proc.{0}", proc.name);
                self.note(self.pos(child), text);
            }
            errd.procs.push(proc);
        }
        Ok(errd)
    }

    fn proc(&mut self, node: Node<'d, 'd>) -> Parsed<Proc> {
        let fields = self.fields(node, &PROC)?;
        self.children(node, &PROC)?;
        let service = fields.switch("service")?;
        let name = fields.value("name")?;
        let nameregex = fields.text_if("nameregex");
        if !service && nameregex.is_none() && name.text.len() > 15 {
            let cure =
                "write the command name as the kernel keeps it, 1 to 15 bytes; or add nameregex or service=\"yes\"";
            return Err(name.wrong(cure));
        }
        for regex in ["nameregex", "argregex"] {
            if let Some(value) = fields.get(regex).filter(|_| service) {
                return Err(value.error(format!("{regex} beside service=\"yes\""), "remove one of them"));
            }
        }
        let action = action(&fields.value("action")?)?;
        let (atleast, atmax) = counts(&fields)?;
        let names =
            |text: String| text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        if let Some(value) = fields.get("restart_services").filter(|_| !service || action != ProcAction::Restart) {
            let cure = "add service=\"yes\" action=\"restart\", or remove it";
            return Err(value.error("restart_services works for a restarted systemd unit only", cure));
        }
        Ok(Proc {
            name: name.text,
            service,
            nameregex,
            argregex: fields.text_if("argregex"),
            atleast,
            atmax,
            action,
            class: fields.text("class")?,
            start_after: fields.number("start_after")? as u32,
            restart_services: fields.text_if("restart_services").map(names).unwrap_or_default(),
        })
    }
}

fn counts(fields: &Fields) -> Parsed<(Option<u32>, Option<u32>)> {
    let (least, most) = (fields.value("atleast")?, fields.value("atmax")?);
    let (atleast, atmax) = (fields.count("atleast")?, fields.count("atmax")?);
    match (atleast, atmax) {
        (None | Some(0), None) => Err(least.wrong("such a check never fails: write atleast of 1 or more, or atmax")),
        // atmax="0" alone means "must not run": the preset of atleast is then no wish of the user's.
        (Some(low), Some(high)) if low > high && !least.written => Ok((None, atmax)),
        (Some(low), Some(high)) if low > high => Err(most.wrong(format!("write {low} or more, as atleast says"))),
        (low, high) => Ok((low.filter(|low| *low > 0), high)),
    }
}

fn action(value: &Value) -> Parsed<ProcAction> {
    let action = ProcAction::from(value.text.clone());
    match &action {
        ProcAction::Handler(program) if program.split('/').any(|part| part == "..") || program.ends_with('/') => {
            Err(value.wrong("write restart, stopstart, stop, noaction, or a program below the module's bin"))
        }
        _ => Ok(action),
    }
}
