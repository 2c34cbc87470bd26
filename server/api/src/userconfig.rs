//! `userconfig.xml` of a module: the typed configuration, read from text with exact positions and written back.

mod check;
mod define;
mod edit;
mod exclude;
mod guide;
mod read;
pub mod schedule;
mod sign;
#[cfg(test)]
mod tests;
mod value;
mod vip;

pub use crate::checker::{CheckAction, ProcAction, When};
pub use check::{Check, Checker, Failover, Probe, Witness};
pub use exclude::{Excluded, Exclusion, compile};
pub use vip::{AddressPlace, Vip, VipInterface, VirtualAddress};

use serde::{Deserialize, Serialize};
use std::fmt;

/// Largest accepted text, in bytes.
pub const TEXT_MAX: usize = 256 * 1024;

/// A module's configuration, as checked and with all defaults filled in. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserConfig {
    /// `<service>`.
    pub service: Service,
    /// `<heart>`; without links in a light module.
    pub heart: Heart,
    /// `<vip>`; without it the module has no virtual address.
    pub vip: Option<Vip>,
    /// `<errd>`; empty without it.
    pub errd: Errd,
    /// `<rfs>`; without it nothing is replicated.
    pub rfs: Option<Rfs>,
    /// `<user>`; without it no script is run.
    pub user: Option<User>,
    /// `<vhost>`; empty without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vhosts: Vec<VirtualHost>,
    /// `<check>`, without its `<splitbrain>`.
    pub check: Check,
    /// `<check><splitbrain>`: who is asked when every link is silent.
    pub witness: Witness,
    /// `<failover>`; the default rules alone without it.
    pub failover: Failover,
    /// What was accepted and is not used by this version.
    pub notes: Vec<Note>,
}

/// `<service>`: what kind of module it is, when it starts, and how often to try again here before giving up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// `mode`.
    pub mode: Mode,
    /// `boot`.
    pub boot: Boot,
    /// Time to wait before a start at boot.
    pub boot_delay_ms: u64,
    /// A secondary takes over by itself.
    pub failover: bool,
    /// Who is primary once both nodes are in sync again.
    pub defaultprim: DefaultPrim,
    /// A `stopstart` reboots the machine instead.
    pub automatic_reboot: bool,
    /// Automatic restarts within `loop_interval_ms`; one more stops the module.
    pub maxloop: u32,
    /// Window for `maxloop`; 0 does not count.
    pub loop_interval_ms: u64,
}

/// `mode` of `<service>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Two nodes, one primary, data replicated.
    #[default]
    Mirror,
    /// One node: the application is started, watched and restarted here.
    Light,
}

/// `boot` of `<service>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Boot {
    /// As set on the node (`holdfast boot`, the console's switch).
    #[default]
    Ignore,
    /// Starts at boot.
    On,
    /// Stays stopped at boot.
    Off,
    /// Starts at boot if it was running when the machine went down.
    Auto,
}

/// `defaultprim` of `<service>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultPrim {
    /// The node that is ALONE stays primary.
    #[default]
    Alone,
    /// The node that was primary before its last stop becomes primary again.
    Lastprim,
    /// The node of this name, by a swap once both are in sync.
    Node(String),
}

/// `<virtualhostname>`: a host name for the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualHost {
    /// What the application sees.
    pub name: String,
    /// File in the module's bin folder that a script sources to see it.
    pub envfile: String,
    /// `prim`, `second` or `both`: whose scripts see it.
    pub when: When,
}

/// `<heart>`: the heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heart {
    /// UDP port; `None`: by the module's number.
    pub port: Option<u16>,
    /// Time between two heartbeats, on a network that has no pulse of its own.
    pub pulse_ms: u64,
    /// Silence after which a network that has no timeout of its own counts as lost; the peer is lost with the last.
    pub timeout_ms: u64,
    /// The networks, in the order written.
    pub links: Vec<HeartbeatLink>,
}

impl Heart {
    /// Pulse and timeout of a network, in milliseconds.
    pub fn times_of(&self, link: &HeartbeatLink) -> (u64, u64) {
        (link.pulse_ms.unwrap_or(self.pulse_ms), link.timeout_ms.unwrap_or(self.timeout_ms))
    }

    /// The shortest pulse of all networks, in milliseconds.
    pub fn shortest_pulse_ms(&self) -> u64 {
        self.links.iter().map(|link| self.times_of(link).0).min().unwrap_or(self.pulse_ms)
    }

