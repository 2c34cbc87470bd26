//! The part of a configuration that must be equal on both nodes, as one canonical text.

use super::{Acknowledge, Excluded, Mode, UserConfig, Witness};
use std::fmt::Write;

/// Canonical text of `mode`, `<heart>`, `<rfs>` and `<splitbrain>`, whatever their order and spelling in the file.
/// No name has a blank and no path a line end in it, so no two configurations have the same text.
pub(super) fn signed_part(config: &UserConfig) -> String {
    let mut out = String::from("holdfast-signature-2\n");
    let mode = match config.service.mode {
        Mode::Mirror => "mirror",
        Mode::Light => "light",
    };
    let heart = &config.heart;
    let _ = writeln!(out, "mode {mode}\nheart {} {} {}", heart.port.unwrap_or(0), heart.pulse_ms, heart.timeout_ms);
    for link in &heart.links {
        let _ = write!(out, "link {} {}", link.lan, link.ident);
        let (pulse_ms, timeout_ms) = heart.times_of(link);
        if (pulse_ms, timeout_ms) != (heart.pulse_ms, heart.timeout_ms) {
            let _ = write!(out, " {pulse_ms} {timeout_ms}");
        }
        out.push('\n');
    }
    if let Some(rfs) = &config.rfs {
        let acknowledge = match rfs.acknowledge {
            Acknowledge::Second => "second",
            Acknowledge::None => "none",
        };
        let _ = writeln!(out, "rfs {acknowledge} {} {}", rfs.encryption, rfs.send_timeout_ms);
        if (rfs.resync_threads, rfs.resync_bytes_per_s) != (6, 0) {
            let _ = writeln!(out, "resync {} {}", rfs.resync_threads, rfs.resync_bytes_per_s);
        }
        let _ = writeln!(out, "flow {}", config.flow_lan());
        for directory in &rfs.directories {
            let _ = writeln!(out, "directory {directory}");
        }
        for exclusion in &rfs.exclusions {
            let (kind, text) = match &exclusion.names {
                Excluded::Path(path) => ("path", path),
                Excluded::Matching(regex) => ("regex", regex),
                Excluded::NotMatching(regex) => ("only", regex),
            };
            let _ = writeln!(out, "notreplicated {kind} {text} in {}", exclusion.directory);
        }
    }
    for path in config.rfs.iter().flat_map(|rfs| &rfs.required) {
        let _ = writeln!(out, "tocheck {path}");
    }
    match &config.witness {
        Witness::None => {}
        Witness::Ping { addresses, .. } => addresses.iter().for_each(|address| {
            let _ = writeln!(out, "ping {address}");
        }),
        Witness::Server { .. } => out.push_str("register\n"),
        Witness::Etcd { endpoints, .. } => endpoints.iter().for_each(|endpoint| {
            let _ = writeln!(out, "etcd {endpoint}");
        }),
    }
    out
}
