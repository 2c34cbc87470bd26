//! Decides where each address goes: interface, prefix, label, and how it is set. Pure; the kernel is not asked here.

use super::netlink::{Assigned, Assignment, Interface, Inventory};
use holdfast_api::ids::ModuleId;
use holdfast_api::userconfig::{AddressPlace, VipInterface, VirtualAddress};
use std::net::IpAddr;

/// Longest label the kernel takes.
const LABEL_MAX: usize = 15;

/// An address and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// As written in the configuration.
    pub written: String,
    /// The interface.
    pub interface: Interface,
    /// How it is set there.
    pub assignment: Assignment,
    /// Becomes the source of outgoing connections.
    pub source: bool,
    /// It is there now.
    pub present: bool,
}

impl Planned {
    /// The address.
    pub fn addr(&self) -> IpAddr {
        self.assignment.address.addr
    }
}

/// Decides about one address.
///
/// # Errors
/// It cannot go anywhere: why, and the cure.
pub fn plan(
    module: ModuleId,
    wanted: &VipInterface,
    address: &VirtualAddress,
    addr: IpAddr,
    inventory: &Inventory,
) -> Result<Planned, String> {
    let written = &address.addr;
    let there = inventory.holding(addr);
    let network = inventory.network_of(addr);
    let interface = match &wanted.name {
        Some(name) => inventory.named(name).ok_or_else(|| {
            let names: Vec<&str> = inventory.interfaces.iter().map(|interface| interface.name.as_str()).collect();
            format!("this machine has no interface {name} for {written}: it has {}", names.join(", "))
        })?,
        None => there.or(network).and_then(|own| inventory.numbered(own.index)).ok_or_else(|| {
            format!("no interface of this machine is in the network of {written}: name one in <interface name=\"…\">")
        })?,
    };
    if !interface.up {
        return Err(format!("{} is down, so {written} cannot be set there: check cable and switch", interface.name));
    }
    let network = network.filter(|own| own.index == interface.index);
    let prefix = address.prefix.or(network.map(|own| own.prefix)).or_else(|| first_prefix(interface, addr, inventory));
    let prefix = prefix.ok_or_else(|| {
        format!("{} has no address to take the netmask of {written} from: write netmask=\"…\"", interface.name)
    })?;
    if prefix == 0 || prefix > if addr.is_ipv4() { 32 } else { 128 } {
        return Err(format!("a prefix of {prefix} bits fits no address like {written}: correct netmask=\"…\""));
    }
    if let Some(there) = there.filter(|there| there.index != interface.index) {
        let place = inventory.numbered(there.index).map_or("another interface", |other| other.name.as_str());
        return Err(format!("{written} is set on {place} of this machine already: remove it there"));
    }
    let source = address.place == AddressPlace::OneSide;
    // The route to a network that the interface is in already stays that of its own address.
    let beside = network.is_some();
    let target = Assigned { index: interface.index, addr, prefix, no_route: beside };
    Ok(Planned {
        written: written.clone(),
        assignment: Assignment {
            address: there.cloned().unwrap_or(target),
            label: addr.is_ipv4().then(|| label(&interface.name, module)).flatten(),
            deprecated: addr.is_ipv6() && !source && beside,
        },
        interface: interface.clone(),
        source,
        present: there.is_some(),
    })
}

/// The prefix of the interface's first address of the same family.
fn first_prefix(interface: &Interface, addr: IpAddr, inventory: &Inventory) -> Option<u8> {
    let same = |own: &&Assigned| {
        let link_local = matches!(own.addr, IpAddr::V6(own) if own.is_unicast_link_local());
        own.index == interface.index && own.addr.is_ipv4() == addr.is_ipv4() && !link_local
    };
    inventory.addresses.iter().find(same).map(|own| own.prefix)
}