    /// The shortest timeout of all networks, in milliseconds: with the others cut before, a peer may count this node as
    /// lost after it.
    pub fn shortest_timeout_ms(&self) -> u64 {
        self.links.iter().map(|link| self.times_of(link).1).min().unwrap_or(self.timeout_ms)
    }
}

/// `<heartbeat>`: one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatLink {
    /// Name of the lan in the cluster configuration.
    pub lan: String,
    /// `flow` puts the replication on this lan; otherwise a name for the log.
    pub ident: String,
    /// Its own pulse; `None`: that of `<heart>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulse_ms: Option<u64>,
    /// Its own timeout; `None`: that of `<heart>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl HeartbeatLink {
    /// A network with the times of `<heart>`.
    pub fn new(lan: &str, ident: &str) -> Self {
        Self { lan: lan.to_owned(), ident: ident.to_owned(), pulse_ms: None, timeout_ms: None }
    }
}

/// `<errd>`: which processes must run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errd {
    /// Time between two looks at the process list.
    pub polltimer_ms: u64,
    /// The processes.
    pub procs: Vec<Proc>,
}

/// `<proc>`: one check of the process list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proc {
    /// Command name (at most 15 characters, as the kernel keeps it) or systemd unit; also names the check: resource
    /// `proc.<name>`.
    pub name: String,
    /// `name` is a systemd unit.
    pub service: bool,
    /// Regular expression on the command name, instead of `name`.
    pub nameregex: Option<String>,
    /// Regular expression on the whole command line, in addition to the name.
    pub argregex: Option<String>,
    /// Fewer running processes than this is a failure; `None`: not looked at.
    pub atleast: Option<u32>,
    /// More running processes than this is a failure; `None`: not looked at.
    pub atmax: Option<u32>,
    /// What a failure does.
    pub action: ProcAction,
    /// When it is watched: `pre`, `prim`, `both`, `second`, `sec`, or a class of the module's own, switched by
    /// `holdfast errd enable`.
    pub class: String,
    /// Looks to skip after the start of the application.
    pub start_after: u32,
    /// Names passed to the scripts of a restart as `-Services "a, b"`.
    pub restart_services: Vec<String>,
}

/// `<rfs>`: the replication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rfs {
    /// When the secondary acknowledges.
    pub acknowledge: Acknowledge,
    /// TLS between the nodes; `false` only on a trusted link.
    pub encryption: bool,
    /// Sending that blocks longer than this is a lost stream.
    pub send_timeout_ms: u64,
    /// `nbrei`: threads of a resync.
    #[serde(default = "resync_threads")]
    pub resync_threads: u32,
    /// `reiallowedbw`, in bytes per second: what a resync may send; 0: no limit.
    #[serde(default)]
    pub resync_bytes_per_s: u64,
    /// `scrub`: when both copies are compared, as a cron expression; `None`: only when somebody orders it.
    #[serde(default)]
    pub scrub: Option<String>,
    /// The replicated directories, absolute and none inside another.
    pub directories: Vec<String>,
    /// `<notreplicated>` of all directories, in the order written.
    #[serde(default)]
    pub exclusions: Vec<Exclusion>,
    /// `<tocheck>` of all directories: absolute paths that must be there before replication starts.
    #[serde(default)]
    pub required: Vec<String>,
    /// `<flow>`: the lan that carries the replication, if no heartbeat says so.
    pub flow: Option<String>,
}

fn resync_threads() -> u32 {
    6
}

/// `async` of `<rfs>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acknowledge {
    /// Applied to the secondary's files (in its page cache).
    Second,
    /// On the secondary's disk.
    None,
}

/// `<user>`: the scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Limit of a graceful stop script.
    pub nicestop_timeout_ms: u64,
    /// Limit of a stop script called with `force`.
    pub forcestop_timeout_ms: u64,
    /// Keep the scripts' output in the application log.
    pub logging: bool,
    /// Size from which the application log is rotated, in bytes.
    pub log_size_bytes: u64,
    /// Environment of the scripts.
    pub vars: Vec<Var>,
}

/// `<var>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Var {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// What the user's guide says of an attribute, for help beside a field. `elements` are those it stands in, from the
/// outermost inwards: `safe/service/heart`. None for what is not in the guide.
pub fn meaning(elements: &str, attribute: &str) -> Option<&'static str> {
    guide::meaning(elements, attribute)
}

/// Something accepted that this version does not use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// One sentence.
    pub text: String,
}

/// What is wrong with a `userconfig.xml`, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserConfigError {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub cure: String,
}

impl fmt::Display for UserConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, problem, cure } = self;
        write!(f, "userconfig.xml, line {line}, column {column}: {problem}; {cure}")
    }
}

