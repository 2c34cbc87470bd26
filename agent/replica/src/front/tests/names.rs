//! Names: creating, linking, renaming, removing, listing, odd names, owners and extended attributes.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use rustix::fs::XattrFlags;

use super::support::{Mounted, shell};
use crate::op::Op;
use crate::tree::xattr;

fn error_of<T>(result: std::io::Result<T>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).unwrap_or(0)
}

#[test]
fn every_kind_of_object_can_be_made_and_removed() {
    let m = Mounted::new();
    shell(
        &m.path(),
        "mkdir -p a/b/c; echo 1 > a/b/file; ln -s ../file a/b/link; mkfifo a/pipe; mknod a/null c 1 3; \
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"a/sock\")'; ln a/b/file a/hard; \
         mkdir gone; touch gone/x; rm -r gone; cat a/hard; test $(stat -c %h a/hard) = 2; echo data > a/null",
    );
    assert_eq!(fs::read_link(m.join("a/b/link")).unwrap(), std::path::Path::new("../file"));
    assert_eq!(error_of(fs::remove_dir(m.join("a"))), libc::ENOTEMPTY);
    assert_eq!(error_of(fs::create_dir(m.join("a"))), libc::EEXIST);
    assert_eq!(error_of(fs::remove_file(m.join("a"))), libc::EISDIR);
    assert_eq!(error_of(File::open(m.join("none"))), libc::ENOENT);
    assert_eq!(error_of(File::create_new(m.join("a/hard"))), libc::EEXIST);
    m.assert_mirrored();
}

#[test]
fn an_unlinked_open_file_lives_on_and_then_goes() {
    let m = Mounted::with(|_| {}, 16);
    let mut file = OpenOptions::new().create_new(true).read(true).write(true).open(m.join("t")).unwrap();
    file.write_all(b"before").unwrap();
    fs::remove_file(m.join("t")).unwrap();
    // Enough other files to push it out of the kept descriptors, were it not pinned.
    for number in 0..40 {
        fs::write(m.join(&format!("o{number}")), "x").unwrap();
    }
    file.write_all(b" after").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before after");
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    fs::write(m.join("t"), "another").unwrap();
    file.write_all_at_start(b"X");
    assert_eq!(fs::read(m.join("t")).unwrap(), b"another");
    assert_eq!(m.inodes.descriptors.open_now().1, 1);
    drop(file);
    super::support::eventually("the kernel forgets it", || m.inodes.descriptors.open_now().1 == 0);
    m.assert_mirrored();
}

trait WriteAtStart {
    fn write_all_at_start(&self, data: &[u8]);
}

impl WriteAtStart for File {
    fn write_all_at_start(&self, data: &[u8]) {
        std::os::unix::fs::FileExt::write_all_at(self, data, 0).unwrap();
    }
}

#[test]
fn renaming_over_an_open_file_leaves_it_to_its_users() {
    let m = Mounted::new();
    fs::write(m.join("old"), "old").unwrap();
    let mut old = OpenOptions::new().read(true).write(true).open(m.join("old")).unwrap();
    fs::write(m.join("new"), "new").unwrap();
    fs::rename(m.join("new"), m.join("old")).unwrap();
    assert_eq!(fs::read(m.join("old")).unwrap(), b"new");
    old.write_all(b"OLD").unwrap();
    old.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert_eq!(text, "OLD");
    assert!(!m.join("new").exists());
    drop(old);
    m.assert_mirrored();
}

#[test]
fn directories_move_with_what_is_open_in_them() {
    let m = Mounted::new();
    shell(&m.path(), "mkdir -p a/b/c d; echo 1 > a/b/c/f");
    let mut file = OpenOptions::new().append(true).open(m.join("a/b/c/f")).unwrap();
    fs::rename(m.join("a/b"), m.join("d/e")).unwrap();
    file.write_all(b"2\n").unwrap();
    assert_eq!(fs::read(m.join("d/e/c/f")).unwrap(), b"1\n2\n");
    fs::rename(m.join("d/e/c/f"), m.join("top")).unwrap();
    file.write_all(b"3\n").unwrap();
    fs::create_dir(m.join("empty")).unwrap();
    fs::rename(m.join("d"), m.join("empty")).unwrap();
    assert_eq!(error_of(fs::rename(m.join("empty"), m.join("empty/e/x"))), libc::EINVAL);
    drop(file);
    m.assert_mirrored();
}

#[test]
fn rename_flags_are_honoured_or_refused() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let m = Mounted::new();
    fs::write(m.join("a"), "a").unwrap();
    fs::write(m.join("b"), "b").unwrap();
    let rename = |from: &str, to: &str, flags| renameat_with(CWD, m.join(from), CWD, m.join(to), flags);
    assert_eq!(rename("a", "b", RenameFlags::NOREPLACE), Err(rustix::io::Errno::EXIST));
    assert_eq!(rename("a", "c", RenameFlags::NOREPLACE), Ok(()));
    assert_eq!(rename("b", "c", RenameFlags::WHITEOUT), Err(rustix::io::Errno::INVAL));
    assert_eq!(fs::read(m.join("c")).unwrap(), b"a");
    m.assert_mirrored();
}

