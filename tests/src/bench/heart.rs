//! The heartbeat that benches measure: the mirror template's, or another one.

use anyhow::{Context, Result};
use holdfast_api::userconfig::UserConfig;
use std::path::Path;

/// A heartbeat, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heart {
    /// Between two heartbeats.
    pub pulse_ms: u64,
    /// Silence after which the peer counts as lost.
    pub timeout_ms: u64,
}

impl Heart {
    /// That of the mirror template, where nothing else is asked for.
    ///
    /// # Errors
    /// The template cannot be read.
    pub fn shipped_or(pulse_ms: Option<u64>, timeout_ms: Option<u64>) -> Result<Self> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/modules/mirror.safe/conf/userconfig.xml");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let config = UserConfig::parse(&text).with_context(|| file.display().to_string())?;
        let shipped = config.heart;
        Ok(Self {
            pulse_ms: pulse_ms.unwrap_or(shipped.pulse_ms),
            timeout_ms: timeout_ms.unwrap_or(shipped.timeout_ms),
        })
    }
}
