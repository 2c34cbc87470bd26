//! The command line as scripts of other products write it, turned into this one's: `-r TOOL`, `-p`, `kill -name=…`, and
//! tools called by their own name.

use super::TOOLS;
use std::ffi::OsString;
use std::path::Path;

/// Options of `kill` that may be written with one dash.
const KILL_OPTIONS: [&str; 3] = ["-name=", "-argregex=", "-level="];

/// Options before the command that are followed by a value.
const BEFORE: [&str; 3] = ["--socket", "-H", "--hosts"];

/// Where the command stands.
fn first(words: &[OsString]) -> usize {
    let mut at = 1;
    while words.get(at).is_some_and(|word| BEFORE.iter().any(|option| word == option)) {
        at += 2;
    }
    at
}

/// The words as this command line knows them.
pub(super) fn rewritten(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = arguments.collect();
    let called = words.first().and_then(|word| Path::new(word).file_name()).and_then(|name| name.to_str());
    if let Some(tool) = TOOLS.into_iter().find(|tool| called == Some(tool)) {
        words.insert(1, tool.into());
    }
    let at = first(&words);
    if words.get(at).is_some_and(|word| word == "-r") {
        words.remove(at);
    }
    if let Some(word) = words.get_mut(at).filter(|word| *word == "-p") {
        *word = "places".into();
    }
    if words.get(at).is_some_and(|word| word == "kill") {
        for word in words.iter_mut().skip(at + 1) {
            if let Some(text) = word.to_str().filter(|text| KILL_OPTIONS.iter().any(|option| text.starts_with(option)))
            {
                *word = format!("-{text}").into();
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::rewritten;
    use std::ffi::OsString;

    #[test]
    fn tools_and_single_dashes_are_understood() {
        let turn = |line: &str| -> String {
            let words = rewritten(line.split(' ').map(OsString::from));
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(turn("/x/boundcmd 5 ls"), "/x/boundcmd boundcmd 5 ls");
        assert_eq!(turn("safekit -r processtree list all"), "safekit processtree list all");
        assert_eq!(turn("safekit kill -name=java -level=9"), "safekit kill --name=java --level=9");
        assert_eq!(turn("safekit -p"), "safekit places");
        assert_eq!(turn("safekit --socket /x -p"), "safekit --socket /x places");
        assert_eq!(turn("safekit get -r tcp.web"), "safekit get -r tcp.web");
        assert_eq!(turn("safekit boundcmd 5 x -name=a"), "safekit boundcmd 5 x -name=a");
    }
}
