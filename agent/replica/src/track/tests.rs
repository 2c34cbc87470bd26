//! The table against a naive oracle: whatever was touched and not forgotten is named, before and after a crash.

use super::named::Named;
use super::record::{Object, Record, What};
use super::table::{BrokenTrack, EXTENT, Table, Touch};
use crate::filter::Filter;
use crate::op::FileId;
use crate::track::{Locate, Place, Standing, Tracker};
use crate::tree::handle::FileHandle;
use proptest::prelude::*;

fn object(number: u8) -> Object {
    Object { file_system: 0, handle: FileHandle::from_parts(1, &[number; 8]).unwrap() }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Touch(u8, Kind),
    Flush,
    Crash,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Attributes,
    Whole,
    Range(u64, u64),
    Name(u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        Just(Kind::Attributes),
        Just(Kind::Whole),
        (0..40 * EXTENT, 1..2 * EXTENT).prop_map(|(offset, length)| Kind::Range(offset, length)),
        (0..12u8, any::<bool>()).prop_map(|(name, directory)| Kind::Name(name, directory)),
    ];
    prop_oneof![12 => (0..5u8, kind).prop_map(|(object, kind)| Step::Touch(object, kind)), 1 => Just(Step::Flush), 1 => Just(Step::Crash)]
}

fn covered(records: &[Record], number: u8, kind: Kind) -> bool {
    let wanted = object(number);
    let blocks = |offset: u64, length: u64| offset / (64 << 10)..(offset + length).div_ceil(64 << 10);
    let inside = |pick: &dyn Fn(&What) -> bool| {
        records
            .iter()
            .any(|record| matches!(record, Record::Object { object, what, .. } if *object == wanted && pick(what)))
    };
    if records.contains(&Record::Everything) {
        return true;
    }
    match kind {
        Kind::Attributes => inside(&|_| true),
        Kind::Whole => inside(&|what| *what == What::Whole),
        Kind::Range(offset, length) => blocks(offset, length).all(|block| {
            let has = |extents: &Vec<(u32, u64)>| {
                extents.iter().any(|(index, mask)| u64::from(*index) == block / 64 && mask >> (block % 64) & 1 == 1)
            };
            inside(&|what| match what {
                What::Whole => true,
                What::Extents(extents) => has(extents),
                What::Attributes => false,
            })
        }),
        Kind::Name(name, directory) => records.iter().any(|record| match record {
            Record::Name { directory, name: known } => *directory == wanted && *known == [name],
            Record::AllFiles { directory: all } => *all == wanted && !directory,
            _ => false,
        }),
    }
}

fn fresh(broken: BrokenTrack) -> Table {
    let mut table = Table::default();
    table.broken = broken;
    table
}

/// Runs the steps; the first touch that was not covered when it had to be.
fn run(steps: &[Step], broken: BrokenTrack) -> Option<(u8, Kind)> {
    let mut table = fresh(broken);
    let mut journal: Vec<Record> = Vec::new();
    let mut touched: Vec<(u8, Kind)> = Vec::new();
    for step in steps {
        match step {
            Step::Touch(number, kind) => {
                let name;
                let touch = match *kind {
                    Kind::Attributes => Touch::Attributes,
                    Kind::Whole => Touch::Whole,
                    Kind::Range(offset, length) => Touch::Range { offset, length },
                    Kind::Name(known, directory) => {
                        name = [known];
                        Touch::Name { name: &name, directory }
                    }
                };
                if let Some(record) = table.touch(&object(*number), touch, || None) {
                    let bytes = record.encode().unwrap();
                    journal.push(Record::decode(&bytes).unwrap());
                    table.made_durable(&record);
                }
                touched.push((*number, *kind));
            }
            Step::Flush => {
                let round = table.next_round();
                table.forget(round);
                journal = table.records(true, 0);
                table.all_durable();
                touched.clear();
            }
            Step::Crash => {
                table = fresh(broken);
                journal.iter().for_each(|record| table.learn(record.clone()));
                journal = table.records(true, 0);
            }
        }
        let mut after_crash = fresh(broken);
        journal.iter().for_each(|record| after_crash.learn(record.clone()));
        let (now, then) = (table.records(false, 0), after_crash.records(false, 0));
        let missed = |(number, kind): &&(u8, Kind)| !covered(&now, *number, *kind) || !covered(&then, *number, *kind);
        if let Some(missed) = touched.iter().find(missed) {
            return Some(*missed);
        }
    }
    None
}

