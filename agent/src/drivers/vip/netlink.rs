//! Requests to the kernel over netlink, and the interfaces and addresses of this machine.

use super::frames::Mac;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// Asks for a list.
pub(super) const LIST: u16 = NLM_F_DUMP;
/// Asks for a change, and for the kernel's word that it was made.
pub(super) const CHANGE: u16 = NLM_F_ACK;
/// As [`CHANGE`], of something that must not exist yet.
const ADD: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number of it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, if neighbours are found by ARP or neighbour discovery there.
    pub mac: Option<Mac>,
    /// Switched on, and the other end is there.
    pub up: bool,
    /// It leads only to this machine.
    pub loopback: bool,
}

/// An address that an interface has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// Number of the interface.
    pub index: u32,
    /// The address.
    pub addr: IpAddr,
    /// Length of its network prefix.
    pub prefix: u8,
    /// The kernel has no route to its network through it.
    pub no_route: bool,
}

/// What this machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Their addresses, in the order in which they were set.
    pub addresses: Vec<Assigned>,
}

/// How an address is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Address and interface.
    pub address: Assigned,
    /// Name that shows beside it (IPv4).
    pub label: Option<String>,
    /// Never chosen by itself as the source of outgoing connections (IPv6; IPv4 has an order instead).
    pub deprecated: bool,
}

/// Sends one request and collects its answers.
pub(super) fn ask<M>(protocol: isize, message: M, flags: u16) -> io::Result<Vec<M>>
where
    M: NetlinkSerializable + NetlinkDeserializable,
{
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = 1;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        // The kernel answers before `send` returns, so this never waits long.
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let answer = NetlinkMessage::<M>::deserialize(rest).map_err(io::Error::other)?;
            match answer.payload {
                NetlinkPayload::Done(_) => return Ok(answers),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(message) => answers.push(message),
                _ => {}
            }
            // Messages begin at multiples of four.
            let length = (answer.header.length as usize).next_multiple_of(4).max(16);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// One request about interfaces, addresses or routes.
pub(super) fn ask_route(message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    ask(NETLINK_ROUTE, message, flags)
}

/// The family of an address.
pub(super) fn family(addr: IpAddr) -> AddressFamily {
    if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Whether the first `prefix` bits of both are the same.
pub fn same_network(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    let differing = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    differing >= u32::from(prefix)
}

impl Inventory {
    /// Asks the kernel.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read() -> io::Result<Self> {
        let mut inventory = Self::default();
        for answer in ask_route(RouteNetlinkMessage::GetLink(LinkMessage::default()), LIST)? {
            if let RouteNetlinkMessage::NewLink(link) = answer {
                inventory.interfaces.extend(interface(&link));
            }
        }
        for answer in ask_route(RouteNetlinkMessage::GetAddress(AddressMessage::default()), LIST)? {
            if let RouteNetlinkMessage::NewAddress(address) = answer {
                inventory.addresses.extend(assigned(&address));
            }
        }
        Ok(inventory)
    }

    /// The interface of this name.
    pub fn named(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }

    /// The interface of this number.
    pub fn numbered(&self, index: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.index == index)
    }

    /// Where an address is set.
    pub fn holding(&self, addr: IpAddr) -> Option<&Assigned> {
        self.addresses.iter().find(|assigned| assigned.addr == addr)
    }

    /// The other address whose network holds `addr`: the longest prefix, the first set; not of the loopback interface.
    pub fn network_of(&self, addr: IpAddr) -> Option<&Assigned> {
        let outside = |index| self.numbered(index).is_some_and(|interface| !interface.loopback);
        let holds = |own: &&Assigned| {
            own.addr != addr && same_network(own.addr, addr, own.prefix) && own.prefix > 0 && outside(own.index)
        };
        // The first of those with the longest prefix.
        self.addresses.iter().filter(holds).rev().max_by_key(|own| own.prefix)
    }
}

fn interface(link: &LinkMessage) -> Option<Interface> {
    let flags = link.header.flags;
    let mut found = Interface {
        index: link.header.index,
        name: String::new(),
        mac: None,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
    };
    let asks_neighbours = link.header.link_layer_type == LinkLayerType::Ether && !flags.contains(LinkFlags::Noarp);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::Address(bytes) if asks_neighbours => {
                found.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
            }
            _ => {}
        }
    }
    (!found.name.is_empty()).then_some(found)
}

