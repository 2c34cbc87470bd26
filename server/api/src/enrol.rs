//! Enrolment: how a node gets its certificate, by pairing code on port 9001 or by a one-time token (`join`).
//!
//! On 9001 (TLS with the agent's own key, newline-delimited JSON, at most [`LINE_BYTES_MAX`] a line):
//!
//! 1. agent → `Identity` (the server compares the fingerprint with the TLS key it sees; a probe closes here);
//! 2. server → `PakeStart` (SPAKE2 over Ed25519, the server is side A; the agent counts an attempt now);
//! 3. agent → `Pake` (side B);
//! 4. server → `ServerConfirm` (tag); a wrong one is answered by `Refused` with the attempts left;
//! 5. agent → `AgentConfirm` (tag that covers its CSR);
//! 6. server → `Enrolled` (tag that covers everything in it). The agent saves it, answers `Done`, and closes 9001.
//!
//! Every tag binds the role, the fingerprint of the agent's TLS key as its maker sees it, and both PAKE messages, so a
//! man in the middle, who has another TLS key or does not know the code, cannot make one.

use crate::ids::NodeId;
use serde::{Deserialize, Serialize};

/// Version of this protocol. History: 1, first.
pub const ENROL_VERSION: u32 = 1;
/// Longest line, in bytes, its line feed included.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Port on which a fresh agent listens.
pub const ENROL_PORT: u16 = 9001;
/// Wrong guesses after which pairing closes until it is reopened on the node.
pub const ATTEMPTS_MAX: u32 = 3;
/// SPAKE2 identity of the server, side A.
pub const IDENTITY_SERVER: &[u8] = b"holdfast server";
/// SPAKE2 identity of the agent, side B.
pub const IDENTITY_AGENT: &[u8] = b"holdfast agent";

/// What the agent says on 9001.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AgentLine {
    /// First line.
    Identity(Identity),
    /// Answer to `PakeStart`.
    Pake {
        /// Hex of the SPAKE2 message of side B.
        message: String,
    },
    /// The server's tag was right; here is the agent's.
    AgentConfirm {
        /// Certificate request (PEM, PKCS#10) for the node's key.
        csr: String,
        /// Hex; [`tag`] with [`Role::Agent`] over the CSR.
        tag: String,
    },
    /// The certificate was saved.
    Done,
    /// No.
    Refused {
        /// Why, and the cure.
        reason: String,
        /// Guesses left before pairing closes.
        attempts_left: u32,
    },
}

/// What the server says on 9001.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerLine {
    /// Begins the PAKE.
    PakeStart {
        /// [`ENROL_VERSION`].
        protocol: u32,
        /// Hex of the SPAKE2 message of side A.
        message: String,
    },
    /// Proves that the server knows the code.
    ServerConfirm {
        /// Hex; [`tag`] with [`Role::Server`] over nothing.
        tag: String,
    },
    /// The node is enrolled.
    Enrolled {
        /// What the agent keeps.
        enrolment: Enrolment,
        /// Hex; [`tag`] with [`Role::Enrolled`] over [`Enrolment::parts`].
        tag: String,
    },
    /// No.
    Refused {
        /// Why, and the cure.
        reason: String,
    },
}

/// Who an agent says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// [`ENROL_VERSION`] of the agent.
    pub protocol: u32,
    /// Name of the node.
    pub name: String,
    /// Version of the agent's program.
    pub version: String,
    /// Fingerprint of the key of this TLS connection and of the node: lower-case hex SHA-256 of its SPKI.
    pub fingerprint: String,
    /// Guesses left.
    pub attempts_left: u32,
}

/// What a node keeps of its enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Certificate of the node's key (PEM), signed by the server's CA.
    pub certificate: String,
    /// The server's CA (PEM): the only one the agent trusts for the server.
    pub ca: String,
    /// Where to dial ("host:port", IPv6 in brackets), most preferred first.
    pub servers: Vec<String>,
    /// The node's number.
    pub node: NodeId,
    /// The node's name in the cluster.
    pub name: String,
}

impl Enrolment {
    /// The parts that the tag of `Enrolled` covers, in order.
    pub fn parts(&self) -> Vec<Vec<u8>> {
        let mut parts = vec![
            self.certificate.clone().into_bytes(),
            self.ca.clone().into_bytes(),
            self.node.0.to_le_bytes().to_vec(),
            self.name.clone().into_bytes(),
        ];
        parts.extend(self.servers.iter().map(|server| server.clone().into_bytes()));
        parts
    }
}

