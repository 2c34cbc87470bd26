//! Names and addresses by which this host may be reached, for the server's certificate.

use holdfast_api::agent::{AGENT_SNI, JOIN_SNI};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How the server is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Names and addresses that an administrator gave (also `host:port`), most preferred first.
    pub given: Vec<String>,
    /// No others: not this machine's own name and addresses, so that nothing changes on another machine.
    pub only_given: bool,
}

impl Names {
    /// This machine's own name and addresses, as far as they count.
    pub fn of_machine(&self) -> Vec<String> {
        if self.only_given {
            return Vec::new();
        }
        host_name().into_iter().chain(addresses().iter().map(IpAddr::to_string)).collect()
    }
}

/// Everything that goes into the certificate: the given names first, then `localhost`, and this machine's.
pub fn certificate_names(reached: &Names) -> Vec<String> {
    let mut names: Vec<String> = reached.given.iter().map(|name| bare_host(name).to_owned()).collect();
    names.extend(reached.of_machine());
    names.extend(["localhost".into(), "127.0.0.1".into(), "::1".into()]);
    names.extend([AGENT_SNI.into(), JOIN_SNI.into()]);
    let mut seen = BTreeSet::new();
    names.retain(|name| holdfast_api::config::check_address(name).is_ok() && seen.insert(name.clone()));
    names
}

/// `host` of `host` or `host:port` (IPv6 with a port is in brackets).
pub fn bare_host(name: &str) -> &str {
    if let Some(rest) = name.strip_prefix('[') {
        return rest.split(']').next().unwrap_or(rest);
    }
    match name.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => name,
    }
}

/// The machine's host name, if it has one that is usable.
pub fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    holdfast_api::config::check_address(name).ok()?;
    Some(name.to_owned())
}

/// Addresses of this host's interfaces that others can reach: no loopback, no link-local.
pub fn addresses() -> Vec<IpAddr> {
    let v4 = std::fs::read_to_string("/proc/net/fib_trie").map(|text| local_v4(&text)).unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/if_inet6").map(|text| local_v6(&text)).unwrap_or_default();
    v4.into_iter().map(IpAddr::V4).chain(v6.into_iter().map(IpAddr::V6)).collect()
}

/// Local addresses in the text of `/proc/net/fib_trie`: the address line before each `/32 host LOCAL`.
fn local_v4(text: &str) -> Vec<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut last = None;
    for line in text.lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.contains("/32 host LOCAL") {
            found.extend(last.filter(|address| !address.is_loopback() && !address.is_link_local()));
        }
    }
    found.into_iter().collect()
}

/// Global addresses in the text of `/proc/net/if_inet6` (scope 00).
fn local_v6(text: &str) -> Vec<Ipv6Addr> {
    let global = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        (fields.nth(2)? == "00").then(|| Ipv6Addr::from(address))
    };
    text.lines().filter_map(global).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_found_in_the_kernels_tables() {
        let trie = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.99.0.1\n        /32 host LOCAL\n     |-- 10.99.0.255\n        \
                    /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(local_v4(trie), [Ipv4Addr::new(10, 99, 0, 1)]);
        let inet6 =
            "fd000000000000000000000000000001 02 40 00 80 eth0\nfe800000000000000000000000000001 02 40 20 80 eth0\n";
        assert_eq!(local_v6(inet6), ["fd00::1".parse::<Ipv6Addr>().unwrap()]);
    }

    #[test]
    fn a_server_that_moves_has_the_names_that_were_given_and_no_other() {
        let given = vec!["192.0.2.10:9453".to_owned(), "console.example.org".to_owned()];
        let names = certificate_names(&Names { given: given.clone(), only_given: true });
        let local = ["localhost", "127.0.0.1", "::1", AGENT_SNI, JOIN_SNI];
        assert_eq!(names, [["192.0.2.10", "console.example.org"].as_slice(), &local].concat());
        let all = certificate_names(&Names { given, only_given: false });
        assert!(host_name().is_none_or(|name| all.contains(&name)));
    }

    #[test]
    fn hosts_are_taken_from_names_with_and_without_port() {
        assert_eq!(["a:1", "a", "[::1]:9", "::1", "10.0.0.1:80"].map(bare_host), ["a", "a", "::1", "::1", "10.0.0.1"]);
    }
}
