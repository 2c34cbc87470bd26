//! Reads Rust source as far as tidiness needs it: text without comments and literals, and the lengths of functions.

/// The text with comments and the insides of literals blanked out; lines stay where they are.
pub fn bare(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at).unwrap_or(at);
        if end > at {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// End of the comment or literal that begins at `at`.
fn literal_end(chars: &[char], at: usize) -> Option<usize> {
    let next = chars.get(at + 1);
    match chars[at] {
        '/' if next == Some(&'/') => Some(position(chars, at, |rest| rest[0] == '\n')),
        '/' if next == Some(&'*') => Some(block_comment_end(chars, at)),
        '"' => Some(string_end(chars, at + 1)),
        'r' if matches!(next, Some('"' | '#')) && !follows_word(chars, at) => raw_string_end(chars, at + 1),
        '\'' => char_end(chars, at),
        _ => None,
    }
}

fn position(chars: &[char], from: usize, found: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| found(&chars[*at..])).unwrap_or(chars.len())
}

fn follows_word(chars: &[char], at: usize) -> bool {
    // `br"…"` is a raw string too: its `b` is no word of its own.
    let before = at.checked_sub(1).map(|before| chars[before]);
    let earlier = at.checked_sub(2).map(|before| chars[before]);
    match before {
        Some('b') => earlier.is_some_and(|c| c.is_alphanumeric() || c == '_'),
        Some(c) => c.is_alphanumeric() || c == '_',
        None => false,
    }
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], from: usize) -> usize {
    let mut at = from;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], from: usize) -> Option<usize> {
    let hashes = chars[from..].iter().take_while(|c| **c == '#').count();
    if chars.get(from + hashes) != Some(&'"') {
        return None; // a raw identifier
    }
    let closes = |rest: &[char]| rest[0] == '"' && rest.len() > hashes && rest[1..=hashes].iter().all(|c| *c == '#');
    Some((position(chars, from + hashes + 1, closes) + 1 + hashes).min(chars.len()))
}

/// A character literal, not a lifetime.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    if chars.get(at + 1) == Some(&'\\') {
        return Some((position(chars, at + 3, |rest| rest[0] == '\'') + 1).min(chars.len()));
    }
    (chars.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

/// A function in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Name.
    pub name: String,
    /// Line of its `fn`, from 1.
    pub line: usize,
    /// Lines from `fn` to its closing brace.
    pub length: usize,
}

/// All functions with bodies in a text, inner ones too.
pub fn functions(text: &str) -> Vec<Function> {
    let bare = bare(text);
    let mut found = Vec::new();
    for (at, _) in bare.match_indices("fn ") {
        let before = bare[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let name: String = bare[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some((open, close)) = (!name.is_empty()).then(|| body(&bare[at..])).flatten() else {
            continue;
        };
        debug_assert!(open < close);
        let lines = |text: &str| text.matches('\n').count();
        found.push(Function { name, line: lines(&bare[..at]) + 1, length: lines(&bare[at..at + close]) + 1 });
    }
    found
}

/// Where the body of the function at the beginning of `text` opens and closes; `None` if it has none.
fn body(text: &str) -> Option<(usize, usize)> {
    let (mut round, mut curly, mut open) = (0_i32, 0_i32, None);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            ';' if round == 0 && open.is_none() => return None,
            '{' if round == 0 || open.is_some() => {
                open.get_or_insert(at);
                curly += 1;
            }
            '}' if open.is_some() => {
                curly -= 1;
                if curly == 0 {
                    return open.map(|open| (open, at));
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_literals_and_comments_do_not_count() {
        let text = "fn a() {\n // }\n let b = \"}\\\"\"; let c = '}'; let d: &'static str = r#\"}\"#;\n /* } */\n}\nfn e();\nfn f() -> [u8; 3] {\n}\n";
        let found = functions(text);
        let shown: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.length)).collect();
        assert_eq!(shown, [("a", 1, 5), ("f", 7, 2)]);
    }
}
