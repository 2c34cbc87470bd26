//! `<notreplicated>`: which names of a replicated directory are each node's own.

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Most memory of one compiled expression, in bytes.
const COMPILED_MAX: usize = 1 << 20;

/// Names below one replicated directory that are not replicated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exclusion {
    /// The replicated directory, as in `Rfs::directories`.
    pub directory: String,
    /// Which names below it.
    pub names: Excluded,
}

/// Which names are excluded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Excluded {
    /// This path below the directory, and everything below it.
    Path(String),
    /// What matches this expression, and everything below it.
    Matching(String),
    /// Everything but directories that does not match this expression.
    NotMatching(String),
}

/// Compiles an expression of `regexpath` (without its `!`). Names are bytes: `.` is any of them.
///
/// # Errors
/// What is wrong with it.
pub fn compile(expression: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(expression)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(COMPILED_MAX)
        .dfa_size_limit(COMPILED_MAX)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
        error => error.to_string().lines().last().unwrap_or("it cannot be read").trim().to_owned(),
    })
}
