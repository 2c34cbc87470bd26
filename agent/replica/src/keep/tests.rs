//! The holder, in a thread, without anything mounted: descriptors come back from it, and only to one at a time.

use super::holder::Holder;
use super::*;
use crate::op::{FileId, FileKind};
use holdfast_api::ids::Generation;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::thread::JoinHandle;

fn start(folder: &Path) -> (Keep, JoinHandle<()>) {
    let mut holder = None;
    let keep = Keep::beside(&folder.join("door"), |replica, door| {
        holder = Some(std::thread::spawn(move || Holder::new(replica, door).run().unwrap()));
        Ok(())
    });
    (keep.unwrap(), holder.unwrap())
}

/// A mount that is none: a file for its connection, and one for its directory.
fn hold(keep: &Keep, folder: &Path, limit: Duration) {
    let [connection, directory] = ["connection", "directory"].map(|name| {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(folder.join(name)).unwrap();
        file.write_all(name.as_bytes()).unwrap();
        file
    });
    let (connection, directory) = (connection.as_fd(), directory.as_fd());
    keep.hold(&[Mounted { path: &folder.join("nowhere"), device: 0, connection, directory }], limit).unwrap();
}

fn text(descriptor: OwnedFd) -> String {
    let mut file = File::from(descriptor);
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn what_is_held_comes_back_to_the_next_and_to_nobody_beside_it() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let door = folder.path().join("door");
    let (keep, holder) = start(folder.path());
    hold(&keep, folder.path(), Duration::from_secs(600));
    let right = Right {
        word: Word::Peer,
        generation: Generation { number: 1, id: 2 },
        given_up: true,
        session: 3,
        negotiated: 4,
    };
    keep.store.set_right(&right);
    let identity =
        Identity { id: FileId(70_000), kind: FileKind::File, excluded: false, device: 1, ino: 2, tag: 3, handle: None };
    keep.store.add(&identity, None, (1, 1), (1, true)).unwrap();
    let unnamed = tempfile::tempfile_in("/tmp").unwrap();
    for id in [70_000, 70_001] {
        keep.pin(id, unnamed.as_fd(), true);
    }
    keep.unpin(70_001);
    assert!(is_held(&door));
    assert!(take(&door).is_err(), "its replica is there");
    drop(keep);
    let taken = take(&door).unwrap();
    assert_eq!(taken.keep.store.right().unwrap(), right);
    assert_eq!(taken.known.len(), 1);
    assert_eq!(taken.known[0].1.identity, identity);
    assert!(taken.first_id > 70_000);
    assert_eq!(taken.pinned.keys().collect::<Vec<_>>(), [&70_000]);
    let mut mounts = taken.mounts.into_iter();
    let mount = mounts.next().unwrap();
    assert_eq!((mount.path, mount.device), (folder.path().join("nowhere"), 0));
    assert_eq!((text(mount.connection), text(mount.directory)), ("connection".into(), "directory".into()));
    assert!(mounts.next().is_none());
    taken.keep.done();
    drop(taken.keep);
    holder.join().unwrap();
    assert!(!is_held(&door));
}

#[test]
fn nothing_is_held_for_ever() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let (keep, holder) = start(folder.path());
    hold(&keep, folder.path(), Duration::from_millis(50));
    let began = Instant::now();
    drop(keep);
    holder.join().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(50));
    assert!(take(&folder.path().join("door")).is_err());
}

#[test]
fn what_nobody_will_take_is_abandoned_at_once() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let (keep, holder) = start(folder.path());
    hold(&keep, folder.path(), Duration::from_secs(600));
    drop(keep);
    abandon(&folder.path().join("door"));
    holder.join().unwrap();
}

#[test]
fn one_that_hangs_while_it_takes_over_does_not_keep_the_mounts_for_ever() {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let (keep, holder) = start(folder.path());
    hold(&keep, folder.path(), Duration::from_millis(50));
    let unnamed = tempfile::tempfile_in("/tmp").unwrap();
    // More than a socket has room for.
    (70_000..70_500).for_each(|id| keep.pin(id, unnamed.as_fd(), true));
    drop(keep);
    let hangs = reach(&folder.path().join("door")).unwrap();
    send(&hangs, &Message::Take, &[]).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while !holder.is_finished() {
        assert!(Instant::now() < end, "it waits for one that hangs");
        std::thread::sleep(LOOK);
    }
    drop(hangs);
}
