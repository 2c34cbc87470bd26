//! Named kill points: where a test has this process end as a kill -9 would, between two steps that belong together.
//!
//! They are in every build, so that what is tested is what is shipped; without the variable a point costs one load. Who
//! may set a variable of this process is root.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `NAME` or `NAME:COUNT`: the point, and at which passage.
pub const VARIABLE: &str = "HOLDFAST_CRASH_AT";

struct Wanted {
    name: String,
    left: AtomicU64,
}

/// Ends this process here, if this is the point and passage that are wanted.
pub fn point(name: &str) {
    static WANTED: OnceLock<Option<Wanted>> = OnceLock::new();
    if let Some(wanted) = WANTED.get_or_init(wanted)
        && wanted.name == name
        && wanted.left.fetch_sub(1, Ordering::AcqRel) == 1
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // Until the signal has ended this thread, too.
        loop {
            std::thread::park();
        }
    }
}

fn wanted() -> Option<Wanted> {
    let text = std::env::var(VARIABLE).ok()?;
    let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
    Some(Wanted { name: name.to_owned(), left: AtomicU64::new(count.parse().ok()?) })
}
