//! The register witness as pure values: what a record grants, and when a register that lives anew may grant at all.
//!
//! One record per module. It grants a generation number to one node, once, and again only to the very same ask, so that
//! a lost reply is harmless. Whoever keeps the record saves it *before* answering. The simulator, the model checker, the
//! server's register and the etcd driver all decide by [`decide`].
//!
//! Why this suffices: a node asks for exactly the number after its own copy's, and only with a copy that is up to date.
//! Whoever went on from that copy without this node either was granted that number here, so this node is refused, or
//! had this node's saved promise, so this node's copy is out of date and it does not ask.

use crate::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// What a register remembers of a module: the last grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Generation number granted last.
    pub number: u64,
    /// To this node.
    pub owner: NodeId,
    /// For the ask with this nonce.
    pub nonce: u64,
}

/// What a node asks for: to be the one that serves generation `number`.
///
/// A node that serves a generation it has by other leave (a peer's promise, an operator's force) sends the same, so
/// that the register learns of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Generation number wanted.
    pub number: u64,
    /// Who asks.
    pub owner: NodeId,
    /// Drawn for this wish; the same when it is repeated.
    pub nonce: u64,
}

/// What follows from an ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Save this record, durably and only if the old one is still there, then answer "granted".
    Grant(Record),
    /// It is granted already, to this very ask: answer "granted".
    Again,
    /// Answer "refused": this number is taken, or may be.
    Refuse {
        /// The highest number known to be taken.
        number: u64,
        /// Who holds it, if the record says so.
        owner: Option<NodeId>,
    },
}

/// Decides an ask. `floor` is the highest generation that a node of the module has reported in this life of the register
/// ([`Arming::floor`]; 0 where the record cannot run backwards, as in etcd): a restored record may lie below it.
pub fn decide(record: Option<&Record>, floor: u64, ask: &Ask) -> Decision {
    let recorded = record.map_or(0, |record| record.number);
    if ask.number > recorded.max(floor) {
        return Decision::Grant(Record { number: ask.number, owner: ask.owner, nonce: ask.nonce });
    }
    let same = record == Some(&Record { number: ask.number, owner: ask.owner, nonce: ask.nonce });
    if same && ask.number > floor {
        return Decision::Again;
    }
    let owner = record.filter(|record| record.number >= floor).map(|record| record.owner);
    Decision::Refuse { number: recorded.max(floor), owner }
}

/// Whether a register may grant anything in this life of its process.
///
/// A register may have been restored from a backup, and then its record says less than was granted. So in each life it
/// first asks every node of the module which generation it holds, and grants nothing before all have said so or an
/// operator, who knows that the silent ones do not serve, has armed it. A node that answers forgets what it asked in an
/// earlier life and what was granted then and not yet used; only then may its answer count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arming {
    waits_for: BTreeSet<NodeId>,
    floor: u64,
}

impl Arming {
    /// A new life: nothing is known of any of `nodes`.
    pub fn new(nodes: impl IntoIterator<Item = NodeId>) -> Self {
        Self { waits_for: nodes.into_iter().collect(), floor: 0 }
    }

    /// `node` answered the question of this life: it holds generation `number`.
    pub fn report(&mut self, node: NodeId, number: u64) {
        self.waits_for.remove(&node);
        self.floor = self.floor.max(number);
    }

    /// An operator vouches that the nodes which have not reported do not serve.
    pub fn arm(&mut self) {
        self.waits_for.clear();
    }

    /// It may grant.
    pub fn armed(&self) -> bool {
        self.waits_for.is_empty()
    }

    /// The nodes that have not reported, while it is not armed.
    pub fn waits_for(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.waits_for.iter().copied()
    }

    /// The highest generation reported.
    pub fn floor(&self) -> u64 {
        self.floor
    }
}

/// Why a register refuses, in words a node may show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The number is taken, or a higher one.
    Taken {
        /// The highest number known to be taken.
        number: u64,
        /// By whom, if the record says so.
        owner: Option<NodeId>,
    },
    /// The register has not heard from these nodes since it started.
    NotArmed {
        /// They have to report first.
        waits_for: Vec<NodeId>,
    },
}

