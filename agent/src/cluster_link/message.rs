//! What nodes tell each other on the cluster link without being asked: a greeting, then the whole of what they are.
//!
//! Requests between nodes are those of the command line (`control::Ask`), each on a stream of its own.

use crate::agent::Agent;
use holdfast_api::agent::NodeModuleReport;
use holdfast_api::config::ClusterConfig;
use serde::{Deserialize, Serialize};

/// Version of these messages. History: 1, first.
pub const PROTOCOL: u32 = 1;
/// Longest greeting, in bytes.
pub const HELLO_MAX: usize = 4 * 1024;
/// Longest status, in bytes: that of 200 modules with long reasons.
pub const STATUS_MAX: usize = 1024 * 1024;

/// First frame in both directions; who speaks, its key says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`] of the sender.
    pub protocol: u32,
    /// Version of its program.
    pub version: String,
}

/// What a node is; sent whole at every change and every other second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of its program.
    pub version: String,
    /// Its cluster configuration.
    pub cluster: Mark,
    /// It has a session with the management server.
    pub server: bool,
    /// Its modules, by name.
    pub modules: Vec<ModuleStatus>,
}

/// A module of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModuleStatus {
    /// What it is.
    pub report: NodeModuleReport,
    /// Its configuration; none: it is not usable there.
    pub config: Option<Mark>,
}

/// A configuration without its content, for comparing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Its version; 0: there is none.
    pub version: u64,
    /// Hash of its content (of a secret in it only a hash goes in); equal contents have equal signatures.
    pub signature: String,
    /// When this node took it.
    pub unix_ms: u64,
}

impl Hello {
    /// That of this program.
    pub fn own() -> Self {
        Self { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// Reads a greeting.
///
/// # Errors
/// Why it is refused, for both ends to read.
pub fn read_hello(bytes: &[u8]) -> Result<Hello, String> {
    // Other versions may have other fields beside these two, which stay as they are for ever.
    let said: Hello =
        serde_json::from_slice(bytes).map_err(|error| format!("the greeting is not understood: {error}"))?;
    if said.protocol == PROTOCOL {
        return Ok(said);
    }
    let version: String = said.version.chars().take(40).collect();
    Err(format!(
        "cluster link protocol {} (version {version}) meets protocol {PROTOCOL} (version {}): install the same version \
         on both nodes",
        said.protocol,
        env!("CARGO_PKG_VERSION")
    ))
}

/// Signature of a cluster configuration: equal for equal contents, whatever the version; the secret cannot be found
/// from it, since it is 32 random bytes and goes in as a derived key.
pub fn cluster_signature(config: &ClusterConfig) -> String {
    let mut shown = config.clone();
    shown.version = 0;
    let secret = blake3::derive_key("holdfast cluster signature v1", config.secret.as_bytes());
    shown.secret = blake3::Hash::from(secret).to_hex().to_string();
    blake3::hash(&serde_json::to_vec(&shown).unwrap_or_default()).to_hex().to_string()
}

/// What this node is.
pub async fn status(agent: &Agent) -> Status {
    let mut marks = agent.module_marks().await;
    let modules = agent.reports.all().into_iter().map(|report| {
        let config = marks.remove(&report.module);
        ModuleStatus { report, config }
    });
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        server: agent.has_server(),
        modules: modules.collect(),
        cluster: agent.cluster_mark().await,
    }
}

#[cfg(test)]
mod tests {
    use super::{Hello, PROTOCOL, cluster_signature, read_hello};
    use holdfast_api::config::ClusterConfig;

    #[test]
    fn greeting_of_another_version_is_refused_by_name() {
        let own = Hello::own();
        assert_eq!(read_hello(&serde_json::to_vec(&own).unwrap()), Ok(own));
        let other = format!("{{\"protocol\":{},\"version\":\"9.9\",\"more\":1}}", PROTOCOL + 1);
        let reason = read_hello(other.as_bytes()).unwrap_err();
        assert!(reason.contains("9.9") && reason.contains("same version"), "{reason}");
        assert!(read_hello(b"{}").unwrap_err().contains("not understood"));
    }

    #[test]
    fn signature_shows_any_difference_but_the_version_and_hides_the_secret() {
        let one = ClusterConfig { version: 1, secret: "ab".repeat(32), ..ClusterConfig::default() };
        let later = ClusterConfig { version: 2, ..one.clone() };
        let other = ClusterConfig { secret: "cd".repeat(32), ..one.clone() };
        assert_eq!(cluster_signature(&one), cluster_signature(&later));
        assert_ne!(cluster_signature(&one), cluster_signature(&other));
    }
}
