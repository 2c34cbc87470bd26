//! Time as the core sees it: an argument.

use serde::{Deserialize, Serialize};

/// Milliseconds of `CLOCK_BOOTTIME`, which goes on while the machine sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(pub u64);

impl Instant {
    /// This instant plus `ms` milliseconds.
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this instant; 0 if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// When an input is handled, with a fresh random number to draw ids from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Now.
    pub now: Instant,
    /// A random number the driver draws anew for each call; the core's only source of ids.
    pub nonce: u64,
}
