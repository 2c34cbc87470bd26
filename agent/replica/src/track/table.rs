//! What may differ, as a value: objects, names and blocks, each with the round in which it was touched last.
//!
//! A *round* is the time between two flushes. When both disks have synced everything of the rounds up to *r*, what was
//! not touched since is forgotten ([`Table::forget`]). A touch is *hot* when the journal names it already: then only its
//! round changes, in memory, since a later rewrite of the journal keeps it.

use super::record::{EXTENTS_MAX, Object, Place, Record, What};
use std::collections::{BTreeMap, HashMap};

/// Bytes of one bit: what is compared, and travels, together.
const BLOCK: u64 = 64 << 10;
/// Bytes of one extent: one record of the journal, 64 blocks.
pub(super) const EXTENT: u64 = 64 * BLOCK;
/// Names of files told one by one in a directory; more are told as "all its files".
const NAMES_MAX: usize = 4;
/// Most records the table may need; above it, it is made coarser. At most some 100 bytes each: 4 MB.
pub(super) const RECORDS_MAX: usize = 32_000;

/// What is about to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch<'a> {
    /// Owner, mode, times, extended attributes.
    Attributes,
    /// Everything in it (its length changes by more than a write).
    Whole,
    /// Bytes from `offset`.
    Range {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
    },
    /// A name in this directory will mean something else; `directory`: a directory has it before or after.
    Name {
        /// The name.
        name: &'a [u8],
        /// Whether a directory has it before or after.
        directory: bool,
    },
}

/// Ways in which a test may break the rules, to show that its oracle sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokenTrack {
    /// Every third cold touch is not written down.
    pub skips_intents: bool,
    /// Blocks of one bit in eight are lost.
    pub loses_bits: bool,
    /// A mark of a resync forgets every second thing that is left.
    pub forgets_left: bool,
    /// A mark that the peer has saved is not saved here, as if this node died right then.
    pub loses_marks: bool,
}

/// A touch of the past: in which round last, and whether the journal names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    /// 0: never.
    round: u64,
    durable: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    mask: u64,
    durable: u64,
    round: u64,
}

#[derive(Debug, Default)]
struct Inside {
    place: Option<Place>,
    attributes: Mark,
    whole: Mark,
    extents: BTreeMap<u32, Extent>,
}

#[derive(Debug, Default)]
struct Names {
    all_files: Mark,
    names: HashMap<Vec<u8>, Mark>,
}

/// Everything that may differ.
#[derive(Debug)]
pub(super) struct Table {
    round: u64,
    /// Round in which everything was said to differ last; 0: it does not.
    everything: u64,
    insides: HashMap<Object, Inside>,
    names: HashMap<Object, Names>,
    /// About the records that all this needs.
    size: usize,
    pub(super) broken: BrokenTrack,
    colds: u64,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            round: 1,
            everything: 0,
            insides: HashMap::new(),
            names: HashMap::new(),
            size: 0,
            broken: BrokenTrack::default(),
            colds: 0,
        }
    }
}

