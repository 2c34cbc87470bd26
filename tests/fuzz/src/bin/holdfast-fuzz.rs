//! Runs mutations of the corpora for as long as wanted, checks one file, or writes the samples into the corpora.

use clap::Parser;
use holdfast_fuzz::{Counts, TARGETS, Target, check, corpus_folder, memory, replay, target};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Feeds damaged input to every parser and decoder.
#[derive(Parser)]
struct Arguments {
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Check this one file.
    #[arg(long, requires = "target")]
    file: Option<PathBuf>,
    /// For how long.
    #[arg(long, default_value_t = 1)]
    for_minutes: u64,
    /// First round: each round makes other mutations.
    #[arg(long, default_value_t = 2)]
    from: u64,
    /// Go on after the rounds that this file says are done (if it is there), and note there what is done.
    #[arg(long, conflicts_with = "from")]
    resume: Option<PathBuf>,
    /// Instead, write samples of the formats as they are now into the corpora.
    #[arg(long, conflicts_with_all = ["file", "resume"])]
    write_samples: bool,
}

/// Mutations of each entry in one round.
const MUTATIONS: u64 = 500;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let wanted: Vec<&Target> = match &arguments.target {
        Some(name) => vec![target(name).ok_or_else(|| format!("there is no target {name}"))?],
        None => TARGETS.iter().collect(),
    };
    if arguments.write_samples {
        return wanted.iter().try_for_each(|target| write_samples(target));
    }
    if let Some(file) = &arguments.file {
        let bytes = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        for target in wanted {
            println!("{}: {}", target.name, if check(target, &bytes) { "read" } else { "refused" });
        }
        return Ok(());
    }
    rounds(arguments, &wanted)
}

fn rounds(arguments: &Arguments, wanted: &[&Target]) -> Result<(), String> {
    let first = match &arguments.resume {
        Some(file) if file.exists() => next_round(file)?,
        _ => arguments.from,
    };
    let (begun, limit) = (Instant::now(), Duration::from_secs(arguments.for_minutes * 60));
    let (mut counts, mut told_at) = (Counts::default(), Instant::now());
    let mut round = first;
    while begun.elapsed() < limit {
        for target in wanted {
            counts.add(replay(target, round, MUTATIONS)?);
        }
        round += 1;
        if let Some(file) = &arguments.resume {
            let noted = std::fs::write(file, format!("{round}\n"));
            noted.map_err(|error| format!("cannot note in {} how far this run is: {error}", file.display()))?;
        }
        if told_at.elapsed() >= Duration::from_secs(60) {
            told_at = Instant::now();
            println!("{:>4} min: {}", begun.elapsed().as_secs() / 60, line(counts, first, round, begun));
        }
    }
    println!("{}", line(counts, first, round, begun));
    Ok(())
}

fn line(Counts { read, refused }: Counts, first: u64, round: u64, begun: Instant) -> String {
    let pace = (read + refused) as f64 / begun.elapsed().as_secs_f64();
    format!("rounds {first} to {}: {read} inputs read, {refused} refused, none failed; {pace:.0} inputs/s", round - 1)
}

fn next_round(file: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    text.trim().parse().map_err(|_| format!("{} holds no round: remove it to begin with the first", file.display()))
}

fn write_samples(target: &Target) -> Result<(), String> {
    let folder = corpus_folder(target);
    let write = |at: usize, bytes: &[u8]| {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("valid-{at}")), bytes)
    };
    for (at, bytes) in (target.samples)().into_iter().enumerate() {
        write(at, &bytes).map_err(|error| format!("cannot write into {}: {error}", folder.display()))?;
    }
    Ok(())
}
