//! The language of the console: its English texts are written in the source, other languages are read from a catalogue.
//!
//! `t!` is a text, `tf!` one with values, `later!` marks a text of a table that [`t`] translates where it is shown.
//! A catalogue (`web/locales/<language>.json`) holds the same texts with their translations; the page loads it beside the
//! program, so that a language costs only those who read it. The tests in `language/tests.rs` keep source and catalogues
//! equal. What server and nodes say is translated where it is shown (`heard`). Another language is shown from the next
//! loading of the page on.

mod heard;
mod macros;
#[cfg(test)]
mod tests;

pub(crate) use macros::{later, t, tf, value};

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{Display, Write};

/// The languages: the word in addresses and storage, and what speakers call them.
pub const LANGUAGES: [(&str, &str); 2] = [("en", "English"), ("fr", "Français")];

/// The texts of another language than English.
type Catalogue = HashMap<String, String>;

thread_local! {
    /// The catalogue in use; none for English. Never freed: texts are handed out as long as the page lives.
    static CATALOGUE: Cell<Option<&'static Catalogue>> = const { Cell::new(None) };
    /// What server and nodes say in it.
    static HEARD: Cell<Option<&'static heard::Heard>> = const { Cell::new(None) };
    /// The word of the language in use.
    static CODE: Cell<&'static str> = const { Cell::new("en") };
}

/// Uses the language `code` with its catalogue, and that of what server and nodes say (JSON); an unknown language or a
/// catalogue that cannot be read leaves English.
pub fn choose(code: &str, catalogue: &str, heard: &str) {
    let Some((code, _)) = LANGUAGES.into_iter().find(|(known, _)| *known == code) else { return };
    if code == "en" {
        return;
    }
    if let Ok(mut texts) = serde_json::from_str::<Catalogue>(catalogue) {
        texts.values_mut().for_each(bind);
        CATALOGUE.set(Some(Box::leak(Box::new(texts))));
        CODE.set(code);
        let mut sentences: BTreeMap<String, String> = serde_json::from_str(heard).unwrap_or_default();
        sentences.values_mut().for_each(bind);
        HEARD.set(Some(Box::leak(Box::new(heard::Heard::of(sentences)))));
    }
}

/// Has no line begin with a sign that belongs to the word before it, as French sets a space before it; catalogues are
/// written with plain spaces.
fn bind(text: &mut String) {
    for sign in [";", ":", "!", "?", "»"] {
        *text = text.replace(&format!(" {sign}"), &format!("\u{a0}{sign}"));
    }
    *text = text.replace("« ", "«\u{a0}");
}

/// What a server or node said, in the language in use as far as it is known there; what the console says itself stays.
pub fn heard(text: &str) -> Cow<'_, str> {
    HEARD.get().and_then(|heard| heard.say(text)).map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The word of the language in use.
pub fn code() -> &'static str {
    CODE.get()
}

/// `english` in the language in use; itself if the catalogue lacks it.
pub fn t(english: &'static str) -> &'static str {
    CATALOGUE.get().and_then(|texts| texts.get(english)).map_or(english, String::as_str)
}

/// [`t`] with each `{name}` replaced by its value; a name without a value stays as it is written.
pub fn tf(english: &'static str, values: &[(&str, &dyn Display)]) -> String {
    let mut rest = t(english);
    let mut text = String::with_capacity(rest.len() + 16);
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let value = after.split_once('}').and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, after))
        });
        rest = match value {
            Some((value, after)) => {
                // Writing to a string does not fail.
                write!(text, "{value}").ok();
                after
            }
            None => {
                text.push('{');
                after
            }
        };
    }
    text.push_str(rest);
    text
}

/// A number with one decimal, as the language writes it.
pub fn decimal(value: f64) -> String {
    let text = format!("{value:.1}");
    if code() == "fr" { text.replace('.', ",") } else { text }
}

/// A list in words: `a, b and c`.
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => tf("{first} and {last}", &[("first", &first.join(", ")), ("last", last)]),
    }
}

/// True if the language puts a noun beside this count in the singular.
pub fn is_singular(count: u64) -> bool {
    count == 1 || (count == 0 && code() == "fr")
}

/// Day and time as the language writes them.
pub fn date((year, month, day): (u32, u32, u32), clock: &str) -> String {
    match code() {
        "fr" => format!("{day:02}/{month:02}/{year:04} {clock}"),
        _ => format!("{year:04}-{month:02}-{day:02} {clock}"),
    }
}
