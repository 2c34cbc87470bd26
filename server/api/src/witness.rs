//! Where a register may live: etcd's endpoints as written, and why a machine that is a node of the module is no place.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

/// Port of etcd's clients, where an endpoint names none.
pub const ETCD_PORT: u16 = 2379;
/// Most endpoints of one register.
pub const ENDPOINTS_MAX: usize = 8;
/// With members on fewer machines than this, the loss of one machine stops etcd.
const MACHINES_MIN: usize = 3;

/// Where a member of etcd takes requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Address or name.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Everything by which one machine is known, lower case: names as configured, addresses they resolve to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Name, for people.
    pub name: String,
    /// Its names and addresses.
    pub known_as: BTreeSet<String>,
}

impl Endpoint {
    /// Reads `http://host:port`.
    ///
    /// # Errors
    /// What is wrong, and the cure.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |problem: &str| Err(format!("the etcd endpoint {text:?} {problem}; write http://host:{ETCD_PORT}"));
        let Some(rest) = text.strip_prefix("http://") else {
            if text.starts_with("https://") {
                return wrong(
                    "asks for TLS, which is not spoken with etcd yet: let etcd take plain HTTP from the nodes on a \
                     network that only they use",
                );
            }
            return wrong("does not begin with http://");
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, rest))) if host.contains(':') => match rest {
                "" => (host, None),
                rest => match rest.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None => return wrong("has something after the address"),
                },
            },
            Some(_) => return wrong("has a broken address in brackets"),
            None => match rest.split_once(':') {
                Some((_, port)) if port.contains(':') => return wrong("has an IPv6 address without brackets"),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if let Err(problem) = crate::config::check_address(host) {
            return wrong(&format!("names no host ({problem})"));
        }
        match port.map_or(Ok(ETCD_PORT), str::parse) {
            Ok(0) | Err(_) => wrong("has no valid port"),
            Ok(port) => Ok(Self { host: host.to_owned(), port }),
        }
    }

    /// Reads a list of them, and drops repetitions.
    ///
    /// # Errors
    /// What is wrong, and the cure.
    pub fn parse_all(texts: &[String]) -> Result<Vec<Self>, String> {
        let mut found: Vec<Self> = Vec::new();
        for text in texts {
            let endpoint = Self::parse(text)?;
            if !found.contains(&endpoint) {
                found.push(endpoint);
            }
        }
        match found.len() {
            0 => Err(format!("an etcd witness needs at least one endpoint: http://host:{ETCD_PORT}")),
            count if count > ENDPOINTS_MAX => Err(format!("an etcd witness has at most {ENDPOINTS_MAX} endpoints")),
            _ => Ok(found),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl Machine {
    /// A machine known by these names and addresses.
    pub fn new(name: &str, known_as: impl IntoIterator<Item = String>) -> Self {
        let known_as = known_as.into_iter().map(|text| text.to_lowercase()).collect();
        Self { name: name.to_owned(), known_as }
    }

    /// Whether it is known by an address that means "this machine" to whoever uses it.
    pub fn is_loopback(&self) -> bool {
        let own =
            |text: &String| text == "localhost" || text.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        self.known_as.iter().any(own)
    }

    /// A name or address that both have.
    pub fn shared_with(&self, other: &Self) -> Option<&str> {
        self.known_as.iter().find(|text| other.known_as.contains(*text)).map(String::as_str)
    }
}

/// Why these members of etcd cannot be the register of a module on these nodes: one is (on) a node, and etcd would stop
/// when the very machine is lost whose loss it has to judge.
pub fn etcd_problem(members: &[Machine], nodes: &[Machine]) -> Option<String> {
    let on_node = |member: &Machine| {
        let node = nodes.iter().find(|node| member.shared_with(node).is_some());
        node.map(|node| node.name.clone()).or_else(|| member.is_loopback().then(|| "each node itself".to_owned()))
    };
    let mut machines: Vec<(&Machine, Option<String>)> = Vec::new();
    for member in members {
        let node = on_node(member);
        let known = machines
            .iter()
            .any(|(other, other_node)| member.shared_with(other).is_some() || node.is_some() && node == *other_node);
        if !known {
            machines.push((member, node));
        }
    }
    let (member, node) = machines.iter().find_map(|(member, node)| Some((member, node.as_ref()?)))?;
    (machines.len() < MACHINES_MIN).then(|| {
        format!(
            "the etcd endpoint {} is on {node}: when that machine is lost, etcd has no majority and nobody can take \
             over; put etcd on a machine that is no node of this module, or name its members on at least \
             {MACHINES_MIN} machines, so that a majority survives the loss of one",
            member.name
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, u16), String> {
        Endpoint::parse(text).map(|endpoint| (endpoint.host, endpoint.port))
    }

    #[test]
    fn endpoints_are_read_in_every_form() {
        assert_eq!(parse("http://etcd.example:1"), Ok(("etcd.example".into(), 1)));
        assert_eq!(parse("http://10.0.0.9/"), Ok(("10.0.0.9".into(), ETCD_PORT)));
        assert_eq!(parse("http://[fd00::1]:23"), Ok(("fd00::1".into(), 23)));
        assert_eq!(Endpoint::parse("http://[fd00::1]").unwrap().to_string(), "[fd00::1]:2379");
    }

    #[test]
    fn bad_endpoints_are_refused_with_the_cure() {
        for text in [
            "",
            "etcd",
            "ftp://a",
            "http://",
            "http://:1",
            "http://a:0",
            "http://a:x",
            "http://fd00::1",
            "http://[fd00::1",
            "http://[a]:1",
            "http://[fd00::1]x",
            "http://a/b",
            "http://a b",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("write http://host:2379"), "{error}");
        }
        assert!(parse("https://a:1").unwrap_err().contains("TLS"));
        assert!(Endpoint::parse_all(&[]).is_err());
        let twice = ["http://a".to_owned(), "http://a:2379".to_owned()];
        assert_eq!(Endpoint::parse_all(&twice).unwrap().len(), 1);
    }

    fn machine(name: &str) -> Machine {
        Machine::new(name, [name.to_owned()])
    }

    #[test]
    fn etcd_on_a_node_needs_members_on_three_machines() {
        let nodes =
            [Machine::new("node1", ["10.0.0.1".into()]), Machine::new("node2", ["n2".into(), "10.0.0.2".into()])];
        let problem = |members: &[&str]| {
            let members: Vec<_> = members.iter().map(|name| machine(name)).collect();
            etcd_problem(&members, &nodes)
        };
        assert_eq!(problem(&["10.0.0.9"]), None);
        assert_eq!(problem(&["10.0.0.9", "10.0.0.8"]), None);
        assert!(problem(&["10.0.0.2"]).unwrap().contains("is on node2"));
        assert!(problem(&["10.0.0.1", "10.0.0.9"]).is_some());
        assert_eq!(problem(&["10.0.0.1", "10.0.0.2", "10.0.0.9"]), None);
        // Two members on one machine do not make it two machines.
        assert!(problem(&["10.0.0.9", "n2", "10.0.0.2"]).is_some());
        assert!(problem(&["127.0.0.1", "localhost", "10.0.0.9"]).unwrap().contains("each node itself"));
    }
}
