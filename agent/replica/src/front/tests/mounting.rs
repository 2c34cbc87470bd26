//! Mounting, refusing to, clearing dead mounts, read-only mounts, several directories.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use super::support::{eventually, watch};
use crate::front::users::users_below;
use crate::front::{Alone, Front, Inodes, Mode, MountError, UnmountError};
use crate::op::FileId;
use crate::replicate::Replicate;

fn alone() -> Arc<dyn Replicate> {
    Arc::new(Alone)
}

fn directory(base: &tempfile::TempDir, name: &str) -> PathBuf {
    let path = base.path().join(name);
    fs::create_dir(&path).unwrap();
    path
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sleeping(script: &str, directory: &std::path::Path) -> Ended {
    let script = format!("{script}; echo ready; exec sleep 60 <&9");
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut ready).unwrap();
    Ended(child)
}

#[test]
fn a_directory_in_use_is_not_mounted_and_its_users_are_named() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory(&base, "data");
    fs::write(path.join("f"), "x").unwrap();
    let inodes = Inodes::open(std::slice::from_ref(&path)).unwrap();
    for script in ["exec 9<data/f", "cd data; exec 9</dev/null"] {
        let user = sleeping(script, base.path());
        let error = Front::mount(&inodes, Mode::ReadWrite, &alone()).err().unwrap();
        let MountError::InUse { users, .. } = &error else { panic!("{error}") };
        assert!(users.iter().any(|found| found.pid == user.0.id()), "{error}");
        assert!(error.to_string().contains(&format!("pid {}", user.0.id())), "{error}");
    }
    let front = Front::mount(&inodes, Mode::ReadWrite, &alone()).unwrap();
    front.unmount(false).unwrap();
}

#[test]
fn a_mount_in_use_is_not_taken_away_unless_aborted() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory(&base, "data");
    let inodes = Inodes::open(std::slice::from_ref(&path)).unwrap();
    let front = Arc::new(Front::mount(&inodes, Mode::ReadWrite, &alone()).unwrap());
    let _done = watch(&front);
    let mut file = File::create_new(path.join("f")).unwrap();
    let user = sleeping("exec 9<data/f", base.path());
    let error = front.unmount(false).unwrap_err();
    // This process has a descriptor of what is below: it is not among them, nor would another that had one.
    let UnmountError::Busy { users, .. } = &error else { panic!("{error}") };
    assert_eq!(users.iter().map(|found| found.pid).collect::<Vec<_>>(), [user.0.id()], "{error}");
    file.write_all(b"still served").unwrap();
    front.unmount(true).unwrap();
    assert!(file.write_all(b"x").is_err());
    assert_eq!(fs::read(path.join("f")).unwrap(), b"still served");
    front.unmount(true).unwrap();
}

#[test]
fn whoever_has_gone_in_a_moment_does_not_keep_a_mount_and_who_is_below_it_does_not_use_it() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory(&base, "data");
    let inodes = Inodes::open(std::slice::from_ref(&path)).unwrap();
    let front = Arc::new(Front::mount(&inodes, Mode::ReadWrite, &alone()).unwrap());
    let _done = watch(&front);
    // One that has hold of what is below, as a process which keeps our descriptors has.
    let below = inodes.directory_fd(0).unwrap();
    let beneath = Ended(Command::new("sleep").arg("1000").stdin(below.try_clone().unwrap()).spawn().unwrap());
    File::create_new(path.join("f")).unwrap();
    let user = sleeping("exec 9<data/f", base.path());
    let device = fs::metadata(&path).unwrap().dev();
    let users: Vec<u32> = users_below(&path, device).into_iter().map(|found| found.pid).collect();
    assert_eq!(users, [user.0.id()], "{} is below it", beneath.0.id());
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| front.unmount(false));
        drop(user);
        ended.join().unwrap().unwrap();
    });
}