proptest! {
    #[test]
    fn whatever_was_touched_is_named_now_and_after_a_crash(steps in proptest::collection::vec(step(), 1..60)) {
        prop_assert!(run(&steps, BrokenTrack::default()).is_none());
    }
}

#[test]
fn a_skipped_record_and_a_lost_bit_are_missed() {
    let steps: Vec<Step> =
        (0..24).map(|i| Step::Touch(i % 4, Kind::Range(u64::from(i) * EXTENT, 3 * EXTENT / 2))).collect();
    assert!(run(&steps, BrokenTrack::default()).is_none());
    assert!(run(&steps, BrokenTrack { skips_intents: true, ..BrokenTrack::default() }).is_some());
    assert!(run(&steps, BrokenTrack { loses_bits: true, ..BrokenTrack::default() }).is_some());
}

#[test]
fn what_was_touched_again_after_a_round_began_is_not_forgotten_with_it() {
    let mut table = Table::default();
    let touch = |table: &mut Table, offset| {
        let record = table.touch(&object(1), Touch::Range { offset, length: 1 }, || None);
        record.inspect(|record| table.made_durable(record)).is_some()
    };
    assert!(touch(&mut table, 0));
    assert!(touch(&mut table, EXTENT));
    assert!(!touch(&mut table, 5), "a hot extent costs no record");
    let round = table.next_round();
    assert!(!touch(&mut table, 70_000));
    table.forget(round);
    let left = table.records(false, 0);
    assert!(covered(&left, 1, Kind::Range(70_000, 1)) && !covered(&left, 1, Kind::Range(EXTENT, 1)), "{left:?}");
}

#[test]
fn a_flood_of_small_files_costs_few_records_and_the_table_stays_bounded() {
    let mut table = Table::default();
    let mut records = 0;
    for i in 0..5000u32 {
        let name = i.to_le_bytes();
        let record = table.touch(&object(1), Touch::Name { name: &name, directory: false }, || None);
        records += usize::from(record.inspect(|record| table.made_durable(record)).is_some());
    }
    assert!(records <= 5, "{records}");
    // Many directories are named one by one, until there are too many.
    for i in 0..1000u32 {
        table.touch(&object(2), Touch::Name { name: &i.to_le_bytes(), directory: true }, || None);
    }
    table.coarsen(2000);
    assert!(!table.is_everything());
    table.coarsen(500);
    assert!(table.is_everything() && table.size() <= 1);
}

#[test]
fn two_nodes_know_what_differs_only_from_the_same_base() {
    let at = |base, pairing, flushed, asked| Standing { base, pairing, flushed, asked };
    let unknown = Standing::default();
    assert!(!unknown.knows_with(&unknown));
    assert!(at(7, 0, 3, 3).knows_with(&at(7, 0, 3, 3)));
    assert!(at(7, 0, 2, 3).knows_with(&at(7, 0, 3, 3)), "its answer was on the way");
    assert!(!at(7, 0, 3, 3).knows_with(&at(7, 0, 2, 2)), "a restored image of the follower");
    assert!(!at(7, 0, 3, 3).knows_with(&at(7, 0, 1, 2)), "a restored image of the former primary");
    assert!(!at(7, 0, 0, 0).knows_with(&at(8, 0, 0, 0)));
    assert!(at(7, 9, 2, 2).knows_with(&at(9, 0, 0, 0)), "the end of its pairing was not saved here yet");
    assert!(at(9, 0, 0, 0).knows_with(&at(7, 9, 2, 2)));
    assert!(!at(9, 0, 0, 1).knows_with(&at(7, 9, 2, 2)), "a flush was asked for since: the peer had saved its end");
}

fn tracker(base: &std::path::Path) -> std::sync::Arc<Tracker> {
    tracker_of(base, base)
}

