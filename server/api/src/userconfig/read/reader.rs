//! Elements checked against their definitions: what is unknown or wrong is an error, what has no effect a note.

use super::super::define::{Child, Effect, Element, Preset};
use super::super::value::{Parsed, Value, error_at, shorten};
use super::super::{Note, UserConfigError};
use super::macros::{Expanded, Macros};
use roxmltree::{Document, Node, TextPos};

/// The document while it is read.
pub(super) struct Reader<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) macros: Macros,
    pub(super) notes: Vec<Note>,
}

/// An element with its attributes, checked and macros put in.
pub(super) struct Fields {
    element: &'static Element,
    pos: TextPos,
    values: Vec<Value>,
}

impl<'d> Reader<'d> {
    pub(super) fn pos(&self, node: Node<'d, 'd>) -> TextPos {
        self.document.text_pos_at(node.range().start)
    }

    pub(super) fn error(
        &self,
        node: Node<'d, 'd>,
        problem: impl Into<String>,
        cure: impl Into<String>,
    ) -> UserConfigError {
        let pos = self.pos(node);
        error_at(pos.row, pos.col, problem, cure)
    }

    pub(super) fn note(&mut self, pos: TextPos, text: impl Into<String>) {
        self.notes.push(Note { line: pos.row, column: pos.col, text: text.into() });
    }

    /// Notes that a written attribute does nothing.
    pub(super) fn unused(&mut self, value: &Value, why: &str) {
        let text = format!("{}=\"{}\" is accepted and not used: {why}", value.attribute.name, shorten(&value.text));
        self.note(value.pos, text);
    }

    /// Reads the attributes of an element.
    pub(super) fn fields(&mut self, node: Node<'d, 'd>, element: &'static Element) -> Parsed<Fields> {
        let pos = self.pos(node);
        let mut fields = Fields { element, pos, values: Vec::new() };
        for attribute in node.attributes() {
            let pos = self.document.text_pos_at(attribute.range().start);
            let known = element.attribute(attribute.name()).filter(|_| attribute.namespace().is_none());
            let Some(known) = known else {
                let problem = format!("attribute \"{}\" is unknown in <{}>", shorten(attribute.name()), element.name);
                let cure = format!("<{}> takes {}", element.name, element.takes_attributes());
                return Err(error_at(pos.row, pos.col, problem, cure));
            };
            let text = self.expand(attribute.value(), pos)?.text;
            let value = Value { attribute: known, text, pos, written: true };
            if let Effect::Refused(cure) = known.effect {
                let problem = format!("attribute \"{}\" is not available in this version", known.name);
                return Err(value.error(problem, cure));
            }
            value.check()?;
            if let Effect::None(why) = known.effect {
                self.unused(&value, why);
            }
            fields.values.push(value);
        }
        for attribute in element.attributes {
            if matches!(attribute.preset, Preset::Required(_)) && fields.get(attribute.name).is_none() {
                let problem = format!("<{}> has no attribute \"{}\"", element.name, attribute.name);
                let cure = format!("add {}=\"...\": {}", attribute.name, attribute.kind.describe());
                return Err(error_at(pos.row, pos.col, problem, cure));
            }
        }
        Ok(fields)
    }

    /// Puts the macros into a text that begins at `pos`.
    pub(super) fn expand(&mut self, text: &str, pos: TextPos) -> Parsed<Expanded> {
        let expanded = self.macros.expand(text).ok_or_else(|| {
            error_at(pos.row, pos.col, "with its macros put in, this is too long", "shorten the macros")
        })?;
        for name in &expanded.undefined {
            if name.starts_with("SAFE") {
                let problem =
                    format!("%{name}% is a variable of the environment, and the environment is not read here");
                let cure = format!("write its value, or <macro name=\"{name}\" value=\"...\"/> above <service>");
                return Err(error_at(pos.row, pos.col, problem, cure));
            }
            let text = format!(
                "%{name}% stays as it is: no <macro> above defines it, and variables of the environment are not read \
                 (they may differ between the nodes)"
            );
            self.note(pos, text);
        }
        Ok(expanded)
    }

