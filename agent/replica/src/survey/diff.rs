//! What differs between a copy that does not follow and the serving peer's, before any resync: nothing is changed.

use super::Survey;
use crate::control::VerifyReport;
use crate::stream::Local;
use crate::stream::applier::{Applier, Effect};
use crate::tls::Protection;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Shortest time between two reports of progress.
const REPORT: Duration = Duration::from_millis(500);

/// Compares; `report` hears of the progress and, last, of the end.
pub(crate) fn diff(
    peer: (&Local, SocketAddr, &Protection),
    mut applier: Applier,
    goes_on: &dyn Fn() -> bool,
    report: &dyn Fn(VerifyReport),
) {
    // Kept for the count alone; no difference is kept by name.
    applier.keep_differences(0);
    let ended = compare(peer, &mut applier, goes_on, report);
    let last = so_far(&applier, false);
    report(match ended {
        Ok(()) => last,
        Err(reason) => VerifyReport { failed: Some(reason), ..last },
    });
}

fn compare(
    (local, peer, protection): (&Local, SocketAddr, &Protection),
    applier: &mut Applier,
    goes_on: &dyn Fn() -> bool,
    report: &dyn Fn(VerifyReport),
) -> Result<(), String> {
    let mut survey = Survey::open(local, peer, protection)
        .map_err(|error| format!("asking the primary: {error}; it must be ALONE or PRIM on the other node"))?;
    let mut told = Instant::now();
    while goes_on() {
        let message = survey.next().map_err(|error| format!("comparing with the primary: {error}"))?;
        if let Effect::Reply(_) = applier.apply(message, &[]).map_err(|error| error.to_string())? {
            return Ok(());
        }
        if told.elapsed() >= REPORT {
            told = Instant::now();
            report(so_far(applier, true));
        }
    }
    Err("it was ordered otherwise".into())
}

fn so_far(applier: &Applier, running: bool) -> VerifyReport {
    let (checked, bytes_to_copy) = applier.checked_so_far();
    VerifyReport {
        running,
        entries: checked.entries,
        bytes: checked.bytes,
        differences: checked.differences,
        bytes_to_copy,
        named: checked.named.clone(),
        failed: None,
    }
}
