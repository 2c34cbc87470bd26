//! `<vip>`: the virtual addresses, and the checkers that come with them.

use super::super::define::{Attribute, Child, DAY, Element, HOUR, Kind, SECOND, SWITCH};
use super::super::value::{Parsed, Value};
use super::super::{AddressPlace, Check, CheckAction, Checker, Mode, Probe, Vip, VipInterface, VirtualAddress, When};
use super::reader::Reader;
use roxmltree::Node;
use std::net::IpAddr;

/// `<vip>`.
pub(in super::super) static VIP: Element = Element::new(
    "vip",
    "The addresses that clients use: set on the primary before its start_prim, and removed before its stop_prim. Not in \
     a light module.",
    &[
        Attribute::preset("tcpreset", SWITCH, "on", "Reset the TCP connections of an address before it is removed.")
            .fixed(),
        Attribute::preset(
            "scriptcontrol",
            Kind::Only(&["off"]),
            "off",
            "Left to farm modules: scripts open and close the traffic themselves.",
        )
        .fixed(),
    ],
    &[Child::one(&INTERFACE_LIST), Child::once(&LOADBALANCING_LIST)],
);

static INTERFACE_LIST: Element = Element::new(
    "interface_list",
    "The network interfaces with virtual addresses.",
    &[],
    &[Child::some(&INTERFACE, 16)],
);

static LOADBALANCING_LIST: Element = Element::refused(
    "loadbalancing_list",
    "remove it: load is balanced in farm modules only, which this version has not",
);

static INTERFACE: Element = Element::new(
    "interface",
    "One network interface of the node. Found by its network, unless it is named.",
    &[
        Attribute::preset(
            "check",
            SWITCH,
            "on",
            "Add an <intf> checker: the module waits while the link is down. Its ident is the network's address where \
             the netmask is written, else the virtual address. Not for bonded interfaces.",
        )
        .fixed(),
        Attribute::preset("arpreroute", SWITCH, "off", "Repeat the announcement of the addresses.").fixed(),
        Attribute::preset(
            "arpinterval",
            Kind::Time { unit_ms: SECOND, min_ms: SECOND, max_ms: HOUR },
            "60s",
            "Time between two announcements.",
        )
        .fixed(),
        Attribute::preset(
            "arpelapse",
            Kind::Time { unit_ms: SECOND, min_ms: SECOND, max_ms: 7 * DAY },
            "1200s",
            "How long they are repeated.",
        )
        .fixed(),
        Attribute::optional(
            "name",
            Kind::Text { max: 15 },
            ("eth1", "the interface whose network holds the address"),
            "Name of the interface, the same on both nodes.",
        )
        .fixed(),
    ],
    &[Child::one(&REAL_INTERFACE), Child::once(&VIRTUAL_INTERFACE)],
);

static REAL_INTERFACE: Element = Element::new(
    "real_interface",
    "The interface's own hardware address is used.",
    &[],
    &[Child::some(&VIRTUAL_ADDR, 32)],
);

static VIRTUAL_INTERFACE: Element = Element::refused(
    "virtual_interface",
    "write <real_interface>: virtual hardware addresses are for farm modules, which this version has not",
);

static VIRTUAL_ADDR: Element = Element::new(
    "virtual_addr",
    "One virtual address.",
    &[
        Attribute::required("addr", Kind::Address, "192.0.2.10", "The address, or a name that stands for it.").fixed(),
        Attribute::preset(
            "where",
            Kind::Only(&["one_side_alias", "one_side"]),
            "one_side_alias",
            "one_side_alias sets it beside the interface's own address; one_side also makes it the source of the \
             node's outgoing connections.",
        )
        .fixed(),
        Attribute::preset(
            "check",
            SWITCH,
            "on",
            "Add an <ip> checker: the module is stopped and started when the address is missing here or another \
             machine has it.",
        )
        .fixed(),
        Attribute::preset("connections", SWITCH, "off", "Count the connections to it: resource connections.<addr>.")
            .fixed(),
        Attribute::optional(
            "netmask",
            Kind::Text { max: 39 },
            ("255.255.255.0", "that of the interface"),
            "Netmask such as 255.255.255.0, or the length of the prefix such as 24 or 64.",
        )
        .fixed(),
    ],
    &[],
);

impl<'d> Reader<'d> {
    pub(super) fn vip(&mut self, node: Node<'d, 'd>) -> Parsed<Vip> {
        let fields = self.fields(node, &VIP)?;
        let mut vip = Vip { tcpreset: fields.switch("tcpreset")?, interfaces: Vec::new() };
        for (list, definition) in self.children(node, &VIP)? {
            self.fields(list, definition)?;
            for (interface, _) in self.children(list, definition)? {
                let interface = self.interface(interface, &vip)?;
                vip.interfaces.push(interface);
            }
        }
        Ok(vip)
    }

