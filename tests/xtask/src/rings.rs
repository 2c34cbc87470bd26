//! `cargo xtask test`: every ring, cheap ones first, each with its minutes; one line of counts at the end.

use crate::counts::Counts;
use crate::{bench, build_console, command, demo, install, modules, sim};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Which rings.
#[derive(Args)]
pub struct TestArguments {
    /// Only this ring (may be given several times).
    #[arg(long, value_enum)]
    only: Vec<Ring>,
    /// For hours: then also new mutations for the decoders (unit) and new seeds (simulation), a line a minute. A run goes
    /// on where the last one, ended or interrupted, was (target/long). The namespaces ring also runs its file-system
    /// suites for minutes and kills the agent at every point at several passages.
    #[arg(long)]
    long: bool,
    /// How long each of these two goes on.
    #[arg(long, default_value_t = 180, requires = "long")]
    minutes: u64,
}

/// A ring of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ring {
    /// The code is formatted.
    Fmt,
    /// No warning.
    Clippy,
    /// Rules that no compiler checks.
    Tidy,
    /// Tests beside the code.
    Unit,
    /// Transcripts of the automaton.
    Golden,
    /// Seeds.
    Simulation,
    /// Real programs on hosts made of namespaces.
    Namespaces,
    /// The console in a real browser.
    Browser,
    /// Requests made from the OpenAPI document against a real server and nodes (only by name or with --long).
    Api,
    /// Emulated machines with Debian's stock kernel (only by name or with --long).
    Machines,
}

/// Cheap ones first, so that a slip costs a minute and not twenty.
const RINGS: [Ring; 10] = [
    Ring::Fmt,
    Ring::Clippy,
    Ring::Tidy,
    Ring::Unit,
    Ring::Golden,
    Ring::Simulation,
    Ring::Namespaces,
    Ring::Browser,
    Ring::Api,
    Ring::Machines,
];

/// What became of a ring.
struct Outcome {
    ring: Ring,
    took: Duration,
    counts: Counts,
    /// GiB free on the disk that is built on, when it ended.
    free: f64,
    /// Why it failed.
    failure: Option<String>,
}

/// Runs the rings; success only if all of them passed.
///
/// # Errors
/// None of its own: what goes wrong is a failed ring with its reason.
pub fn run(root: &Path, arguments: &TestArguments) -> Result<ExitCode> {
    let wanted = wanted(arguments);
    let began = Instant::now();
    println!("{:.1} GiB free on the disk of {}", free(root), root.display());
    let prepared = prepare(root, &wanted).map_err(|error| format!("{error:#}"));
    let mut outcomes = Vec::new();
    for ring in wanted {
        println!("\n== ring {} ==", name(ring));
        let ring_began = Instant::now();
        let mut counts = Counts::default();
        let result = if needs_programs(ring) { prepared.clone().map_err(anyhow::Error::msg) } else { Ok(()) }
            .and_then(|()| run_ring(root, ring, &mut counts))
            .and_then(|()| if arguments.long { run_long(root, ring, arguments.minutes) } else { Ok(()) });
        let failure = result.err().map(|error| format!("{error:#}"));
        if let Some(reason) = &failure {
            println!("ring {} FAILED: {reason}", name(ring));
        }
        outcomes.push(Outcome { ring, took: ring_began.elapsed(), counts, free: free(root), failure });
    }
    Ok(report(&outcomes, began.elapsed()))
}

/// Those named; else all, the slowest only in a long run.
fn wanted(arguments: &TestArguments) -> Vec<Ring> {
    let asked = |ring: &Ring| match ring {
        _ if !arguments.only.is_empty() => arguments.only.contains(ring),
        Ring::Api | Ring::Machines => arguments.long,
        _ => true,
    };
    RINGS.into_iter().filter(asked).collect()
}

/// Builds what several rings share, once and before any of them is timed.
fn prepare(root: &Path, wanted: &[Ring]) -> Result<()> {
    if !wanted.iter().copied().any(needs_programs) {
        return Ok(());
    }
    println!("== build ==");
    let began = Instant::now();
    build_console(root, false).context("the console cannot be built")?;
    demo::build(root)?;
    println!("build: {:.1} minutes", minutes(began.elapsed()));
    Ok(())
}