fn assigned(message: &AddressMessage) -> Option<Assigned> {
    let (mut local, mut address, mut no_route) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            // `Address` is the other end where that differs (point to point).
            AddressAttribute::Local(addr) => local = Some(*addr),
            AddressAttribute::Address(addr) => address = Some(*addr),
            AddressAttribute::Flags(flags) => no_route = flags.contains(AddressFlags::Noprefixroute),
            _ => {}
        }
    }
    let header = &message.header;
    Some(Assigned { index: header.index, addr: local.or(address)?, prefix: header.prefix_len, no_route })
}

fn message(address: &Assigned) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr);
    message.header.prefix_len = address.prefix;
    message.header.scope = AddressScope::Universe;
    message.header.index = address.index;
    message.attributes = vec![AddressAttribute::Local(address.addr), AddressAttribute::Address(address.addr)];
    message
}

/// Sets an address; `false`: it is there already.
///
/// # Errors
/// The kernel refuses.
pub fn add(assignment: &Assignment) -> io::Result<bool> {
    let address = &assignment.address;
    let mut message = message(address);
    let mut flags = AddressFlags::empty();
    if address.no_route {
        flags |= AddressFlags::Noprefixroute;
    }
    match address.addr {
        IpAddr::V4(addr) if address.prefix < 31 => {
            message.attributes.push(AddressAttribute::Broadcast(broadcast(addr, address.prefix)));
        }
        IpAddr::V4(_) => {}
        IpAddr::V6(_) => {
            // The kernel's own search for a second holder takes a second or two; ours has been made.
            flags |= AddressFlags::Nodad;
            message.header.flags |= AddressHeaderFlags::Nodad;
        }
    }
    message.attributes.push(AddressAttribute::Flags(flags));
    if let Some(label) = &assignment.label {
        message.attributes.push(AddressAttribute::Label(label.clone()));
    }
    if assignment.deprecated {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_valid = u32::MAX;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    match ask_route(RouteNetlinkMessage::NewAddress(message), ADD) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

fn broadcast(addr: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(addr.to_bits() | u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0))
}

/// Removes an address; `false`: it was not there.
///
/// # Errors
/// The kernel refuses.
pub fn remove(address: &Assigned) -> io::Result<bool> {
    match ask_route(RouteNetlinkMessage::DelAddress(message(address)), CHANGE) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Assigned, Interface, Inventory, broadcast, same_network};
    use std::net::IpAddr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_compared_by_their_prefix() {
        assert!(same_network(ip("10.0.0.1"), ip("10.0.0.255"), 24));
        assert!(!same_network(ip("10.0.0.1"), ip("10.0.1.1"), 24));
        assert!(same_network(ip("fd00::1"), ip("fd00::ffff:1"), 64));
        assert!(!same_network(ip("10.0.0.1"), ip("fd00::1"), 0), "families never mix");
        assert_eq!(broadcast("10.0.0.5".parse().unwrap(), 24), "10.0.0.255".parse::<std::net::Ipv4Addr>().unwrap());
    }

    #[test]
    fn longest_prefix_outside_loopback_holds_an_address() {
        let interface =
            |index, name: &str, loopback| Interface { index, name: name.to_owned(), mac: None, up: true, loopback };
        let address = |index, addr, prefix| Assigned { index, addr: ip(addr), prefix, no_route: false };
        let inventory = Inventory {
            interfaces: vec![interface(1, "lo", true), interface(2, "eth0", false), interface(3, "eth1", false)],
            addresses: vec![
                address(1, "10.0.0.1", 24),
                address(2, "10.0.0.2", 8),
                address(3, "10.0.0.3", 24),
                address(3, "10.0.0.9", 24),
            ],
        };
        assert_eq!(inventory.network_of(ip("10.0.0.9")), Some(&inventory.addresses[2]), "not itself, the first set");
        assert_eq!(inventory.network_of(ip("10.5.0.9")).unwrap().index, 2);
        assert_eq!(inventory.network_of(ip("192.168.0.1")), None);
    }

    #[test]
    fn kernel_names_loopback_with_its_address() {
        let inventory = Inventory::read().unwrap();
        let lo = inventory.named("lo").unwrap();
        assert!(lo.loopback && lo.mac.is_none());
        let local = inventory.holding(ip("127.0.0.1"));
        assert!(local.is_none_or(|local| local.index == lo.index && local.prefix == 8));
    }
}
