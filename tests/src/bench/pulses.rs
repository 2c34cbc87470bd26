//! Listens to the heartbeats that reach a host, by the kernel's own time of arrival: how many, and how long it was silent.

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lets UDP over IPv4 pass; the packet begins with its IP header: its protocol (byte 9) is 17.
const UDP_ONLY: [(u16, u8, u8, u32); 4] = [(0x30, 0, 0, 9), (0x15, 0, 1, 17), (0x06, 0, 0, u32::MAX), (0x06, 0, 0, 0)];

/// Room for what arrives while this program gets no processor.
const BUFFER: usize = 8 << 20;

/// `SIOCGSTAMPNS`: when the packet read last arrived.
const GET_STAMP: u64 = 0x8907;

/// What was heard on one port, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heard {
    /// Heartbeats.
    pub count: u64,
    /// Longest time between two of them.
    pub longest_ms: f64,
    /// Whole pulses in which none came.
    pub missed: u64,
    last_ms: Option<f64>,
}

impl Heard {
    fn arrival(&mut self, at_ms: f64, pulse_ms: f64) {
        if let Some(last_ms) = self.last_ms {
            let gap_ms = at_ms - last_ms;
            self.longest_ms = self.longest_ms.max(gap_ms);
            self.missed += ((gap_ms / pulse_ms) as u64).saturating_sub(1);
        }
        self.count += 1;
        self.last_ms = Some(at_ms);
    }
}

/// Listens until it is finished.
pub struct PulseWatch {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Result<BTreeMap<u16, Heard>>>,
}

impl PulseWatch {
    /// Listens in the network of the process `init` for what `from` sends to `ports`.
    pub fn start(init: i32, from: Ipv4Addr, ports: std::ops::Range<u16>, pulse_ms: f64) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let mut socket = open(init)?;
            let mut heard: BTreeMap<u16, Heard> = BTreeMap::new();
            let mut packet = [0; 256];
            while !stop.load(Ordering::Relaxed) {
                let length = match socket.read(&mut packet) {
                    Ok(length) => length,
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
                    Err(error) => return Err(error.into()),
                };
                let Some(port) = port_of(&packet[..length], from).filter(|port| ports.contains(port)) else { continue };
                heard.entry(port).or_default().arrival(arrived_ms(&socket)?, pulse_ms);
            }
            Ok(heard)
        });
        Self { end, thread }
    }

    /// What was heard, by port.
    ///
    /// # Errors
    /// The socket could not be opened or failed.
    pub fn finish(self) -> Result<BTreeMap<u16, Heard>> {
        self.end.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the listener to heartbeats panicked"))?
    }
}

/// A socket for IP packets of every interface in the network of `init`. The thread stays in that network.
fn open(init: i32) -> Result<Socket> {
    let network = File::open(format!("/proc/{init}/ns/net")).context("the host's network")?;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
    let protocol = u16::try_from(libc::ETH_P_IP)?.to_be();
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(protocol))))?;
    socket.attach_filter(&UDP_ONLY.map(|(code, yes, no, value)| SockFilter::new(code, yes, no, value)))?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    Ok(socket)
}

/// The port that an IPv4 datagram of `from` is for.
fn port_of(packet: &[u8], from: Ipv4Addr) -> Option<u16> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let to = packet.get(header + 2..header + 4)?;
    (packet.get(12..16)? == from.octets()).then(|| u16::from_be_bytes([to[0], to[1]]))
}

fn arrived_ms(socket: &Socket) -> Result<f64> {
    let mut stamp = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` at the pointer, which is valid for that.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), GET_STAMP as libc::Ioctl, &raw mut stamp) };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("no time of arrival");
    }
    Ok(stamp.tv_sec as f64 * 1e3 + stamp.tv_nsec as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::{Heard, port_of};
    use std::net::Ipv4Addr;

    #[test]
    fn a_gap_of_three_pulses_has_missed_two() {
        let mut heard = Heard::default();
        [0.0, 100.0, 205.0, 505.0].into_iter().for_each(|at| heard.arrival(at, 100.0));
        assert_eq!((heard.count, heard.longest_ms, heard.missed), (4, 300.0, 2));
    }

    #[test]
    fn only_what_the_peer_sends_is_a_heartbeat() {
        let mut packet = [0; 28];
        packet[0] = 0x45;
        packet[12..16].copy_from_slice(&[10, 99, 0, 2]);
        packet[22..24].copy_from_slice(&8888_u16.to_be_bytes());
        assert_eq!(port_of(&packet, Ipv4Addr::new(10, 99, 0, 2)), Some(8888));
        assert_eq!(port_of(&packet, Ipv4Addr::new(10, 99, 0, 1)), None);
        assert_eq!(port_of(&packet[..21], Ipv4Addr::new(10, 99, 0, 2)), None);
    }
}
