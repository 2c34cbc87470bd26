//! How far what a node knows reaches: rounds, flushes, marks and pairings, and whether two nodes know together.

use super::record::{Record, Standing};
use super::{State, Tracker};
use crate::stream::lock;

impl Tracker {
    /// How far this node's knowledge reaches; all zero if it reaches nowhere.
    pub(crate) fn standing(&self) -> Standing {
        self.unwatched.wait();
        let state = lock(&self.state);
        if state.table.is_everything() { Standing::default() } else { state.standing }
    }

    /// A new round begins; answers the one that ended. No change may be half-way.
    pub(crate) fn next_round(&self) -> u64 {
        let mut state = lock(&self.state);
        state.ids.clear();
        state.made.clear();
        state.table.next_round()
    }

    /// (Serving) saves that the peer is asked for the next flush; answers its number.
    pub(crate) fn ask_flush(&self) -> std::io::Result<u64> {
        let standing = {
            let mut state = lock(&self.state);
            state.standing.asked = state.standing.flushed + 1;
            state.standing
        };
        self.commit(Record::Standing(standing))?;
        Ok(standing.asked)
    }

    /// (Serving) both nodes have synced everything of the rounds up to `round`: it is forgotten.
    pub(crate) fn flushed(&self, round: u64, flush: u64) -> std::io::Result<()> {
        self.change(|state| {
            state.standing.flushed = flush;
            state.table.forget(round);
        })
    }

    /// (Following) everything before this flush is on this node's disk.
    pub(crate) fn stands_at(&self, flush: u64) -> std::io::Result<()> {
        let standing = {
            let mut state = lock(&self.state);
            state.standing.flushed = flush;
            state.standing.asked = flush;
            state.standing
        };
        self.commit(Record::Standing(standing))
    }

    /// (Serving) the peer is about to be told that it has everything of `session`.
    pub(crate) fn pairing(&self, session: u64) -> std::io::Result<()> {
        self.change(|state| state.standing.pairing = session)
    }

    /// Both copies were the same at the end of `session`'s resync, and everything of the rounds up to `round` is on both
    /// disks.
    pub(crate) fn paired(&self, session: u64, round: u64) -> std::io::Result<()> {
        self.change(|state| {
            state.table.forget(round);
            // Doubted since.
            let base = if state.table.is_everything() { 0 } else { session };
            state.standing = Standing { base, ..Standing::default() };
        })
    }

    /// (Serving) a resync is about to be marked, with `left` still to be compared: the part of it that only the peer named
    /// is named here before the peer forgets it. Answers the mark's number, which counts from the base.
    pub(crate) fn ask_mark(&self, round: u64, left: &[Record]) -> std::io::Result<u64> {
        let mut asked = 0;
        self.change(|state| {
            if !state.table.broken.forgets_left {
                left.iter().for_each(|record| state.table.learn_of(record.clone(), round));
            }
            state.standing.asked = state.standing.flushed + 1;
            asked = state.standing.asked;
        })?;
        Ok(asked)
    }

    /// (Serving) a resync that goes on has compared everything but what `left` tells and what was touched after `round`;
    /// the rest is on both disks, and the peer has saved the mark.
    pub(crate) fn marked(&self, mark: (u64, u64), round: u64, left: Vec<Record>) -> std::io::Result<()> {
        if lock(&self.state).table.broken.loses_marks {
            return Err(std::io::Error::other("this node dies"));
        }
        self.change(|state| {
            state.table.forget(round);
            let all = !state.table.broken.forgets_left;
            let kept = left.into_iter().enumerate().filter(|(at, _)| all || at % 2 == 0);
            kept.for_each(|(_, record)| state.table.learn_of(record, round));
            state.stand_at(mark);
        })
    }

    /// (Following) the same: what is left is the primary's to tell.
    pub(crate) fn marked_by_peer(&self, mark: (u64, u64)) -> std::io::Result<()> {
        self.change(|state| {
            state.table.forget(u64::MAX);
            state.stand_at(mark);
        })
    }

    /// Nothing is known any more.
    pub(crate) fn nothing_known(&self) -> std::io::Result<()> {
        self.change(drop_to_everything)
    }
}

impl State {
    /// The latest mark is this one, unless all was doubted since.
    fn stand_at(&mut self, (base, flush): (u64, u64)) {
        let known = Standing { base, pairing: 0, flushed: flush, asked: flush };
        self.standing = if self.table.is_everything() { Standing::default() } else { known };
    }
}

/// Everything may differ.
pub(super) fn drop_to_everything(state: &mut State) {
    state.table.mark_everything();
    state.standing = Standing::default();
}

impl Standing {
    /// Whether this node (serving) and the follower know together all that may differ.
    pub(crate) fn knows_with(&self, follower: &Standing) -> bool {
        let same = |one: u64, other: u64| one != 0 && one == other;
        if same(self.base, follower.base) {
            return self.flushed <= follower.asked && follower.flushed <= self.asked;
        }
        // One end of a pairing was saved, the other not yet: no flush can have been asked for since.
        (same(self.pairing, follower.base) && follower.asked == 0)
            || (same(self.base, follower.pairing) && self.asked == 0)
    }
}