fn tracker_of(base: &std::path::Path, root: &std::path::Path) -> std::sync::Arc<Tracker> {
    let root = std::sync::Arc::new(std::os::fd::OwnedFd::from(std::fs::File::open(root).unwrap()));
    let folder = base.join("state");
    std::fs::create_dir_all(&folder).unwrap();
    Tracker::open(&folder, (vec![root], &Filter::default()), "boot").unwrap().unwrap()
}

#[test]
fn a_change_while_nobody_watched_that_could_not_be_saved_is_found_again() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let file = data.join("file");
    std::fs::write(&file, "before").unwrap();
    let first = tracker_of(folder.path(), &data);
    let watch = first.watch();
    first.standing();
    first.paired(5, first.next_round()).unwrap();
    assert_eq!(first.standing().base, 5);
    watch.end();
    first.close();
    // A mark holds back for so long.
    let later = |than: std::time::SystemTime| {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while than.elapsed().map_or(true, |passed| passed.as_millis() < 200) {
            assert!(std::time::Instant::now() < deadline, "the clock stands still");
            std::thread::yield_now();
        }
    };
    later(std::time::SystemTime::now());
    std::fs::write(&file, "while nobody watched").unwrap();
    // The disk of the state folder fails.
    let second = tracker_of(folder.path(), &data);
    second.close();
    let watch = second.watch();
    second.standing();
    later(std::time::SystemTime::now());
    watch.end();
    let third = tracker_of(folder.path(), &data);
    let _watch = third.watch();
    let named = third.named(0).expect("only what was changed");
    assert_ne!(named, Named::default());
}

#[test]
fn a_doubt_after_both_copies_were_the_same_outlives_the_word_that_they_were() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let tracker = tracker(folder.path());
    let round = tracker.next_round();
    tracker.nothing_known().unwrap();
    tracker.paired(5, round).unwrap();
    assert_eq!(tracker.standing(), Standing::default());
    // Nor does a flush end it: what differs is on both disks.
    let round = tracker.next_round();
    tracker.flushed(round, 1).unwrap();
    assert_eq!(tracker.standing().base, 0);
}

/// A file with a number.
struct Numbered(u64);

impl Locate for Numbered {
    fn object(&self) -> Option<Object> {
        Some(Object { file_system: 0, handle: FileHandle::from_parts(1, &self.0.to_le_bytes()).unwrap() })
    }
    fn place(&self) -> Option<Place> {
        None
    }
}

/// A state folder whose disk is full once the journal is there.
struct FullDisk(tempfile::TempDir);

impl FullDisk {
    fn new() -> FullDisk {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        rustix::mount::mount("tmpfs", &state, "tmpfs", rustix::mount::MountFlags::empty(), c"size=2100k").unwrap();
        FullDisk(folder)
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path().join("state"), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn on_a_full_disk_what_may_differ_is_told_less_exactly_and_no_change_is_refused() {
    for (files, extents, exactly) in [(1500, 14, true), (5000, 1, false)] {
        let disk = FullDisk::new();
        let tracker = tracker(disk.0.path());
        let round = tracker.next_round();
        tracker.paired(5, round).unwrap();
        for number in 0..files {
            for extent in 0..extents {
                let touch = Touch::Range { offset: extent * EXTENT, length: 1 };
                tracker.before(FileId(70_000 + number), touch, &Numbered(number)).unwrap();
            }
        }
        tracker.close();
        // As after a crash.
        let again = self::tracker(disk.0.path());
        assert_eq!(again.standing().base, if exactly { 5 } else { 0 }, "{files} files of {extents} extents");
    }
}

/// Something on a file system of its own.
struct Foreign;

impl Locate for Foreign {
    fn object(&self) -> Option<Object> {
        None
    }
    fn place(&self) -> Option<Place> {
        None
    }
}

#[test]
fn what_has_no_name_for_good_is_told_anew_in_each_round() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let tracker = tracker(folder.path());
    tracker.before(FileId(70_000), Touch::Whole, &Foreign).unwrap();
    let round = tracker.next_round();
    tracker.before(FileId(70_000), Touch::Whole, &Foreign).unwrap();
    tracker.paired(5, round).unwrap();
    assert_eq!(tracker.standing(), Standing::default());
    assert!(tracker.named(0).is_none());
}