#[test]
fn a_dead_mount_of_an_earlier_process_is_cleared() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory(&base, "data");
    fs::write(path.join("f"), "below").unwrap();
    // What a killed process leaves: a mount whose descriptor is closed.
    let directory = File::open(&path).unwrap();
    let (mount, device) = crate::front::mount::Mount::new(&path, &directory.into(), false).unwrap();
    drop(device);
    assert_eq!(fs::read(path.join("f")).err().unwrap().raw_os_error(), Some(libc::ENOTCONN));
    drop(mount);
    let with_slash = PathBuf::from(format!("{}/", path.display()));
    let inodes = Inodes::open(&[with_slash]).unwrap();
    let front = Front::mount(&inodes, Mode::ReadWrite, &alone()).unwrap();
    assert_eq!(fs::read(path.join("f")).unwrap(), b"below");
    front.unmount(false).unwrap();
    assert_eq!(fs::read(path.join("f")).unwrap(), b"below");
}

#[test]
fn a_directory_somebody_serves_is_not_taken_from_him() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory(&base, "data");
    let inodes = Inodes::open(std::slice::from_ref(&path)).unwrap();
    let front = Front::mount(&inodes, Mode::ReadWrite, &alone()).unwrap();
    let again = Front::mount(&inodes.renew().unwrap(), Mode::ReadWrite, &alone());
    assert!(matches!(again.err(), Some(MountError::AlreadyServed { .. })));
    fs::write(path.join("f"), "works on").unwrap();
    drop(front);
    assert_eq!(fs::read(path.join("f")).unwrap(), b"works on");
}

#[test]
fn a_secondary_shows_what_happens_below_and_takes_no_change() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory(&base, "data");
    fs::write(path.join("f"), "one").unwrap();
    let inodes = Inodes::open(std::slice::from_ref(&path)).unwrap();
    let front = Arc::new(Front::mount(&inodes, Mode::ReadOnly, &alone()).unwrap());
    let _done = watch(&front);
    let below = inodes.directory_fd(0).unwrap();
    let write = |name: &str, text: &str| {
        use rustix::fs::{Mode, OFlags, openat};
        let flags = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY;
        let file = openat(&*below, name, flags, Mode::RUSR).unwrap();
        rustix::io::write(file, text.as_bytes()).unwrap();
    };
    assert_eq!(fs::read(path.join("f")).unwrap(), b"one");
    let mut open = File::open(path.join("f")).unwrap();
    write("f", "two, longer");
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "two, longer");
    assert!(!path.join("g").exists());
    write("g", "new");
    assert_eq!(fs::read(path.join("g")).unwrap(), b"new");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
    rustix::fs::unlinkat(&*below, "g", rustix::fs::AtFlags::empty()).unwrap();
    assert!(!path.join("g").exists());
    let refused = [
        fs::write(path.join("f"), "no").err(),
        fs::remove_file(path.join("f")).err(),
        fs::create_dir(path.join("d")).err(),
        fs::rename(path.join("f"), path.join("h")).err(),
    ];
    assert!(refused.iter().all(|e| e.as_ref().and_then(|e| e.raw_os_error()) == Some(libc::EROFS)), "{refused:?}");
    drop(open);
    // Promotion: a new connection over the same directory.
    front.unmount(true).unwrap();
    let promoted = Arc::new(Front::mount(&inodes.renew().unwrap(), Mode::ReadWrite, &alone()).unwrap());
    let _done = watch(&promoted);
    fs::write(path.join("f"), "yes").unwrap();
    promoted.unmount(true).unwrap();
    assert_eq!(fs::read(path.join("f")).unwrap(), b"yes");
}

