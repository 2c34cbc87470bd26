//! The catalogues hold what the source says, and the source says nothing that is in no catalogue.

use super::{LANGUAGES, choose, code, date, decimal, is_singular, list, t, tf};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A literal of the source: where, what stands before and after it, and its text.
struct Literal<'a> {
    before: &'a str,
    text: &'a str,
    after: &'a str,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Every source file with its text, tests left out.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending = vec![root().join("src")];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).expect("the sources") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(root().join("src")).expect("below").display().to_string();
            if path.is_dir() {
                pending.push(path);
            } else if !name.starts_with("language") && !name.ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                let end = text.find("#[cfg(test)]\nmod tests").or_else(|| text.find("#[cfg(test)]\npub mod tests"));
                found.push((name, text[..end.unwrap_or(text.len())].to_owned()));
            }
        }
    }
    assert!(found.len() > 40, "{} sources", found.len());
    found
}

/// The string literals of a source, comments left out.
fn literals(source: &str) -> Vec<Literal<'_>> {
    let bytes = source.as_bytes();
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => at += source[at..].find('\n').unwrap_or(source.len() - at),
            // A character; a lifetime has no closing quote there.
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => {
                at += 2 + source[at + 2..].find('\'').map_or(0, |end| end + 1)
            }
            b'\'' if source[at + 1..].chars().nth(1) == Some('\'') => {
                at += 2 + source[at + 1..].chars().next().map_or(0, char::len_utf8);
            }
            b'"' => {
                let mut end = at + 1;
                while bytes[end] != b'"' {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                let (before, text, after) = (&source[..at], &source[at + 1..end], &source[end + 1..]);
                found.push(Literal { before: before.trim_end(), text, after: after.trim_start() });
                at = end + 1;
            }
            _ => at += 1,
        }
    }
    found
}

