//! A socket that sends and receives whole frames on one interface.

use super::netlink::Interface;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use std::io::{self, Read};
use std::net::IpAddr;
use std::time::Duration;

/// Longest frame that is looked at: those of ARP and neighbour discovery are shorter.
const FRAME_MAX: usize = 2048;

/// Lets neighbour advertisements and solicitations pass: next header 58 (offset 20) and type 135 or 136 (offset 54).
const NEIGHBOUR_DISCOVERY: [(u16, u8, u8, u32); 7] = [
    (0x30, 0, 0, 20),
    (0x15, 0, 4, 58),
    (0x30, 0, 0, 54),
    (0x15, 1, 0, 135),
    (0x15, 0, 1, 136),
    (0x06, 0, 0, u32::MAX),
    (0x06, 0, 0, 0),
];

/// Frames of ARP or of neighbour discovery on one interface.
#[derive(Debug)]
pub struct FrameSocket(Option<Socket>);

impl Drop for FrameSocket {
    fn drop(&mut self) {
        // Closing waits until no processor looks at the socket any more: tens of milliseconds that a takeover has not.
        if let Some(socket) = self.0.take() {
            std::thread::spawn(move || drop(socket));
        }
    }
}

impl FrameSocket {
    /// Opens it for the family of `addr`.
    ///
    /// # Errors
    /// The kernel refuses (it needs the right `CAP_NET_RAW`), or the interface is gone.
    pub fn open(interface: &Interface, addr: IpAddr) -> io::Result<Self> {
        // Protocol 0: nothing arrives before the filter and the interface are set.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        if addr.is_ipv6() {
            socket.attach_filter(
                &NEIGHBOUR_DISCOVERY.map(|(code, yes, no, value)| SockFilter::new(code, yes, no, value)),
            )?;
        }
        let protocol = if addr.is_ipv4() { libc::ETH_P_ARP } else { libc::ETH_P_IPV6 };
        socket.bind(&link_address(interface.index, protocol)?)?;
        socket.set_nonblocking(true)?;
        Ok(Self(Some(socket)))
    }

    fn socket(&self) -> io::Result<&Socket> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The interface is down or gone.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket()?.send(frame).map(|_| ())
    }

    /// The next frame within `limit`; `None`: there was none.
    ///
    /// # Errors
    /// The interface is down or gone.
    pub fn receive(&self, limit: Duration) -> io::Result<Option<Vec<u8>>> {
        let mut socket = self.socket()?;
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&limit)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut frame = vec![0; FRAME_MAX];
        match socket.read(&mut frame) {
            Ok(length) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// All frames of a protocol on an interface.
fn link_address(index: u32, protocol: i32) -> io::Result<SockAddr> {
    let wrong = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is the kernel's address of AF_PACKET and no larger than the storage, which is all zeros, a
    // valid value of it.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(wrong)?;
    address.sll_protocol = u16::try_from(protocol).map_err(wrong)?.to_be();
    address.sll_ifindex = i32::try_from(index).map_err(wrong)?;
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(wrong)?;
    // SAFETY: the storage holds an address of this length, written above.
    Ok(unsafe { SockAddr::new(storage, length) })
}
