//! The driver against the kernel: machines made of network namespaces, joined by a bridge. Needs root.

mod renew;

use super::apply::set;
use super::netlink::Inventory;
use super::probe::{BURST, Holder};
use super::record::{Record, release_left};
use super::socket::FrameSocket;
use super::{Addresses, Setting, address_conflict, address_present, frames, interface_of, link_is_up};
use holdfast_api::ids::ModuleId;
use holdfast_api::userconfig::{AddressPlace, Vip, VipInterface, VirtualAddress};
use holdfast_core::input::Input;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PORT: u16 = 8080;

fn wait(what: &str, met: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !met() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// A network namespace; it ends with its process, whose input is held here.
struct Space {
    process: Child,
    network: File,
}

impl Space {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "network namespaces need root: run this with sudo");
        let script = "ip link set lo up; echo up; exec cat";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        process.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        let network = File::open(format!("/proc/{}/ns/net", process.id())).unwrap();
        Self { process, network }
    }

    fn ip(&self, line: &str) -> String {
        let process = self.process.id().to_string();
        let mut command = Command::new("nsenter");
        let output = command.args(["--target", &process, "--net", "ip"]).args(line.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `act` on a thread that is in this namespace.
    fn run<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                act()
            });
            inside.join().unwrap()
        })
    }

    fn has(&self, addr: &str) -> bool {
        let addr = addr.parse().unwrap();
        self.run(|| address_present(addr).unwrap())
    }

    fn listen(&self) -> TcpListener {
        self.run(|| TcpListener::bind(("::", PORT)).unwrap())
    }

    fn connect(&self, addr: &str) -> std::io::Result<TcpStream> {
        let to = SocketAddr::new(addr.parse().unwrap(), PORT);
        let stream = self.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(5)))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// The source of a new connection to `addr`.
    fn source_towards(&self, addr: &str) -> IpAddr {
        self.connect(addr).unwrap().local_addr().unwrap().ip().to_canonical()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Machines 1 to 3 with 10.77.0.N and fd77::N on eth0, on one bridge; machine 3 is the gateway.
struct Machines {
    hosts: Vec<Space>,
    switch: Space,
    run: tempfile::TempDir,
}

fn machines() -> Machines {
    let switch = Space::new();
    switch.ip("link add br0 type bridge mcast_snooping 0");
    switch.ip("link set br0 up");
    let hosts: Vec<Space> = (1..=3).map(|_| Space::new()).collect();
    for (number, host) in (1..).zip(&hosts) {
        let process = host.process.id();
        switch.ip(&format!(
            "link add port{number} type veth peer name eth0 address 02:77:00:00:00:0{number} netns {process}"
        ));
        switch.ip(&format!("link set port{number} master br0 up"));
        host.ip(&format!("address add 10.77.0.{number}/24 dev eth0"));
        host.ip(&format!("address add fd77::{number}/64 dev eth0 nodad"));
        host.ip("link set eth0 up");
        if number != 3 {
            host.ip("route add default via 10.77.0.3");
            host.ip("-6 route add default via fd77::3");
        }
    }
    hosts[2].ip("address add 192.0.2.3/32 dev lo");
    Machines { hosts, switch, run: tempfile::tempdir().unwrap() }
}

impl Machines {
    fn host(&self, number: usize) -> &Space {
        &self.hosts[number - 1]
    }

    fn setting(&self, number: usize, place: AddressPlace, addresses: &[&str]) -> Setting {
        let address = |addr: &&str| VirtualAddress {
            addr: (*addr).to_owned(),
            place,
            check: true,
            connections: false,
            prefix: None,
        };
        let interface = VipInterface {
            name: None,
            check: true,
            arpreroute: false,
            arpinterval_ms: 60_000,
            arpelapse_ms: 1_200_000,
            addresses: addresses.iter().map(address).collect(),
        };
        Setting {
            module: "web".to_owned(),
            id: ModuleId(3),
            vip: Vip { tcpreset: true, interfaces: vec![interface] },
            run_dir: self.run.path().join(number.to_string()),
        }
    }

    fn set(&self, number: usize, addresses: &[&str]) -> Result<(), String> {
        self.set_as(number, AddressPlace::OneSideAlias, addresses)
    }

    fn set_as(&self, number: usize, place: AddressPlace, addresses: &[&str]) -> Result<(), String> {
        let setting = self.setting(number, place, addresses);
        self.host(number).run(|| set(&setting, Holder::Unknown)).map(|_| ())
    }

    fn release(&self, number: usize) {
        let run = self.run.path().join(number.to_string());
        self.host(number).run(|| Record::of(&run, "web").release()).unwrap();
    }
}

const BOTH: [&str; 2] = ["10.77.0.50", "fd77::50"];

#[test]
fn address_is_reached_at_once_and_gone_after_release() {
    let lab = machines();
    let _listener = lab.host(1).listen();
    lab.set(1, &BOTH).unwrap();
    assert!(lab.host(1).ip("address show dev eth0").contains("eth0:hf3"), "labelled");
    for addr in BOTH {
        assert!(lab.host(1).has(addr));
        lab.host(3).connect(addr).unwrap();
        lab.set(1, &BOTH).unwrap();
    }
    lab.release(1);
    lab.release(1);
    assert!(BOTH.iter().all(|addr| !lab.host(1).has(addr)));
    assert!(lab.host(1).has("10.77.0.1") && lab.host(1).has("fd77::1"));
}

#[test]
fn address_that_another_machine_has_is_refused_and_its_hardware_address_told() {
    for (addr, line) in [("10.77.0.50", "10.77.0.50/24"), ("fd77::50", "fd77::50/64")] {
        let lab = machines();
        lab.host(2).ip(&format!("address add {line} dev eth0"));
        wait("machine 2 to have the address", || !lab.host(2).ip("address show dev eth0").contains("tentative"));
        let reason = lab.set(1, &["10.77.0.49", addr]).unwrap_err();
        assert!(reason.contains(addr) && reason.contains("02:77:00:00:00:02"), "{reason}");
        assert!(!lab.host(1).has("10.77.0.49"), "all or nothing");
        let found = lab.host(1).run(|| address_conflict(addr.parse().unwrap(), Duration::from_millis(200)));
        assert_eq!(found.unwrap().unwrap().to_string(), "02:77:00:00:00:02");
    }
}

#[test]
fn addresses_set_before_one_that_fails_are_released_again() {
    let lab = machines();
    let off = "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6";
    let process = lab.host(1).process.id().to_string();
    let status = Command::new("nsenter").args(["--target", &process, "--net", "sh", "-c", off]).status();
    assert!(status.unwrap().success());
    let mut setting = lab.setting(1, AddressPlace::OneSideAlias, &BOTH);
    setting.vip.interfaces[0].name = Some("eth0".to_owned());
    setting.vip.interfaces[0].addresses[1].prefix = Some(64);
    let reason = lab.host(1).run(|| set(&setting, Holder::Peer)).unwrap_err();
    assert!(reason.contains("fd77::50 cannot be set on eth0"), "{reason}");
    assert!(!lab.host(1).has("10.77.0.50"));
    assert!(lab.host(1).run(|| Record::of(&setting.run_dir, "web").entries()).unwrap().is_empty());
}

#[test]
fn alias_leaves_the_source_of_connections_alone_and_one_side_takes_it() {
    let lab = machines();
    let _listener = lab.host(3).listen();
    let sources = || ["10.77.0.3", "192.0.2.3", "fd77::3"].map(|addr| lab.host(1).source_towards(addr).to_string());
    let (own, virtual_one) = (["10.77.0.1", "10.77.0.1", "fd77::1"], ["10.77.0.50", "10.77.0.50", "fd77::50"]);
    let routes = || [lab.host(1).ip("route"), lab.host(1).ip("-6 route")];
    let before = routes();
    lab.set(1, &BOTH).unwrap();
    assert_eq!(sources(), own);
    lab.release(1);
    lab.set_as(1, AddressPlace::OneSide, &BOTH).unwrap();
    // By itself the kernel would choose the address that came last.
    lab.host(1).ip("address add fd77::9/64 dev eth0 nodad");
    assert_eq!(sources(), virtual_one, "{:?}", routes());
    lab.host(1).ip("address del fd77::9/64 dev eth0");
    lab.set_as(1, AddressPlace::OneSide, &BOTH).unwrap();
    lab.release(1);
    assert_eq!(sources(), own);
    assert_eq!(routes(), before);
    // Removed by somebody else: routing is not hurt.
    lab.set_as(1, AddressPlace::OneSide, &["10.77.0.50"]).unwrap();
    lab.host(1).ip("address del 10.77.0.50/24 dev eth0");
    assert_eq!(sources(), own);
}

#[test]
fn connections_are_reset_before_the_address_goes_and_others_live() {
    let lab = machines();
    let listener = lab.host(1).listen();
    lab.set(1, &BOTH).unwrap();
    let mut clients: Vec<TcpStream> = BOTH.iter().map(|addr| lab.host(3).connect(addr).unwrap()).collect();
    let mut other = lab.host(3).connect("10.77.0.1").unwrap();
    let mut accepted: Vec<TcpStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
    lab.release(1);
    for client in &mut clients {
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    accepted[2].write_all(b"x").unwrap();
    assert_eq!(other.read(&mut [0]).unwrap(), 1, "a connection to the machine's own address");
}

#[test]
fn neighbours_follow_an_address_that_moves() {
    let lab = machines();
    let _listeners = [lab.host(1).listen(), lab.host(2).listen()];
    lab.set(1, &BOTH).unwrap();
    for addr in BOTH {
        lab.host(3).connect(addr).unwrap();
    }
    let neighbours = || BOTH.map(|addr| lab.host(3).ip(&format!("neigh show {addr}")));
    assert!(neighbours().iter().all(|line| line.contains("02:77:00:00:00:01")), "{:?}", neighbours());
    lab.release(1);
    lab.set(2, &BOTH).unwrap();
    wait("the announcements to arrive", || neighbours().iter().all(|line| line.contains("02:77:00:00:00:02")));
}

#[test]
fn what_was_there_before_stays_and_what_a_killed_agent_left_goes() {
    let lab = machines();
    lab.host(1).ip("address add 10.77.0.60/24 dev eth0");
    lab.set(1, &["10.77.0.60", "10.77.0.61"]).unwrap();
    let run = lab.run.path().join("1");
    let gone = lab.host(1).run(|| release_left(&run, |_| false)).unwrap();
    assert_eq!(gone, ["10.77.0.61".parse::<IpAddr>().unwrap()]);
    assert!(lab.host(1).has("10.77.0.60") && !lab.host(1).has("10.77.0.61"));
}

#[test]
fn link_without_its_other_end_is_down() {
    let lab = machines();
    assert!(lab.host(1).run(|| link_is_up("eth0")).unwrap());
    lab.switch.ip("link set port1 down");
    assert!(!lab.host(1).run(|| link_is_up("eth0")).unwrap());
    let reason = lab.set(1, &["10.77.0.50"]).unwrap_err();
    assert!(reason.contains("eth0 is down"), "{reason}");
    assert_eq!(lab.host(1).run(Inventory::read).unwrap().interfaces.len(), 2);
}

#[test]
fn announcements_are_repeated_where_wanted_until_the_release() {
    let lab = machines();
    let mut setting = lab.setting(1, AddressPlace::OneSideAlias, &BOTH);
    setting.vip.interfaces[0].arpreroute = true;
    setting.vip.interfaces[0].arpinterval_ms = 1000;
    let [v4, v6] = BOTH.map(|addr| addr.parse().unwrap());
    let ears = lab.host(3).run(|| {
        let eth0 = interface_of("10.77.0.3".parse().unwrap()).unwrap().unwrap();
        [v4, v6].map(|addr| (addr, eth0.mac.unwrap(), FrameSocket::open(&eth0, addr).unwrap()))
    });
    lab.host(1).run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (inbox, mut done) = tokio::sync::mpsc::channel(8);
            let driver = Addresses::start(Some(setting), inbox);
            driver.set(1, Holder::Peer);
            assert_eq!(done.recv().await, Some(Input::AddressesDone { run: 1, error: None }));
            // One burst with the address, one to be sure, and two repetitions.
            let heard = tokio::task::spawn_blocking(move || {
                for (addr, own, ear) in &ears {
                    let mut heard = 0;
                    let end = Instant::now() + Duration::from_secs(30);
                    while heard < 4 * BURST * frames::announcements(*addr, *own).len() {
                        assert!(Instant::now() < end, "{addr} was announced {heard} times only");
                        let frame = ear.receive(Duration::from_secs(1)).unwrap();
                        let claimed = frame.and_then(|frame| frames::claimant(&frame, *addr, *own));
                        heard += usize::from(claimed.is_some());
                    }
                }
            });
            heard.await.unwrap();
            driver.set(2, Holder::Peer);
            driver.release(3);
            driver.release(4);
            for run in 2..=4 {
                assert_eq!(done.recv().await, Some(Input::AddressesDone { run, error: None }));
            }
        });
    });
    assert!(BOTH.iter().all(|addr| !lab.host(1).has(addr)));
}