impl Refusal {
    /// The number that rules the asker out; 0 where it may simply ask again later.
    pub fn number(&self) -> u64 {
        match self {
            Self::Taken { number, .. } => *number,
            Self::NotArmed { .. } => 0,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { number, owner: Some(owner) } => write!(f, "generation {number} was granted to {owner}"),
            Self::Taken { number, owner: None } => write!(f, "generation {number} is served or was served already"),
            Self::NotArmed { waits_for } => {
                let nodes: Vec<String> = waits_for.iter().map(NodeId::to_string).collect();
                write!(
                    f,
                    "the register was started anew and grants nothing before it has heard from {}: start or connect what \
                     is missing, or let an administrator arm the register (POST /api/v1/modules/N/register/arm with the \
                     module's number) if that certainly does not serve",
                    nodes.join(" and ")
                )
            }
        }
    }
}

/// Decides an ask as a register does that keeps `record` and lives since `arming` began.
///
/// # Errors
/// Why it is refused. On `Ok(Some(record))` save the record first; `Ok(None)`: granted before, nothing to save.
pub fn answer(record: Option<&Record>, arming: &Arming, ask: &Ask) -> Result<Option<Record>, Refusal> {
    if !arming.armed() {
        return Err(Refusal::NotArmed { waits_for: arming.waits_for().collect() });
    }
    match decide(record, arming.floor(), ask) {
        Decision::Grant(record) => Ok(Some(record)),
        Decision::Again => Ok(None),
        Decision::Refuse { number, owner } => Err(Refusal::Taken { number, owner }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn ask(number: u64, owner: NodeId, nonce: u64) -> Ask {
        Ask { number, owner, nonce }
    }

    fn record(number: u64, owner: NodeId, nonce: u64) -> Record {
        Record { number, owner, nonce }
    }

    #[test]
    fn a_number_is_granted_once_and_again_only_to_the_same_ask() {
        let first = record(7, A, 70);
        assert_eq!(decide(None, 0, &ask(7, A, 70)), Decision::Grant(first));
        assert_eq!(decide(Some(&first), 0, &ask(7, A, 70)), Decision::Again);
        let refused = Decision::Refuse { number: 7, owner: Some(A) };
        for other in [ask(7, A, 71), ask(7, B, 70), ask(6, A, 70), ask(1, B, 1)] {
            assert_eq!(decide(Some(&first), 0, &other), refused, "{other:?}");
        }
        assert_eq!(decide(Some(&first), 0, &ask(8, B, 1)), Decision::Grant(record(8, B, 1)));
    }

    #[test]
    fn a_restored_record_grants_nothing_that_a_node_has_reported() {
        let restored = record(5, B, 50);
        assert_eq!(decide(Some(&restored), 7, &ask(7, B, 1)), Decision::Refuse { number: 7, owner: None });
        assert_eq!(decide(Some(&restored), 5, &ask(5, B, 50)), Decision::Refuse { number: 5, owner: Some(B) });
        assert_eq!(decide(Some(&restored), 7, &ask(8, B, 1)), Decision::Grant(record(8, B, 1)));
    }

    #[test]
    fn a_new_life_grants_nothing_before_every_node_has_reported_or_an_operator_armed_it() {
        let mut arming = Arming::new([A, B]);
        let wanted = ask(8, B, 1);
        arming.report(A, 7);
        let refusal = answer(None, &arming, &wanted).expect_err("node 2 has not reported");
        assert_eq!(refusal, Refusal::NotArmed { waits_for: vec![B] });
        assert_eq!(refusal.number(), 0, "it may ask again later");
        let mut by_hand = arming.clone();
        by_hand.arm();
        assert_eq!(answer(None, &by_hand, &wanted), Ok(Some(record(8, B, 1))));
        arming.report(B, 6);
        assert_eq!(answer(None, &arming, &wanted), Ok(Some(record(8, B, 1))));
        let taken = answer(None, &arming, &ask(7, B, 1)).expect_err("node 1 has reported 7");
        assert_eq!(taken, Refusal::Taken { number: 7, owner: None });
    }

    proptest! {
        #[test]
        fn no_number_is_ever_granted_to_two_asks(asks in proptest::collection::vec((1u64..9, 1u16..3, 0u64..3), 0..60)) {
            let mut kept: Option<Record> = None;
            let mut granted = std::collections::BTreeMap::new();
            for (number, owner, nonce) in asks {
                let wanted = ask(number, NodeId(owner), nonce);
                match decide(kept.as_ref(), 0, &wanted) {
                    Decision::Grant(record) => {
                        prop_assert!(kept.is_none_or(|kept| record.number > kept.number));
                        kept = Some(record);
                    }
                    Decision::Again => {}
                    Decision::Refuse { number: highest, .. } => {
                        prop_assert!(highest >= number);
                        continue;
                    }
                }
                let holder = *granted.entry(number).or_insert((owner, nonce));
                prop_assert_eq!(holder, (owner, nonce));
            }
        }
    }
}
