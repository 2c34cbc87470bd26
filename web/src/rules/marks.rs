//! Where in a file something is wrong, as the server's messages say, and what kind of text a file is.

use holdfast_api::problem::FieldProblem;

/// A place in a text and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// What is wrong and how to mend it.
    pub text: String,
}

/// The places that messages about the file `path` name: `line 3, column 7: …`.
pub fn marks_of(path: &str, problems: &[FieldProblem]) -> Vec<Mark> {
    problems.iter().filter(|problem| problem.field == path).filter_map(|problem| mark_of(&problem.message)).collect()
}

fn mark_of(message: &str) -> Option<Mark> {
    let (_, rest) = message.split_once("line ")?;
    let (line, rest) = rest.split_once(", column ")?;
    let (column, text) = rest.split_once(": ")?;
    Some(Mark { line: line.parse().ok()?, column: column.parse().ok()?, text: text.to_owned() })
}

/// How the text of a file is coloured: `xml`, `shell` or `text`.
pub fn kind_of(path: &str, text: &str) -> &'static str {
    let first = text.lines().next().unwrap_or_default();
    if path.ends_with(".xml") || first.starts_with("<?xml") || first.starts_with("<!DOCTYPE") {
        "xml"
    } else if first.starts_with("#!")
        || path.starts_with("bin/")
        || path.ends_with(".sh")
        || path.starts_with("script-")
    {
        "shell"
    } else {
        "text"
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, kind_of, marks_of};
    use holdfast_api::problem::FieldProblem;

    #[test]
    fn a_message_marks_the_place_it_names_in_its_own_file() {
        let problems = [
            FieldProblem::new("conf/userconfig.xml", "line 3, column 7: <heart> takes no `pulse`; write `pulse_ms`"),
            FieldProblem::new("conf/userconfig.xml", "the file is empty"),
            FieldProblem::new("bin/check", "line 1, column 1: begins with no interpreter"),
        ];
        let text = "<heart> takes no `pulse`; write `pulse_ms`".to_owned();
        assert_eq!(marks_of("conf/userconfig.xml", &problems), [Mark { line: 3, column: 7, text }]);
        assert_eq!(marks_of("bin/other", &problems), []);
    }

    #[test]
    fn files_are_coloured_by_what_they_are() {
        assert_eq!(kind_of("conf/userconfig.xml", ""), "xml");
        assert_eq!(kind_of("bin/start_prim", ""), "shell");
        assert_eq!(kind_of("notes", "#!/bin/sh\n"), "shell");
        assert_eq!(kind_of("notes", "nothing"), "text");
    }
}