    /// The child elements with their definitions; text between them is an error.
    pub(super) fn children(
        &mut self,
        node: Node<'d, 'd>,
        element: &'static Element,
    ) -> Parsed<Vec<(Node<'d, 'd>, &'static Element)>> {
        for child in node.children().filter(Node::is_text) {
            if child.text().is_some_and(|text| !text.trim().is_empty()) {
                let cure = "remove it, or put it into <!-- -->";
                return Err(self.error(child, "text stands where only elements may", cure));
            }
        }
        let mut found: Vec<(Node<'d, 'd>, &'static Element)> = Vec::new();
        for child in node.children().filter(Node::is_element) {
            let definition = self.child(child, element)?;
            let count = found.iter().filter(|(_, other)| other.name == definition.element.name).count();
            if count == definition.most {
                let name = definition.element.name;
                return Err(match count {
                    1 => self.error(child, format!("a second <{name}>"), format!("keep one <{name}>")),
                    most => self.error(child, format!("too many <{name}>"), format!("keep at most {most}")),
                });
            }
            if let Effect::None(why) = definition.element.effect {
                let text = format!("<{}> is accepted and not used: {why}", definition.element.name);
                self.note(self.pos(child), text);
            }
            found.push((child, definition.element));
        }
        for child in element.children {
            let count = found.iter().filter(|(_, other)| other.name == child.element.name).count();
            if count < child.least {
                let (name, inner) = (element.name, child.element.name);
                let cure = format!("put <{inner}> into it: {}", sample_of(child.element));
                return Err(self.error(node, format!("<{name}> has no <{inner}>"), cure));
            }
        }
        Ok(found)
    }

    fn child(&self, node: Node<'d, 'd>, parent: &'static Element) -> Parsed<&'static Child> {
        let tag = node.tag_name();
        let known = parent.children.iter().find(|child| child.element.name == tag.name() && tag.namespace().is_none());
        let Some(known) = known else {
            let problem = format!("<{}> is unknown inside <{}>", shorten(tag.name()), parent.name);
            return Err(self.error(node, problem, format!("<{}> takes {}", parent.name, parent.takes_elements())));
        };
        match known.element.effect {
            Effect::Refused(cure) => {
                Err(self.error(node, format!("<{}> is not available in this version", tag.name()), cure))
            }
            _ => Ok(known),
        }
    }
}

/// The element with its required attributes, as an example.
fn sample_of(element: &Element) -> String {
    let required = element.attributes.iter().filter_map(|attribute| match attribute.preset {
        Preset::Required(sample) => Some(format!(" {}=\"{sample}\"", attribute.name)),
        _ => None,
    });
    let attributes: String = required.collect();
    if element.children.is_empty() {
        format!("<{}{attributes}/>", element.name)
    } else {
        format!("<{0}{attributes}>...</{0}>", element.name)
    }
}

impl Fields {
    /// What was written.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|value| value.attribute.name == name)
    }

    pub(super) fn error(&self, problem: impl Into<String>, cure: impl Into<String>) -> UserConfigError {
        error_at(self.pos.row, self.pos.col, problem, cure)
    }

    pub(super) fn pos(&self) -> TextPos {
        self.pos
    }

    /// What was written, or the preset.
    pub(super) fn value(&self, name: &str) -> Parsed<Value> {
        if let Some(value) = self.get(name) {
            return Ok(value.clone());
        }
        match self.element.attribute(name).map(|attribute| (attribute, attribute.preset)) {
            Some((attribute, Preset::Value(text))) => {
                Ok(Value { attribute, text: text.to_owned(), pos: self.pos, written: false })
            }
            _ => Err(self.error(format!("<{}> has no attribute \"{name}\"", self.element.name), "add it")),
        }
    }

    pub(super) fn time(&self, name: &str) -> Parsed<u64> {
        self.value(name)?.time_ms()
    }

    pub(super) fn time_if(&self, name: &str) -> Parsed<Option<u64>> {
        self.get(name).map(Value::time_ms).transpose()
    }

    pub(super) fn number(&self, name: &str) -> Parsed<u64> {
        self.value(name)?.number()
    }

    pub(super) fn number_if(&self, name: &str) -> Parsed<Option<u64>> {
        self.get(name).map(Value::number).transpose()
    }

    pub(super) fn count(&self, name: &str) -> Parsed<Option<u32>> {
        Ok(self.value(name)?.count()?.and_then(|count| u32::try_from(count).ok()))
    }

    /// True for `on` and `yes`.
    pub(super) fn switch(&self, name: &str) -> Parsed<bool> {
        Ok(matches!(self.value(name)?.text.as_str(), "on" | "yes"))
    }

    pub(super) fn text(&self, name: &str) -> Parsed<String> {
        Ok(self.value(name)?.text)
    }

    pub(super) fn text_if(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.text.clone())
    }
}
