//! `<check>` and `<failover>`: the checkers, the witness and the failover rules of a module.

use crate::checker::{CheckAction, When};
use crate::rules::Rule;
use serde::{Deserialize, Serialize};

/// `<check>`, and the checkers that `<vip>` generates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// In the order written; those of `<vip>` last.
    pub checkers: Vec<Checker>,
}

/// One checker: what it looks at, when, and what its failure does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checker {
    /// Second half of its resource: `tcp.<ident>`, `ping.<ident>`, …
    pub ident: String,
    /// When it looks.
    pub when: When,
    /// What the rule generated for it does.
    pub action: CheckAction,
    /// What it looks at.
    pub probe: Probe,
}

/// What a checker looks at. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// A TCP connection can be made.
    Tcp {
        /// Address or name.
        addr: String,
        /// Port.
        port: u16,
        /// Time between two looks.
        interval_ms: u64,
        /// Longest time for an answer.
        timeout_ms: u64,
    },
    /// An address answers ICMP echo.
    Ping {
        /// Address or name.
        addr: String,
        /// Time between two looks.
        interval_ms: u64,
        /// Longest time for an answer.
        timeout_ms: u64,
    },
    /// The link of the interface that holds a local address is up.
    Intf {
        /// The local address; `None`: the interface of the virtual address `ident` stands for.
        local_addr: Option<String>,
        /// Interface by name instead.
        interface: Option<String>,
    },
    /// An address is set here and no other machine has it.
    Ip {
        /// The address.
        addr: String,
        /// Time between two looks.
        interval_ms: u64,
    },
    /// A program of the module's `bin`, which runs for ever and sets its resource itself.
    Custom {
        /// Path below `bin`.
        exec: String,
        /// Its further arguments, as written.
        arg: String,
    },
    /// Another module is Ready.
    Module {
        /// Its name.
        name: String,
        /// A node's address or name; `None`: this node.
        addr: Option<String>,
        /// Port of the health URL there.
        port: u16,
        /// Time between two looks.
        interval_ms: u64,
        /// Longest time for an answer.
        timeout_ms: u64,
    },
}

/// `<splitbrain>`: who is asked when every heartbeat link is silent, and so what an isolated node may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Witness {
    /// Nobody: two nodes may serve while every link is cut.
    #[default]
    None,
    /// `exec="ping"`: at least one of these must answer; safe only if isolation hides them from one side.
    Ping {
        /// Second half of the resource `splitbrain.<ident>`.
        ident: String,
        /// Addresses or names.
        addresses: Vec<String>,
    },
    /// `exec="register"`: a record at the management server grants one node each generation.
    Server {
        /// Second half of the resource `splitbrain.<ident>`.
        ident: String,
    },
    /// `exec="etcd"`: the same record, in etcd.
    Etcd {
        /// Second half of the resource `splitbrain.<ident>`.
        ident: String,
        /// URLs of its members, `http://host:2379`.
        endpoints: Vec<String>,
    },
}

/// `<failover>`: rules on resources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// Added to the default rules (`true`), or in their place.
    pub extends: bool,
    /// Time between two evaluations.
    pub period_ms: u64,
    /// The same action must hold this long before it is taken.
    pub handle_time_ms: u64,
    /// The user's rules, in the order written.
    pub rules: Vec<Rule>,
}

impl Default for Failover {
    fn default() -> Self {
        Self { extends: true, period_ms: 5000, handle_time_ms: 15_000, rules: Vec::new() }
    }
}

impl Checker {
    /// Name of its resource, such as `tcp.web`.
    pub fn resource(&self) -> String {
        let class = match self.probe {
            Probe::Tcp { .. } => "tcp",
            Probe::Ping { .. } => "ping",
            Probe::Intf { .. } => "intf",
            Probe::Ip { .. } => "ip",
            Probe::Custom { .. } => "custom",
            Probe::Module { .. } => "module",
        };
        format!("{class}.{}", self.ident)
    }
}
