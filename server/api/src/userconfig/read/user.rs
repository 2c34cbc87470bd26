//! `<user>`: the scripts.

use super::super::define::{Attribute, Child, DAY, Element, Kind, SECOND};
use super::super::value::Parsed;
use super::super::{User, Var};
use super::reader::Reader;
use roxmltree::Node;

const LIMIT: Kind = Kind::Time { unit_ms: SECOND, min_ms: 100, max_ms: DAY };

/// `<user>`.
pub(in super::super) static USER: Element = Element::new(
    "user",
    "The scripts of the module's bin folder. Without this element no script is run.",
    &[
        Attribute::preset(
            "nicestoptimeout",
            LIMIT,
            "300s",
            "Longest time for a stop script; then it is ended and called again with force.",
        ),
        Attribute::preset(
            "forcestoptimeout",
            LIMIT,
            "300s",
            "Longest time for a stop script called with force; then it is ended.",
        ),
        Attribute::preset(
            "logging",
            Kind::OneOf(&["userlog", "none"]),
            "userlog",
            "Keep what the scripts print in the application log.",
        ),
        Attribute::preset(
            "userlogsize",
            Kind::Number { min: 16, max: 1024 * 1024 },
            "2048",
            "Size in KiB from which the application log begins anew at a start of the module.",
        ),
    ],
    &[Child::many(&VAR, 64)],
);

static VAR: Element = Element::new(
    "var",
    "A variable in the environment of the scripts.",
    &[
        Attribute::required(
            "name",
            Kind::Text { max: 64 },
            "PORT",
            "Letters, digits and underscores, not beginning with a digit. Names that begin with SAFE are the product's.",
        ),
        Attribute::required("value", Kind::Free { max: 4096 }, "8080", "Its value."),
    ],
    &[],
);

impl<'d> Reader<'d> {
    pub(super) fn user(&mut self, node: Node<'d, 'd>) -> Parsed<User> {
        let fields = self.fields(node, &USER)?;
        let mut user = User {
            nicestop_timeout_ms: fields.time("nicestoptimeout")?,
            forcestop_timeout_ms: fields.time("forcestoptimeout")?,
            logging: fields.text("logging")? == "userlog",
            log_size_bytes: fields.number("userlogsize")? * 1024,
            vars: Vec::new(),
        };
        for (child, _) in self.children(node, &USER)? {
            let var = self.var(child)?;
            if user.vars.iter().any(|other| other.name == var.name) {
                return Err(self.error(child, format!("a second <var name=\"{}\">", var.name), "keep one"));
            }
            user.vars.push(var);
        }
        Ok(user)
    }

    fn var(&mut self, node: Node<'d, 'd>) -> Parsed<Var> {
        let fields = self.fields(node, &VAR)?;
        self.children(node, &VAR)?;
        let name = fields.value("name")?;
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.text.starts_with(|c: char| c.is_ascii_digit()) || !name.text.chars().all(good) {
            return Err(name.wrong("use letters, digits and underscores, not beginning with a digit"));
        }
        if name.text.starts_with("SAFE") {
            return Err(name.wrong("names beginning with SAFE are set by the product: choose another"));
        }
        Ok(Var { name: name.text, value: fields.text("value")? })
    }
}
