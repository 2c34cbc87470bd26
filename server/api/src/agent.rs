//! Messages between server and agent over the agent's WebSocket: JSON text frames, mutual TLS, one session per node.
//!
//! The agent dials `wss://<server>/agent` with SNI [`AGENT_SNI`] and speaks first ([`FromAgent::Hello`]); the server
//! answers `Welcome` or `Refused`. Then the server sends `Request`s (each answered by one `Answer` with its id, a
//! snapshot by several) and the agent sends `Report`s: at once on every change and at least every
//! [`REPORT_INTERVAL_MS`]. A report is a level: the whole of what the node is, so a lost one costs nothing. The one
//! thing an agent asks of the server is the register, and only for modules whose witness it is.

mod aside;
mod logs;
mod register;
mod reports;
mod requests;

pub use aside::{ASIDE_ENTRIES_MAX, AsideCopy, AsideEntry, AsidePage};
pub use logs::{LOG_LINES_MAX, LogKind, LogLine, LogPage, LogWanted};
pub use register::{RegisterAnswer, RegisterMatter, RegisterQuestion};
pub(crate) use reports::finite;
pub use reports::{
    InventoryReport, NodeModuleReport, NodeReport, PeerReport, ReplicationReport, ResourceReport, ResyncReport,
    ScrubReport, ScrubResult,
};
pub use requests::{Answer, CHUNK_BYTES, ChecksSwitch, ModuleCommand, PATHS_MAX, PathFacts, ProcessFacts, Request};

use crate::ids::{ModuleId, NodeId};
use serde::{Deserialize, Serialize};

/// Version of these messages. History: 1, first; 2, the register; 3, the command log and the switches of the checkers;
/// 4, the console over plain http and the scrub.
pub const PROTOCOL_VERSION: u32 = 4;
/// Longest frame, in bytes; longer ones end the session.
pub const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Name by which agents, and only agents, ask the server's TLS for a session with client certificate.
pub const AGENT_SNI: &str = "agent.holdfast.internal";
/// Name by which a node that joins with a token asks the server's TLS for the certificate of the server's own authority:
/// browsers may see another one.
pub const JOIN_SNI: &str = "join.holdfast.internal";
/// Header by which an agent tells whose request it carries to the server: address and port of a browser.
pub const CLIENT_HEADER: &str = "x-holdfast-client";
/// Path of the agents' WebSocket.
pub const AGENT_PATH: &str = "/agent";
/// A quiet agent repeats its report this often.
pub const REPORT_INTERVAL_MS: u64 = 5_000;

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromAgent {
    /// First frame of a session.
    Hello(Hello),
    /// What the node is now.
    Report(NodeReport),
    /// Answer to the request with this id.
    Answer {
        /// Number of the request.
        id: u64,
        /// The answer.
        answer: Answer,
    },
    /// A question to the register; answered by `FromServer::RegisterAnswered` with the same id.
    AskRegister {
        /// Number, unique within the session.
        id: u64,
        /// The question.
        question: RegisterQuestion,
    },
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromServer {
    /// The session stands.
    Welcome {
        /// This node's number.
        node: NodeId,
        /// This node's name, as the cluster knows it.
        name: String,
        /// Version of the server's program.
        server_version: String,
        /// Where to dial from now on ("host:port"), most preferred first; replaces what enrolment said.
        servers: Vec<String>,
        /// A renewed certificate (PEM) for the node's key, when the old one is near its end.
        certificate: Option<String>,
        /// This life of the server's register (drawn at its start): nodes whose witness it is tell it what they hold.
        register_life: u64,
    },
    /// The session is refused; the connection closes.
    Refused {
        /// Why, and the cure.
        reason: String,
    },
    /// Something to do; answered by `FromAgent::Answer` with the same id.
    Request {
        /// Number, unique within the session.
        id: u64,
        /// What.
        request: Request,
    },
    /// What the node is to do for the server until the session ends, or until this comes again; without it, none of it.
    Serve {
        /// Carry browsers' requests on port 9010 to the server.
        console: bool,
    },
    /// Answer of the register to the question with this id.
    RegisterAnswered {
        /// Number of the question.
        id: u64,
        /// The answer.
        answer: RegisterAnswer,
    },
}

/// First frame of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the agent.
    pub protocol: u32,
    /// Version of the agent's program.
    pub version: String,
    /// Name of the node.
    pub node: String,
    /// The machine's boot id, as text.
    pub boot_id: String,
    /// Version of the cluster configuration held; 0: none.
    pub cluster_version: u64,
    /// Modules held.
    pub modules: Vec<HeldModule>,
}

/// A module that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldModule {
    /// Its number.
    pub id: ModuleId,
    /// Its name.
    pub name: String,
    /// Version of its configuration.
    pub version: u64,
}
