//! The applier alone, step by step.

use super::*;
use crate::frame::Entry;
use holdfast_api::userconfig::{Excluded, Exclusion};
use std::fs;
use std::path::Path;

fn applier(path: &Path) -> Applier {
    let root = Arc::new(OwnedFd::from(fs::File::open(path).unwrap()));
    Applier::new(vec![(path.to_owned(), root)], AsyncMode::Second).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn op(applier: &mut Applier, op: Op) -> Result<Effect, ApplyError> {
    applier.apply(Message::Op(op), &[])
}

const ROOT: FileId = FileId(1);

#[test]
fn an_exchange_in_a_resync_never_uses_a_third_name() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    fs::write(folder.path().join("stranger"), "in the way").unwrap();
    fs::write(folder.path().join("b"), "other").unwrap();
    for name in ["a", "stranger"] {
        let mut applier = applier(folder.path());
        let (kind, exact) = (FileKind::File, false);
        op(&mut applier, Op::Bind { id: FileId(8), parent: ROOT, name: b"b".into(), kind, exact }).unwrap();
        // What is to come to `b` is not known, as after a crash in the middle of it.
        let (id, parent, other, other_parent) = (FileId(7), ROOT, FileId(8), ROOT);
        let (name, other_name) = (name.as_bytes().to_vec(), b"b".to_vec());
        op(&mut applier, Op::Exchange { id, parent, name, other, other_parent, other_name }).unwrap_err();
        let left = names(folder.path());
        assert!(left.iter().all(|left| ["a", "b", "stranger"].contains(&left.as_str())), "{left:?}");
        fs::write(folder.path().join("b"), "other").unwrap();
    }
}

#[test]
fn an_exchange_in_a_resync_puts_both_in_their_places_whatever_stood_there() {
    for stranger in [false, true] {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        fs::write(folder.path().join("one"), "one").unwrap();
        fs::write(folder.path().join("b"), "other").unwrap();
        if stranger {
            fs::write(folder.path().join("a"), "in the way").unwrap();
        }
        let mut applier = applier(folder.path());
        for (id, name) in [(7, "one"), (8, "b")] {
            let (id, name, kind, exact) = (FileId(id), name.into(), FileKind::File, false);
            op(&mut applier, Op::Bind { id, parent: ROOT, name, kind, exact }).unwrap();
        }
        let (id, parent, other, other_parent) = (FileId(7), ROOT, FileId(8), ROOT);
        let (name, other_name) = (b"a".to_vec(), b"b".to_vec());
        op(&mut applier, Op::Exchange { id, parent, name, other, other_parent, other_name }).unwrap();
        assert_eq!((text("a"), text("b")), ("other".to_owned(), "one".to_owned()));
    }
}

#[test]
fn names_that_are_this_nodes_own_are_never_removed() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    for name in ["own.log", "plain"] {
        fs::write(folder.path().join(name), "x").unwrap();
    }
    let names_own = Excluded::Matching("[.]log$".into());
    let exclusion = Exclusion { directory: folder.path().display().to_string(), names: names_own };
    let filter = Filter::new(&[folder.path().to_owned()], &[exclusion]).unwrap();
    let mut applier = applier(folder.path()).with_filter(Arc::new(filter));
    let absent = vec![b"own.log".to_vec(), b"plain".to_vec()];
    let step = ResyncStep::Match { directory: ROOT, entries: Vec::new(), absent };
    applier.apply(Message::Resync(step), &[]).unwrap();
    assert_eq!(names(folder.path()), ["own.log"]);
}

#[test]
fn a_listing_is_matched_piece_by_piece_and_what_is_beyond_a_piece_is_left_alone() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    for name in ["a stranger", "b", "stranger"] {
        fs::write(folder.path().join(name), name).unwrap();
    }
    let mut applier = applier(folder.path());
    let mut piece = |after: &str, upto: &str, id, name: &str| {
        let (name, target) = (name.as_bytes().to_vec(), Vec::new());
        let (id, kind, device, linked, exact) = (FileId(id), FileKind::File, 0, false, false);
        let entries = vec![Entry { id, name, kind, device, target, linked, exact }];
        let step = ResyncStep::List { directory: ROOT, after: after.into(), upto: upto.into(), entries };
        applier.apply(Message::Resync(step), &[]).map(|_| names(folder.path())).map_err(|error| error.to_string())
    };
    assert_eq!(piece("", "aa", 7, "a").unwrap(), ["a", "b", "stranger"]);
    assert_eq!(piece("aa", "c", 8, "b").unwrap(), ["a", "b", "stranger"]);
    assert_eq!(fs::read_to_string(folder.path().join("b")).unwrap(), "b", "what was there is kept for its contents");
    assert!(piece("d", "", 8, "x").unwrap_err().contains("comparing directory"), "a piece is missing");
    assert_eq!(piece("c", "", 9, "z").unwrap(), ["a", "b", "z"]);
    // Nothing of one listing is left for the next.
    assert_eq!(piece("", "", 7, "a").unwrap(), ["a"]);
}
