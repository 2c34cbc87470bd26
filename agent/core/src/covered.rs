//! What a configuration replicates: which files on a secondary a resync overwrites.
//!
//! A directory that is added to a module, or an exclusion that is dropped, covers files that were each node's own until
//! then. They are overwritten only after an operator has agreed, as at the first start; so what was covered when a copy
//! was last in step stays in its ledger ([`crate::durable::Durable::covered`]).

use holdfast_api::userconfig::{Excluded, Exclusion};
use serde::{Deserialize, Serialize};

/// Most bytes of names and expressions kept; beyond that only the fingerprint is.
pub const TEXT_MAX: usize = 8 * 1024;

/// Directories and what is excluded from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// Hash of all of it, in any order.
    fingerprint: u64,
    /// The directories; none if the whole is longer than [`TEXT_MAX`].
    pub directories: Vec<String>,
    /// What is each node's own below them; none if the whole is longer than [`TEXT_MAX`].
    pub exclusions: Vec<Exclusion>,
}

impl Covered {
    /// What these directories without these exclusions cover.
    pub fn new(directories: &[String], exclusions: &[Exclusion]) -> Self {
        let mut lines: Vec<String> = directories.iter().map(|directory| format!("directory {directory}")).collect();
        lines.extend(exclusions.iter().map(line_of));
        lines.sort();
        lines.dedup();
        let hash = blake3::hash(lines.join("\n").as_bytes());
        let mut fingerprint = [0; 8];
        fingerprint.copy_from_slice(&hash.as_bytes()[..8]);
        let fingerprint = u64::from_le_bytes(fingerprint);
        if lines.iter().map(|line| saved_len(line)).sum::<usize>() > TEXT_MAX {
            // A later change then counts as one of everything.
            return Self { fingerprint, ..Self::default() };
        }
        Self { fingerprint, directories: directories.to_vec(), exclusions: exclusions.to_vec() }
    }

    /// What both cover. Where names are missing, nothing is known to be covered by both, unless they are the same.
    pub fn limited_to(&self, other: &Self) -> Self {
        if self.same_as(other) {
            return self.clone();
        }
        let both = |directory: &String| other.directories.contains(directory);
        let directories: Vec<String> = self.directories.iter().filter(|directory| both(directory)).cloned().collect();
        let of_both = |exclusion: &&Exclusion| directories.contains(&exclusion.directory);
        let exclusions = self.exclusions.iter().chain(&other.exclusions).filter(of_both);
        let mut kept: Vec<Exclusion> = Vec::new();
        for exclusion in exclusions {
            if !kept.contains(exclusion) {
                kept.push(exclusion.clone());
            }
        }
        Self::new(&directories, &kept)
    }

    /// Whether both cover the same.
    pub fn same_as(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

/// How a shared one is written: as if it were not shared. A node is copied with every input, a ledger rarely saved.
pub mod shared {
    use super::Covered;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    /// As the value.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(covered: &Option<Arc<Covered>>, serializer: S) -> Result<S::Ok, S::Error> {
        covered.as_deref().serialize(serializer)
    }

    /// From the value.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Covered>>, D::Error> {
        Ok(Option::<Covered>::deserialize(deserializer)?.map(Arc::new))
    }
}

/// No path has a line end in it, so no two exclusions have the same line.
fn line_of(exclusion: &Exclusion) -> String {
    let (kind, text) = match &exclusion.names {
        Excluded::Path(path) => ("path", path),
        Excluded::Matching(regex) => ("regex", regex),
        Excluded::NotMatching(regex) => ("only", regex),
    };
    format!("{kind} {text} in {}", exclusion.directory)
}

/// Bytes that a line takes in a ledger, at most.
fn saved_len(line: &str) -> usize {
    let escaped = |c: char| if c.is_control() || matches!(c, '"' | '\\') { 6 } else { c.len_utf8() };
    line.chars().map(escaped).sum::<usize>() + 48
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclusion(directory: &str, names: Excluded) -> Exclusion {
        Exclusion { directory: directory.to_owned(), names }
    }

    #[test]
    fn order_makes_no_difference_and_every_directory_and_exclusion_does() {
        let (a, b) = ("/a".to_owned(), "/b".to_owned());
        let own = [exclusion("/a", Excluded::Path("own".into())), exclusion("/b", Excluded::Matching("tmp$".into()))];
        let base = Covered::new(&[a.clone(), b.clone()], &own);
        let turned = [own[1].clone(), own[0].clone()];
        assert!(base.same_as(&Covered::new(&[b.clone(), a.clone()], &turned)));
        for other in [
            Covered::new(std::slice::from_ref(&a), &own[..1]),
            Covered::new(&[a.clone(), b.clone()], &own[..1]),
            Covered::new(&[a.clone(), b.clone()], &[own[0].clone(), exclusion("/b", Excluded::Path("tmp$".into()))]),
            Covered::new(&[a, b], &[own[0].clone(), exclusion("/b", Excluded::NotMatching("tmp$".into()))]),
            Covered::default(),
        ] {
            assert!(!base.same_as(&other), "{other:?}");
        }
    }

    #[test]
    fn what_was_left_out_once_is_not_covered_until_it_is_in_step_again() {
        let (a, b) = ("/a".to_owned(), "/b".to_owned());
        let own = exclusion("/a", Excluded::Path("own".into()));
        let all = Covered::new(&[a.clone(), b.clone()], &[]);
        let without = Covered::new(std::slice::from_ref(&a), std::slice::from_ref(&own));
        for limited in [all.limited_to(&without), without.limited_to(&all)] {
            assert_eq!(limited, without);
        }
        assert_eq!(all.limited_to(&all), all);
        assert!(Covered::new(&[b], &[]).limited_to(&without).directories.is_empty());
        let tmp = exclusion("/a", Excluded::Matching("tmp$".into()));
        let other = Covered::new(std::slice::from_ref(&a), std::slice::from_ref(&tmp));
        assert!(other.limited_to(&without).same_as(&Covered::new(&[a], &[own, tmp])));
    }

    #[test]
    fn what_is_kept_fits_a_ledger_however_much_is_configured() {
        let long = "\u{1}".repeat(4000);
        let directories: Vec<String> = (0..100).map(|number| format!("/{long}/{number}")).collect();
        let many = Covered::new(&directories, &[]);
        assert!(many.directories.is_empty());
        assert!(!many.same_as(&Covered::new(&directories[1..], &[])));
        let directories: Vec<String> = (0..60).map(|number| format!("/\"{number}")).collect();
        let exclusions: Vec<_> =
            (0..20).map(|number| exclusion("/\\", Excluded::Matching(format!("\"{number}")))).collect();
        let kept = Covered::new(&directories, &exclusions);
        assert_eq!(kept.directories.len(), 60);
        assert!(serde_json::to_vec(&kept).unwrap().len() < TEXT_MAX + 100);
    }
}
