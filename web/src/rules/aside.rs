//! What was set aside of copies that diverged, in words: what a copy holds, and what goes when it is deleted.

use super::text;
use crate::language::{t, tf};
use holdfast_api::agent::AsideCopy;

/// Whether it is the whole copy or a part of it.
pub fn part(whole: bool) -> &'static str {
    if whole { t!("the whole copy") } else { t!("only what differed") }
}

/// What kind of thing an entry is; a kind of a later version as it is called there.
pub fn kind(word: &str) -> String {
    match word {
        "file" => t!("file").to_owned(),
        "directory" => t!("directory").to_owned(),
        "link" => t!("link").to_owned(),
        "other" => t!("other, only told of").to_owned(),
        other => other.to_owned(),
    }
}

/// What is lost with `copy`, which `node` holds, in sentences.
pub fn lost(copy: &AsideCopy, node: &str) -> Vec<String> {
    let (entries, bytes) = (text::count(copy.entries, t!("entry"), t!("entries")), text::bytes(copy.bytes));
    vec![
        if copy.whole {
            tf!(
                "The whole copy as {node} held it then goes for ever; in it {entries} differed, {bytes}.",
                node,
                entries,
                bytes
            )
        } else {
            tf!(
                "What {node} alone held then goes for ever: {entries}, {bytes}. It was overwritten in the replicated directories; no other copy is known.",
                node,
                entries,
                bytes
            )
        },
        t!("Save it as a zip first, or look inside, unless you are sure that nobody needs it.").to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::{kind, lost, part};
    use holdfast_api::agent::AsideCopy;

    #[test]
    fn deleting_says_whose_data_how_much_of_it_and_that_it_is_lost() {
        let copy = AsideCopy {
            id: "1-2".into(),
            node: 1,
            generation: "3".into(),
            unix_ms: 5,
            entries: 1200,
            bytes: 2048,
            whole: false,
            folder: "/var/x".into(),
        };
        let said = lost(&copy, "node1").join(" ");
        assert!(said.contains("node1 alone") && said.contains("1\u{202f}200 entries, 2.0 KiB"), "{said}");
        assert!(said.contains("for ever") && said.contains("zip first"), "{said}");
        let whole = lost(&AsideCopy { whole: true, ..copy }, "node1").join(" ");
        assert!(whole.contains("The whole copy"), "{whole}");
        assert_eq!((part(true), part(false)), ("the whole copy", "only what differed"));
    }

    #[test]
    fn a_kind_that_is_not_known_is_shown_as_it_is_called() {
        assert_eq!((kind("file").as_str(), kind("socket").as_str()), ("file", "socket"));
    }
}
