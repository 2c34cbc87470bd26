//! The text before its elements: document type, well-formedness, places.

use super::super::UserConfigError;
use super::super::value::{Parsed, error_at};
use crate::place::position;

const QUOTES: &[char] = &['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{00ab}', '\u{00bb}'];

/// Replaces `<!DOCTYPE safe>` by blanks, so that the parser may refuse every other declaration. Every byte keeps its
/// place.
pub(super) fn blank_doctype(text: &str) -> Parsed<String> {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let skipped = rest.len() - rest.trim_start().len();
        if skipped > 0 {
            at += skipped;
        } else if rest.starts_with("<?") {
            at += rest.find("?>").map_or(rest.len(), |end| end + 2);
        } else if rest.starts_with("<!--") {
            at += rest.find("-->").map_or(rest.len(), |end| end + 3);
        } else {
            break;
        }
    }
    let Some(rest) = text[at..].strip_prefix("<!DOCTYPE") else {
        return Ok(text.to_owned());
    };
    let (line, column) = position(text, at);
    let cure = "write exactly <!DOCTYPE safe>, or leave it out";
    let end = rest.find('>').ok_or_else(|| error_at(line, column, "the document type has no end", cure))?;
    if rest[..end].contains('[') || text.contains("<!ENTITY") {
        return Err(error_at(line, column, "entity and other declarations are not accepted", cure));
    }
    if rest[..end].trim() != "safe" {
        return Err(error_at(line, column, "the document type is not \"safe\"", cure));
    }
    let end = at + "<!DOCTYPE".len() + end + 1;
    let blank: String = text[at..end].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    Ok(format!("{}{blank}{}", &text[..at], &text[end..]))
}

/// What is wrong with XML that is not well-formed.
pub(super) fn syntax_error(text: &str, error: &roxmltree::Error) -> UserConfigError {
    let pos = error.pos();
    let line = text.lines().nth(pos.row.saturating_sub(1) as usize).unwrap_or("");
    // Word processors and web pages turn straight quotes into typographic ones; the first on the line is the culprit.
    let curly = line.chars().position(|c| QUOTES.contains(&c));
    if let (Some(column), true) = (curly, !is_structural(error)) {
        let quote = line.chars().nth(column).unwrap_or('”');
        return error_at(
            pos.row,
            column as u32 + 1,
            format!("a typographic quote ({quote}) stands where a straight one belongs"),
            "write straight double quotes (\") around every value",
        );
    }
    let cure = match error {
        roxmltree::Error::DtdDetected => "remove the declaration; only <!DOCTYPE safe> at the top is accepted",
        roxmltree::Error::UnknownEntityReference(..) | roxmltree::Error::MalformedEntityReference(_) => {
            "entities are not accepted: write the character itself, or &amp; for &"
        }
        roxmltree::Error::NodesLimitReached => "shorten the file",
        _ => "correct the XML there",
    };
    error_at(pos.row.max(1), pos.col.max(1), format!("not well-formed XML ({error})"), cure)
}

fn is_structural(error: &roxmltree::Error) -> bool {
    use roxmltree::Error as E;
    matches!(error, E::UnexpectedCloseTag(..) | E::NodesLimitReached | E::DtdDetected | E::DuplicatedAttribute(..))
}
