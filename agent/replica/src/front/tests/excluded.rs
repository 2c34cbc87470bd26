//! Names that are not replicated: served here like all others, and nothing of them travels.

use std::fs;

use super::support::{Mounted, shell};
use crate::op::Op;
use holdfast_api::userconfig::Excluded;

fn mounted() -> Mounted {
    let names = vec![Excluded::Path("cache/tmp".into()), Excluded::Matching("[.]log$".into())];
    let m = Mounted::excluding(|_| {}, 64, names);
    fs::create_dir_all(m.join("cache/tmp/old")).unwrap();
    m
}

fn error_of<T>(result: std::io::Result<T>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

#[test]
fn nothing_of_an_excluded_name_travels() {
    let m = mounted();
    let before = m.recording.ops();
    shell(
        &m.path(),
        "echo 1 > a.log; echo 2 >> a.log; chmod 600 a.log; python3 -c 'import os; os.setxattr(\"a.log\", \"user.x\", b\"y\")'; mkdir -p cache/tmp/new/deep; \
         echo x > cache/tmp/new/deep/file; ln cache/tmp/new/deep/file cache/tmp/hard; ln -s a cache/tmp/link; \
         mv cache/tmp/new cache/tmp/old/moved; mv a.log b.log; sync b.log; truncate -s 100 b.log; mkdir c.log; \
         touch c.log/inside; rm -r c.log cache/tmp/hard; cat cache/tmp/old/moved/deep/file",
    );
    assert_eq!(m.recording.ops(), before, "nothing here is replicated");
    shell(&m.path(), "echo kept > cache/file; rm b.log; rm -r cache/tmp; echo a > log");
    assert!(m.recording.ops().iter().any(|op| matches!(op, Op::Create { name, .. } if name == b"log")));
    m.assert_mirrored();
}

#[test]
fn between_replicated_and_excluded_names_programs_have_to_copy() {
    let m = mounted();
    fs::write(m.join("plain"), "text").unwrap();
    fs::write(m.join("own.log"), "own").unwrap();
    fs::create_dir(m.join("other")).unwrap();
    for (from, to) in [("plain", "a.log"), ("own.log", "b"), ("plain", "cache/tmp/x"), ("other", "cache/tmp/x")] {
        assert_eq!(error_of(fs::rename(m.join(from), m.join(to))), libc::EXDEV, "{from} {to}");
    }
    for (from, to) in [("plain", "a.log"), ("own.log", "b"), ("plain", "cache/tmp/x")] {
        assert_eq!(error_of(fs::hard_link(m.join(from), m.join(to))), libc::EXDEV, "{from} {to}");
    }
    // Below these, what is excluded would be replicated, or the other way round.
    assert_eq!(error_of(fs::rename(m.join("cache"), m.join("cache2"))), libc::EXDEV);
    fs::rename(m.join("other"), m.join("another")).unwrap();
    fs::rename(m.join("own.log"), m.join("another/own.log")).unwrap();
    shell(
        &m.path(),
        "mv plain a.log; mv a.log plain2; mv another/own.log published; mv cache cache2; ls cache2/tmp/old",
    );
    assert_eq!(fs::read_to_string(m.join("published")).unwrap(), "own");
    m.assert_mirrored();
}

#[test]
fn what_a_resync_walks_by_leaves_excluded_names_out() {
    let m = mounted();
    shell(&m.path(), "touch a a.log cache/b cache/b.log cache/tmp/c");
    let names = |directory: &crate::front::Held| {
        let names = super::pieces::names(directory).into_iter();
        names.map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
    };
    let root = m.inodes.root(0).unwrap();
    let cache = m.inodes.child(&root, b"cache").unwrap();
    let own = m.inodes.child(&cache, b"tmp").unwrap();
    assert_eq!((names(&root), names(&cache)), (vec!["a".into(), "cache".into()], vec!["b".into()]));
    assert!(own.is_excluded() && names(&own).is_empty());
}
