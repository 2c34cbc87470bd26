//! What an agent asks the register, and the answers.

use crate::ids::ModuleId;
use serde::{Deserialize, Serialize};

/// What a node asks the register, for itself: who asks is known from the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterQuestion {
    /// Of this module.
    pub module: ModuleId,
    /// The module's name: to a server restored from a backup the number alone may mean another module.
    pub name: String,
    /// What is asked.
    pub matter: RegisterMatter,
}

/// See [`crate::register`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum RegisterMatter {
    /// Whether the register would decide a claim. Answered by `Ready` or `Refused`.
    Look,
    /// The generation that this node holds, once in each life of the register. Answered as `Look`.
    Holds {
        /// The register's life, as in [`super::FromServer::Welcome`].
        life: u64,
        /// Number of the generation.
        number: u64,
    },
    /// A generation for this node. Answered by `Granted` or `Refused`.
    Claim {
        /// Its number.
        number: u64,
        /// Drawn for this wish; the same when it is repeated.
        nonce: u64,
    },
}

/// What the register says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum RegisterAnswer {
    /// It decides claims for this module.
    Ready,
    /// The claim stands: the number is this node's, durably.
    Granted,
    /// The claim does not stand, or none would.
    Refused {
        /// Highest number known to be taken; 0 where the asker may ask again later.
        number: u64,
        /// Why, and the cure.
        reason: String,
    },
    /// The question could not be decided: it is as if it had not come.
    Failed {
        /// Why, and the cure.
        reason: String,
    },
}
