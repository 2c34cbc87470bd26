//! Memory of the replicas: at rest, and at their peak under all that was measured.

use super::stage::Stage;
use crate::bench::Row;
use anyhow::{Context, Result};

/// Resident memory of the larger of both replicas now, in MB.
///
/// # Errors
/// A replica is gone.
pub fn resident(stage: &Stage) -> Result<f64> {
    largest(stage, "VmRSS:")
}

/// The most the larger of both replicas has had, in MB.
///
/// # Errors
/// A replica is gone.
pub fn peak(stage: &Stage) -> Result<f64> {
    largest(stage, "VmHWM:")
}

/// The rows.
pub fn rows(idle: f64, peak: f64) -> Vec<Row> {
    vec![
        Row::at_most("memory of a replica, idle", idle, "MB", 20.0),
        Row::at_most("memory of a replica, under load", peak, "MB", 120.0),
    ]
}

fn largest(stage: &Stage, field: &str) -> Result<f64> {
    most(&stage.pids(), field)
}

/// The most that any of these processes has in a field of its status, in MB.
///
/// # Errors
/// A process is gone.
pub fn most(pids: &[u32], field: &str) -> Result<f64> {
    let mut most: f64 = 0.0;
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("a replica is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
        let kib: f64 = line.split_whitespace().next().context("no figure")?.parse()?;
        most = most.max(kib * 1024.0 / 1e6);
    }
    Ok(most)
}