fn is_translated(literal: &Literal<'_>) -> bool {
    // The name alone: `format!(` ends with `t!(` too.
    let name = literal.before.strip_suffix("!(").unwrap_or_default();
    ["t", "tf", "later"].iter().any(|macro_name| {
        name.strip_suffix(macro_name).is_some_and(|head| !head.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// The texts that the source has translated, each with the file it was first seen in.
fn texts() -> BTreeMap<String, String> {
    let mut found = BTreeMap::from([("{first} and {last}".to_owned(), "language.rs".to_owned())]);
    for (name, source) in sources() {
        for literal in literals(&source).iter().filter(|literal| is_translated(literal)) {
            found.entry(literal.text.replace("\\\"", "\"")).or_insert_with(|| name.clone());
        }
    }
    // What is said beside fields stands in the definitions of `userconfig.xml`.
    for text in crate::rules::help::all() {
        found.insert(text.to_owned(), "rules/help.rs".to_owned());
    }
    found
}

fn catalogue(code: &str) -> BTreeMap<String, String> {
    let path = root().join(format!("locales/{code}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between braces.
fn names(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}

#[test]
fn every_catalogue_holds_what_the_source_says_and_nothing_else() {
    let source = texts();
    assert!(source.len() > 600, "{} texts", source.len());
    for (code, _) in LANGUAGES.into_iter().filter(|(code, _)| *code != "en") {
        let catalogue = catalogue(code);
        let missing: Vec<_> = source.iter().filter(|(text, _)| !catalogue.contains_key(*text)).collect();
        assert!(missing.is_empty(), "{code} lacks: {missing:#?}");
        let unused: Vec<_> = catalogue.keys().filter(|text| !source.contains_key(*text)).collect();
        assert!(unused.is_empty(), "{code} has what the console no longer says: {unused:#?}");
    }
}

#[test]
fn translations_have_the_same_values_and_the_same_code() {
    for (code, _) in LANGUAGES.into_iter().filter(|(code, _)| *code != "en") {
        for (english, here) in catalogue(code) {
            assert_eq!(names(&english), names(&here), "{code}: {here}");
            assert_eq!(english.matches('`').count(), here.matches('`').count(), "{code}: {here}");
            assert!(!here.trim().is_empty(), "{code}: {english}");
        }
    }
}

/// Literals that are the same in every language.
const SAME: [&str; 8] =
    ["Holdfast", "Escape", "ArrowDown", "ArrowUp", "Tab", "Authorization: Bearer TOKEN", "Find", "Replace"];
/// Attributes that people read.
const READ: [&str; 9] =
    ["label=", "title=", "text=", "lead=", "hint=", "aria-label=", "placeholder=", "add_label=", "empty="];

/// True for a literal that people read and that is in no catalogue.
fn is_left_over(literal: &Literal<'_>) -> bool {
    let text = literal.text;
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    if is_translated(literal) || letters < 2 || SAME.contains(&text) {
        return false;
    }
    // In the view: between tags, or in an attribute that is read.
    let opens = literal.before.ends_with('>') && !literal.before.ends_with("=>") && !literal.before.ends_with("->");
    let in_view = (opens || literal.before.ends_with('}')) && literal.after.starts_with(['<', '{']);
    let in_attribute = READ.iter().any(|name| literal.before.ends_with(name)) && text.contains(' ');
    let mut chars = text.trim_start_matches(['(', ' ']).chars();
    let sentence = chars.next().is_some_and(char::is_uppercase)
        && chars.next().is_some_and(char::is_lowercase)
        && !literal.after.starts_with(['=', '|']);
    in_view || in_attribute || sentence || text.ends_with(['.', '…', '?']) && text.contains(' ')
}

#[test]
fn no_text_is_left_that_no_language_translates() {
    let mut left = Vec::new();
    for (name, source) in sources() {
        // The browser's log is read by developers; icons are drawings; what is read in a log is not shown.
        if matches!(name.as_str(), "live.rs" | "components/icon.rs" | "lib.rs" | "rules/history.rs") {
            continue;
        }
        for literal in literals(&source).iter().filter(|literal| is_left_over(literal)) {
            left.push(format!("{name}: {:?}", literal.text));
        }
    }
    assert!(left.is_empty(), "not translated: {left:#?}");
}

#[test]
fn a_literal_that_is_read_is_told_from_one_that_is_not() {
    let left = |source: &str| literals(source).iter().filter(|literal| is_left_over(literal)).count();
    assert_eq!(left(r#"<p class="row tight">"words"</p>"#), 1);
    assert_eq!(left(r#"<p class="row tight">{t!("words")}</p>"#), 0);
    assert_eq!(left(r#"Some("Stop it first.".to_owned()) // "A comment.""#), 1);
    assert_eq!(left(r#"match key { "Escape" => 1, "Stop" => '"', _ => 2 }"#), 0);
    assert_eq!(left(r#"let a: &'static str = "btn primary"; format!("/modules/{id}")"#), 0);
}

/// Runs `what` in a language; languages belong to their thread.
fn in_language<T: Send + 'static>(code: &'static str, what: impl FnOnce() -> T + Send + 'static) -> T {
    let catalogue = std::fs::read_to_string(root().join("locales/fr.json")).expect("the catalogue");
    let heard = std::fs::read_to_string(root().join("locales/fr.heard.json")).expect("what is heard");
    let run = move || {
        choose(code, &catalogue, &heard);
        what()
    };
    std::thread::spawn(run).join().expect("no panic")
}

#[test]
fn texts_numbers_and_dates_follow_the_language() {
    let spoken = || {
        (
            code(),
            t("Stop"),
            tf("{node} takes over", &[("node", &"node2")]),
            decimal(1.5),
            date((2026, 11, 27), "09:10:11"),
            list(&["a".to_owned(), "b".to_owned(), "c".to_owned()]),
            is_singular(0),
        )
    };
    let text = str::to_owned;
    let english =
        ("en", "Stop", text("node2 takes over"), text("1.5"), text("2026-11-27 09:10:11"), text("a, b and c"), false);
    let french = (
        "fr",
        "Arrêter",
        text("node2 prend le relais"),
        text("1,5"),
        text("27/11/2026 09:10:11"),
        text("a, b et c"),
        true,
    );
    assert_eq!(in_language("en", spoken), english);
    assert_eq!(in_language("fr", spoken), french);
    assert_eq!(in_language("tlh", spoken), english, "an unknown language leaves English");
}

#[test]
fn values_with_braces_and_names_without_a_value_do_no_harm() {
    assert_eq!(tf("{a}{b} {", &[("a", &"{b}")]), "{b}{b} {");
    assert_eq!(tf("{0} of {1}", &[("0", &1), ("1", &2)]), "1 of 2");
    choose("fr", "no JSON", "");
    assert_eq!(code(), "en");
}

/// The texts of a source as the program has them: lines that go on joined, quotes as they are.
fn said_in(path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("..").join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = &text[..text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len())];
    let joined = |text: &str| text.split("\\\n").map(str::trim_start).collect::<String>().replace("\\\"", "\"");
    literals(text).iter().map(|literal| joined(literal.text)).collect()
}

/// Every source of `folder`, as paths below the project.
fn sources_of(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(root().join("..").join(&folder)).expect("the sources") {
            let path = format!("{folder}/{}", entry.expect("an entry").file_name().to_string_lossy());
            if root().join("..").join(&path).is_dir() {
                pending.push(path);
            } else if path.ends_with(".rs") && !path.ends_with("tests.rs") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn what_is_heard_is_what_server_and_nodes_say() {
    let folders = ["server/src", "server/api/src", "agent/src", "agent/core/src"];
    let said: BTreeSet<String> = folders.into_iter().flat_map(sources_of).flat_map(|path| said_in(&path)).collect();
    assert!(said.len() > 1000, "{} texts", said.len());
    let known = catalogue("fr.heard");
    let gone: Vec<_> = known.keys().filter(|text| !said.contains(*text)).collect();
    assert!(gone.is_empty(), "nobody says any more: {gone:#?}");
    for (english, here) in &known {
        assert_eq!(names(english), names(here), "{here}");
        assert_eq!(english.matches("{}").count(), here.matches("{}").count(), "{here}");
        assert_eq!(english.matches('`').count(), here.matches('`').count(), "{here}");
    }
}

/// Sources in which every sentence is for people: for what a node waits, and what is wrong with a field.
const FOR_PEOPLE: [&str; 4] = [
    "agent/core/src/node/texts.rs",
    "server/api/src/config.rs",
    "server/api/src/config/settings/check.rs",
    "server/src/placement.rs",
];

#[test]
fn what_a_node_waits_for_and_what_is_wrong_with_a_field_is_known_in_every_language() {
    let is_sentence = |text: &String| text.trim().split(' ').count() > 2 && text.contains(|c: char| c.is_lowercase());
    for (code, _) in LANGUAGES.into_iter().filter(|(code, _)| *code != "en") {
        let known = catalogue(&format!("{code}.heard"));
        let said = FOR_PEOPLE.iter().flat_map(|path| said_in(path)).filter(is_sentence);
        let missing: Vec<_> = said.filter(|text| !known.contains_key(text)).collect();
        assert!(missing.is_empty(), "{code} does not know: {missing:#?}");
    }
}

#[test]
fn what_a_node_says_comes_in_the_language_of_the_page_and_what_nobody_knows_as_it_came() {
    let said = || {
        let waits = "waits for node2, which is silent and may have served after this node: start node2 or repair the links \
                     to it; if it is lost for good, order `prim` here";
        [waits, "node1: up to date", "a sentence that no program says"].map(|text| super::heard(text).into_owned())
    };
    let [waits, state, unknown] = in_language("fr", said);
    assert!(waits.starts_with("attend node2, qui se tait") && waits.ends_with("ordonnez `prim` ici"), "{waits}");
    assert_eq!((state.as_str(), unknown.as_str()), ("node1\u{a0}: à jour", "a sentence that no program says"));
    assert!(in_language("en", said)[0].starts_with("waits for node2"));
}
