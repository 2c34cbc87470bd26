//! `<intf>`: is the link of an interface up?

use crate::drivers::interfaces;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// Time between two looks: they cost two small reads, and a pulled cable should be seen soon.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// One look: by name of the interface, or at the one that holds an address.
pub(super) async fn look(interface: Option<&str>, local_addr: Option<&str>) -> Result<(), String> {
    let sys = Path::new("/sys/class/net");
    match (interface, local_addr) {
        (Some(name), _) => interfaces::link_up(sys, name),
        (None, Some(address)) => {
            let address: IpAddr = address.parse().map_err(|_| format!("{address} is not an address"))?;
            interfaces::link_up(sys, &interfaces::holding(address)?)
        }
        (None, None) => Err("the checker names neither an interface nor a local address".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::look;

    #[tokio::test]
    async fn loopback_is_up_by_name_and_by_address() {
        look(Some("lo"), None).await.unwrap();
        look(None, Some("127.0.0.1")).await.unwrap();
        assert!(look(None, Some("203.0.113.9")).await.unwrap_err().contains("203.0.113.9"));
        assert!(look(Some("nothing0"), None).await.is_err());
    }
}
