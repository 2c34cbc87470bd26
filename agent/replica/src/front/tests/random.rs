//! Random operations have the same outcome on the mount as on a plain directory, and the peer can follow them.

use std::fs::{self, File, OpenOptions};
use std::io::Result;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use super::mirror::assert_same_contents;
use super::support::Mounted;

const NAMES: [&str; 9] = ["a", "b", "c", "d", "d/a", "d/b", "d/d", "d/d/a", "e"];

/// A small generator: the same seed gives the same operations.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.roll(NAMES.len() as u64) as usize]
    }
}

/// Does one operation below `root`; what it answers.
fn step(root: &Path, dice: &mut Dice, open: &mut Vec<File>) -> String {
    let (kind, one, two) = (dice.roll(16), dice.name(), dice.name());
    let (offset, length, which) = (dice.roll(200_000), dice.roll(30_000), dice.roll(8) as usize);
    let (from, to) = (root.join(one), root.join(two));
    let fill = vec![(offset % 251) as u8; length as usize];
    let told = |result: Result<String>| match result {
        Ok(text) => text,
        Err(error) => format!("error {:?}", error.raw_os_error()),
    };
    let done = |result: Result<()>| told(result.map(|()| "done".to_owned()));
    let outcome = match kind {
        0 => done(File::create_new(&from).map(drop)),
        1 => done(fs::write(&from, &fill)),
        2 => done(OpenOptions::new().write(true).open(&from).and_then(|file| file.write_all_at(&fill, offset))),
        3 => done(OpenOptions::new().write(true).open(&from).and_then(|file| file.set_len(offset))),
        4 | 5 => done(fs::rename(&from, &to)),
        6 => done(fs::hard_link(&from, &to)),
        7 => done(fs::remove_file(&from)),
        8 => done(fs::create_dir(&from)),
        9 => done(fs::remove_dir(&from)),
        10 => done(symlink(two, &from)),
        11 => done(fs::set_permissions(&from, fs::Permissions::from_mode(0o600 + (offset % 64) as u32))),
        12 => told(fs::read(&from).map(|bytes| blake3::hash(&bytes).to_string())),
        13 => told(fs::read_dir(&from).map(|entries| {
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            format!("{names:?}")
        })),
        14 => done(OpenOptions::new().read(true).write(true).open(&from).map(|file| {
            if open.len() > 6 {
                open.remove(0);
            }
            open.push(file);
        })),
        _ => match open.get(which) {
            None => "nothing open".to_owned(),
            Some(file) => done(file.write_all_at(&fill, offset)) + &format!(" {}", file.metadata().unwrap().nlink()),
        },
    };
    format!("{kind} {one} {two}: {outcome}")
}

use std::os::unix::fs::MetadataExt;

#[test]
fn random_operations_do_what_they_do_on_a_plain_directory() {
    for seed in 1..=6 {
        let m = Mounted::with(|_| {}, 8);
        let plain = tempfile::tempdir_in("/tmp").unwrap();
        let (mut here, mut there) = (Dice(seed), Dice(seed));
        let (mut open_here, mut open_there) = (Vec::new(), Vec::new());
        for number in 0..1500 {
            let wanted = step(plain.path(), &mut there, &mut open_there);
            let got = step(&m.path(), &mut here, &mut open_here);
            assert_eq!(got, wanted, "seed {seed}, step {number}");
        }
        assert_same_contents(&m.path(), plain.path());
        drop(open_here);
        m.assert_mirrored();
    }
}
