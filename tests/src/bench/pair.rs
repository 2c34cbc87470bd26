//! Two ways to keep one address on two hosts: Holdfast (no application, no data) and keepalived.

use super::keepalived::Keepalived;
use crate::lab::cluster::other;
use crate::lab::{Lab, package};
use anyhow::{Result, bail};
use std::net::{Ipv4Addr, SocketAddr};

/// Name of the module that holds the address.
pub const MODULE: &str = "address";

/// Where nothing listens.
const PORT: u16 = 81;

/// A pair of hosts that keeps an address alive.
pub enum Pair {
    /// A mirror module with `<vip>` only.
    Holdfast,
    /// VRRP.
    Keepalived(Keepalived),
}

/// The address that is kept.
pub fn address(lab: &Lab) -> SocketAddr {
    let [a, b, c, _] = lab.network().address(1).octets();
    SocketAddr::from((Ipv4Addr::new(a, b, c, 200), PORT))
}

/// The module's configuration.
fn userconfig(lab: &Lab, pulse_ms: u32, timeout_ms: u32) -> String {
    let address = address(lab).ip();
    format!(
        r#"<!DOCTYPE safe>
<safe>
<service mode="mirror">
  <heart pulse="{pulse_ms}" timeout="{timeout_ms}">
    <heartbeat name="default"/>
  </heart>
  <vip>
    <interface_list>
      <interface check="off" arpreroute="off">
        <real_interface>
          <virtual_addr addr="{address}" where="one_side_alias" check="off"/>
        </real_interface>
      </interface>
    </interface_list>
  </vip>
</service>
</safe>
"#
    )
}

impl Pair {
    /// Sets a Holdfast pair up on hosts 1 and 2; host 1 is primary.
    ///
    /// # Errors
    /// A program does not start or a state is not reached.
    pub fn holdfast(lab: &Lab, pulse_ms: u32, timeout_ms: u32) -> Result<Self> {
        let source = lab.folder().join("address.safe");
        let xml = userconfig(lab, pulse_ms, timeout_ms);
        package::write_folder(&source, &[("conf/userconfig.xml", xml.as_str())])?;
        lab.form_cluster()?;
        lab.install_package(MODULE, &package::pack(&source)?)?;
        for number in lab.numbers() {
            lab.cli(number, &["boot", "-m", MODULE, "on"])?;
        }
        lab.start_pair(MODULE)?;
        Ok(Self::Holdfast)
    }

    /// The host that holds the address.
    ///
    /// # Errors
    /// None does.
    pub fn holder(&self, lab: &Lab) -> Result<u8> {
        let address = format!("{}/", address(lab).ip());
        for number in lab.numbers() {
            if lab.host(number).shell("ip -o address show dev eth0")?.contains(&address) {
                return Ok(number);
            }
        }
        bail!("neither host holds the address")
    }

    /// After a kill of `number`: powers it on again and waits until both are in order.
    ///
    /// # Errors
    /// They do not come to order.
    pub fn repair(&self, lab: &mut Lab, number: u8) -> Result<()> {
        lab.power_on(number)?;
        match self {
            Self::Holdfast => {
                lab.start_agent(number)?;
                lab.wait_pair(MODULE, other(number))
            }
            Self::Keepalived(keepalived) => {
                keepalived.start(lab, number)?;
                keepalived.settle(lab)
            }
        }
    }
}