impl Table {
    /// From now on touches are of a new round; answers the one that ended.
    pub(super) fn next_round(&mut self) -> u64 {
        self.round += 1;
        self.round - 1
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn is_everything(&self) -> bool {
        self.everything != 0
    }

    /// Whether that was said in this round.
    pub(super) fn is_everything_now(&self) -> bool {
        self.everything == self.round
    }

    /// Everything may differ: nothing more need be remembered in this round.
    pub(super) fn mark_everything(&mut self) {
        let (round, broken) = (self.round, self.broken);
        *self = Self { round, broken, everything: round, ..Self::default() };
    }

    pub(super) fn has_inside(&self, object: &Object) -> bool {
        self.insides.contains_key(object)
    }

    /// Notes a touch; answers the record that must be durable before the change is made, if it is not hot. `place` is
    /// asked when the object is noted for the first time in this round.
    pub(super) fn touch(
        &mut self,
        object: &Object,
        touch: Touch<'_>,
        place: impl FnOnce() -> Option<Place>,
    ) -> Option<Record> {
        if self.is_everything_now() {
            return None;
        }
        let record = match touch {
            Touch::Name { name, directory } => self.touch_name(object, name, directory),
            Touch::Range { offset, length } if is_far(offset, length) => self.touch_inside(object, Touch::Whole, place),
            _ => self.touch_inside(object, touch, place),
        };
        if record.is_some() && self.broken.skips_intents {
            self.colds += 1;
            return record.filter(|_| !self.colds.is_multiple_of(3));
        }
        record
    }

    fn touch_name(&mut self, directory: &Object, name: &[u8], of_directory: bool) -> Option<Record> {
        let round = self.round;
        let names = self.names.entry(directory.clone()).or_default();
        if !of_directory && names.all_files.durable {
            names.all_files.round = round;
            return None;
        }
        if let Some(mark) = names.names.get_mut(name).filter(|mark| mark.durable) {
            mark.round = round;
            return None;
        }
        self.size += 1;
        let directory = directory.clone();
        if !of_directory && names.names.len() >= NAMES_MAX {
            names.all_files = Mark { round, durable: false };
            return Some(Record::AllFiles { directory });
        }
        names.names.insert(name.into(), Mark { round, durable: false });
        Some(Record::Name { directory, name: name.into() })
    }

    fn touch_inside(
        &mut self,
        object: &Object,
        touch: Touch<'_>,
        place: impl FnOnce() -> Option<Place>,
    ) -> Option<Record> {
        let round = self.round;
        let inside = self.insides.entry(object.clone()).or_default();
        if inside.latest() < round {
            // It may have been renamed since; within a round the new name is noted itself.
            inside.place = place();
        }
        let mut extents = Vec::new();
        let what = match touch {
            Touch::Whole => {
                inside.whole.round = round;
                if inside.whole.durable {
                    return None;
                }
                What::Whole
            }
            Touch::Range { offset, length } if length > 0 => {
                if inside.whole.durable {
                    inside.whole.round = round;
                    return None;
                }
                extents = inside.touch_range(offset, length, round, &mut self.size);
                if extents.is_empty() {
                    return None;
                }
                What::Extents(extents.clone())
            }
            _ => {
                let known = inside.attributes.durable || inside.whole.durable;
                let mark = if inside.attributes.durable { &mut inside.attributes } else { &mut inside.whole };
                if known {
                    mark.round = round;
                    return None;
                }
                inside.attributes.round = round;
                What::Attributes
            }
        };
        self.size += usize::from(extents.is_empty());
        Some(Record::Object { object: object.clone(), place: inside.place.clone(), what })
    }

    /// The journal names this now.
    pub(super) fn made_durable(&mut self, record: &Record) {
        match record {
            Record::Object { object, what, .. } => {
                let Some(inside) = self.insides.get_mut(object) else { return };
                match what {
                    What::Attributes => inside.attributes.durable = true,
                    What::Whole => inside.whole.durable = true,
                    What::Extents(extents) => {
                        for (index, mask) in extents {
                            if let Some(extent) = inside.extents.get_mut(index) {
                                extent.durable |= mask;
                            }
                        }
                    }
                }
            }
            Record::Name { directory, name } => {
                if let Some(mark) = self.names.get_mut(directory).and_then(|names| names.names.get_mut(name)) {
                    mark.durable = true;
                }
            }
            Record::AllFiles { directory } => {
                if let Some(names) = self.names.get_mut(directory) {
                    names.all_files.durable = true;
                }
            }
            Record::Everything | Record::Standing(_) => {}
        }
    }

    /// Notes what a journal said, as touched in this round.
    pub(super) fn learn(&mut self, record: Record) {
        self.learn_of(record, self.round);
    }

    /// Notes what a record says, as touched in that round, or later if that is known. The journal must come to name it.
    pub(super) fn learn_of(&mut self, record: Record, round: u64) {
        if self.everything >= round {
            return;
        }
        let touch = |mark: &mut Mark| *mark = Mark { round: mark.round.max(round), durable: true };
        self.size += 1;
        match record {
            Record::Object { object, place, what } => {
                let inside = self.insides.entry(object).or_default();
                inside.place = place.or(inside.place.take());
                match what {
                    What::Attributes => touch(&mut inside.attributes),
                    What::Whole => touch(&mut inside.whole),
                    What::Extents(extents) => {
                        for (index, mask) in extents {
                            let extent = inside.extents.entry(index).or_default();
                            let round = extent.round.max(round);
                            *extent = Extent { mask: extent.mask | mask, durable: extent.durable | mask, round };
                        }
                    }
                }
            }
            Record::Name { directory, name } => {
                touch(self.names.entry(directory).or_default().names.entry(name).or_default());
            }
            Record::AllFiles { directory } => touch(&mut self.names.entry(directory).or_default().all_files),
            Record::Everything => self.mark_everything(),
            Record::Standing(_) => self.size -= 1,
        }
    }

    /// Both disks have synced everything of the rounds up to this one.
    pub(super) fn forget(&mut self, up_to: u64) {
        let kept = |mark: &mut Mark| {
            if mark.round <= up_to {
                *mark = Mark::default();
            }
            mark.round != 0
        };
        if self.everything <= up_to {
            self.everything = 0;
        }
        self.insides.retain(|_, inside| {
            inside.extents.retain(|_, extent| extent.round > up_to);
            let marks = [kept(&mut inside.attributes), kept(&mut inside.whole)];
            marks.contains(&true) || !inside.extents.is_empty()
        });
        self.names.retain(|_, names| {
            names.names.retain(|_, mark| mark.round > up_to);
            kept(&mut names.all_files) || !names.names.is_empty()
        });
        self.size = self.records(true, 0).len();
    }

    /// What may differ and was touched in round `since` or later, as records. `live`: extents written to are told whole, since more of their blocks may follow
    /// without a word; and all of it counts as durable once they are written. Not live: the blocks themselves.
    pub(super) fn records(&self, live: bool, since: u64) -> Vec<Record> {
        if self.everything != 0 {
            return vec![Record::Everything];
        }
        let mut records = Vec::new();
        for (object, inside) in &self.insides {
            let place = &inside.place;
            let told = |what| Record::Object { object: object.clone(), place: place.clone(), what };
            if inside.latest() < since {
                continue;
            }
            if inside.whole.round != 0 {
                records.push(told(What::Whole));
                continue;
            }
            if inside.attributes.round != 0 {
                records.push(told(What::Attributes));
            }
            let extents: Vec<(u32, u64)> = inside
                .extents
                .iter()
                .filter(|(_, extent)| extent.round >= since)
                .map(|(index, extent)| (*index, if live { u64::MAX } else { self.blocks(extent.mask) }))
                .collect();
            records.extend(extents.chunks(EXTENTS_MAX).map(|part| told(What::Extents(part.into()))));
        }
        for (directory, names) in &self.names {
            if names.all_files.round != 0 && names.all_files.round >= since {
                records.push(Record::AllFiles { directory: directory.clone() });
            }
            let name = |name: &Vec<u8>| Record::Name { directory: directory.clone(), name: name.clone() };
            let late = names.names.iter().filter(|(_, mark)| mark.round >= since);
            records.extend(late.map(|(known, _)| name(known)));
        }
        records
    }

    fn blocks(&self, mask: u64) -> u64 {
        if self.broken.loses_bits { mask & 0xfefe_fefe_fefe_fefe } else { mask }
    }

    /// The whole of [`Table::records`] (live) is in the journal.
    pub(super) fn all_durable(&mut self) {
        for inside in self.insides.values_mut() {
            inside.whole.durable = inside.whole.round != 0;
            inside.attributes.durable = inside.attributes.round != 0;
            inside.extents.values_mut().for_each(|extent| extent.durable = u64::MAX);
        }
        for names in self.names.values_mut() {
            names.all_files.durable = names.all_files.round != 0;
            names.names.values_mut().for_each(|mark| mark.durable = true);
        }
    }

    /// Makes the table smaller by telling less exactly, until at most `most` records are needed: files with many extents
    /// as wholes, then everything.
    pub(super) fn coarsen(&mut self, most: usize) {
        self.size = self.records(true, 0).len();
        if self.size > most {
            for inside in self.insides.values_mut().filter(|inside| inside.extents.len() > EXTENTS_MAX) {
                inside.whole = Mark { round: inside.latest(), durable: false };
                inside.extents.clear();
            }
            self.size = self.records(true, 0).len();
        }
        if self.size > most {
            self.mark_everything();
        }
    }
}

/// Beyond what extents are numbered to, or over many at once: told as the whole file.
fn is_far(offset: u64, length: u64) -> bool {
    length / EXTENT >= EXTENTS_MAX as u64 - 1 || offset.saturating_add(length) / EXTENT >= u64::from(u32::MAX)
}

impl Inside {
    fn latest(&self) -> u64 {
        let extents = self.extents.values().map(|extent| extent.round).max().unwrap_or(0);
        extents.max(self.attributes.round).max(self.whole.round)
    }

    /// Marks the blocks; the extents that the journal does not name yet.
    fn touch_range(&mut self, offset: u64, length: u64, round: u64, size: &mut usize) -> Vec<(u32, u64)> {
        let mut cold = Vec::new();
        let end = offset.saturating_add(length);
        for index in offset / EXTENT..=(end - 1) / EXTENT {
            let Ok(number) = u32::try_from(index) else { continue };
            let start = index * EXTENT;
            let from = offset.saturating_sub(start) / BLOCK;
            let to = (end.min(start.saturating_add(EXTENT)) - start).div_ceil(BLOCK);
            let mask = (u64::MAX << from) & (u64::MAX >> (64 - to));
            let extent = self.extents.entry(number).or_insert_with(|| {
                *size += 1;
                Extent::default()
            });
            extent.mask |= mask;
            extent.round = round;
            if mask & !extent.durable != 0 {
                cold.push((number, u64::MAX));
            }
        }
        cold
    }
}