/// Body of `POST /api/v1/join`; answered by an [`Enrolment`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// [`ENROL_VERSION`].
    pub protocol: u32,
    /// [`JoinToken::secret`].
    pub secret: String,
    /// Name of the node.
    pub name: String,
    /// Version of the agent's program.
    pub version: String,
    /// Certificate request (PEM) for the node's key.
    pub csr: String,
}

/// The token of `holdfast-agent join`: `<secret>.<fingerprint of the CA's key>`, both hex.
///
/// The fingerprint is how the agent knows the server: the server's TLS chain holds its CA certificate, whose key must
/// have this fingerprint and must have signed the leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// 32 hex digits.
    pub secret: String,
    /// 64 hex digits.
    pub ca_fingerprint: String,
}

impl JoinToken {
    /// Reads the text form.
    ///
    /// # Errors
    /// What is wrong, in plain words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let hex = |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit());
        match text.trim().split_once('.') {
            Some((secret, ca)) if hex(secret, 32) && hex(ca, 64) => {
                Ok(Self { secret: secret.to_ascii_lowercase(), ca_fingerprint: ca.to_ascii_lowercase() })
            }
            _ => Err("this is no join token; copy it whole from the console (New node → token)".to_owned()),
        }
    }
}

impl std::fmt::Display for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.secret, self.ca_fingerprint)
    }
}

/// A pairing code as people may type it (spaces, hyphens, lower case) in the form that goes into the PAKE.
pub fn normalize_code(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

/// Who makes a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `ServerConfirm`.
    Server,
    /// `AgentConfirm`.
    Agent,
    /// `Enrolled`.
    Enrolled,
}

/// What both ends know once the PAKE messages are exchanged.
#[cfg(feature = "enrol")]
#[derive(Clone, Debug)]
pub struct Transcript {
    /// Key from the PAKE.
    pub pake_key: Vec<u8>,
    /// Message of side A, as bytes.
    pub message_a: Vec<u8>,
    /// Message of side B, as bytes.
    pub message_b: Vec<u8>,
    /// Fingerprint of the agent's TLS key, as this end sees it.
    pub fingerprint: String,
}

#[cfg(feature = "enrol")]
impl Transcript {
    /// The tag of `role` over `parts`, in hex.
    pub fn tag(&self, role: Role, parts: &[Vec<u8>]) -> String {
        self.compute(role, parts).to_hex().to_string()
    }

    /// True if `tag` is the tag of `role` over `parts`; compared in constant time.
    pub fn verify(&self, role: Role, parts: &[Vec<u8>], tag: &str) -> bool {
        blake3::Hash::from_hex(tag).is_ok_and(|tag| tag == self.compute(role, parts))
    }

    fn compute(&self, role: Role, parts: &[Vec<u8>]) -> blake3::Hash {
        let key = blake3::derive_key("holdfast 2026-11 enrolment confirmation key", &self.pake_key);
        let mut hasher = blake3::Hasher::new_keyed(&key);
        let role: &[u8] = match role {
            Role::Server => b"server confirms",
            Role::Agent => b"agent confirms",
            Role::Enrolled => b"server enrols",
        };
        let fixed = [role, &ENROL_VERSION.to_le_bytes(), &self.message_a, &self.message_b, self.fingerprint.as_bytes()];
        for part in fixed.into_iter().chain(parts.iter().map(Vec::as_slice)) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_compared_without_spaces_hyphens_and_case() {
        assert_eq!(normalize_code(" abcd-12 3\n"), "ABCD123");
    }

    #[test]
    fn tokens_are_read_as_written_and_others_refused() {
        let token = JoinToken { secret: "ab".repeat(16), ca_fingerprint: "0f".repeat(32) };
        assert_eq!(JoinToken::parse(&format!(" {token}\n")), Ok(token));
        assert!(JoinToken::parse("abc").is_err());
        assert!(JoinToken::parse(&format!("{}.{}", "zz".repeat(16), "0f".repeat(32))).is_err());
    }

    #[cfg(feature = "enrol")]
    #[test]
    fn a_tag_holds_for_one_role_one_key_and_its_parts_only() {
        let t = Transcript { pake_key: vec![1; 32], message_a: vec![2], message_b: vec![3], fingerprint: "aa".into() };
        let parts = [b"ab".to_vec(), b"c".to_vec()];
        let tag = t.tag(Role::Agent, &parts);
        assert!(t.verify(Role::Agent, &parts, &tag));
        assert!(!t.verify(Role::Server, &parts, &tag));
        assert!(!t.verify(Role::Agent, &[b"a".to_vec(), b"bc".to_vec()], &tag));
        let other = Transcript { fingerprint: "ab".into(), ..t.clone() };
        assert!(!other.verify(Role::Agent, &parts, &tag));
        assert!(!t.verify(Role::Agent, &parts, "not hex"));
    }
}
