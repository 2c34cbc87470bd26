//! The levels of an application (`both`, `prim`, `second`, `sec`): which run in which state, and in which order they
//! start and stop. All script orders follow from these three tables.

use holdfast_api::checker::When;
use holdfast_api::state::ModuleState;
use serde::{Deserialize, Serialize};

/// Stopped in this order: what came last goes first.
pub const STOP_ORDER: [When; 4] = [When::Sec, When::Second, When::Prim, When::Both];

/// Started in this order.
pub const START_ORDER: [When; 4] = [When::Both, When::Prim, When::Second, When::Sec];

/// A set of levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Levels(u8);

impl Levels {
    /// None.
    pub const NONE: Self = Self(0);
    /// What goes on while the roles are exchanged.
    pub const BOTH: Self = Self::NONE.with(When::Both);
    /// What runs in ALONE.
    pub const ALONE: Self = Self::BOTH.with(When::Prim).with(When::Sec);
    /// What runs in PRIM.
    pub const PRIM: Self = Self::BOTH.with(When::Prim);
    /// What runs in SECOND.
    pub const SECOND: Self = Self::BOTH.with(When::Second).with(When::Sec);

    /// All there are.
    pub const ALL: Self = Self::ALONE.union(Self::SECOND);

    /// What runs in a state.
    pub fn of(state: ModuleState) -> Self {
        match state {
            ModuleState::Stop | ModuleState::Wait => Self::NONE,
            ModuleState::Alone => Self::ALONE,
            ModuleState::Prim => Self::PRIM,
            ModuleState::Second => Self::SECOND,
            ModuleState::Up => Self::BOTH,
        }
    }

    const fn bit(level: When) -> u8 {
        match level {
            When::Pre => 0,
            When::Prim => 1,
            When::Second => 2,
            When::Both => 4,
            When::Sec => 8,
        }
    }

    /// With this level.
    pub const fn with(self, level: When) -> Self {
        Self(self.0 | Self::bit(level))
    }

    /// Without this level.
    pub const fn without(self, level: When) -> Self {
        Self(self.0 & !Self::bit(level))
    }

    /// Without these levels.
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// With these levels.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether this level is in it.
    pub const fn has(self, level: When) -> bool {
        self.0 & Self::bit(level) != 0
    }

    /// The next level to stop.
    pub fn next_to_stop(self) -> Option<When> {
        STOP_ORDER.into_iter().find(|level| self.has(*level))
    }

    /// The next level to start.
    pub fn next_to_start(self) -> Option<When> {
        START_ORDER.into_iter().find(|level| self.has(*level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ModuleState::{Alone, Prim, Second, Up, Wait};

    /// The scripts between two states.
    fn scripts(from: ModuleState, to: ModuleState) -> Vec<String> {
        let (mut stop, mut start) = (Levels::of(from).minus(Levels::of(to)), Levels::of(to).minus(Levels::of(from)));
        let mut out = Vec::new();
        while let Some(level) = stop.next_to_stop() {
            out.push(format!("stop_{level}"));
            stop = stop.without(level);
        }
        out.push("transition".to_owned());
        while let Some(level) = start.next_to_start() {
            out.push(format!("start_{level}"));
            start = start.without(level);
        }
        out
    }

    #[test]
    fn every_row_of_the_script_table_follows_from_the_levels() {
        for (from, to, order) in [
            (Wait, Alone, "transition start_both start_prim start_sec"),
            (Wait, Prim, "transition start_both start_prim"),
            (Wait, Second, "transition start_both start_second start_sec"),
            (Wait, Up, "transition start_both"),
            (Alone, Prim, "stop_sec transition"),
            (Prim, Alone, "transition start_sec"),
            (Second, Alone, "stop_second transition start_prim"),
            (Prim, Second, "stop_prim transition start_second start_sec"),
            (Second, Prim, "stop_sec stop_second transition start_prim"),
            (Prim, Wait, "stop_prim stop_both transition"),
            (Alone, Wait, "stop_sec stop_prim stop_both transition"),
            (Up, Wait, "stop_both transition"),
            (Second, Wait, "stop_sec stop_second stop_both transition"),
        ] {
            assert_eq!(scripts(from, to).join(" "), order, "{from} to {to}");
        }
    }
}
