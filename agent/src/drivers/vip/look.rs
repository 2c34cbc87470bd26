//! What checkers ask: is the link up, is the address here, does somebody else have it?

use super::frames::Mac;
use super::netlink::{Interface, Inventory};
use super::probe::Neighbours;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// Whether an interface is switched on and its other end is there; `false` also if there is no such interface.
///
/// # Errors
/// The kernel refuses.
pub fn link_is_up(interface: &str) -> io::Result<bool> {
    Ok(Inventory::read()?.named(interface).is_some_and(|interface| interface.up))
}

/// The interface that has `addr`, or whose network holds it.
///
/// # Errors
/// The kernel refuses.
pub fn interface_of(addr: IpAddr) -> io::Result<Option<Interface>> {
    let inventory = Inventory::read()?;
    let own = inventory.holding(addr).or_else(|| inventory.network_of(addr));
    Ok(own.and_then(|own| inventory.numbered(own.index)).cloned())
}

/// Whether `addr` is set on this machine.
///
/// # Errors
/// The kernel refuses.
pub fn address_present(addr: IpAddr) -> io::Result<bool> {
    Ok(Inventory::read()?.holding(addr).is_some())
}

/// The hardware address of another machine that has `addr` too. Takes all of `patience` if there is none, so a caller
/// on the runtime hands it to a thread for blocking work.
///
/// # Errors
/// The kernel refuses, or the interface is down.
pub fn address_conflict(addr: IpAddr, patience: Duration) -> io::Result<Option<Mac>> {
    let Some(interface) = interface_of(addr)? else {
        return Ok(None);
    };
    let Some(neighbours) = Neighbours::of(&interface, addr)? else {
        return Ok(None);
    };
    Ok(neighbours.conflict(&[addr], patience)?.map(|(_, mac)| mac))
}

#[cfg(test)]
mod tests {
    use super::{address_conflict, address_present, interface_of, link_is_up};
    use std::time::Duration;

    #[test]
    fn loopback_is_found_and_what_is_not_there_is_not() {
        let ip = |text: &str| text.parse().unwrap();
        assert!(!link_is_up("no-such-if").unwrap());
        assert!(!address_present(ip("192.0.2.77")).unwrap());
        if link_is_up("lo").unwrap() {
            assert!(address_present(ip("127.0.0.1")).unwrap());
            assert_eq!(interface_of(ip("127.0.0.1")).unwrap().unwrap().name, "lo");
        }
        assert_eq!(address_conflict(ip("127.0.0.1"), Duration::from_millis(10)).unwrap(), None);
    }
}
