//! Every parser and decoder against bad input: what must hold, a committed corpus, and mutations of it.
//!
//! A [`Target`] reads bytes as one format and checks what must hold of any bytes: no panic, memory in proportion to the
//! input, a refusal in words, and what was read is read again the same from how it is written. The replay in
//! `tests/replay.rs`, the long run (`holdfast-fuzz`) and the cargo-fuzz targets (`libfuzzer`) check the same.

pub mod memory;
pub mod mutate;
mod targets;

pub use targets::{TARGETS, Target};

use mutate::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Inputs of one target, read or refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Understood.
    pub read: u64,
    /// Refused.
    pub refused: u64,
}

impl Counts {
    /// Adds other counts.
    pub fn add(&mut self, other: Self) {
        self.read += other.read;
        self.refused += other.refused;
    }
}

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Checks one input; whether it was understood.
///
/// # Panics
/// Something does not hold.
pub fn check(target: &Target, bytes: &[u8]) -> bool {
    let (read, taken) = memory::taken(|| (target.check)(bytes));
    let most = target.memory_max + bytes.len() * 64;
    assert!(taken <= most, "{} bytes of input took {taken} bytes of memory, at most {most} are right", bytes.len());
    read
}

/// The folder of a target's corpus.
pub fn corpus_folder(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// The committed files of a target's corpus by name, and samples of the formats as they are now.
///
/// # Errors
/// The folder cannot be read.
pub fn corpus(target: &Target) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(corpus_folder(target))? {
        let path = entry?.path();
        files.push((path.display().to_string(), std::fs::read(path)?));
    }
    files.sort();
    files.extend((target.samples)().into_iter().enumerate().map(|(at, bytes)| (format!("sample {at}"), bytes)));
    Ok(files)
}

/// Checks the corpus of a target, and `mutations` of each entry that follow from `seed`.
///
/// # Errors
/// The corpus cannot be read; or something does not hold: with a file that holds the input, and how to check it again.
pub fn replay(target: &Target, seed: u64, mutations: u64) -> Result<Counts, String> {
    let files = corpus(target).map_err(|error| format!("the corpus of {} cannot be read: {error}", target.name))?;
    let mut counts = Counts::default();
    for (at, (name, bytes)) in files.iter().enumerate() {
        // Of its own for each entry, so that another entry changes nothing for this one.
        let mut random = Random::new(seed.wrapping_mul(1009).wrapping_add(at as u64));
        counts.add(check_or_keep(target, name, bytes)?);
        for _ in 0..mutations {
            let (_, other) = &files[random.below(files.len())];
            let input = mutate::mutate(bytes, other, &mut random);
            counts.add(check_or_keep(target, name, &input)?);
        }
    }
    Ok(counts)
}

/// Checks one input; if that fails, keeps it in a file.
fn check_or_keep(target: &Target, name: &str, input: &[u8]) -> Result<Counts, String> {
    match catch_unwind(AssertUnwindSafe(|| check(target, input))) {
        Ok(true) => Ok(Counts { read: 1, refused: 0 }),
        Ok(false) => Ok(Counts { read: 0, refused: 1 }),
        Err(_) => {
            let file =
                std::env::temp_dir().join(format!("holdfast-fuzz-{}-{}", target.name, blake3::hash(input).to_hex()));
            let kept = match std::fs::write(&file, input) {
                Ok(()) => file.display().to_string(),
                Err(error) => format!("(not kept: {error})"),
            };
            let again = format!("cargo run --bin holdfast-fuzz -- --target {} --file {kept}", target.name);
            Err(format!("{}: a mutation of {name} fails (see above); check it again:\n    {again}", target.name))
        }
    }
}
