//! Files of a module as edited: what differs from what is saved.

use holdfast_api::console::{FileChange, FileView};
use std::collections::BTreeMap;

/// Edited files by path: their new text, or none if the file is to go.
pub type Draft = BTreeMap<String, Option<String>>;

/// The changes that saving makes; a file edited back to what it was is none.
pub fn changes(saved: &[FileView], draft: &Draft) -> Vec<FileChange> {
    let there = |path: &str| saved.iter().find(|file| file.path == path);
    let differs = |(path, text): &(&String, &Option<String>)| match (there(path), text) {
        (Some(file), Some(text)) => file.text.as_ref() != Some(text),
        (Some(_), None) | (None, Some(_)) => true,
        (None, None) => false,
    };
    let change = |(path, text): (&String, &Option<String>)| FileChange { path: path.clone(), text: text.clone() };
    draft.iter().filter(differs).map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::{Draft, changes};
    use holdfast_api::console::FileView;

    #[test]
    fn only_what_differs_is_a_change() {
        let file = FileView { path: "bin/a".into(), bytes: 1, executable: true, text: Some("a".into()) };
        let draft = |pairs: &[(&str, Option<&str>)]| -> Draft {
            pairs.iter().map(|(path, text)| ((*path).to_owned(), text.map(str::to_owned))).collect()
        };
        let paths = |pairs: &[(&str, Option<&str>)]| {
            changes(std::slice::from_ref(&file), &draft(pairs))
                .into_iter()
                .map(|change| change.path)
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(&[("bin/a", Some("a")), ("bin/gone", None)]), Vec::<String>::new());
        assert_eq!(paths(&[("bin/a", Some("b")), ("bin/new", Some("n"))]), ["bin/a", "bin/new"]);
        assert_eq!(paths(&[("bin/a", None)]), ["bin/a"]);
    }
}
