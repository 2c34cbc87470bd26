//! A peer for tests: records every change in order, and acknowledges, holds or refuses as told.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::front::lock;
use crate::op::Op;
use crate::replicate::{Answer, Replicate, Ticket, Verdict};

/// What becomes of completed changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Acknowledge,
    Hold,
    Refuse,
}

#[derive(Default)]
struct State {
    changes: Vec<(Op, Vec<u8>)>,
    held: Vec<Answer>,
    submitted: u64,
    completed: u64,
}

pub(super) struct Recording {
    state: Mutex<State>,
    policy: Mutex<Policy>,
    session: AtomicU64,
}

impl Recording {
    pub(super) fn new(session: u64) -> Recording {
        Recording {
            state: Mutex::new(State::default()),
            policy: Mutex::new(Policy::Acknowledge),
            session: AtomicU64::new(session),
        }
    }

    pub(super) fn set(&self, policy: Policy) {
        *lock(&self.policy) = policy;
    }

    /// A new session begins: nothing is bound in it.
    pub(super) fn set_session(&self, session: u64) {
        self.session.store(session, Ordering::SeqCst);
    }

    /// What was submitted. The kernel forgets when it likes (others on this machine have it do so): that is no change.
    pub(super) fn changes(&self) -> Vec<(Op, Vec<u8>)> {
        lock(&self.state).changes.iter().filter(|(op, _)| !matches!(op, Op::Forget { .. })).cloned().collect()
    }

    /// Whether the peer was told that an id is not used any more.
    pub(super) fn forgot(&self) -> bool {
        lock(&self.state).changes.iter().any(|(op, _)| matches!(op, Op::Forget { .. }))
    }

    pub(super) fn ops(&self) -> Vec<Op> {
        self.changes().into_iter().map(|(op, _)| op).collect()
    }

    pub(super) fn clear(&self) {
        lock(&self.state).changes.clear();
    }

    pub(super) fn held(&self) -> usize {
        lock(&self.state).held.len()
    }

    /// Tickets given out and not handed back.
    pub(super) fn open_tickets(&self) -> u64 {
        let state = lock(&self.state);
        state.submitted - state.completed
    }

    /// Answers everything held.
    pub(super) fn decide(&self, verdict: Verdict) {
        let held = std::mem::take(&mut lock(&self.state).held);
        held.into_iter().for_each(|answer| answer(verdict));
    }
}

impl Replicate for Recording {
    fn submit(&self, op: &Op, payload: &[u8]) -> Ticket {
        let mut state = lock(&self.state);
        state.changes.push((op.clone(), payload.to_vec()));
        state.submitted += 1;
        Ticket(state.submitted)
    }

    fn complete(&self, _ticket: Ticket, answer: Answer) {
        let policy = *lock(&self.policy);
        let mut state = lock(&self.state);
        state.completed += 1;
        match policy {
            Policy::Hold => state.held.push(answer),
            Policy::Acknowledge => {
                drop(state);
                answer(Verdict::Acknowledged);
            }
            Policy::Refuse => {
                drop(state);
                answer(Verdict::Refused);
            }
        }
    }

    fn session(&self) -> u64 {
        self.session.load(Ordering::SeqCst)
    }
}
