//! `<intf>`: is the link of an interface up?

use super::resolve;
use crate::drivers::vip::{interface_of, link_is_up};
use std::net::IpAddr;
use std::time::Duration;

/// Time between two looks: they cost two questions to the kernel, and a pulled cable should be seen soon.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// One look, at the interface of a name, or at the one that has an address or a network.
pub(super) async fn look(interface: Option<String>, address: String) -> Result<(), String> {
    let addresses = if interface.is_none() { resolve(&address).await? } else { Vec::new() };
    let looked = tokio::task::spawn_blocking(move || match interface {
        Some(name) => by_name(&name),
        None => addresses.into_iter().try_for_each(by_address),
    });
    looked.await.unwrap_or_else(|_| Err("the look was given up".to_owned()))
}

fn unknown(error: std::io::Error) -> String {
    format!("the kernel does not tell its interfaces: {error}")
}

fn by_name(name: &str) -> Result<(), String> {
    match link_is_up(name).map_err(unknown)? {
        true => Ok(()),
        false => Err(format!("interface {name} is missing, switched off, or has no link")),
    }
}

fn by_address(address: IpAddr) -> Result<(), String> {
    match interface_of(address).map_err(unknown)? {
        Some(interface) if interface.up => Ok(()),
        Some(interface) => Err(format!("interface {} of {address} is switched off or has no link", interface.name)),
        None => Err(format!("no interface of this node has {address} or its network")),
    }
}

#[cfg(test)]
mod tests {
    use super::look;

    #[tokio::test]
    async fn loopback_is_up_by_name_and_by_address() {
        look(Some("lo".to_owned()), String::new()).await.unwrap();
        look(None, "127.0.0.1".to_owned()).await.unwrap();
        assert!(look(None, "203.0.113.9".to_owned()).await.unwrap_err().contains("203.0.113.9"));
        assert!(look(None, "no such name".to_owned()).await.unwrap_err().contains("no such name"));
        assert!(look(Some("nothing0".to_owned()), String::new()).await.unwrap_err().contains("nothing0"));
    }
}
