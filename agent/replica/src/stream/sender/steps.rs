//! What a resync and a comparison need of the primary's end of the stream: their steps, questions and answers.

use super::{Haste, LOOK, Sender, over};
use crate::frame::{Message, ResyncStep, encode};
use crate::op::Op;
use crate::stream::cover::Cover;
use crate::stream::table::{Mode, Reply};
use crate::stream::{Lost, lock};
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

impl Sender {
    /// From here on these names only may mean something else on the secondary; `None`: any may, and everything is compared.
    pub(crate) fn set_cover(&self, cover: Option<Cover>) {
        *lock(&self.cover) = cover;
    }

    /// Looks at or changes the cover; the answer's default where there is none.
    pub(crate) fn cover<T: Default>(&self, with: impl FnOnce(&mut Cover) -> T) -> T {
        lock(&self.cover).as_mut().map(with).unwrap_or_default()
    }

    /// Whether a resync by names runs.
    pub(crate) fn is_covered(&self) -> bool {
        lock(&self.cover).is_some()
    }

    /// (Resync) sends a binding.
    pub(crate) fn resync_bind(&self, epoch: u64, op: &Op) -> Result<(), Lost> {
        self.resync_send(epoch, &Message::Op(self.judged(op)), &[])
    }

    /// The session's resync runs in this thread.
    pub(crate) fn resync_by(&self, thread: JoinHandle<()>) {
        *lock(&self.resync) = Some(thread);
    }

    /// Waits until the last resync has ended, which it does once its session is over.
    pub(crate) fn wait_for_resync(&self) {
        let last = lock(&self.resync).take();
        if let Some(thread) = last {
            // A panic of that thread has ended the process already.
            let _ = thread.join();
        }
    }

    /// The round of the tracker that ended when every change began to wait for the peer.
    pub(crate) fn set_pair_round(&self, round: u64) {
        self.pair_round.store(round, Ordering::Release);
    }

    /// See [`Sender::set_pair_round`].
    pub(crate) fn pair_round(&self) -> u64 {
        self.pair_round.load(Ordering::Acquire)
    }

    /// The session and its epoch if its peer is up to date.
    pub(crate) fn up_to_date(&self) -> Option<(u64, u64)> {
        let state = lock(&self.state);
        let session = state.table.session.as_ref().filter(|session| session.told_up_to_date)?;
        Some((session.number, session.epoch))
    }

    /// (Resync) waits until some of the resync's bytes have been acknowledged. Call it without any order lock.
    pub(crate) fn wait_window(&self, epoch: u64) -> Result<(), Lost> {
        let state = self.wait_room(true);
        if state.table.epoch() == epoch { Ok(()) } else { Err(over()) }
    }

    /// (Resync) whether the session stands.
    pub(crate) fn still(&self, epoch: u64) -> Result<(), Lost> {
        if lock(&self.state).table.epoch() == epoch { Ok(()) } else { Err(over()) }
    }

    /// (Resync) how long to rest before the next step, so that the application's changes do not wait.
    pub(crate) fn rest(&self) -> Duration {
        lock(&self.state).table.pace.rest(Instant::now())
    }

    /// (Resync) sends a step.
    pub(crate) fn resync_send(&self, epoch: u64, message: &Message, payload: &[u8]) -> Result<(), Lost> {
        self.push(encode(message, payload), (Haste::Bulk, false), epoch).map(|_| ()).ok_or_else(over)
    }

    /// (Resync) sends a message outside the order, if the stream stands.
    pub(crate) fn tell(&self, message: &Message) {
        let mut writer = lock(&self.writer);
        let channel = lock(&self.state).channel.clone();
        self.send(&mut writer, channel.as_ref(), &encode(message, &[]));
    }

    /// (Resync) asks the secondary; [`Sender::reply`] waits for the answer.
    pub(crate) fn ask(&self, epoch: u64, step: impl FnOnce(u64) -> ResyncStep) -> Result<u64, Lost> {
        self.ask_with(epoch, |request| Message::Resync(step(request)))
    }

    /// As [`Sender::ask`], with any message.
    pub(crate) fn ask_with(&self, epoch: u64, message: impl FnOnce(u64) -> Message) -> Result<u64, Lost> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&self.state).table.replies.insert(request, None);
        self.resync_send(epoch, &message(request), &[])?;
        Ok(request)
    }

    /// (Resync) waits for an answer.
    pub(crate) fn reply(&self, epoch: u64, request: u64) -> Result<Reply, Lost> {
        let mut state = lock(&self.state);
        loop {
            if state.table.epoch() != epoch {
                return Err(over());
            }
            match state.table.replies.get(&request) {
                None => return Err(Lost("the connection broke before the answer came".into())),
                Some(None) => {}
                Some(Some(_)) => return state.table.replies.remove(&request).flatten().ok_or_else(over),
            }
            state = self.wait(state, LOOK);
        }
    }

    /// (Resync) all is copied: from now every new write waits for the peer, and every name is exact there. (Until it
    /// hears that all is copied the peer would take any other for one of a file that is not compared yet.)
    pub(crate) fn pair(&self, epoch: u64) -> Result<(), Lost> {
        {
            let mut state = lock(&self.state);
            if !state.table.pair(epoch) {
                return Err(over());
            }
            self.keep_right(&state.table);
        }
        *lock(&self.fresh) = HashSet::new();
        self.set_cover(Some(Cover::default()));
        Ok(())
    }

    /// The epoch of the session whose peer is in sync, if there is one.
    pub(crate) fn paired(&self) -> Option<u64> {
        let state = lock(&self.state);
        (state.table.mode == Mode::Paired).then(|| state.table.epoch())
    }

    /// (Resync) what was made in this session is compared, too.
    pub(crate) fn forget_fresh(&self) {
        lock(&self.fresh).clear();
    }
}
