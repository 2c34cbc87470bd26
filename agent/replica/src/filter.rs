//! Which names of the replicated directories are each node's own (`<notreplicated>`), as a value.
//!
//! Whether a name is excluded depends on its path below its directory, and is inherited by everything below it: whoever
//! walks a tree asks here name by name and never enters what is excluded.

use holdfast_api::userconfig::{Excluded, Exclusion, compile};
use regex::bytes::Regex;
use std::path::PathBuf;

/// The exclusions of all replicated directories of a module.
#[derive(Debug, Default)]
pub struct Filter {
    /// By the number of the directory; empty without any exclusion.
    directories: Vec<Rules>,
}

/// The exclusions of one directory.
#[derive(Debug, Default)]
struct Rules {
    paths: Vec<Vec<u8>>,
    /// What matches is excluded.
    matching: Vec<Expression>,
    /// If there are any: what matches none of them, and is no directory, is excluded.
    only: Vec<Expression>,
}

/// An expression, looked for in the last part of a path or in the whole of it.
#[derive(Debug)]
struct Expression {
    regex: Regex,
    whole: bool,
}

impl Expression {
    fn new(text: &str) -> Result<Self, String> {
        let regex = compile(text).map_err(|problem| format!("<notreplicated regexpath=\"{text}\">: {problem}"))?;
        Ok(Self { regex, whole: text.contains('/') })
    }

    fn matches(&self, path: &[u8]) -> bool {
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        self.regex.is_match(if self.whole { path } else { last })
    }
}

impl Filter {
    /// The exclusions that belong to these directories.
    ///
    /// # Errors
    /// An expression that cannot be used.
    pub fn new(directories: &[PathBuf], exclusions: &[Exclusion]) -> Result<Self, String> {
        if exclusions.is_empty() {
            return Ok(Self::default());
        }
        let mut all: Vec<Rules> = directories.iter().map(|_| Rules::default()).collect();
        for exclusion in exclusions {
            let at = directories.iter().position(|path| path.as_os_str() == exclusion.directory.as_str());
            let Some(rules) = at.and_then(|at| all.get_mut(at)) else {
                return Err(format!("<notreplicated> of {}, which is not replicated", exclusion.directory));
            };
            match &exclusion.names {
                Excluded::Path(path) => rules.paths.push(path.clone().into_bytes()),
                Excluded::Matching(text) => rules.matching.push(Expression::new(text)?),
                Excluded::NotMatching(text) => rules.only.push(Expression::new(text)?),
            }
        }
        Ok(Self { directories: all })
    }

    /// All of it, so that two filters with the same text exclude the same.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for rules in &self.directories {
            let expressions = |all: &[Expression]| -> Vec<Vec<u8>> {
                all.iter().map(|expression| expression.regex.as_str().as_bytes().to_vec()).collect()
            };
            for part in [rules.paths.clone(), expressions(&rules.matching), expressions(&rules.only)] {
                text.extend_from_slice(&(part.len() as u64).to_le_bytes());
                for one in part {
                    text.extend_from_slice(&(one.len() as u64).to_le_bytes());
                    text.extend_from_slice(&one);
                }
            }
        }
        text
    }

    /// Whether nothing is excluded anywhere.
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// Whether the name that ends `path` (below directory number `root`, without a leading `/`) is excluded; that nothing
    /// above it is, the caller knows.
    pub fn excludes(&self, root: usize, path: &[u8], directory: bool) -> bool {
        let Some(rules) = self.directories.get(root) else { return false };
        rules.paths.iter().any(|excluded| excluded == path)
            || rules.matching.iter().any(|expression| expression.matches(path))
            || (!directory && !rules.only.is_empty() && !rules.only.iter().any(|expression| expression.matches(path)))
    }

    /// Whether giving a replicated directory another path could change what is excluded below it.
    pub fn ties(&self, root: usize, from: &[u8], to: &[u8]) -> bool {
        let Some(rules) = self.directories.get(root) else { return false };
        let above =
            |directory: &[u8], path: &[u8]| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"));
        rules.paths.iter().any(|path| above(from, path) || above(to, path))
            || rules.matching.iter().chain(&rules.only).any(|expression| expression.whole)
    }
}

/// `path` with one more part.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(names: Vec<Excluded>) -> Filter {
        let exclusions: Vec<_> = names.into_iter().map(|names| Exclusion { directory: "/b".into(), names }).collect();
        Filter::new(&["/a".into(), "/b".into()], &exclusions).unwrap()
    }

    #[test]
    fn a_path_is_excluded_in_its_own_directory_only() {
        let filter = filter(vec![Excluded::Path("x/log".into())]);
        assert!(filter.excludes(1, b"x/log", true));
        for (root, path) in [(0, "x/log"), (1, "log"), (1, "x/log2"), (1, "x")] {
            assert!(!filter.excludes(root, path.as_bytes(), false), "{root} {path}");
        }
        assert!(filter.ties(1, b"x", b"y") && filter.ties(1, b"y", b"x") && !filter.ties(1, b"y", b"z"));
    }

    #[test]
    fn an_expression_without_a_slash_is_looked_for_in_the_last_part() {
        let filter = filter(vec![Excluded::Matching("^t.*[.]tmp$".into()), Excluded::Matching("^deep/x".into())]);
        assert!(filter.excludes(1, b"d/t1.tmp", false) && filter.excludes(1, b"t\xff.tmp", true));
        assert!(!filter.excludes(1, b"t/1.tmp", false) && !filter.excludes(1, b"t.tmp2", false));
        assert!(filter.excludes(1, b"deep/xyz", false) && !filter.excludes(1, b"a/deep/xyz", false));
        assert!(filter.ties(1, b"a", b"b"), "below a renamed directory the second could mean something else");
    }

    #[test]
    fn an_inverted_expression_spares_directories_and_what_matches() {
        let filter = filter(vec![Excluded::NotMatching("[.]db$".into()), Excluded::NotMatching("[.]wal$".into())]);
        assert!(filter.excludes(1, b"a/b.txt", false));
        assert!(!filter.excludes(1, b"a/b.db", false) && !filter.excludes(1, b"b.wal", false));
        assert!(!filter.excludes(1, b"a", true));
        assert!(Filter::default().is_empty() && !Filter::default().excludes(0, b"a", false));
    }
}
