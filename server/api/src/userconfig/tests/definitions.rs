//! The definitions are what the parser does, and the guide is written from them.

use super::super::define::{Child, Effect, Element, Kind, Preset};
use super::super::read::SAFE;
use super::super::{UserConfig, UserConfigError};

/// The way from `<safe>` to an element.
pub(super) type Path = Vec<&'static Element>;

fn walk(path: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(path);
    let element = path.last().unwrap();
    for child in element.children.iter().filter(|child| child.element.effect == Effect::Used) {
        let mut deeper = path.clone();
        deeper.push(child.element);
        walk(&deeper, visit);
    }
}

/// What one attribute needs beside it, or another sample than the element's first.
pub(super) fn beside(element: &Element, attribute: &str) -> &'static [(&'static str, &'static str)] {
    match (element.name, attribute) {
        ("proc", "restart_services") => &[("service", "yes"), ("action", "restart")],
        ("notreplicated", name) if !name.contains("path") => &[("path", "x")],
        ("splitbrain", name) if name != "arg" => &[("arg", "192.0.2.1")],
        _ => &[],
    }
}

/// The element as text: its required attributes, `extra` ones, and what it must contain, with `inner` for one child.
fn text(element: &Element, extra: &[(&str, &str)], inner: Option<(&str, &str)>) -> String {
    let mut out = format!("<{}", element.name);
    for attribute in element.attributes {
        let given = extra.iter().find(|(name, _)| *name == attribute.name).map(|(_, value)| *value);
        let required = matches!(attribute.preset, Preset::Required(_)).then(|| attribute.preset.sample());
        if let Some(value) = given.or(required) {
            out += &format!(" {}=\"{value}\"", attribute.name);
        }
    }
    for (name, value) in extra.iter().filter(|(name, _)| element.attribute(name).is_none()) {
        out += &format!(" {name}=\"{value}\"");
    }
    out.push('>');
    let needed = |child: &&Child| child.least > 0 || (element.name == "service" && child.element.name == "heart");
    let mut put = false;
    for child in element.children.iter().filter(needed) {
        match inner {
            Some((name, text)) if name == child.element.name => {
                out += text;
                put = true;
            }
            _ => out += &text_of(child.element),
        }
    }
    if let Some((_, text)) = inner.filter(|_| !put) {
        // A macro stands above the service.
        let at = if element.name == "safe" { out.find("<service").unwrap() } else { out.len() };
        out.insert_str(at, text);
    }
    out + &format!("</{}>", element.name)
}

fn text_of(element: &Element) -> String {
    let extra: &[(&str, &str)] = if element.name == "splitbrain" { &[("arg", "192.0.2.1")] } else { &[] };
    text(element, extra, None)
}

/// A whole file with these attributes on the last element of the path.
fn file(path: &Path, extra: &[(&str, &str)]) -> String {
    let (last, above) = path.split_last().unwrap();
    let mut inner = (last.name, text(last, extra, None));
    for element in above.iter().rev() {
        inner = (element.name, text(element, &[], Some((inner.0, &inner.1))));
    }
    inner.1
}

pub(super) fn parse(path: &Path, extra: &[(&str, &str)]) -> Result<UserConfig, UserConfigError> {
    UserConfig::parse(&file(path, extra))
}

#[test]
fn every_defined_attribute_is_accepted_with_its_preset_and_sample() {
    let mut count = 0;
    walk(&vec![&SAFE], &mut |path| {
        let element = *path.last().unwrap();
        parse(path, beside(element, "")).unwrap_or_else(|error| panic!("{}: {error}", file(path, &[])));
        for attribute in element.attributes {
            count += 1;
            let mut extra = vec![(attribute.name, attribute.preset.sample())];
            extra.extend(beside(element, attribute.name));
            let result = parse(path, &extra);
            if let Effect::Refused(cure) = attribute.effect {
                let error = result.expect_err("refused");
                assert!(error.problem.contains("not available") && error.cure == cure, "{error}");
                continue;
            }
            let config = result.unwrap_or_else(|error| panic!("{}: {error}", file(path, &extra)));
            let noted = config.notes.iter().any(|note| note.text.starts_with(&format!("{}=", attribute.name)));
            assert_eq!(noted, matches!(attribute.effect, Effect::None(_)), "{} {:?}", attribute.name, config.notes);
        }
    });
    assert!(count > 90, "{count}");
}

#[test]
fn a_written_preset_is_the_same_as_none() {
    walk(&vec![&SAFE], &mut |path| {
        let element = *path.last().unwrap();
        for attribute in element.attributes {
            if let Preset::Value(value) = attribute.preset {
                let extra = beside(element, attribute.name);
                let with: Vec<_> = extra.iter().copied().chain([(attribute.name, value)]).collect();
                assert_eq!(
                    parse(path, extra).unwrap(),
                    parse(path, &with).unwrap(),
                    "{} {}",
                    element.name,
                    attribute.name
                );
            }
        }
    });
}

#[test]
fn undefined_attributes_and_elements_are_refused_naming_what_is_defined() {
    walk(&vec![&SAFE], &mut |path| {
        let element = *path.last().unwrap();
        let error = parse(path, &[("undefined", "x")]).expect_err(element.name);
        assert!(error.problem.contains("unknown"), "{error}");
        assert!(
            element.attributes.iter().filter(|a| a.effect == Effect::Used).all(|a| error.cure.contains(a.name)),
            "{error}"
        );
        let mut deeper = path.clone();
        static UNDEFINED: Element = Element::new("undefined", "", &[], &[]);
        deeper.push(&UNDEFINED);
        let error = parse(&deeper, &[]).expect_err(element.name);
        assert!(error.problem.contains("undefined") || error.problem.contains("inside"), "{error}");
    });
}

#[test]
fn words_numbers_and_times_outside_their_limits_are_refused() {
    let mut count = 0;
    walk(&vec![&SAFE], &mut |path| {
        let element = *path.last().unwrap();
        for attribute in element.attributes.iter().filter(|a| !matches!(a.effect, Effect::Refused(_))) {
            let bad: Vec<String> = match attribute.kind {
                Kind::Time { max_ms, .. } => {
                    vec![format!("{}ms", max_ms + 1), "1 parsec".into(), "-1".into(), "1us".into()]
                }
                Kind::Number { max, .. } | Kind::Count { max, .. } => {
                    vec![format!("{}", max + 1), "-2".into(), "x".into()]
                }
                Kind::OneOf(_) | Kind::Only(_) => vec!["no-such-word".into(), String::new()],
                Kind::Name => vec![String::new(), "a b".into(), "x".repeat(65)],
                Kind::Address => vec!["http://x".into(), "0.0.0.0".into(), String::new()],
                Kind::Directory => vec!["relative".into(), "/".into(), "/a/../b".into()],
                Kind::Text { max } => vec![String::new(), "x".repeat(max + 1), "a&#10;b".into()],
                Kind::Free { max } => vec!["x".repeat(max + 1)],
            };
            for value in bad {
                count += 1;
                let mut extra = vec![(attribute.name, value.as_str())];
                extra.extend(beside(element, attribute.name));
                let error = parse(path, &extra).expect_err(&file(path, &extra));
                assert!(error.line == 1 && !error.cure.is_empty(), "{error}");
            }
        }
    });
    assert!(count > 200, "{count}");
}

#[test]
fn the_committed_guide_is_what_the_definitions_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/guide/userconfig.md");
    let guide = UserConfig::guide();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &guide).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == guide, "write {path} anew with UPDATE_EXPECT=1 and review the change");
}
