//! Two texts, line by line: what was taken away and what was added.

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// In both.
    Same,
    /// In the old text only.
    Gone,
    /// In the new text only.
    New,
}

/// Texts with more lines than this together are shown as replaced as a whole.
const LINES_MAX: usize = 4000;

/// The lines of both texts in order, each with how it stands.
pub fn lines(old: &str, new: &str) -> Vec<(Change, String)> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut out: Vec<(Change, String)> = old[..head].iter().map(|line| (Change::Same, (*line).to_owned())).collect();
    if a.len() + b.len() > LINES_MAX {
        out.extend(a.iter().map(|line| (Change::Gone, (*line).to_owned())));
        out.extend(b.iter().map(|line| (Change::New, (*line).to_owned())));
    } else {
        middle(a, b, &mut out);
    }
    out.extend(old[old.len() - tail..].iter().map(|line| (Change::Same, (*line).to_owned())));
    out
}

/// By the longest common subsequence.
fn middle(a: &[&str], b: &[&str], out: &mut Vec<(Change, String)>) {
    let width = b.len() + 1;
    let mut longest = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i * width + j] = if a[i] == b[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push((Change::Same, a[i].to_owned()));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || i < a.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            out.push((Change::Gone, a[i].to_owned()));
            i += 1;
        } else {
            out.push((Change::New, b[j].to_owned()));
            j += 1;
        }
    }
}

/// Only the changed lines and `around` lines beside them; `None` stands for lines left out.
pub fn short(all: Vec<(Change, String)>, around: usize) -> Vec<Option<(Change, String)>> {
    let near: Vec<bool> = (0..all.len())
        .map(|at| {
            let from = at.saturating_sub(around);
            all[from..(at + around + 1).min(all.len())].iter().any(|(change, _)| *change != Change::Same)
        })
        .collect();
    let mut out: Vec<Option<(Change, String)>> = Vec::new();
    for (line, near) in all.into_iter().zip(near) {
        if near {
            out.push(Some(line));
        } else if out.last() != Some(&None) {
            out.push(None);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Change, lines, short};

    fn shown(old: &str, new: &str) -> String {
        let sign = |change| match change {
            Change::Same => ' ',
            Change::Gone => '-',
            Change::New => '+',
        };
        lines(old, new).into_iter().map(|(change, line)| format!("{}{line}\n", sign(change))).collect()
    }

    #[test]
    fn changed_lines_are_told_from_those_that_stay() {
        assert_eq!(shown("a\nb\nc\n", "a\nx\nc\nd\n"), " a\n-b\n+x\n c\n+d\n");
        assert_eq!(shown("", "a\n"), "+a\n");
        assert_eq!(shown("a\n", ""), "-a\n");
        assert_eq!(shown("a\n", "a\n"), " a\n");
    }

    #[test]
    fn long_texts_are_shortened_to_what_changed() {
        let old: String = (0..50).map(|line| format!("{line}\n")).collect();
        let new = old.replace("25\n", "changed\n");
        let short = short(lines(&old, &new), 2);
        assert_eq!(short.len(), 8);
        assert_eq!((short.first(), short.last()), (Some(&None), Some(&None)));
    }
}
