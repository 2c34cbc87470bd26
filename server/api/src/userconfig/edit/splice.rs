//! Replacements in a text of XML, by the places of its elements and attributes.

use roxmltree::Node;
use std::ops::Range;

/// Replacements to be made in a text.
pub(super) struct Splice<'t> {
    text: &'t str,
    edits: Vec<(Range<usize>, String)>,
}

impl<'t> Splice<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, edits: Vec::new() }
    }

    /// The text with all replacements made; those at one place in the order given.
    pub(super) fn done(mut self) -> String {
        self.edits.sort_by_key(|(range, _)| range.start);
        let (mut out, mut at) = (String::with_capacity(self.text.len() + 256), 0);
        for (range, new) in &self.edits {
            out.push_str(self.text.get(at..range.start).unwrap_or_default());
            out.push_str(new);
            at = at.max(range.end);
        }
        out.push_str(self.text.get(at..).unwrap_or_default());
        out
    }

    /// Sets an attribute, or takes it away.
    pub(super) fn set(&mut self, node: Node<'_, '_>, name: &str, value: Option<&str>) {
        let found = node.attributes().find(|attribute| attribute.name() == name);
        match (found, value) {
            (Some(attribute), Some(value)) => {
                let range = attribute.range_value();
                let quote = if self.text[..range.start].ends_with('\'') { '\'' } else { '"' };
                self.edits.push((range, escape(value, quote)));
            }
            (Some(attribute), None) => {
                let range = attribute.range();
                let start = self.text[..range.start].trim_end().len();
                self.edits.push((start..range.end, String::new()));
            }
            (None, Some(value)) => {
                let last = node.attributes().map(|attribute| attribute.range().end).max();
                let end = last.unwrap_or_else(|| node.range().start + 1 + node.tag_name().name().len());
                self.edits.push((end..end, format!(" {name}=\"{}\"", escape(value, '"'))));
            }
            (None, None) => {}
        }
    }

    /// Puts another text in a place.
    pub(super) fn put(&mut self, range: Range<usize>, text: String) {
        self.edits.push((range, text));
    }

    /// Takes an element away, with its line if it is alone there.
    pub(super) fn remove(&mut self, node: Node<'_, '_>) {
        let range = node.range();
        let line = self.line_start(range.start);
        let rest = &self.text[range.end..];
        let end = rest.find('\n').filter(|end| rest[..*end].trim().is_empty()).map(|end| range.end + end + 1);
        match (line, end) {
            (Some(start), Some(end)) => self.edits.push((start..end, String::new())),
            _ => self.edits.push((range, String::new())),
        }
    }

    /// Puts an element in the place of another, with that one's indent on its further lines.
    pub(super) fn replace(&mut self, node: Node<'_, '_>, element: &str) {
        let range = node.range();
        let indent = self.line_start(range.start).map(|start| self.text[start..range.start].to_owned());
        let new = self.indented(&indent.unwrap_or_default(), element);
        self.edits.push((range, new.trim_start().to_owned()));
    }

    /// Puts an element before another, on a line of its own if that begins one.
    pub(super) fn insert_before(&mut self, node: Node<'_, '_>, element: &str) {
        let start = node.range().start;
        match self.line_start(start) {
            Some(line) => {
                let new = format!("{}{}", self.indented(&self.text[line..start], element), self.line_end());
                self.edits.push((line..line, new));
            }
            None => self.edits.push((start..start, element.to_owned())),
        }
    }

    /// Puts an element behind another, on a line of its own if that has one (a comment behind it stays with it).
    pub(super) fn insert_after(&mut self, node: Node<'_, '_>, element: &str) {
        let range = node.range();
        let rest = &self.text[range.end..];
        let alone = |end: &usize| {
            let rest = rest[..*end].trim();
            rest.is_empty() || rest.starts_with("<!--") && rest.find("-->").is_some_and(|end| end + 3 == rest.len())
        };
        match (self.line_start(range.start), rest.find('\n').filter(alone)) {
            (Some(start), Some(end)) => {
                let at = range.end + end + 1;
                let new = format!("{}{}", self.indented(&self.text[start..range.start], element), self.line_end());
                self.edits.push((at..at, new));
            }
            _ => self.edits.push((range.end..range.end, element.to_owned())),
        }
    }

    /// Puts an element at the end of another's content.
    pub(super) fn append(&mut self, parent: Node<'_, '_>, element: &str) {
        let range = parent.range();
        let name = parent.tag_name().name();
        let outer = self.line_start(range.start).map(|start| self.text[start..range.start].to_owned());
        let whole = &self.text[range.clone()];
        if let Some(open) = whole.strip_suffix("/>") {
            let at = range.start + open.trim_end().len();
            let new = match &outer {
                Some(outer) => {
                    let (end, inner) = (self.line_end(), self.indented(&format!("{outer}  "), element));
                    format!(">{end}{inner}{end}{outer}</{name}>")
                }
                None => format!(">{element}</{name}>"),
            };
            self.edits.push((at..range.end, new));
            return;
        }
        let close = range.start + whole.rfind("</").unwrap_or(whole.len());
        match self.line_start(close) {
            Some(start) => {
                let indent = format!("{}  ", &self.text[start..close]);
                let new = format!("{}{}", self.indented(&indent, element), self.line_end());
                self.edits.push((start..start, new));
            }
            None => self.edits.push((close..close, element.to_owned())),
        }
    }

    /// Where the line of a place begins, if only blanks stand before it.
    fn line_start(&self, at: usize) -> Option<usize> {
        let before = &self.text[..at];
        let start = before.rfind('\n').map_or(0, |line| line + 1);
        before[start..].trim().is_empty().then_some(start)
    }

    fn line_end(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    fn indented(&self, indent: &str, element: &str) -> String {
        let lines: Vec<String> = element.lines().map(|line| format!("{indent}{line}")).collect();
        lines.join(self.line_end())
    }
}

/// An element without content.
pub(super) fn element(name: &str, attributes: &[(&'static str, Option<String>)]) -> String {
    format!("<{name}{}/>", written(attributes))
}

/// An element with elements in it, one a line.
pub(super) fn element_with(name: &str, attributes: &[(&'static str, Option<String>)], inner: &[String]) -> String {
    let inner: String = inner.iter().flat_map(|element| element.lines()).map(|line| format!("\n  {line}")).collect();
    format!("<{name}{}>{inner}\n</{name}>", written(attributes))
}

fn written(attributes: &[(&'static str, Option<String>)]) -> String {
    let given = attributes.iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
    given.map(|(name, value)| format!(" {name}=\"{}\"", escape(value, '"'))).collect()
}

/// Text for an attribute value between these quotes.
fn escape(value: &str, quote: char) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' if quote == '"' => out.push_str("&quot;"),
            '\'' if quote == '\'' => out.push_str("&apos;"),
            '\n' | '\t' | '\r' => out.push_str(&format!("&#{};", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}
