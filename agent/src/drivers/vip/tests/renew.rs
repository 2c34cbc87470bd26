//! Addresses that change while they are set: by another configuration, or because a name means another address.

use super::super::apply::{renew, set};
use super::super::{Setting, set_for};
use super::{BOTH, Machines, Space, machines};
use crate::drivers::vip::probe::Holder;
use holdfast_api::userconfig::AddressPlace;
use rustix::thread::UnshareFlags;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

const NAME: &str = "www.holdfast.test";

/// Runs `act` on a thread in the namespace that reads `hosts` for /etc/hosts.
fn with_hosts<T: Send>(space: &Space, hosts: &Path, act: impl FnOnce() -> T + Send) -> T {
    space.run(|| {
        // What it is deprecated for is a table of files of its own.
        #[expect(deprecated)]
        rustix::thread::unshare(UnshareFlags::NEWNS).unwrap();
        let lines = [vec!["--make-rprivate", "/"], vec!["--bind", hosts.to_str().unwrap(), "/etc/hosts"]];
        for line in lines {
            assert!(Command::new("mount").args(line).status().unwrap().success());
        }
        act()
    })
}

fn says(hosts: &Path, addr: &str) {
    std::fs::write(hosts, format!("127.0.0.1 localhost\n{addr} {NAME}\n")).unwrap();
}

fn named(lab: &Machines) -> Setting {
    lab.setting(1, AddressPlace::OneSideAlias, &[NAME, "fd77::50"])
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn name_that_means_another_address_moves_it_and_no_connection_of_the_others_ends() {
    let lab = machines();
    let hosts = lab.run.path().join("hosts");
    let listener = lab.host(1).listen();
    let setting = named(&lab);
    says(&hosts, "10.77.0.50");
    with_hosts(lab.host(1), &hosts, || set(&setting, Holder::Unknown)).unwrap();
    assert!(BOTH.iter().all(|addr| lab.host(1).has(addr)));
    let other = lab.host(3).connect("fd77::50").unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    says(&hosts, "10.77.0.51");
    assert_eq!(set_for(&setting.run_dir, "web", NAME), Some(addr("10.77.0.50")), "it moves when it is told to");
    let renewed = with_hosts(lab.host(1), &hosts, || renew(&setting)).unwrap();
    assert_eq!((renewed.new, renewed.gone), (vec![addr("10.77.0.51")], vec![addr("10.77.0.50")]));
    assert_eq!(renewed.announced.len(), 2);
    assert!(lab.host(1).has("10.77.0.51") && lab.host(1).has("fd77::50") && !lab.host(1).has("10.77.0.50"));
    assert_eq!(set_for(&setting.run_dir, "web", NAME), Some(addr("10.77.0.51")));
    lab.host(3).connect("10.77.0.51").unwrap();
    std::io::Write::write_all(&mut accepted, b"x").unwrap();
    assert_eq!(std::io::Read::read(&mut &other, &mut [0]).unwrap(), 1);
    let again = with_hosts(lab.host(1), &hosts, || renew(&setting)).unwrap();
    assert!(again.new.is_empty() && again.gone.is_empty());
    lab.release(1);
    assert!(!lab.host(1).has("10.77.0.51") && !lab.host(1).has("fd77::50"));
}

#[test]
fn address_that_another_machine_has_leaves_those_that_are_set_as_they_are() {
    let lab = machines();
    let hosts = lab.run.path().join("hosts");
    let setting = named(&lab);
    says(&hosts, "10.77.0.50");
    with_hosts(lab.host(1), &hosts, || set(&setting, Holder::Unknown)).unwrap();
    says(&hosts, "10.77.0.2");
    let reason = with_hosts(lab.host(1), &hosts, || renew(&setting)).unwrap_err();
    assert!(reason.contains("10.77.0.2 is in use"), "{reason}");
    assert!(BOTH.iter().all(|addr| lab.host(1).has(addr)));
    says(&hosts, "203.0.113.9");
    let reason = with_hosts(lab.host(1), &hosts, || renew(&setting)).unwrap_err();
    assert!(reason.contains("no interface of this machine is in the network"), "{reason}");
    assert!(BOTH.iter().all(|addr| lab.host(1).has(addr)));
}