#[test]
fn several_directories_share_one_space_of_ids() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let paths = [directory(&base, "one"), directory(&base, "two")];
    let recording = Arc::new(super::recording::Recording::new(1));
    let replicate: Arc<dyn Replicate> = recording.clone();
    let inodes = Inodes::open(&paths).unwrap();
    let front = Arc::new(Front::mount(&inodes, Mode::ReadWrite, &replicate).unwrap());
    let _done = watch(&front);
    fs::write(paths[0].join("a"), "1").unwrap();
    fs::write(paths[1].join("b"), "2").unwrap();
    assert_eq!(fs::rename(paths[0].join("a"), paths[1].join("a")).err().unwrap().raw_os_error(), Some(libc::EXDEV));
    let mut parents = Vec::new();
    let mut ids = Vec::new();
    for op in recording.ops() {
        if let crate::op::Op::Create { id, parent, .. } = op {
            parents.push(parent);
            ids.push(id);
        }
    }
    assert_eq!(parents, [FileId(1), FileId(2)]);
    assert_ne!(ids[0], ids[1]);
    front.unmount(true).unwrap();
}

#[test]
fn unsuitable_directories_are_refused_before_anything_happens() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory(&base, "data");
    fs::create_dir(path.join("inner")).unwrap();
    std::os::unix::fs::symlink(&path, base.path().join("link")).unwrap();
    fs::write(base.path().join("file"), "").unwrap();
    let refused = |paths: &[PathBuf]| Inodes::open(paths).err().unwrap().to_string();
    assert!(refused(&[base.path().join("none")]).contains("create it or correct the path"));
    assert!(refused(&[base.path().join("file")]).contains("cannot open"));
    assert!(refused(&[base.path().join("link")]).contains("without symbolic links"));
    assert!(refused(&[path.clone(), path.join("inner")]).contains("lies inside"));
    assert!(refused(&[path.clone(), path]).contains("lies inside"));
}

#[test]
fn a_file_system_without_handles_is_served_through_kept_descriptors() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory(&base, "data");
    for name in ["lower", "upper", "work"] {
        directory(&base, name);
    }
    let under = |name: &str| base.path().join(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", under("lower"), under("upper"), under("work"));
    let options = std::ffi::CString::new(options).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("overlay", &path, "overlay", flags, options.as_c_str()).unwrap();
    let inodes = Inodes::open(std::slice::from_ref(&path)).unwrap();
    let front = Arc::new(Front::mount(&inodes, Mode::ReadWrite, &alone()).unwrap());
    let _done = watch(&front);
    fs::create_dir(path.join("d")).unwrap();
    for number in 0..50 {
        fs::write(path.join(format!("d/{number}")), number.to_string()).unwrap();
    }
    fs::rename(path.join("d/1"), path.join("one")).unwrap();
    let mut open = File::options().read(true).append(true).open(path.join("one")).unwrap();
    fs::remove_file(path.join("one")).unwrap();
    open.write_all(b"!").unwrap();
    let mut text = [0; 2];
    std::os::unix::fs::FileExt::read_exact_at(&open, &mut text, 0).unwrap();
    assert_eq!(&text, b"1!");
    assert_eq!(fs::read_dir(path.join("d")).unwrap().count(), 49);
    assert_eq!(fs::read(path.join("d/49")).unwrap(), b"49");
    drop(open);
    front.unmount(true).unwrap();
    rustix::mount::unmount(&path, rustix::mount::UnmountFlags::DETACH).unwrap();
}

#[test]
fn aborting_frees_a_process_that_waits_for_the_peer() {
    let base = tempfile::tempdir_in("/tmp").unwrap();
    let path = directory(&base, "data");
    let recording = Arc::new(super::recording::Recording::new(1));
    let replicate: Arc<dyn Replicate> = recording.clone();
    let inodes = Inodes::open(std::slice::from_ref(&path)).unwrap();
    let front = Arc::new(Front::mount(&inodes, Mode::ReadWrite, &replicate).unwrap());
    let _done = watch(&front);
    recording.set(super::recording::Policy::Hold);
    let held = path.join("f");
    let writer = std::thread::spawn(move || fs::write(held, "never acknowledged"));
    eventually("the write is held", || recording.held() > 0);
    front.unmount(true).unwrap();
    assert!(writer.join().unwrap().is_err());
    recording.decide(crate::replicate::Verdict::Acknowledged);
}
