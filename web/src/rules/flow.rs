//! What flows between the two nodes of a module, and how it is drawn.

use crate::language::t;
use crate::rules::news::Figures;
use crate::rules::tone::Tone;
use holdfast_api::agent::ReplicationReport;
use holdfast_api::console::ModuleOnNode;
use holdfast_api::state::{ModuleState, Readiness};

/// What flows between the two nodes of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowLink {
    /// Nothing.
    None,
    /// Every write, from the left or else from the right.
    Writes { from_left: bool },
    /// A resync, from the left or else from the right.
    Resync { from_left: bool },
}

impl FlowLink {
    /// What flows between `left` and `right`.
    pub fn of(left: &ModuleOnNode, right: &ModuleOnNode) -> Self {
        let state =
            |on: &ModuleOnNode| on.report.as_ref().filter(|_| on.fresh).map(|report| (report.state, report.readiness));
        let follows = |primary: &ModuleOnNode, second: &ModuleOnNode| match (state(primary), state(second)) {
            (Some((ModuleState::Prim, _)), Some((ModuleState::Second, Readiness::Ready))) => Some(true),
            (Some((ModuleState::Prim | ModuleState::Alone, _)), Some((ModuleState::Second, Readiness::Transient))) => {
                Some(false)
            }
            _ => None,
        };
        let made = |from_left, ready| if ready { Self::Writes { from_left } } else { Self::Resync { from_left } };
        follows(left, right)
            .map(|ready| made(true, ready))
            .or_else(|| follows(right, left).map(|ready| made(false, ready)))
            .unwrap_or(Self::None)
    }

    /// How fast it flows, as its source says; `figures` are those of the left and of the right.
    pub fn rate(self, figures: &[Figures]) -> Option<ReplicationReport> {
        let source = match self {
            Self::Writes { from_left: true } | Self::Resync { from_left: true } => 0,
            Self::Writes { .. } | Self::Resync { .. } => 1,
            Self::None => return None,
        };
        figures.get(source)?.replication
    }

    /// Its colour.
    pub fn tone(self) -> Tone {
        match self {
            Self::None => Tone::Idle,
            Self::Writes { .. } => Tone::Ok,
            Self::Resync { .. } => Tone::Busy,
        }
    }

    /// Anything flows.
    pub fn flows(self) -> bool {
        self != Self::None
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::None => t!("no replication"),
            Self::Writes { .. } => t!("every write on both nodes"),
            Self::Resync { .. } => t!("resync"),
        }
    }

    /// It flows from the right to the left.
    pub fn is_backward(self) -> bool {
        matches!(self, Self::Writes { from_left: false } | Self::Resync { from_left: false })
    }
}

#[cfg(test)]
mod tests {
    use super::FlowLink;
    use crate::rules::actions::tests::on_node;
    use holdfast_api::state::{ModuleState, Readiness};

    #[test]
    fn the_arrow_points_from_the_primary_to_the_one_that_follows() {
        let prim = on_node(1, ModuleState::Prim, Readiness::Ready);
        let mut second = on_node(2, ModuleState::Second, Readiness::Ready);
        assert_eq!(FlowLink::of(&prim, &second), FlowLink::Writes { from_left: true });
        assert_eq!(FlowLink::of(&second, &prim), FlowLink::Writes { from_left: false });
        second.fresh = false;
        assert_eq!(FlowLink::of(&prim, &second), FlowLink::None);
        let alone = on_node(1, ModuleState::Alone, Readiness::Ready);
        let resyncing = on_node(2, ModuleState::Second, Readiness::Transient);
        assert_eq!(FlowLink::of(&alone, &resyncing), FlowLink::Resync { from_left: true });
    }
}
