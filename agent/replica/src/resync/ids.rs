//! A set of object ids that costs hardly anything: ids are given out one after the other, and a walk meets objects in
//! about that order.

use crate::op::FileId;
use std::collections::BTreeMap;

/// Ids, as ranges: first and last of each.
#[derive(Debug, Default)]
pub(super) struct Ids(BTreeMap<u64, u64>);

impl Ids {
    /// Adds one; whether it was not there.
    pub(super) fn insert(&mut self, FileId(id): FileId) -> bool {
        let before = self.0.range(..=id).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| id <= last) {
            return false;
        }
        let first = before.filter(|(_, last)| last + 1 == id).map_or(id, |(first, _)| first);
        let next = id.checked_add(1).and_then(|next| self.0.remove(&next));
        self.0.insert(first, next.unwrap_or(id));
        true
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, FileId(id): FileId) {
        let Some((first, last)) = self.0.range(..=id).next_back().map(|(first, last)| (*first, *last)) else { return };
        if id > last {
            return;
        }
        self.0.remove(&first);
        if first < id {
            self.0.insert(first, id - 1);
        }
        if id < last {
            self.0.insert(id + 1, last);
        }
    }

    /// Whether an id is there.
    pub(super) fn contains(&self, FileId(id): FileId) -> bool {
        self.0.range(..=id).next_back().is_some_and(|(_, last)| id <= *last)
    }

    /// Takes all out.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn a_million_ids_in_a_row_are_one_range() {
        let mut ids = Ids::default();
        (0..1_000_000).for_each(|id| assert!(ids.insert(FileId(id))));
        assert_eq!(ids.0.len(), 1);
        ids.remove(FileId(500));
        assert!(!ids.contains(FileId(500)) && ids.contains(FileId(501)) && ids.contains(FileId(499)));
        assert!(ids.insert(FileId(u64::MAX)) && ids.contains(FileId(u64::MAX)));
    }

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0u64..40), 0..200)) {
            let (mut ids, mut set) = (Ids::default(), HashSet::new());
            for (add, id) in steps {
                if add {
                    prop_assert_eq!(ids.insert(FileId(id)), set.insert(id));
                } else {
                    ids.remove(FileId(id));
                    set.remove(&id);
                }
                for id in 0..40 {
                    prop_assert_eq!(ids.contains(FileId(id)), set.contains(&id));
                }
            }
        }
    }
}
