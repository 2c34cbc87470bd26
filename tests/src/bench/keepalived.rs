//! Debian's keepalived on the lab's hosts: the baseline of a failover.

use super::pair;
use crate::lab::Lab;
use crate::lab::wait::wait_until;
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Duration;

/// Debian's program (package keepalived).
const PROGRAM: &str = "/usr/sbin/keepalived";

/// A keepalived pair.
pub struct Keepalived {
    /// Seconds between two adverts, as its configuration has it.
    advert: &'static str,
}

impl Keepalived {
    /// Starts keepalived on both hosts; host 1 has the higher priority.
    ///
    /// # Errors
    /// keepalived is not installed, does not start or does not take the address.
    pub fn start_pair(lab: &Lab, advert: &'static str) -> Result<Self> {
        if !Path::new(PROGRAM).exists() {
            bail!("{PROGRAM} is missing: install it with `apt-get install keepalived`");
        }
        let pair = Self { advert };
        for number in lab.numbers() {
            pair.start(lab, number)?;
        }
        pair.settle(lab)?;
        Ok(pair)
    }

    /// Waits until host 1 holds the address and host 2 stands by.
    ///
    /// # Errors
    /// It does not come to that.
    pub fn settle(&self, lab: &Lab) -> Result<()> {
        let address = format!("{}/", pair::address(lab).ip());
        wait_until("keepalived to settle", Duration::from_secs(20), || {
            Ok(lab.host(1).shell("ip -o address show dev eth0")?.contains(&address)
                && !lab.host(2).named("keepalived").is_empty())
        })
    }

    /// Starts it on one host.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, lab: &Lab, number: u8) -> Result<()> {
        let host = lab.host(number);
        let file = host.folder().join("keepalived.conf");
        std::fs::write(&file, self.configuration(lab, number))?;
        let run = |name: &str| host.folder().join("run").join(name).display().to_string();
        let (parent, vrrp, file) = (run("keepalived.pid"), run("vrrp.pid"), file.display().to_string());
        for stale in [&parent, &vrrp] {
            let _ = std::fs::remove_file(stale);
        }
        let arguments = ["--vrrp", "--dont-fork", "--log-console", "-f", &file, "-p", &parent, "-r", &vrrp];
        host.spawn("keepalived", PROGRAM, &arguments)
    }

    fn configuration(&self, lab: &Lab, number: u8) -> String {
        let (state, priority) = if number == 1 { ("MASTER", 150) } else { ("BACKUP", 100) };
        let (advert, address) = (self.advert, pair::address(lab).ip());
        format!(
            "global_defs {{\n  router_id host{number}\n  vrrp_version 3\n}}\nvrrp_instance address {{\n  state {state}\n  \
             interface eth0\n  virtual_router_id 51\n  priority {priority}\n  advert_int {advert}\n  \
             virtual_ipaddress {{\n    {address}/24\n  }}\n}}\n"
        )
    }
}
