//! What may differ, as paths of the tree as it is now: told at a resync, united with what the other node tells.

use super::Tracker;
use super::record::{Object, Record, What};
use super::resolve::{Path as TreePath, Whereabouts};
use crate::stream::lock;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Everything a node knows to be possibly different, as paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Names: whatever is there, with everything below.
    pub names: BTreeMap<TreePath, BTreeSet<Vec<u8>>>,
    /// Directories all of whose files are to be compared.
    pub all_files: BTreeSet<TreePath>,
    /// Objects at these paths, and what of them.
    pub insides: BTreeMap<TreePath, Inside>,
}

/// What of an object is to be compared: attributes always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inside {
    /// All of its content.
    pub whole: bool,
    /// Extents, one bit per block.
    pub extents: BTreeMap<u32, u64>,
}

impl Tracker {
    /// Everything named in round `since` or later, as paths of the tree as it is now; `None`: everything.
    pub(crate) fn named(&self, since: u64) -> Option<Named> {
        self.unwatched.wait();
        let records = lock(&self.state).table.records(false, since);
        let mut named = Named::default();
        let mut directories: HashMap<Object, Whereabouts> = HashMap::new();
        for record in records {
            let (object, place) = match &record {
                Record::Object { object, place, .. } => (object, place.as_ref()),
                Record::Name { directory, .. } | Record::AllFiles { directory } => (directory, None),
                Record::Everything => return None,
                Record::Standing(_) => continue,
            };
            let found = match &record {
                Record::Object { .. } => self.roots.find(object, place),
                _ => directories.entry(object.clone()).or_insert_with(|| self.roots.find(object, None)).clone(),
            };
            match found {
                Whereabouts::At(path) => named.add(path, record),
                Whereabouts::Elsewhere => {}
                Whereabouts::Unknown => {
                    tracing::info!(?object, "what was changed cannot be found by a name: everything is compared");
                    return None;
                }
            }
        }
        Some(named)
    }
}

impl Named {
    fn add(&mut self, path: TreePath, record: Record) {
        match record {
            Record::Object { what, .. } => {
                let inside = self.insides.entry(path).or_default();
                match what {
                    What::Attributes => {}
                    What::Whole => inside.whole = true,
                    What::Extents(extents) => {
                        extents.into_iter().for_each(|(index, mask)| *inside.extents.entry(index).or_default() |= mask)
                    }
                }
            }
            Record::Name { name, .. } => {
                self.names.entry(path).or_default().insert(name);
            }
            Record::AllFiles { .. } => {
                self.all_files.insert(path);
            }
            Record::Everything | Record::Standing(_) => {}
        }
    }

    /// Adds what another node names.
    pub(crate) fn merge(&mut self, other: Named) {
        for (path, names) in other.names {
            self.names.entry(path).or_default().extend(names);
        }
        self.all_files.extend(other.all_files);
        for (path, inside) in other.insides {
            let here = self.insides.entry(path).or_default();
            here.whole |= inside.whole;
            inside.extents.into_iter().for_each(|(index, mask)| *here.extents.entry(index).or_default() |= mask);
        }
    }
}
