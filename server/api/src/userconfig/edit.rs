//! Changes a `userconfig.xml` in place: only the values that differ are written, every other byte stays.

mod expand;
mod sections;
mod splice;
#[cfg(test)]
mod tests;

pub(super) use expand::expanded;

use super::define::show_ms;
use super::value::{Parsed, error_at};
use super::{Proc, UserConfig, UserConfigError, read};
use roxmltree::{Document, Node};
use splice::Splice;

/// Names and texts of the macros, as written.
pub(super) fn macros(text: &str) -> Parsed<Vec<(String, String)>> {
    read::with_document(text, |document| {
        let written =
            |node: Node<'_, '_>| Some((node.attribute("name")?.to_owned(), node.attribute("value")?.to_owned()));
        Ok(document.root_element().children().filter(|child| child.has_tag_name("macro")).filter_map(written).collect())
    })
}

/// Gives macros of a text other texts; those that it has not are left out.
pub(super) fn set_macros(text: &str, wanted: &[(String, String)]) -> Parsed<String> {
    let mark = if text.starts_with('\u{feff}') { "\u{feff}" } else { "" };
    let bare = &text[mark.len()..];
    read::with_document(bare, |document| {
        let mut splice = Splice::new(bare);
        for node in document.root_element().children().filter(|child| child.has_tag_name("macro")) {
            let value = wanted.iter().find(|(name, _)| node.attribute("name") == Some(name)).map(|(_, value)| value);
            if let Some(value) = value.filter(|value| node.attribute("value") != Some(value)) {
                splice.set(node, "value", Some(value));
            }
        }
        Ok(format!("{mark}{}", splice.done()))
    })
}

/// See [`UserConfig::edit`].
pub(super) fn edit(text: &str, wanted: &UserConfig) -> Parsed<String> {
    let now = read::parse(text)?;
    let mark = if text.starts_with('\u{feff}') { "\u{feff}" } else { "" };
    let bare = &text[mark.len()..];
    let edited = read::with_document(bare, |document| {
        let mut splice = Splice::new(bare);
        Edit { document, now: &now, wanted }.write(&mut splice)?;
        Ok(format!("{mark}{}", splice.done()))
    })?;
    // Macros, or an element that is not there, may keep a change from arriving: then nothing is changed.
    let same = |mut config: UserConfig| {
        config.notes.clone_from(&wanted.notes);
        if let (Some(read), Some(wanted)) = (&mut config.rfs, &wanted.rfs) {
            // They stand inside their directory and go, or move, with it.
            read.exclusions.clone_from(&wanted.exclusions);
            read.required.clone_from(&wanted.required);
        }
        config == *wanted
    };
    if same(read::parse(&edited)?) { Ok(edited) } else { Err(impossible(1, 1)) }
}

fn impossible(line: u32, column: u32) -> UserConfigError {
    error_at(line, column, "the change cannot be put into this text without rewriting it", "edit userconfig.xml itself")
}

struct Edit<'a> {
    document: &'a Document<'a>,
    now: &'a UserConfig,
    wanted: &'a UserConfig,
}

impl<'a> Edit<'a> {
    fn write(&self, splice: &mut Splice<'_>) -> Parsed<()> {
        let root = self.document.root_element();
        let Some(service) = child(root, "service") else { return Err(impossible(1, 1)) };
        let (now, wanted) = (&self.now.service, &self.wanted.service);
        if now.maxloop != wanted.maxloop {
            splice.set(service, "maxloop", Some(&wanted.maxloop.to_string()));
        }
        if now.loop_interval_ms != wanted.loop_interval_ms {
            splice.set(service, "loop_interval", Some(&show_ms(wanted.loop_interval_ms)));
        }
        if let Some(heart) = child(service, "heart") {
            let (now, wanted) = (&self.now.heart, &self.wanted.heart);
            if now.pulse_ms != wanted.pulse_ms {
                splice.set(heart, "pulse", Some(&wanted.pulse_ms.to_string()));
            }
            if now.timeout_ms != wanted.timeout_ms {
                splice.set(heart, "timeout", Some(&wanted.timeout_ms.to_string()));
            }
        }
        self.links(service, splice);
        self.vip(service, splice);
        self.directories(service, splice);
        self.errd(service, splice);
        self.check(service, splice);
        Ok(())
    }