    fn interface(&mut self, node: Node<'d, 'd>, vip: &Vip) -> Parsed<VipInterface> {
        let fields = self.fields(node, &INTERFACE)?;
        if let Some(name) =
            fields.get("name").filter(|name| name.text.contains(|c: char| c == '/' || c.is_whitespace()))
        {
            return Err(name.wrong("write the interface's name as `ip link` shows it"));
        }
        let mut interface = VipInterface {
            name: fields.text_if("name"),
            check: fields.switch("check")?,
            arpreroute: fields.switch("arpreroute")?,
            arpinterval_ms: fields.time("arpinterval")?,
            arpelapse_ms: fields.time("arpelapse")?,
            addresses: Vec::new(),
        };
        for (real, definition) in self.children(node, &INTERFACE)? {
            self.fields(real, definition)?;
            for (child, _) in self.children(real, definition)? {
                let address = self.virtual_addr(child)?;
                let all = vip.interfaces.iter().flat_map(|other| &other.addresses).chain(&interface.addresses);
                if all.into_iter().any(|other| other.addr == address.addr) {
                    let problem = format!("a second <virtual_addr addr=\"{}\">", address.addr);
                    return Err(self.error(child, problem, "keep one"));
                }
                interface.addresses.push(address);
            }
        }
        Ok(interface)
    }

    fn virtual_addr(&mut self, node: Node<'d, 'd>) -> Parsed<VirtualAddress> {
        let fields = self.fields(node, &VIRTUAL_ADDR)?;
        self.children(node, &VIRTUAL_ADDR)?;
        let addr = fields.text("addr")?;
        let place = match fields.text("where")?.as_str() {
            "one_side" => AddressPlace::OneSide,
            _ => AddressPlace::OneSideAlias,
        };
        Ok(VirtualAddress {
            place,
            check: fields.switch("check")?,
            connections: fields.switch("connections")?,
            prefix: fields.get("netmask").map(|value| prefix(value, addr.parse().ok())).transpose()?,
            addr,
        })
    }
}

/// Length of the prefix that a netmask or a number says.
fn prefix(value: &Value, addr: Option<IpAddr>) -> Parsed<u8> {
    let most = if matches!(addr, Some(IpAddr::V6(_))) { 128 } else { 32 };
    if let Ok(length) = value.text.parse::<u8>() {
        return match length {
            1..=128 if length <= most => Ok(length),
            _ => Err(value.wrong(format!("write a prefix length from 1 to {most}"))),
        };
    }
    let bits = value.text.parse::<std::net::Ipv4Addr>().ok().filter(|_| most == 32).map(u32::from);
    match bits {
        Some(bits) if bits != 0 && bits.leading_ones() + bits.trailing_zeros() == 32 => Ok(bits.leading_ones() as u8),
        _ if most == 32 => Err(value.wrong("write a netmask such as 255.255.255.0, or a prefix length such as 24")),
        _ => Err(value.wrong("write the length of the IPv6 prefix, such as 64")),
    }
}

/// Adds the checkers of the virtual addresses, last, except where the user wrote one of the same resource.
pub(in super::super) fn add_checkers(check: &mut Check, vip: &Vip, mode: Mode) {
    let prim = match mode {
        Mode::Mirror => When::Prim,
        Mode::Light => When::Both,
    };
    let link = |interface: &VipInterface| {
        let first = interface.addresses.first().filter(|_| interface.check)?;
        let probe = Probe::Intf { local_addr: None, interface: interface.name.clone() };
        Some(Checker { ident: network(first), when: When::Pre, action: CheckAction::Wait, probe })
    };
    let address = |address: &VirtualAddress| Checker {
        ident: address.addr.clone(),
        when: prim,
        action: CheckAction::StopStart,
        probe: Probe::Ip { addr: address.addr.clone(), interval_ms: 10 * SECOND },
    };
    let links = vip.interfaces.iter().filter_map(link);
    let addresses = vip.interfaces.iter().flat_map(|interface| &interface.addresses).filter(|a| a.check).map(address);
    for checker in links.chain(addresses) {
        if !check.checkers.iter().any(|other| other.resource() == checker.resource()) {
            check.checkers.push(checker);
        }
    }
}

/// The network of a virtual address where its prefix is known, else the address.
fn network(address: &VirtualAddress) -> String {
    let Some(prefix) = address.prefix.map(u32::from) else { return address.addr.clone() };
    match address.addr.parse() {
        Ok(IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(prefix)).unwrap_or(0);
            std::net::Ipv4Addr::from(u32::from(ip) & mask).to_string()
        }
        Ok(IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(prefix)).unwrap_or(0);
            std::net::Ipv6Addr::from(u128::from(ip) & mask).to_string()
        }
        Err(_) => address.addr.clone(),
    }
}