fn needs_programs(ring: Ring) -> bool {
    matches!(ring, Ring::Namespaces | Ring::Browser | Ring::Machines)
}

/// What goes on for hours where a ring has more to try.
fn run_long(root: &Path, ring: Ring, minutes: u64) -> Result<()> {
    let (mut program, notes) = match ring {
        Ring::Namespaces => {
            let mut cargo =
                command::cargo(root, &["test", "--test", "namespaces", "--", "posix_suites", "agent_killed"]);
            command::run(cargo.envs([("HOLDFAST_SUITE_SECONDS", "120"), ("HOLDFAST_ALL_KILLS", "1")]))?;
            return bench::steady(root);
        }
        Ring::Unit => (sim::program(root, "holdfast-fuzz")?, "fuzz"),
        Ring::Simulation => (sim::program(root, "holdfast-sim")?, "simulation"),
        Ring::Machines => {
            return machines(root, &["power", "--rounds", "0", "--for-minutes", &minutes.to_string()], None);
        }
        _ => return Ok(()),
    };
    let folder = modules::target_directory(root).join("long");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    program.arg("--for-minutes").arg(minutes.to_string()).arg("--resume").arg(folder.join(notes));
    command::run(&mut program)
}

fn run_ring(root: &Path, ring: Ring, counts: &mut Counts) -> Result<()> {
    let mut cargo = |words: &[&str]| counted(&mut command::cargo(root, words), counts);
    match ring {
        Ring::Fmt => {
            install::components()?;
            cargo(&["fmt", "--all", "--check"])
        }
        Ring::Clippy => {
            install::components()?;
            install::wasm_target()?;
            cargo(&["clippy", "--all-targets", "--", "-D", "warnings"])?;
            cargo(&["clippy", "-p", "holdfast-web", "--target", "wasm32-unknown-unknown", "--", "-D", "warnings"])
        }
        Ring::Tidy => cargo(&["test", "--test", "tidy"]),
        Ring::Unit => {
            // Programs of their own that are no ring of their own.
            let apart = ["process", "replica", "server", "replay"];
            let mut all = vec!["test", "--no-fail-fast", "--lib", "--bins"];
            if command::is_root() {
                install::packages(install::POSTGRESQL, "The unit ring")?;
            }
            all.extend(apart.into_iter().flat_map(|name| ["--test", name]));
            cargo(&all)?;
            // What the console decides needs no browser.
            cargo(&["test", "--no-fail-fast", "-p", "holdfast-web", "--lib"])
        }
        Ring::Golden => cargo(&["test", "--test", "scenarios"]),
        Ring::Simulation => cargo(&["test", "--test", "sim", "--test", "model"]),
        Ring::Namespaces => {
            need_root("namespaces")?;
            let wanted = [install::LAB, install::ETCD, install::TREE, install::SUITES, install::POSTGRESQL].concat();
            install::packages(&wanted, "The namespaces ring")?;
            let target = modules::target_directory(root);
            install::crates(root, &target, install::SUITE_CRATES, "The namespaces ring")?;
            cargo(&["test", "--test", "namespaces"])
        }
        Ring::Browser => {
            need_root("browser")?;
            install::packages(&[install::LAB, install::BROWSER].concat(), "The browser ring")?;
            install::npm(&root.join("tests/browser"), "The browser ring")?;
            cargo(&["test", "--test", "browser"])
        }
        Ring::Api => {
            need_root("api")?;
            install::packages(install::LAB, "The api ring")?;
            // The console is not asked for.
            demo::build(root)?;
            let schemathesis = install::schemathesis(&modules::target_directory(root), "The api ring")?;
            counted(sim::program(root, "holdfast-api")?.arg(schemathesis), counts)
        }
        Ring::Machines => {
            install::packages(&[install::MACHINES, install::TREE].concat(), "The machines ring")?;
            let tests = test_program(root, "holdfast_replica")?;
            machines(root, &["kernel", &tests.display().to_string()], Some(counts))?;
            machines(root, &["power"], Some(counts))
        }
    }
}