    fn links(&self, service: Node<'a, 'a>, splice: &mut Splice<'_>) {
        let (now, wanted) = (&self.now.heart.links, &self.wanted.heart.links);
        let Some(heart) = child(service, "heart").filter(|_| now != wanted) else { return };
        let attributes = |link: &super::HeartbeatLink| {
            vec![
                ("name", Some(link.lan.clone())),
                ("ident", Some(link.ident.clone()).filter(|ident| *ident != link.lan)),
                ("pulse", link.pulse_ms.map(show_ms)),
                ("timeout", link.timeout_ms.map(show_ms)),
            ]
        };
        let items = Items {
            name: "heartbeat",
            now: now.iter().map(attributes).collect(),
            wanted: wanted.iter().map(attributes).collect(),
        };
        items.write(heart, splice);
    }

    fn vip(&self, service: Node<'a, 'a>, splice: &mut Splice<'_>) {
        if self.now.vip == self.wanted.vip {
            return;
        }
        match (child(service, "vip"), self.wanted.vip.as_ref().map(sections::vip)) {
            (Some(node), Some(text)) => splice.replace(node, &text),
            (Some(node), None) => splice.remove(node),
            (None, Some(text)) => splice.append(service, &text),
            (None, None) => {}
        }
    }

    /// The checkers and the witness, which share `<check>`.
    fn check(&self, service: Node<'a, 'a>, splice: &mut Splice<'_>) {
        let (now, wanted) = (&self.now.check.checkers, self.wanted.written_checkers());
        let same_witness = self.now.witness == self.wanted.witness;
        if self.now.written_checkers() == wanted && same_witness {
            return;
        }
        let witness = sections::splitbrain(&self.wanted.witness);
        let Some(check) = child(service, "check") else {
            let inner: Vec<String> = wanted.iter().map(sections::checker).chain(witness).collect();
            if !inner.is_empty() {
                splice.append(service, &splice::element_with("check", &[], &inner));
            }
            return;
        };
        let elements = check.children().filter(Node::is_element);
        let (asked, nodes): (Vec<_>, Vec<_>) = elements.partition(|node| node.has_tag_name("splitbrain"));
        for (node, old) in nodes.iter().zip(now) {
            match wanted.iter().find(|new| new.resource() == old.resource()) {
                None => splice.remove(*node),
                Some(new) if new != old => splice.replace(*node, &sections::checker(new)),
                Some(_) => {}
            }
        }
        let known = |resource: String| now.iter().take(nodes.len()).any(|old| old.resource() == resource);
        let mut new: Vec<String> = wanted.iter().filter(|new| !known(new.resource())).map(sections::checker).collect();
        match (asked.first(), witness) {
            _ if same_witness => {}
            (Some(node), Some(text)) => splice.replace(*node, &text),
            (Some(node), None) => splice.remove(*node),
            (None, text) => new.extend(text),
        }
        if !new.is_empty() {
            splice.append(check, &new.join("\n"));
        }
    }

    fn directories(&self, service: Node<'a, 'a>, splice: &mut Splice<'_>) {
        let directories = |config: &'a UserConfig| -> &'a [String] {
            config.rfs.as_ref().map(|rfs| rfs.directories.as_slice()).unwrap_or_default()
        };
        let (now, wanted) = (directories(self.now), directories(self.wanted));
        if now == wanted {
            return;
        }
        let attributes =
            |directory: &String| vec![("dir", Some(directory.clone())), ("mode", Some("read_only".into()))];
        let Some(rfs) = child(service, "rfs") else {
            let inner: Vec<String> =
                wanted.iter().map(|directory| splice::element("replicated", &attributes(directory))).collect();
            splice.append(service, &splice::element_with("rfs", &[("async", Some("second".to_owned()))], &inner));
            return;
        };
        if wanted.is_empty() {
            splice.remove(rfs);
            return;
        }
        let items = Items {
            name: "replicated",
            now: now.iter().map(|directory| vec![("dir", Some(directory.clone()))]).collect(),
            wanted: wanted.iter().map(attributes).collect(),
        };
        items.write(rfs, splice);
    }

