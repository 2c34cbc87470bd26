//! `<macro>`: `%name%` in what follows is replaced by its value.

use super::super::define::{Attribute, Element, Kind};

/// `<macro>`.
pub(in super::super) static MACRO: Element = Element::new(
    "macro",
    "A name for a text. Where %name% stands in an attribute value, or in the rules of <failover>, further down in the \
     file, the text is put in its place. A %name% that no macro defines stays as it is, and is noted. Variables of the \
     environment are not read, since they may differ between the nodes.",
    &[
        Attribute::required("name", Kind::Name, "port", "What stands between the percent signs."),
        Attribute::required(
            "value",
            Kind::Free { max: 4096 },
            "8080",
            "What is put in. Earlier macros may be used in it.",
        ),
    ],
    &[],
);

/// Longest text that an expansion may make.
const EXPANDED_MAX: usize = 128 * 1024;

/// The macros read so far.
#[derive(Debug, Default)]
pub(in super::super) struct Macros(Vec<(String, String)>);

/// A text with its macros put in.
#[derive(Debug, Default)]
pub(in super::super) struct Expanded {
    pub(in super::super) text: String,
    /// Names between percent signs that no macro has.
    pub(super) undefined: Vec<String>,
    /// Where pieces of `text` begin, and where each was in the original; a piece of a macro stays at its place.
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    at: usize,
    original: usize,
    from_macro: bool,
}

impl Macros {
    /// Adds one; false if there is one of this name.
    pub(in super::super) fn add(&mut self, name: String, value: String) -> bool {
        let new = self.get(&name).is_none();
        self.0.push((name, value));
        new
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Puts the macros into a text; nothing if that makes it too long.
    pub(in super::super) fn expand(&self, text: &str) -> Option<Expanded> {
        let mut out = Expanded::default();
        let mut at = 0;
        while let Some((start, name)) = next_name(text, at) {
            let end = start + name.len() + 2;
            match self.get(name) {
                Some(value) => {
                    out.push(&text[at..start], at, false);
                    out.push(value, start, true);
                    at = end;
                }
                None => {
                    out.undefined.push(name.to_owned());
                    // The closing sign may open the next name.
                    out.push(&text[at..end - 1], at, false);
                    at = end - 1;
                }
            }
            if out.text.len() > EXPANDED_MAX {
                return None;
            }
        }
        out.push(&text[at..], at, false);
        Some(out).filter(|out| out.text.len() <= EXPANDED_MAX)
    }
}

/// The next `%name%` from `at`: where its first sign is, and the name.
fn next_name(text: &str, mut at: usize) -> Option<(usize, &str)> {
    loop {
        let start = at + text[at..].find('%')?;
        let rest = &text[start + 1..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)))?;
        if end > 0 && rest[end..].starts_with('%') {
            return Some((start, &rest[..end]));
        }
        at = start + 1;
    }
}

impl Expanded {
    fn push(&mut self, text: &str, original: usize, from_macro: bool) {
        if !text.is_empty() {
            self.pieces.push(Piece { at: self.text.len(), original, from_macro });
            self.text.push_str(text);
        }
    }

    /// Where a byte of the expanded text was in the original.
    pub(super) fn original(&self, at: usize) -> usize {
        match self.pieces.iter().rev().find(|piece| piece.at <= at) {
            None => 0,
            Some(piece) if piece.from_macro => piece.original,
            Some(piece) => piece.original + (at - piece.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn macros() -> Macros {
        let mut macros = Macros::default();
        assert!(macros.add("a".into(), "<A>".into()));
        assert!(macros.add("empty".into(), String::new()));
        assert!(!macros.add("a".into(), "again".into()));
        macros
    }

    #[test]
    fn names_are_replaced_and_places_kept() {
        let out = macros().expand("x%a%y%empty%z").unwrap();
        assert_eq!(out.text, "x<A>yz");
        assert_eq!([0, 1, 3, 4, 5, 6].map(|at| out.original(at)), [0, 1, 1, 4, 12, 13]);
    }

    #[test]
    fn other_percent_signs_stay() {
        let out = macros().expand("100% %% %b%a% %a %a%").unwrap();
        assert_eq!((out.text.as_str(), out.undefined.as_slice()), ("100% %% %b<A> %a <A>", &["b".to_owned()][..]));
    }

    #[test]
    fn growth_is_bounded() {
        let mut macros = Macros::default();
        macros.add("a".into(), "x".repeat(4096));
        assert!(macros.expand(&"%a%".repeat(1000)).is_none());
    }
}
