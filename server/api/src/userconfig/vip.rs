//! `<vip>`: the virtual addresses of a module.

use serde::{Deserialize, Serialize};

/// `<vip>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// Reset the TCP connections of the addresses before they are removed.
    pub tcpreset: bool,
    /// One for each `<interface>`, in the order written.
    pub interfaces: Vec<VipInterface>,
}

/// `<interface>` of `<vip>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipInterface {
    /// Name of the network interface, the same on all nodes; `None`: the one whose network holds the address.
    pub name: Option<String>,
    /// A link that is down makes the module wait (resource `intf.<network>`).
    pub check: bool,
    /// Repeat the announcement of the addresses.
    pub arpreroute: bool,
    /// Time between two announcements.
    pub arpinterval_ms: u64,
    /// How long they are repeated.
    pub arpelapse_ms: u64,
    /// Its addresses.
    pub addresses: Vec<VirtualAddress>,
}

/// `<virtual_addr>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// IPv4 or IPv6 address, or a DNS name.
    pub addr: String,
    /// `where`.
    pub place: AddressPlace,
    /// A missing or conflicting address is a failure (resource `ip.<addr>`).
    pub check: bool,
    /// Count the connections to it (resource `connections.<addr>`).
    pub connections: bool,
    /// Length of the network prefix; `None`: that of the interface.
    pub prefix: Option<u8>,
}

/// `where` of a `<virtual_addr>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressPlace {
    /// Beside the interface's own address, on the primary.
    #[default]
    OneSideAlias,
    /// In place of the interface's own address as source of outgoing connections, on the primary.
    OneSide,
}
