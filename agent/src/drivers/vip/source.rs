//! `where="one_side"`: outgoing connections get the virtual address as their source.
//!
//! The routes through the interface are repeated with the address as preferred source, ahead of the originals. The
//! originals stay as they are: when the address goes, by us or by anybody, routing is what it was before.

use super::netlink::{CHANGE, LIST, ask_route, family};
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use std::io;
use std::net::IpAddr;

/// Marks the routes that are ours: `proto 72` in `ip route`.
const OURS: RouteProtocol = RouteProtocol::Other(72);
/// The metric IPv6 routes have if none is told.
const METRIC_V6: u32 = 1024;

/// Makes `addr` the source of new connections through interface `index`.
///
/// # Errors
/// The kernel refuses.
pub fn prefer(addr: IpAddr, index: u32) -> io::Result<()> {
    let mut routes: Vec<RouteMessage> =
        routes(addr)?.iter().filter_map(|route| preferring(route, addr, index)).collect();
    // A gateway is only accepted once the network it is in can be reached.
    routes.sort_by_key(|route| route.attributes.iter().any(|part| matches!(part, RouteAttribute::Gateway(_))));
    for route in routes {
        // Without a word of replacing or appending, IPv4 puts the new route before the equal one.
        match ask_route(RouteNetlinkMessage::NewRoute(route), CHANGE | NLM_F_CREATE) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Undoes [`prefer`].
///
/// # Errors
/// The kernel refuses.
pub fn forget(addr: IpAddr) -> io::Result<()> {
    for route in routes(addr)? {
        if route.header.protocol != OURS || source(&route) != Some(addr) {
            continue;
        }
        match ask_route(RouteNetlinkMessage::DelRoute(route), CHANGE) {
            Err(error) if error.raw_os_error() != Some(libc::ESRCH) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The main table's routes of this address's family.
fn routes(addr: IpAddr) -> io::Result<Vec<RouteMessage>> {
    let mut query = RouteMessage::default();
    query.header.address_family = family(addr);
    let answers = ask_route(RouteNetlinkMessage::GetRoute(query), LIST)?;
    let route = |answer| match answer {
        RouteNetlinkMessage::NewRoute(route) if route.header.table == RouteHeader::RT_TABLE_MAIN => Some(route),
        _ => None,
    };
    Ok(answers.into_iter().filter_map(route).collect())
}

fn source(route: &RouteMessage) -> Option<IpAddr> {
    route.attributes.iter().find_map(|part| match part {
        RouteAttribute::PrefSource(RouteAddress::Inet(addr)) => Some(IpAddr::V4(*addr)),
        RouteAttribute::PrefSource(RouteAddress::Inet6(addr)) => Some(IpAddr::V6(*addr)),
        _ => None,
    })
}

/// The route that goes before this one, if this one leads through the interface and is not ours.
fn preferring(route: &RouteMessage, addr: IpAddr, index: u32) -> Option<RouteMessage> {
    let header = &route.header;
    let through = route.attributes.contains(&RouteAttribute::Oif(index));
    let near = route.attributes.iter().any(|part| match part {
        RouteAttribute::Destination(RouteAddress::Inet6(to)) => to.is_unicast_link_local() || to.is_multicast(),
        _ => false,
    });
    if !through || near || header.kind != RouteType::Unicast || header.protocol == OURS {
        return None;
    }
    let mut before = RouteMessage::default();
    before.header = RouteHeader { protocol: OURS, flags: Default::default(), ..header.clone() };
    if addr.is_ipv6() {
        before.header.scope = RouteScope::Universe;
    }
    let mut metric = None;
    for part in &route.attributes {
        match part {
            RouteAttribute::Destination(_)
            | RouteAttribute::Gateway(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::Oif(_)
            | RouteAttribute::Metrics(_) => before.attributes.push(part.clone()),
            RouteAttribute::Priority(value) => metric = Some(*value),
            _ => {}
        }
    }
    // IPv6 keeps one route for each metric: the lower one wins.
    match (addr, metric) {
        (IpAddr::V4(_), Some(metric)) => before.attributes.push(RouteAttribute::Priority(metric)),
        (IpAddr::V4(_), None) => {}
        (IpAddr::V6(_), metric) => {
            let metric = metric.unwrap_or(METRIC_V6).saturating_sub(1).max(1);
            before.attributes.push(RouteAttribute::Priority(metric));
        }
    }
    before.attributes.push(RouteAttribute::PrefSource(addr.into()));
    Some(before)
}
