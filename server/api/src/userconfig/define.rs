//! What may stand in a `userconfig.xml`: the definitions that the parser reads by and the guide is written from.

/// An element.
#[derive(Debug)]
pub struct Element {
    /// Its name.
    pub name: &'static str,
    /// What it is for; full sentences for the guide.
    pub meaning: &'static str,
    /// Its attributes.
    pub attributes: &'static [Attribute],
    /// What may stand in it.
    pub children: &'static [Child],
    /// What it does here.
    pub effect: Effect,
}

/// An element inside another.
#[derive(Debug)]
pub struct Child {
    /// The element.
    pub element: &'static Element,
    /// At least so many.
    pub least: usize,
    /// At most so many.
    pub most: usize,
}

/// An attribute.
#[derive(Debug)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What holds without it.
    pub preset: Preset,
    /// What it is for; for the guide.
    pub meaning: &'static str,
    /// What it does here.
    pub effect: Effect,
    /// It may be changed while the module runs.
    pub dynamic: bool,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number with `d`, `h`, `m`, `s`, `ms` or `us`; a plain number counts in `unit_ms`.
    Time {
        /// Unit of a plain number.
        unit_ms: u64,
        /// Shortest.
        min_ms: u64,
        /// Longest.
        max_ms: u64,
    },
    /// A whole number.
    Number {
        /// Lowest.
        min: u64,
        /// Highest.
        max: u64,
    },
    /// A whole number, or -1 for "not looked at".
    Count {
        /// Lowest besides -1.
        min: u64,
        /// Highest.
        max: u64,
    },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words; what other words would mean is not available in this version.
    Only(&'static [&'static str]),
    /// Letters, digits, dots, dashes and underscores.
    Name,
    /// An IPv4 or IPv6 address, or a DNS name.
    Address,
    /// An absolute, plain path.
    Directory,
    /// Anything of this many bytes at most, but at least one.
    Text {
        /// Longest.
        max: usize,
    },
    /// Anything of this many bytes at most, or nothing.
    Free {
        /// Longest.
        max: usize,
    },
}

/// What holds where an attribute is not written.
#[derive(Clone, Copy, Debug)]
pub enum Preset {
    /// This value.
    Value(&'static str),
    /// It must be written; a sample of it.
    Required(&'static str),
    /// What its absence means (for the guide), and a sample of it.
    Absent {
        /// For the guide.
        means: &'static str,
        /// A value that is accepted.
        sample: &'static str,
    },
}

/// What writing an element or attribute does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What its meaning says.
    Used,
    /// Nothing, for this reason: accepted, with a note.
    None(&'static str),
    /// It would change what the module does and is not available in this version: refused, with this cure.
    Refused(&'static str),
}

pub(super) const SECOND: u64 = 1000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;
pub(super) const SWITCH: Kind = Kind::OneOf(&["on", "off"]);

impl Attribute {
    pub(super) const fn required(name: &'static str, kind: Kind, sample: &'static str, meaning: &'static str) -> Self {
        Self { name, kind, preset: Preset::Required(sample), meaning, effect: Effect::Used, dynamic: true }
    }

    pub(super) const fn preset(name: &'static str, kind: Kind, value: &'static str, meaning: &'static str) -> Self {
        Self { name, kind, preset: Preset::Value(value), meaning, effect: Effect::Used, dynamic: true }
    }

    pub(super) const fn optional(
        name: &'static str,
        kind: Kind,
        (sample, means): (&'static str, &'static str),
        meaning: &'static str,
    ) -> Self {
        let preset = Preset::Absent { means, sample };
        Self { name, kind, preset, meaning, effect: Effect::Used, dynamic: true }
    }

    /// Accepted with a note.
    pub(super) const fn unused(name: &'static str, kind: Kind, sample: &'static str, why: &'static str) -> Self {
        let preset = Preset::Absent { means: "", sample };
        Self { name, kind, preset, meaning: "", effect: Effect::None(why), dynamic: true }
    }

    /// It changes only while the module is stopped.
    pub(super) const fn fixed(self) -> Self {
        Self { dynamic: false, ..self }
    }
}

impl Element {
    pub(super) const fn new(
        name: &'static str,
        meaning: &'static str,
        attributes: &'static [Attribute],
        children: &'static [Child],
    ) -> Self {
        Self { name, meaning, attributes, children, effect: Effect::Used }
    }

    pub(super) const fn refused(name: &'static str, cure: &'static str) -> Self {
        Self { name, meaning: "", attributes: &[], children: &[], effect: Effect::Refused(cure) }
    }

    /// The definition of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// The attributes it takes, for an error text.
    pub(super) fn takes_attributes(&self) -> String {
        list(self.attributes.iter().filter(|a| !matches!(a.effect, Effect::Refused(_))).map(|a| a.name.to_owned()))
            .unwrap_or_else(|| "no attributes".to_owned())
    }

    /// The elements it takes, for an error text.
    pub(super) fn takes_elements(&self) -> String {
        let used = self.children.iter().filter(|child| !matches!(child.element.effect, Effect::Refused(_)));
        list(used.map(|child| format!("<{}>", child.element.name))).unwrap_or_else(|| "no elements".to_owned())
    }
}

impl Child {
    pub(super) const fn once(element: &'static Element) -> Self {
        Self { element, least: 0, most: 1 }
    }

    pub(super) const fn one(element: &'static Element) -> Self {
        Self { element, least: 1, most: 1 }
    }

    pub(super) const fn many(element: &'static Element, most: usize) -> Self {
        Self { element, least: 0, most }
    }

    pub(super) const fn some(element: &'static Element, most: usize) -> Self {
        Self { element, least: 1, most }
    }
}

impl Preset {
    /// A value that is accepted.
    pub fn sample(&self) -> &'static str {
        match self {
            Self::Value(sample) | Self::Required(sample) | Self::Absent { sample, .. } => sample,
        }
    }
}

impl Kind {
    /// What may be written, as in "write …".
    pub fn describe(&self) -> String {
        let quoted = |words: &[&str]| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        match self {
            Self::Time { unit_ms, min_ms, max_ms } => format!(
                "a time from {} to {}, with d, h, m, s, ms or us; a plain number is in {}",
                show_ms(*min_ms),
                show_ms(*max_ms),
                unit_name(*unit_ms)
            ),
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Count { min, max } => format!("a whole number from {min} to {max}, or -1 for not looked at"),
            Self::OneOf(words) | Self::Only(words) => quoted(words),
            Self::Name => "1 to 64 letters, digits, dots, dashes or underscores".to_owned(),
            Self::Address => "an IPv4 or IPv6 address, or a DNS name".to_owned(),
            Self::Directory => "an absolute path below /, without \".\", \"..\" or empty parts".to_owned(),
            Self::Text { max } => format!("1 to {max} bytes of text without control characters"),
            Self::Free { max } => format!("at most {max} bytes of text"),
        }
    }
}

fn list(mut names: impl Iterator<Item = String>) -> Option<String> {
    let first = names.next()?;
    Some(names.fold(first, |all, name| all + ", " + &name))
}

fn unit_name(unit_ms: u64) -> &'static str {
    match unit_ms {
        1 => "milliseconds",
        SECOND => "seconds",
        MINUTE => "minutes",
        _ => "hours",
    }
}

/// A time in its largest whole unit.
pub(super) fn show_ms(ms: u64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")];
    let unit = units.iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}
