//! The lab's network: a bridge in a network namespace of its own, one veth pair per host, cuts by nft on the hosts.

use crate::bank::client::Connect;
use crate::lab::host::Host;
use crate::lab::wait::wait_until;
use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Ports of replication streams: 5600 + 4 (id − 1) for the first 32 modules.
const STREAM_PORTS: &str = "5600-5727";

/// The bridge's namespace: its first process sets it up and lives until its input ends.
const SWITCH: &str = r"
set -e
ip link set lo up
ip link add br0 address 02:00:0a:63:fe:fe type bridge mcast_snooping 0
ip address add $1 dev br0
ip link set br0 up
echo up
exec cat
";

/// Something that does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing from one host reaches the other.
    Everything {
        /// Sender.
        from: u8,
        /// Receiver, which drops.
        to: u8,
    },
    /// No packet of a replication stream from one host reaches the other.
    Stream {
        /// Sender.
        from: u8,
        /// Receiver, which drops.
        to: u8,
    },
}

/// The bridge and where things are on it.
pub struct Network {
    subnet: u8,
    switch: Child,
    /// The bridge's network namespace and this program's own.
    inside: Arc<File>,
    outside: Arc<File>,
}

impl Network {
    /// A new network 10.99.x.0/24.
    pub(crate) fn new() -> Result<Self> {
        let subnet = free_subnet()?;
        let mut switch = Command::new("unshare")
            .args(["--net", "sh", "-c", SWITCH, "holdfast-lab-switch", &format!("10.99.{subnet}.254/24")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot run unshare")?;
        let mut word = [0; 3];
        let output = switch.stdout.as_mut().context("no output")?;
        if io::Read::read_exact(output, &mut word).is_err() {
            let mut text = String::new();
            io::Read::read_to_string(switch.stderr.as_mut().context("no output")?, &mut text)?;
            bail!("the lab's network cannot be made: {}", text.trim());
        }
        let inside = Arc::new(File::open(format!("/proc/{}/ns/net", switch.id()))?);
        let outside = Arc::new(File::open("/proc/thread-self/ns/net")?);
        Ok(Self { subnet, switch, inside, outside })
    }

    /// Address of host `number`.
    pub fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, self.subnet, number)
    }

    /// Connects to an address of the lab from the lab's bridge, whatever network the caller is in.
    ///
    /// # Errors
    /// As `TcpStream::connect_timeout`.
    pub fn connect(&self, address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        connect_from(&self.inside, &self.outside, address, timeout)
    }

    /// [`Network::connect`] as a value.
    pub fn connector(&self) -> Connect {
        let (inside, outside) = (Arc::clone(&self.inside), Arc::clone(&self.outside));
        Arc::new(move |address, timeout| connect_from(&inside, &outside, address, timeout))
    }

    /// Joins a host that has just been powered on.
    pub(crate) fn attach(&self, host: &Host, init: i32) -> Result<()> {
        let number = host.number();
        let port = format!("port{number}");
        let switch = self.switch.id().to_string();
        // A machine keeps its address over a reboot: with a new one, others would send to the old one for half a minute.
        let mac = format!("02:00:0a:63:{:02x}:{number:02x}", self.subnet);
        let add = format!(
            "link add {port} type veth peer name eth0 address {mac} netns {init}\nlink set {port} master br0\nlink set {port} up\n"
        );
        self.batch(&switch, &add)?;
        self.batch(&init.to_string(), &format!("address add {}/24 dev eth0\nlink set eth0 up\n", self.address(number)))
    }

    /// Pulls a host's cable for good; it is made anew at the next power on.
    pub(crate) fn detach(&self, number: u8) -> Result<()> {
        // The end of the host's namespace removes the pair as well, some time later.
        let removed = self.batch(&self.switch.id().to_string(), &format!("link delete port{number}\n"));
        if removed.is_err() {
            let gone = || Ok(self.batch(&self.switch.id().to_string(), &format!("link show port{number}\n")).is_err());
            wait_until("the host's cable to be gone", Duration::from_secs(10), gone)?;
        }
        Ok(())
    }

    fn batch(&self, process: &str, lines: &str) -> Result<()> {
        feed(Command::new("nsenter").args(["--target", process, "--net", "ip", "-batch", "-"]), lines)
    }

    /// Puts exactly these cuts into force on a host.
    pub(crate) fn filter(&self, host: &Host, cuts: &[Cut]) -> Result<()> {
        let mut rules =
            String::from("flush ruleset\ntable inet lab {\n chain input {\n  type filter hook input priority 0;\n");
        for cut in cuts {
            match *cut {
                Cut::Everything { from, to } if to == host.number() => {
                    rules.push_str(&format!("  ip saddr {} drop\n", self.address(from)));
                }
                Cut::Stream { from, to } if to == host.number() => {
                    for side in ["sport", "dport"] {
                        rules.push_str(&format!("  ip saddr {} tcp {side} {STREAM_PORTS} drop\n", self.address(from)));
                    }
                }
                Cut::Everything { .. } | Cut::Stream { .. } => {}
            }
        }
        rules.push_str(" }\n}\n");
        feed(Command::new("nsenter").args(["--target", &host.init()?.to_string(), "--net", "nft", "-f", "-"]), &rules)
    }
}

/// Address of host `number` on the second network, 10.98.0.0/24.
pub fn second_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 98, 0, number)
}

impl Host {
    /// Gives the host an interface eth1 on a second network, which the cuts of the lab leave alone, until its power goes.
    ///
    /// # Errors
    /// `ip` failed.
    pub fn join_second_network(&self) -> Result<()> {
        let (number, address) = (self.number(), second_address(self.number()));
        let link = format!("ip link add eth1 link eth0 address 02:01:00:00:00:{number:02x} type macvlan mode bridge");
        self.shell(&format!("{link} && ip address add {address}/24 dev eth1 && ip link set eth1 up"))?;
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.switch.stdin.take());
        let ended =
            wait_until("the lab's network to end", Duration::from_secs(5), || Ok(self.switch.try_wait()?.is_some()));
        if ended.is_err() {
            let _ = self.switch.kill();
            let _ = self.switch.wait();
        }
    }
}

fn connect_from(inside: &File, outside: &File, address: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    // A socket belongs to the network namespace its thread is in when it is made; this thread is back at once.
    move_into_link_name_space(inside.as_fd(), Some(LinkNameSpaceType::Network))?;
    let stream = TcpStream::connect_timeout(&address, timeout);
    move_into_link_name_space(outside.as_fd(), Some(LinkNameSpaceType::Network))?;
    stream
}

fn feed(command: &mut Command, text: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    child.stdin.take().context("no input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{text:?} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A third number of 10.99.x.0/24 that this machine has no route for.
fn free_subnet() -> Result<u8> {
    let routes = std::fs::read_to_string("/proc/net/route").context("cannot read /proc/net/route")?;
    // Destinations are little-endian hexadecimal: 10.99.x.0 is 00xx630A.
    let taken = |x: &u8| routes.contains(&format!("00{x:02X}630A"));
    (0..=254)
        .find(|x| !taken(x))
        .context("this machine has routes for all of 10.99.0.0/16: the lab finds no free network")
}
