//! What the wizard edits: a view of a module's `userconfig.xml` and scripts; with `validate()`.

mod check;

use crate::checker::{CheckAction, ProcAction, When};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most process checkers of a module.
pub const PROCESSES_MAX: usize = 32;
/// Most checkers of a module besides those of processes.
pub const CHECKERS_MAX: usize = 64;
/// Longest script, in bytes.
pub const SCRIPT_BYTES_MAX: usize = 256 * 1024;

/// Every script that is called, in the order of a start followed by a stop.
pub const SCRIPT_NAMES: &[&str] = &[
    "prestart",
    "start_both",
    "start_prim",
    "start_second",
    "start_sec",
    "stop_sec",
    "stop_second",
    "stop_prim",
    "stop_both",
    "poststop",
    "transition",
];

/// What the wizard edits: a view of a module's `userconfig.xml` and scripts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ModuleSettings {
    /// Name of the module.
    pub name: String,
    /// `<service mode>`; not changed by saving.
    pub mode: ModuleMode,
    /// `<heart pulse>`: milliseconds between heartbeats.
    pub pulse_ms: u32,
    /// `<heart timeout>`: milliseconds of silence after which the peer counts as lost.
    pub timeout_ms: u32,
    /// `<heartbeat>`: networks of the cluster that carry heartbeats; none in a light module.
    pub networks: Vec<String>,
    /// The one of them that carries the replication; empty in a light module.
    pub flow: String,
    /// `<service maxloop>`: restarts within `loop_interval_h` after which the module stops.
    pub maxloop: u32,
    /// `<service loop_interval>`: hours.
    pub loop_interval_h: u32,
    /// `<rfs><replicated dir>`: the replicated directories; none: nothing is replicated.
    pub directories: Vec<String>,
    /// `<vip>`: the addresses that follow the primary; none: clients come by a load balancer.
    pub addresses: Vec<VirtualIp>,
    /// `<errd polltimer>`: seconds between two looks at the processes.
    pub polltimer_s: u32,
    /// `<errd><proc>`: the process checkers.
    pub processes: Vec<ProcessChecker>,
    /// `<check>`: the other checkers, without those that come with virtual addresses.
    pub checkers: Vec<CheckerSettings>,
    /// `<splitbrain>`: who is asked when the nodes cannot hear each other.
    pub witness: WitnessSettings,
    /// `<macro>`: names with the text that stands for them; the names are not changed by saving.
    pub macros: Vec<MacroSettings>,
    /// The scripts in `bin/`, by file name: of [`SCRIPT_NAMES`].
    pub scripts: BTreeMap<String, String>,
}

/// What kind of module it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ModuleMode {
    /// Two nodes, one primary, data replicated.
    #[default]
    Mirror,
    /// One node: the application is started, watched and restarted there.
    Light,
}

/// One `<proc>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ProcessChecker {
    /// Command name, at most 15 bytes (what the kernel keeps).
    pub name: String,
    /// Regular expression on the whole command line; empty: any.
    #[serde(default)]
    pub argregex: String,
    /// Fewer running than this: act.
    pub atleast: u32,
    /// What to do: `restart`, `stopstart`, `stop`, `noaction`, or a program of the module's `bin`.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub action: ProcAction,
    /// When it is watched: `prim` (the primary), `second`, `both`, `sec`, `pre`, or a class of the module's own.
    pub class: String,
}

/// One `<virtual_addr>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VirtualIp {
    /// IPv4 or IPv6 address, or a DNS name.
    pub addr: String,
    /// Network interface, the same on both nodes; empty: the one whose network holds the address.
    pub interface: String,
    /// Length of the network prefix; none: that of the interface.
    pub prefix: Option<u8>,
}

/// What a checker looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum CheckerKind {
    /// A TCP connection can be made.
    #[default]
    Tcp,
    /// An address answers pings.
    Ping,
    /// The link of a network interface is up.
    Intf,
    /// An address is set here and on no other machine.
    Ip,
    /// A program of the module sets the resource.
    Custom,
    /// Another module is Ready.
    Module,
}

/// One checker of `<check>`. Fields that its kind has not are empty or 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CheckerSettings {
    /// What it looks at.
    pub kind: CheckerKind,
    /// Second half of its resource, such as `web` in `tcp.web`; for another module, empty: by that module's name.
    pub ident: String,
    /// When it looks.
    pub when: When,
    /// What its failure does.
    pub action: CheckAction,
    /// Address (`tcp`, `ping`, `ip`), address of this node on the interface (`intf`), program in `bin` (`custom`), name of
    /// the other module (`module`).
    pub target: String,
    /// Port: of `tcp`, and of the health page of a `module` elsewhere.
    pub port: u16,
    /// Arguments of the program (`custom`); address of the node on which the other module runs, empty: here (`module`).
    pub arg: String,
    /// Milliseconds between two looks: `tcp`, `ping`, `ip`, `module`.
    pub interval_ms: u32,
    /// Longest milliseconds for an answer: `tcp`, `ping`, `module`.
    pub timeout_ms: u32,
}

/// Who is asked when the nodes cannot hear each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum WitnessKind {
    /// Nobody.
    #[default]
    None,
    /// Addresses that must answer pings.
    Ping,
    /// The register at the management server.
    Register,
    /// The register in etcd.
    Etcd,
}

/// `<splitbrain>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WitnessSettings {
    /// Who.
    pub kind: WitnessKind,
    /// With `ping`: addresses or names; with `etcd`: URLs such as `http://192.0.2.5:2379`; empty otherwise.
    pub addresses: Vec<String>,
}

/// One `<macro>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MacroSettings {
    /// What stands between percent signs.
    pub name: String,
    /// What is put in its place.
    pub value: String,
}

impl CheckerKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Tcp, Self::Ping, Self::Intf, Self::Ip, Self::Custom, Self::Module];

    /// First half of its resource; the element in the XML.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Ping => "ping",
            Self::Intf => "intf",
            Self::Ip => "ip",
            Self::Custom => "custom",
            Self::Module => "module",
        }
    }
}

impl CheckerSettings {
    /// Name of its resource, such as `tcp.web`.
    pub fn resource(&self) -> String {
        let ident = match (self.kind, self.ident.is_empty(), self.arg.is_empty()) {
            (CheckerKind::Module, true, true) => self.target.clone(),
            (CheckerKind::Module, true, false) => format!("{}_{}", self.target, self.arg),
            _ => self.ident.clone(),
        };
        format!("{}.{ident}", self.kind.as_str())
    }
}
