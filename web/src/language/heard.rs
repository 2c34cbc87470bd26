//! What server and nodes say, in the language of the page.
//!
//! They speak English, the language of logs and of the command line. The catalogue `web/locales/<language>.heard.json`
//! holds the sentences as they stand in their sources, values between braces, with their translations: a text that comes is
//! recognised by what stands between its values. What no sentence fits is shown as it came.

use std::collections::BTreeMap;

/// How deep sentences are looked for inside values of sentences.
const DEPTH_MAX: u8 = 4;

/// A sentence of the server or of a node.
struct Sentence {
    /// What stands before, between and behind the values; one more than values.
    fixed: Vec<String>,
    /// What the values are called; empty for one that is told by its place.
    names: Vec<String>,
    /// The translation, values between braces.
    here: String,
}

/// The sentences of a language, the most telling first.
pub struct Heard(Vec<Sentence>);

impl Heard {
    /// Those of a catalogue.
    pub fn of(catalogue: BTreeMap<String, String>) -> Self {
        let mut sentences: Vec<Sentence> =
            catalogue.into_iter().map(|(text, here)| Sentence::of(&text, here)).collect();
        sentences.sort_by_key(|sentence| std::cmp::Reverse(sentence.fixed.iter().map(String::len).sum::<usize>()));
        Self(sentences)
    }

    /// `text` in this language, as far as it is known.
    pub fn say(&self, text: &str) -> Option<String> {
        self.inside(text, 0)
    }

    fn inside(&self, text: &str, depth: u8) -> Option<String> {
        if depth > DEPTH_MAX || text.is_empty() {
            return None;
        }
        let whole = self.0.iter().find_map(|sentence| Some((sentence, sentence.values(text)?)));
        if let Some((sentence, values)) = whole {
            let said = |value: &&str| self.inside(value, depth + 1).unwrap_or_else(|| (*value).to_owned());
            return Some(sentence.filled(&values.iter().map(said).collect::<Vec<_>>()));
        }
        // A name before it, or several of them one after the other.
        if let Some((name, rest)) = text.split_once(": ").filter(|(name, _)| !name.contains(' ')) {
            return self.inside(rest, depth + 1).map(|rest| format!("{name}\u{a0}: {rest}"));
        }
        let (first, rest) = text.split_once("; ")?;
        let said = [first, rest].map(|part| (part, self.inside(part, depth + 1)));
        let any = said.iter().any(|(_, said)| said.is_some());
        any.then(|| said.map(|(part, said)| said.unwrap_or_else(|| part.to_owned())).join("\u{a0}; "))
    }
}

impl Sentence {
    fn of(text: &str, here: String) -> Self {
        let mut parts = text.split('{');
        let mut fixed = vec![parts.next().unwrap_or_default().to_owned()];
        let mut names = Vec::new();
        for part in parts {
            let (name, after) = part.split_once('}').unwrap_or((part, ""));
            names.push(name.to_owned());
            fixed.push(after.to_owned());
        }
        Self { fixed, names, here }
    }

    /// The values in `text`, if it is this sentence.
    fn values<'a>(&self, text: &'a str) -> Option<Vec<&'a str>> {
        let (first, rest) = self.fixed.split_first()?;
        let mut left = text.strip_prefix(first.as_str())?;
        let Some((last, between)) = rest.split_last() else { return left.is_empty().then(Vec::new) };
        let mut values = Vec::new();
        for fixed in between {
            let (value, after) = left.split_once(fixed.as_str())?;
            values.push(value);
            left = after;
        }
        values.push(left.strip_suffix(last.as_str())?);
        Some(values)
    }

    fn filled(&self, values: &[String]) -> String {
        let mut placed = self.names.iter().zip(values).filter(|(name, _)| name.is_empty()).map(|(_, value)| value);
        let mut parts = self.here.split('{');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, after) = part.split_once('}').unwrap_or((part, ""));
            let value = match name {
                "" => placed.next(),
                name => self.names.iter().position(|known| known == name).and_then(|at| values.get(at)),
            };
            text.push_str(value.map_or("", String::as_str));
            text.push_str(after);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Heard;

    fn heard(sentences: &[(&str, &str)]) -> Heard {
        Heard::of(sentences.iter().map(|(text, here)| ((*text).to_owned(), (*here).to_owned())).collect())
    }

    #[test]
    fn a_sentence_is_known_by_what_stands_between_its_values() {
        let heard = heard(&[
            ("waits for {peer} (here {} entries, {} bytes)", "attend {peer} (ici {} entrées, {} octets)"),
            ("waits for {peer}", "attend {peer}"),
            ("{name} has configuration {version} now{notes}", "{name} a la configuration {version}{notes}"),
            ("up to date", "à jour"),
        ]);
        assert_eq!(heard.say("up to date").as_deref(), Some("à jour"));
        assert_eq!(heard.say("waits for node2").as_deref(), Some("attend node2"));
        let counted = heard.say("waits for node2 (here 3 entries, 40 bytes)");
        assert_eq!(counted.as_deref(), Some("attend node2 (ici 3 entrées, 40 octets)"));
        assert_eq!(heard.say("something else"), None);
        let noted = heard.say("bank has configuration 4 now");
        assert_eq!(noted.as_deref(), Some("bank a la configuration 4"), "a value may be nothing");
    }

    #[test]
    fn values_are_sentences_too_and_several_follow_each_other() {
        let heard = heard(&[
            ("{problem}; {cure}", "{problem}\u{a0}; {cure}"),
            ("no answer", "pas de réponse"),
            ("port {port} answers", "le port {port} répond"),
        ]);
        assert_eq!(heard.say("no answer; look").as_deref(), Some("pas de réponse\u{a0}; look"));
        assert_eq!(heard.say("node1: port 9001 answers").as_deref(), Some("node1\u{a0}: le port 9001 répond"));
        assert_eq!(heard.say("a: b: c: d: e: f: g: no answer"), None, "not for ever");
    }
}
