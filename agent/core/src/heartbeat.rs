//! The heartbeat: what a node tells its peer about a module, every pulse and at every change, over each network.
//!
//! Everything in it is a level, not an edge: a lost or repeated datagram changes nothing. The encoded form (versioned,
//! bounded, with a keyed BLAKE3 tag) is in `codec`; replay rules are in `replay`, liveness in `liveness`.

mod codec;

pub use codec::{
    DATAGRAM_MAX, DecodeError, FORMAT, KEY_CONTEXT, RESOURCE_NAME_MAX, RESOURCE_VALUE_MAX, RESOURCES_SAID_MAX, fits,
    module_key,
};

use holdfast_api::ids::{Generation, NodeId};
use holdfast_api::resource::ResourceValue;
use holdfast_api::state::{DataState, ModuleState, Readiness};
use serde::{Deserialize, Serialize};

/// One start of an agent: `count` rises with each start of that agent (durable), `id` is drawn at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// Durable counter of agent starts; a peer refuses a lower one, so take the larger of "last plus one" and the Unix
    /// time in seconds: then a node restored from an image is heard at once (if its clock did not run ahead before).
    pub count: u64,
    /// Random.
    pub id: u64,
}

/// What a node says about itself. Fields that decide are levels, so the newest heartbeat is all that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Who speaks.
    pub from: NodeId,
    /// The speaker's boot (a hash of the kernel's boot id): a new one means that the machine went down.
    pub boot_id: u64,
    /// The speaker's agent start.
    pub incarnation: Incarnation,
    /// The start since which the speaker holds what it holds: an agent that was restarted and went on with everything
    /// (see [`crate::settled`]) says the one of before; any other says `incarnation`.
    pub origin: Incarnation,
    /// Rises with each datagram of this incarnation and link.
    pub sequence: u64,
    /// The listener's incarnation as last heard by the speaker (zero: none yet). A first datagram of a new speaker
    /// incarnation is believed only if it echoes the listener's own, so that recorded datagrams are worthless.
    pub echo: Incarnation,
    /// The speaker waits for its disk: it lives, and nothing else that stands here counts.
    pub saving: bool,
    /// The speaker has heard the listener within its timeout (on any link): a one-way cut is seen by both.
    pub hears_you: bool,
    /// Hash of the parts of the configuration that must be equal on both nodes.
    pub signature: u64,
    /// State.
    pub state: ModuleState,
    /// Readiness.
    pub readiness: Readiness,
    /// The operator wants the module running here.
    pub running: bool,
    /// Data state.
    pub data: DataState,
    /// Generation of the speaker's data.
    pub generation: Generation,
    /// Its earlier generations, newest first.
    pub history: Vec<Generation>,
    /// See [`crate::durable::Durable::solo`].
    pub solo: bool,
    /// See [`crate::durable::Durable::outdated_since`]: a grant for the listener.
    pub outdated_since: u64,
    /// See [`crate::durable::Durable::continued`].
    pub continued: bool,
    /// See [`crate::durable::Durable::was_primary`].
    pub was_primary: bool,
    /// The speaker was primary when it was last stopped, and has not been since (`defaultprim="lastprim"`).
    pub claims: bool,
    /// A secondary takes over by itself, as the speaker sees it.
    pub failover: bool,
    /// The speaker asks the listener to save "Outdated since this number" and to say so (0: asks nothing).
    pub asks: u64,
    /// The session the speaker offers (primary) or follows (secondary); 0: none.
    pub session: u64,
    /// A swap the speaker's operator asked for, to be carried out by the primary (a random number; 0: none).
    pub swap_request: u64,
    /// What the speaker's directories hold, for the first start.
    pub inventory: crate::replica::Inventory,
    /// Resources that rules of the listener may read (`remote.…`), at most [`RESOURCES_SAID_MAX`].
    pub resources: Vec<(String, ResourceValue)>,
}