impl std::error::Error for UserConfigError {}

impl UserConfig {
    /// Reads the text of a `userconfig.xml`.
    pub fn parse(text: &str) -> Result<Self, UserConfigError> {
        read::parse(text)
    }

    /// The user's guide to the file in Markdown, written from the definitions the parser reads by.
    pub fn guide() -> String {
        guide::markdown()
    }

    /// Changes a text so that it says what `wanted` does: numbers of `<service>` and `<heart>`, networks, virtual addresses,
    /// replicated directories, process checks, checkers and the witness. Every byte that needs no change stays, comments
    /// and macros among them; `<vip>`, and each checker, is written anew as a whole.
    ///
    /// # Errors
    /// What is wrong with the text; or that the change cannot be made so. Nothing else is changed then.
    pub fn edit(text: &str, wanted: &Self) -> Result<String, UserConfigError> {
        edit::edit(text, wanted)
    }

    /// A text with its macros put in and taken out: it says the same to a reader that knows none. What is noted of it is
    /// noted at other places.
    ///
    /// # Errors
    /// What is wrong with the XML.
    pub fn expanded(text: &str) -> Result<String, UserConfigError> {
        edit::expanded(text)
    }

    /// Names and texts of the macros of a text, as written.
    ///
    /// # Errors
    /// What is wrong with the XML.
    pub fn macros(text: &str) -> Result<Vec<(String, String)>, UserConfigError> {
        edit::macros(text)
    }

    /// Gives macros of a text other texts: (name, text). Every byte that needs no change stays.
    ///
    /// # Errors
    /// What is wrong with the XML.
    pub fn set_macros(text: &str, wanted: &[(String, String)]) -> Result<String, UserConfigError> {
        edit::set_macros(text, wanted)
    }

    /// The checkers that the user wrote, without those that come with the virtual addresses.
    pub fn written_checkers(&self) -> &[Checker] {
        let all = &self.check.checkers;
        let complete = |count: usize| {
            let mut check = Check { checkers: all.get(..count).unwrap_or_default().to_vec() };
            if let Some(vip) = &self.vip {
                read::add_checkers(&mut check, vip, self.service.mode);
            }
            check.checkers == *all
        };
        let count = (0..=all.len()).find(|count| complete(*count)).unwrap_or(all.len());
        all.get(..count).unwrap_or_default()
    }

    /// Sets the virtual addresses and the user's checkers, and adds the checkers that come with the addresses.
    pub fn set_checked(&mut self, vip: Option<Vip>, written: Vec<Checker>) {
        self.check.checkers = written;
        if let Some(vip) = &vip {
            read::add_checkers(&mut self.check, vip, self.service.mode);
        }
        self.vip = vip;
    }

    /// Replicates these directories; one that replicated none does it with every preset.
    pub fn set_directories(&mut self, directories: Vec<String>) {
        match (&mut self.rfs, directories.is_empty()) {
            (rfs, true) => *rfs = None,
            (Some(rfs), false) => rfs.directories = directories,
            (rfs, false) => {
                const PRESET: &str = "<safe><service mode=\"mirror\"><heart><heartbeat name=\"default\"/></heart>\
                                      <rfs async=\"second\"><replicated dir=\"/x\"/></rfs></service></safe>";
                *rfs = Self::parse(PRESET).ok().and_then(|config| config.rfs).map(|rfs| Rfs { directories, ..rfs });
            }
        }
    }

    /// Hash of the parts that must be equal on both nodes and that change only while the module is stopped: mode,
    /// `<heart>`, `<rfs>` and `<splitbrain>`. FNV-1a of their canonical text, so the same in every program.
    pub fn signature(&self) -> u64 {
        let text = sign::signed_part(self);
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// The lan that carries the replication: the heartbeat with `ident="flow"`, else that of `<flow>`, else the first.
    pub fn flow_lan(&self) -> &str {
        let links = &self.heart.links;
        let flow = links.iter().find(|link| link.ident == "flow").map(|link| link.lan.as_str());
        let older = || self.rfs.as_ref().and_then(|rfs| rfs.flow.as_deref());
        flow.or_else(older).or(links.first().map(|link| link.lan.as_str())).unwrap_or("default")
    }
}

impl Proc {
    /// A check that one process of this name runs on the primary, with all presets.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            service: false,
            nameregex: None,
            argregex: None,
            atleast: Some(1),
            atmax: None,
            action: ProcAction::StopStart,
            class: "prim".to_owned(),
            start_after: 0,
            restart_services: Vec::new(),
        }
    }
}