    fn errd(&self, service: Node<'a, 'a>, splice: &mut Splice<'_>) {
        let (now, wanted) = (&self.now.errd, &self.wanted.errd);
        if now == wanted {
            return;
        }
        let items = Items {
            name: "proc",
            now: now.procs.iter().map(attributes).collect(),
            wanted: wanted.procs.iter().map(attributes).collect(),
        };
        match child(service, "errd") {
            Some(errd) => {
                if now.polltimer_ms != wanted.polltimer_ms {
                    splice.set(errd, "polltimer", Some(&show_ms(wanted.polltimer_ms)));
                }
                items.write(errd, splice);
            }
            None => {
                let procs: Vec<String> = items.wanted.iter().map(|proc| splice::element("proc", proc)).collect();
                let polltimer = vec![("polltimer", Some(show_ms(wanted.polltimer_ms)))];
                splice.append(service, &splice::element_with("errd", &polltimer, &procs));
            }
        }
    }
}

fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// Attributes as written, in order; `None`: left out.
type Attributes = Vec<(&'static str, Option<String>)>;

/// The attributes of a `<proc>`; what is as without them is left out.
fn attributes(proc: &Proc) -> Attributes {
    let count = |count: Option<u32>| count.map_or_else(|| "-1".to_owned(), |count| count.to_string());
    vec![
        ("name", Some(proc.name.clone())),
        ("service", proc.service.then(|| "yes".to_owned())),
        ("nameregex", proc.nameregex.clone()),
        ("argregex", proc.argregex.clone()),
        ("atleast", Some(count(proc.atleast))),
        ("atmax", proc.atmax.map(|most| most.to_string())),
        ("action", Some(proc.action.as_str().to_owned())),
        ("class", Some(proc.class.clone())),
        ("restart_services", Some(proc.restart_services.join(", ")).filter(|names| !names.is_empty())),
        ("start_after", (proc.start_after > 0).then(|| proc.start_after.to_string())),
    ]
}

/// Elements of one name inside another, each known by its first attribute.
struct Items {
    name: &'static str,
    now: Vec<Attributes>,
    wanted: Vec<Attributes>,
}

impl Items {
    /// Changes, adds and removes elements; those that stay keep their place and text.
    fn write(&self, parent: Node<'_, '_>, splice: &mut Splice<'_>) {
        let nodes: Vec<_> = parent.children().filter(|child| child.has_tag_name(self.name)).collect();
        let pairs = self.pairs();
        for (i, node) in nodes.iter().enumerate() {
            if !pairs.iter().any(|(now, _)| *now == i) {
                splice.remove(*node);
            }
        }
        let mut last = None;
        for (w, wanted) in self.wanted.iter().enumerate() {
            match pairs
                .iter()
                .find(|(_, other)| *other == w)
                .and_then(|(now, _)| nodes.get(*now).zip(self.now.get(*now)))
            {
                Some((node, now)) => {
                    let differs = |(name, value): &&(&'static str, Option<String>)| {
                        now.iter().any(|(other, old)| other == name && old != value)
                    };
                    for (name, value) in wanted.iter().filter(differs) {
                        splice.set(*node, name, value.as_deref());
                    }
                    last = Some(*node);
                }
                None => {
                    let text = splice::element(self.name, wanted);
                    match (last, nodes.first()) {
                        (Some(last), _) => splice.insert_after(last, &text),
                        (None, Some(first)) => splice.insert_before(*first, &text),
                        (None, None) => splice.append(parent, &text),
                    }
                }
            }
        }
    }

    /// Which element of now becomes which wanted one: by place if their number stays, else by name, in order.
    fn pairs(&self) -> Vec<(usize, usize)> {
        if self.now.len() == self.wanted.len() {
            return (0..self.now.len()).map(|i| (i, i)).collect();
        }
        let mut next = 0;
        let mut pairs = Vec::new();
        for (w, wanted) in self.wanted.iter().enumerate() {
            if let Some(found) =
                (next..self.now.len()).find(|i| self.now.get(*i).and_then(|a| a.first()) == wanted.first())
            {
                pairs.push((found, w));
                next = found + 1;
            }
        }
        pairs
    }
}