#[test]
fn names_are_bytes() {
    let m = Mounted::new();
    let odd = m.path().join(OsStr::from_bytes(b"\xff\xfe name\n with \x01 bytes"));
    fs::write(&odd, "odd").unwrap();
    let longest = m.join(&"x".repeat(255));
    fs::write(&longest, "long").unwrap();
    assert_eq!(error_of(File::create(m.join(&"x".repeat(256)))), libc::ENAMETOOLONG);
    let mut names: Vec<_> = fs::read_dir(m.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    let mut wanted = [odd.clone(), longest];
    wanted.sort();
    assert_eq!(names, wanted);
    fs::rename(&odd, m.path().join(OsStr::from_bytes(b"\xc3"))).unwrap();
    m.assert_mirrored();
}

#[test]
fn extended_attributes_and_access_lists_are_kept_and_sent() {
    let m = Mounted::new();
    fs::write(m.join("f"), "x").unwrap();
    let fd = File::open(m.join("f")).unwrap();
    xattr::set(&fd, c"user.one", b"1", XattrFlags::CREATE).unwrap();
    xattr::set(&fd, c"user.big", &[5; 3000], XattrFlags::empty()).unwrap();
    xattr::set(&fd, c"user.empty", b"", XattrFlags::empty()).unwrap();
    assert_eq!(xattr::set(&fd, c"user.one", b"2", XattrFlags::CREATE), Err(rustix::io::Errno::EXIST));
    assert_eq!(xattr::get(&fd, c"user.none"), Err(rustix::io::Errno::NODATA));
    assert_eq!(xattr::get(&fd, c"user.big").unwrap(), [5; 3000]);
    assert_eq!(xattr::all(&fd).unwrap().len(), 3);
    xattr::remove(&fd, c"user.one").unwrap();
    // A default access list: user 1000 may read and write what is made in the directory, whatever the umask.
    fs::create_dir(m.join("shared")).unwrap();
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 6, 1000), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)]
    {
        acl.extend(tag.to_le_bytes());
        acl.extend(rights.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let shared = File::open(m.join("shared")).unwrap();
    xattr::set(&shared, c"system.posix_acl_default", &acl, XattrFlags::empty()).unwrap();
    shell(&m.path(), "umask 077; echo x > shared/f; mkdir shared/d; umask 027; echo x > plain");
    assert_eq!(fs::metadata(m.join("shared/f")).unwrap().mode() & 0o777, 0o660);
    xattr::get(File::open(m.join("shared/f")).unwrap(), c"system.posix_acl_access").unwrap();
    assert_eq!(fs::metadata(m.join("plain")).unwrap().mode() & 0o777, 0o640);
    drop((fd, shared));
    m.assert_mirrored();
}

#[test]
fn objects_belong_to_whoever_makes_them() {
    let m = Mounted::new();
    fs::set_permissions(m.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(m.join("team")).unwrap();
    std::os::unix::fs::chown(m.join("team"), Some(0), Some(4242)).unwrap();
    fs::set_permissions(m.join("team"), fs::Permissions::from_mode(0o2775)).unwrap();
    // The right to write comes from a supplementary group, which the request does not name.
    let user = "setpriv --reuid 1234 --regid 1234 --groups 4242 sh -euc";
    shell(&m.path(), &format!("{user} 'umask 022; echo x > team/f; mkdir team/d; ln -s f team/l; mkfifo team/p'"));
    for (name, mode) in [("f", 0o644), ("d", 0o2755), ("p", 0o644), ("l", 0o777)] {
        let meta = fs::symlink_metadata(m.join("team").join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1234, 4242, mode), "{name}");
    }
    let denied = format!("! {user} 'echo x > f' 2>/dev/null; ! {user} 'rm -f team/../team' 2>/dev/null");
    shell(&m.path(), &denied);
    m.assert_mirrored();
}

#[test]
fn twenty_thousand_small_files_are_listed_exactly() {
    let m = Mounted::with(|_| {}, 512);
    fs::create_dir(m.join("many")).unwrap();
    for number in 0..20_000 {
        fs::write(m.join(&format!("many/{number:05}")), number.to_string()).unwrap();
    }
    let list = || {
        let mut names: Vec<_> = fs::read_dir(m.join("many"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let wanted: Vec<_> = (0..20_000).map(|number| format!("{number:05}")).collect();
    assert_eq!(list(), wanted);
    shell(&m.path(), "test $(ls -l many | wc -l) = 20001; find many -name '*7' -delete");
    assert_eq!(list().len(), 18_000);
    shell(&m.path(), "rm -r many");
    let made = m.recording.ops().iter().filter(|op| matches!(op, Op::Create { .. })).count();
    let removed = m.recording.ops().iter().filter(|op| matches!(op, Op::Unlink { .. })).count();
    assert_eq!((made, removed), (20_001, 20_000));
    let (live, pinned) = m.inodes.descriptors.open_now();
    assert!(live <= 513 && pinned == 0, "{live} {pinned}");
    m.front.unmount(false).unwrap();
    assert_eq!(fs::read_dir(m.path()).unwrap().count(), 0);
}

#[test]
fn an_object_has_one_inode_under_all_its_names() {
    let m = Mounted::with(
        |path| {
            fs::create_dir(path.join("d")).unwrap();
            fs::write(path.join("a"), "1").unwrap();
            fs::hard_link(path.join("a"), path.join("d/b")).unwrap();
            symlink("a", path.join("s")).unwrap();
        },
        64,
    );
    let (a, b) = (fs::metadata(m.join("a")).unwrap(), fs::metadata(m.join("d/b")).unwrap());
    assert_eq!((a.ino(), a.nlink()), (b.ino(), 2));
    let mut open = OpenOptions::new().append(true).open(m.join("a")).unwrap();
    open.write_all(b"2").unwrap();
    assert_eq!(fs::read(m.join("d/b")).unwrap(), b"12");
    fs::remove_file(m.join("a")).unwrap();
    open.write_all(b"3").unwrap();
    assert_eq!(fs::read(m.join("d/b")).unwrap(), b"123");
    assert_eq!(fs::metadata(m.join("d/b")).unwrap().nlink(), 1);
}
