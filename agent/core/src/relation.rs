//! How two copies of the data relate, by their generations alone.

use holdfast_api::ids::Generation;

/// A copy's generation and the earlier ones it descends from, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Lineage<'a> {
    /// Generation of the copy.
    pub generation: Generation,
    /// Its ancestors.
    pub history: &'a [Generation],
}

/// What the peer's copy is to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same generation (or both never served).
    Equal,
    /// The peer's copy descends from ours.
    Ahead,
    /// Ours descends from the peer's.
    Behind,
    /// Both descend from a common one: each may hold writes the other lacks.
    Diverged,
    /// Nothing in common that is remembered.
    Unrelated,
}

/// What `theirs` is to `ours`. A copy that never served (number 0) is an ancestor of every other.
pub fn relation(ours: Lineage<'_>, theirs: Lineage<'_>) -> Relation {
    if ours.generation == theirs.generation {
        Relation::Equal
    } else if ours.generation.number == 0 || theirs.history.contains(&ours.generation) {
        Relation::Ahead
    } else if theirs.generation.number == 0 || ours.history.contains(&theirs.generation) {
        Relation::Behind
    } else if ours.history.iter().any(|generation| theirs.history.contains(generation)) {
        Relation::Diverged
    } else {
        Relation::Unrelated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ours: &[(u64, u64)], theirs: &[(u64, u64)], expected: Relation) {
        let list = |pairs: &[(u64, u64)]| -> Vec<Generation> {
            pairs.iter().map(|(number, id)| Generation { number: *number, id: *id }).collect()
        };
        let (ours, theirs) = (list(ours), list(theirs));
        let lineage = |all: &[Generation]| (all[0], all[1..].to_vec());
        let ((a, a_history), (b, b_history)) = (lineage(&ours), lineage(&theirs));
        let found =
            relation(Lineage { generation: a, history: &a_history }, Lineage { generation: b, history: &b_history });
        assert_eq!(found, expected);
    }

    #[test]
    fn generations_are_compared_by_number_and_id() {
        check(&[(0, 0)], &[(0, 0)], Relation::Equal);
        check(&[(2, 7), (1, 5)], &[(2, 7), (1, 5)], Relation::Equal);
        check(&[(1, 5)], &[(2, 7), (1, 5)], Relation::Ahead);
        check(&[(0, 0)], &[(2, 7), (1, 5)], Relation::Ahead);
        check(&[(2, 7), (1, 5)], &[(1, 5)], Relation::Behind);
        check(&[(2, 7), (1, 5)], &[(0, 0)], Relation::Behind);
        check(&[(2, 7), (1, 5)], &[(2, 8), (1, 5)], Relation::Diverged);
        check(&[(3, 9), (2, 7), (1, 5)], &[(2, 8), (1, 5)], Relation::Diverged);
        check(&[(1, 5)], &[(1, 6)], Relation::Unrelated);
    }
}