/// Runs something on emulated machines; it goes on where its last run was (target/machines).
fn machines(root: &Path, words: &[&str], counts: Option<&mut Counts>) -> Result<()> {
    let mut program = sim::program(root, "holdfast-machines")?;
    program.arg("--folder").arg(modules::target_directory(root).join("machines")).args(words);
    match counts {
        Some(counts) => counted(&mut program, counts),
        None => command::run(&mut program),
    }
}

/// The test program of a library, built if need be.
fn test_program(root: &Path, library: &str) -> Result<PathBuf> {
    let words = ["test", "--lib", "--bins", "--test", "replica", "--no-run", "--message-format", "json"];
    let built = command::cargo(root, &words).stderr(Stdio::inherit()).output()?;
    let lines = built.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let program = lines
        .filter(|line: &serde_json::Value| line["target"]["name"] == library && line["profile"]["test"] == true)
        .find_map(|line| Some(PathBuf::from(line["executable"].as_str()?)));
    program.with_context(|| format!("cargo built no tests of {library}"))
}

fn need_root(ring: &str) -> Result<()> {
    if !command::is_root() {
        let line = command::with_sudo(&format!("xtask test --only {ring}"));
        bail!("it makes network and mount namespaces, which needs root; run:\n    {line}");
    }
    Ok(())
}

/// Runs a command, passes its output on and counts its tests.
fn counted(command: &mut Command, counts: &mut Counts) -> Result<()> {
    let text = command::shown(command);
    println!("+ {text}");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run `{text}`"))?;
    let output = child.stdout.take().context("no output to read")?;
    let mut here = Counts::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        here.add_line(&line);
        println!("{line}");
        std::io::stdout().flush()?;
    }
    let status = child.wait()?;
    counts.add(here);
    if here.ignored > 0 {
        bail!("{} tests were ignored by `{text}`: a test that cannot run must fail", here.ignored);
    }
    if !status.success() {
        let what = if here.failed > 0 { format!("{} tests failed", here.failed) } else { format!("{status}") };
        bail!("{what} in `{text}`");
    }
    if text.contains(" test ") && here.passed == 0 {
        bail!("`{text}` ran no test at all");
    }
    Ok(())
}

/// A line per ring, the reasons of the failed ones, and the one line of counts.
fn report(outcomes: &[Outcome], took: Duration) -> ExitCode {
    println!("\n{:<12} {:>8}  {:>7}  {:>8}  result", "ring", "minutes", "tests", "GiB free");
    let mut total = Counts::default();
    for outcome in outcomes {
        let result = outcome.failure.as_deref().map_or_else(|| "ok".to_owned(), |reason| format!("FAILED: {reason}"));
        let tests = outcome.counts.passed + outcome.counts.failed;
        let (ring, took, free) = (name(outcome.ring), minutes(outcome.took), outcome.free);
        println!("{ring:<12} {took:>8.1}  {tests:>7}  {free:>8.1}  {result}");
        total.add(outcome.counts);
    }
    let passed = outcomes.iter().filter(|outcome| outcome.failure.is_none()).count();
    let failed = outcomes.len() - passed;
    println!(
        "\nrings: {passed} passed, {failed} failed; tests: {} passed, {} failed; {:.1} minutes",
        total.passed,
        total.failed,
        minutes(took)
    );
    if failed == 0 && !outcomes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// GiB free on the disk of `root`, where builds and labs put what they make; a full one explains most odd failures.
fn free(root: &Path) -> f64 {
    let stat = rustix::fs::statvfs(root);
    stat.map_or(f64::NAN, |stat| stat.f_bavail.saturating_mul(stat.f_frsize) as f64 / f64::from(1 << 30))
}

fn minutes(duration: Duration) -> f64 {
    duration.as_secs_f64() / 60.0
}

fn name(ring: Ring) -> String {
    ring.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
