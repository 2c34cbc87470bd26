//! Resets the TCP connections of an address, so that clients reconnect at once instead of waiting for a silent machine.

use super::netlink::{CHANGE, LIST, ask};
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use std::io;
use std::net::IpAddr;

/// Resets every connection whose local end is `addr`; how many there were.
///
/// # Errors
/// The kernel refuses; [`io::ErrorKind::Unsupported`]: it was built without `INET_DIAG_DESTROY`.
pub fn reset_connections(addr: IpAddr) -> io::Result<usize> {
    let mut count = 0;
    // An IPv4 connection may belong to a socket of IPv6.
    for family in [AF_INET, AF_INET6] {
        if addr.is_ipv6() && family == AF_INET {
            continue;
        }
        for socket_id in connections(family, addr)? {
            let request = InetRequest {
                family,
                protocol: IPPROTO_TCP,
                extensions: ExtensionFlags::empty(),
                states: StateFlags::all(),
                socket_id,
            };
            let destroy = SockDiagDestroy::new(SockDiagMessage::InetRequest(request));
            match ask(NETLINK_SOCK_DIAG, destroy, CHANGE) {
                Ok(_) => count += 1,
                // It has ended by itself meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    return Err(io::Error::new(
                        io::ErrorKind::Unsupported,
                        "this kernel cannot reset connections (it was built without INET_DIAG_DESTROY)",
                    ));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(count)
}

fn connections(family: u8, addr: IpAddr) -> io::Result<Vec<SocketId>> {
    let query = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        // Listening sockets are the application's to close; what waits after its end has nobody to tell.
        states: StateFlags::all() & !(StateFlags::LISTEN | StateFlags::TIME_WAIT | StateFlags::CLOSE),
        socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
    };
    let answers = ask(NETLINK_SOCK_DIAG, SockDiagMessage::InetRequest(query), LIST)?;
    let ids = answers.into_iter().filter_map(|answer| match answer {
        SockDiagMessage::InetResponse(response) => Some(response.header.socket_id),
        _ => None,
    });
    Ok(ids.filter(|id| id.source_address.to_canonical() == addr).collect())
}
