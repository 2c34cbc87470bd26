//! etcd on a host of the lab: a register witness on a third machine.

use crate::lab::Lab;
use crate::lab::wait::wait_until;
use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Debian's program (package etcd-server).
const PROGRAM: &str = "/usr/bin/etcd";
/// Its port for clients.
const PORT: u16 = 2379;
/// It starts within this on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

impl Lab {
    /// Where clients in the lab find the etcd of host `number`.
    pub fn etcd_address(&self, number: u8) -> SocketAddr {
        SocketAddr::from((self.network().address(number), PORT))
    }

    /// Starts a single etcd on host `number`, on what an earlier one left on the host's disk.
    ///
    /// # Errors
    /// etcd-server is not installed, or it does not take requests.
    pub fn start_etcd(&self, number: u8) -> Result<()> {
        if !Path::new(PROGRAM).exists() {
            bail!("{PROGRAM} is missing: install it with `apt-get install etcd-server`");
        }
        let host = self.host(number);
        let folder = host.folder().join("etcd").display().to_string();
        let url = format!("http://{}", self.etcd_address(number));
        let arguments = [
            "--data-dir",
            &folder,
            "--listen-client-urls",
            &url,
            "--advertise-client-urls",
            &url,
            "--listen-peer-urls",
            "http://127.0.0.1:2380",
        ];
        host.spawn("etcd", PROGRAM, &arguments)?;
        let answers = || Ok(self.network().connect(self.etcd_address(number), Duration::from_secs(1)).is_ok());
        wait_until("etcd to take requests", PATIENCE, answers).with_context(|| {
            let log = std::fs::read_to_string(host.folder().join("log/etcd")).unwrap_or_default();
            format!("etcd printed: {}", log.lines().rev().take(5).collect::<Vec<_>>().join("\n"))
        })
    }

    /// kill -9 of the etcd of host `number`.
    ///
    /// # Errors
    /// None runs, or it does not end.
    pub fn kill_etcd(&self, number: u8) -> Result<()> {
        let host = self.host(number);
        if host.signal("etcd", rustix::process::Signal::KILL)? == 0 {
            bail!("no etcd runs on {}", host.name());
        }
        wait_until("etcd to end", PATIENCE, || Ok(host.named("etcd").is_empty()))
    }
}
