//! Other work that saturates a machine beside Holdfast: processors, memory and disk, at the default priority.

use crate::lab::Lab;
use anyhow::Result;

/// Endless loop of a shell: as many of them as there are cores, on each host.
const PROCESSOR: &str = "while :; do :; done";
/// 256 MB taken, filled and given back, over and over.
const MEMORY: &str = "while :; do head -c 256m /dev/zero | tail -n 1 >/dev/null; done";
/// 256 MB written through to the disk that also holds the agent's own state, over and over.
const DISK: &str =
    "while :; do dd if=/dev/zero of=/srv/burden bs=1M count=256 conv=fsync status=none; rm /srv/burden; done";

/// What the burden is, for people.
pub const TOLD: &str = "on each host a busy loop per core, 256 MB of memory filled and freed in a loop, 256 MB written and \
                        synced to the disk in a loop";

/// Starts it on every node for at most `seconds`; it ends with the lab at the latest.
///
/// # Errors
/// A program does not start.
pub fn start(lab: &Lab, seconds: u64) -> Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let limit = seconds.to_string();
    for number in lab.numbers() {
        for line in std::iter::repeat_n(PROCESSOR, cores).chain([MEMORY, DISK]) {
            lab.host(number).spawn("burden", "timeout", &[&limit, "sh", "-c", line])?;
        }
    }
    Ok(())
}