/// `eth0:hf3`: shows in `ip address` whose it is; left out where the name of the interface is too long for it.
fn label(interface: &str, module: ModuleId) -> Option<String> {
    let label = format!("{interface}:hf{}", module.0);
    (label.len() <= LABEL_MAX).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::{Planned, plan};
    use crate::drivers::vip::netlink::{Assigned, Interface, Inventory};
    use holdfast_api::ids::ModuleId;
    use holdfast_api::userconfig::{AddressPlace, VipInterface, VirtualAddress};
    use std::net::IpAddr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn machine() -> Inventory {
        let interface =
            |index, name: &str, up| Interface { index, name: name.to_owned(), mac: None, up, loopback: index == 1 };
        let address = |index, addr, prefix| Assigned { index, addr: ip(addr), prefix, no_route: false };
        Inventory {
            interfaces: vec![
                interface(1, "lo", true),
                interface(2, "eth0", true),
                interface(3, "enp0s31f6abc", true),
                interface(4, "eth2", false),
                interface(5, "bare0", true),
            ],
            addresses: vec![
                address(1, "127.0.0.1", 8),
                address(2, "10.0.0.1", 24),
                address(2, "fe80::1", 64),
                address(2, "fd00::1", 64),
                address(3, "10.1.0.1", 16),
                address(4, "10.2.0.1", 24),
            ],
        }
    }

    fn decide(name: Option<&str>, addr: &str, place: AddressPlace, prefix: Option<u8>) -> Result<Planned, String> {
        let address = VirtualAddress { addr: addr.to_owned(), place, check: true, connections: false, prefix };
        let wanted = VipInterface {
            name: name.map(str::to_owned),
            check: true,
            arpreroute: false,
            arpinterval_ms: 60_000,
            arpelapse_ms: 1_200_000,
            addresses: vec![address.clone()],
        };
        plan(ModuleId(7), &wanted, &address, ip(addr), &machine())
    }

    use AddressPlace::{OneSide, OneSideAlias};

    #[test]
    fn network_that_holds_the_address_decides_interface_and_prefix() {
        let planned = decide(None, "10.0.0.9", OneSideAlias, None).unwrap();
        assert_eq!((planned.interface.name.as_str(), planned.assignment.address.prefix), ("eth0", 24));
        assert_eq!(planned.assignment.label.as_deref(), Some("eth0:hf7"));
        assert!(planned.assignment.address.no_route && !planned.source && !planned.present);
        let long = decide(None, "10.1.0.9", OneSideAlias, None).unwrap();
        assert_eq!((long.interface.index, long.assignment.label), (3, None), "no room for a label");
    }

    #[test]
    fn attribute_decides_the_prefix_before_the_interface_does() {
        assert_eq!(decide(None, "10.0.0.9", OneSideAlias, Some(32)).unwrap().assignment.address.prefix, 32);
        let foreign = decide(Some("eth0"), "192.168.5.9", OneSideAlias, None).unwrap();
        assert_eq!(foreign.assignment.address.prefix, 24, "that of the interface's first address");
        assert!(!foreign.assignment.address.no_route, "nothing else leads to that network");
        assert_eq!(decide(Some("eth0"), "fd01::9", OneSideAlias, None).unwrap().assignment.address.prefix, 64);
    }

    #[test]
    fn alias_is_no_source_of_connections_and_one_side_is() {
        let alias = decide(None, "fd00::9", OneSideAlias, None).unwrap();
        assert!(alias.assignment.deprecated && !alias.source && alias.assignment.label.is_none());
        let source = decide(None, "fd00::9", OneSide, None).unwrap();
        assert!(!source.assignment.deprecated && source.source);
        assert!(decide(None, "10.0.0.9", OneSide, None).unwrap().source);
    }

    #[test]
    fn address_that_is_there_is_left_as_it_is() {
        for name in [None, Some("eth0")] {
            let planned = decide(name, "10.0.0.1", OneSideAlias, Some(32)).unwrap();
            assert!(planned.present);
            assert_eq!(planned.assignment.address.prefix, 24);
        }
    }

    #[test]
    fn every_refusal_names_the_address_and_the_cure() {
        let refusals = [
            (decide(Some("eth9"), "10.0.0.9", OneSideAlias, None), "no interface eth9 for 10.0.0.9: it has lo, eth0"),
            (decide(None, "172.16.0.1", OneSideAlias, None), "name one in <interface name"),
            (decide(None, "10.2.0.9", OneSideAlias, None), "eth2 is down, so 10.2.0.9 cannot be set there"),
            (decide(Some("bare0"), "10.9.0.9", OneSideAlias, None), "the netmask of 10.9.0.9"),
            (decide(None, "10.0.0.9", OneSideAlias, Some(33)), "a prefix of 33 bits"),
            (decide(Some("eth0"), "10.1.0.1", OneSideAlias, None), "set on enp0s31f6abc of this machine already"),
        ];
        for (result, expected) in refusals {
            let reason = result.unwrap_err();
            assert!(reason.contains(expected), "{reason:?} does not say {expected:?}");
        }
    }
}
