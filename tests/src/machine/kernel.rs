//! The data plane's own tests on Debian's stock kernel.

use crate::lab::wait::wait_for;
use crate::machine::emulator::{Machine, Ports};
use crate::machine::image::Image;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;

/// The tests take at most this long there.
const TESTS: Duration = Duration::from_secs(1200);
/// Tests that mount; not the one that takes minutes where everything is emulated.
const FILTER: &str = "front:: tree:: --skip twenty_thousand_small_files";

/// Runs the tests of the program `tests` (the data plane's, as cargo has built it) on a machine; what they printed.
///
/// # Errors
/// A test failed; the error holds what was printed.
pub fn run(folder: &Path, tests: &Path) -> Result<String> {
    let image = Image::make(folder, &[("replica-tests", tests.to_owned())])?;
    let mut machine = Machine::new(1, folder, Ports::free()?, Ports::free()?)?;
    machine.power_on(&image)?;
    let release = machine.done("uname -r")?;
    ensure!(release.trim() == image.release, "the machine runs {release:?} instead of {}", image.release);
    let tests = format!("/opt/holdfast/bin/replica-tests --test-threads 2 {FILTER}");
    machine.done(&format!(
        "cd /tmp && (setsid bash -c '{tests} >/disk/printed 2>&1; echo $? >/disk/code' </dev/null &)"
    ))?;
    let code = wait_for("the data plane's tests", TESTS, || {
        let (code, there) = machine.command("cat /disk/code")?;
        Ok((there == 0 && !code.is_empty()).then_some(code))
    });
    let output = machine.done("grep -v ' INFO \\| WARN ' /disk/printed")?;
    let code = code.with_context(|| format!("{output}\n{}", machine.console()))?;
    ensure!(code.trim() == "0", "the data plane's tests failed on {}:\n{output}", release.trim());
    Ok(output)
}
