//! Who is asked when the nodes cannot hear each other, and what each choice guarantees: one table of texts.

use crate::language::later;
use holdfast_api::config::WitnessKind;

/// A choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which.
    pub kind: WitnessKind,
    /// The word in `data-testid`s.
    pub word: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// What holds while every network between the nodes is cut.
    pub guarantee: &'static str,
    /// What it asks for.
    pub price: &'static str,
}

/// The choices, in order.
pub const CHOICES: [Choice; 4] = [
    Choice {
        kind: WitnessKind::None,
        word: "none",
        title: later!("No witness"),
        guarantee: later!(
            "While every network between the nodes is cut, both may serve. At the reunion it is seen, and nothing is overwritten."
        ),
        price: later!("Nothing more is needed. Use two networks."),
    },
    Choice {
        kind: WitnessKind::Ping,
        word: "ping",
        title: later!("Addresses that answer pings"),
        guarantee: later!(
            "One node serves, if being cut off from the other node also cuts one side off from these addresses."
        ),
        price: later!("Routers or other machines that are always on, beyond the network between the nodes."),
    },
    Choice {
        kind: WitnessKind::Register,
        word: "register",
        title: later!("Register at this management server"),
        guarantee: later!("At most one node serves at any time, whatever is cut."),
        price: later!(
            "An unplanned failover needs this server to answer, so it must run on a third machine. Planned stop and swap never need it."
        ),
    },
    Choice {
        kind: WitnessKind::Etcd,
        word: "etcd",
        title: later!("Register in etcd"),
        guarantee: later!("At most one node serves at any time, whatever is cut."),
        price: later!(
            "An unplanned failover needs etcd to answer. Its members run on machines that are no nodes of this module, or on at least three."
        ),
    },
];

/// The choice of this kind.
pub fn choice(kind: WitnessKind) -> &'static Choice {
    CHOICES.iter().find(|choice| choice.kind == kind).unwrap_or(&CHOICES[0])
}

#[cfg(test)]
mod tests {
    use super::{CHOICES, choice};

    #[test]
    fn every_witness_says_what_it_guarantees_and_asks_for() {
        for one in CHOICES {
            assert_eq!(choice(one.kind).word, one.word);
            assert!(one.guarantee.ends_with('.') && one.price.ends_with('.'), "{}", one.word);
        }
    }
}
