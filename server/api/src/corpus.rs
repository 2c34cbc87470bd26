//! Bad input never panics: the committed corpus and seeded mutations of it, for every parser of this crate.

use crate::package::Package;
use crate::userconfig::UserConfig;
use crate::{rules, userconfig};
use std::fs;
use std::path::PathBuf;

/// Mutations of each file in one run.
const MUTATIONS: u64 = 300;

/// The files of a corpus, by name.
fn corpus(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", kind].iter().collect();
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.display().to_string(), fs::read(path).unwrap())
    };
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(entry).collect();
    files.sort();
    assert!(files.len() > 4, "{kind}");
    files
}

/// A small generator, so that every run makes the same mutations.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// Damages a file: bytes changed, pieces cut, doubled, or taken from another file.
fn mutate(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(out.len() + 1);
        let end = (at + random.below(24)).min(out.len());
        match random.below(5) {
            0 if at < out.len() => out[at] = random.below(256) as u8,
            1 => drop(out.drain(at..end)),
            2 => drop(out.splice(at..at, out[at..end].to_vec())),
            3 => {
                let from = random.below(other.len() + 1);
                let piece = other[from..(from + random.below(40)).min(other.len())].to_vec();
                drop(out.splice(at..end, piece));
            }
            _ => {
                let signs =
                    [&b"<"[..], b"\"", b"%", b"]]>", b"<![CDATA[", b"(", b"\xc3\xa4", b"99999999999999999999", b"-1"];
                drop(out.splice(at..at, signs[random.below(signs.len())].to_vec()));
            }
        }
    }
    out
}

/// Reads every file of a corpus, and mutations of it.
fn replay(kind: &str, mut read: impl FnMut(&str, &[u8])) {
    let files = corpus(kind);
    let mut random = Random(1);
    for (name, bytes) in &files {
        read(name, bytes);
        for _ in 0..MUTATIONS {
            let (_, other) = &files[random.below(files.len())];
            read(name, &mutate(bytes, other, &mut random));
        }
    }
}

#[test]
fn userconfig_names_a_place_or_is_read_and_edited() {
    let (mut read, mut refused) = (0, 0);
    replay("userconfig", |name, bytes| {
        let text = String::from_utf8_lossy(bytes);
        match UserConfig::parse(&text) {
            Err(error) => {
                refused += 1;
                let lines = text.matches('\n').count() as u32 + 1;
                assert!((1..=lines).contains(&error.line) && error.column >= 1, "{name}: {error}\n{text}");
                assert!(!error.problem.is_empty() && !error.cure.is_empty(), "{name}: {error}");
            }
            Ok(config) => {
                read += 1;
                assert_eq!(UserConfig::edit(&text, &config).unwrap(), text, "{name}");
                let _ = (config.signature(), rules::effective_rules(&config));
                let mut wanted = config.clone();
                wanted.service.maxloop += 1;
                wanted.errd.procs.push(userconfig::Proc::new("added"));
                wanted.errd.polltimer_ms = wanted.errd.polltimer_ms.max(1000);
                let edited = UserConfig::edit(&text, &wanted).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
                assert_eq!(UserConfig::parse(&edited).unwrap().errd, wanted.errd, "{name}");
            }
        }
    });
    assert!(read > 20 && refused > 20, "{read} read, {refused} refused");
}

#[test]
fn rules_name_a_place_or_are_read_back_as_printed() {
    replay("rules", |name, bytes| {
        let text = String::from_utf8_lossy(bytes);
        match rules::parse(&text) {
            Err(error) => assert!(error.line >= 1 && error.column >= 1 && !error.cure.is_empty(), "{name}: {error}"),
            Ok(read) => {
                let printed: String = read.iter().map(|rule| format!("{rule}\n")).collect();
                assert_eq!(rules::parse(&printed).as_ref(), Ok(&read), "{name}: {printed}");
            }
        }
    });
}

#[test]
fn packages_are_read_or_refused_in_words() {
    replay("package", |name, bytes| match Package::read(bytes) {
        Ok(package) => {
            let _ = package.check();
            let _ = package.userconfig();
        }
        Err(error) => assert!(!error.problem.is_empty(), "{name}"),
    });
}
