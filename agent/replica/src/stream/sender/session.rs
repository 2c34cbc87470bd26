//! The peer's connections at the primary's end: greeting, acknowledgements and answers, loss.

use super::{Sender, answer};
use crate::crash;
use crate::frame::{Hello, Message, encode};
use crate::stream::table::{Greeting, Reply};
use crate::stream::{Lost, lock};
use crate::tls::Channel;
use holdfast_core::replica::ReplicaEvent;
use std::sync::Arc;
use std::time::Instant;

/// How a connection was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The session's epoch.
    pub epoch: u64,
    /// The session.
    pub session: u64,
    /// Whether the session began with it.
    pub first: bool,
}

impl Sender {
    /// Whether `hello` would be taken now; the judgement holds until the session changes.
    pub(crate) fn judge(&self, hello: &Hello) -> Greeting {
        if hello.module != self.local.module || hello.node != self.local.peer_node {
            return Greeting::Refused(format!(
                "module {} of node {} greets, module {} of node {} is expected: compare the configurations of both nodes",
                hello.module, hello.node, self.local.module, self.local.peer_node
            ));
        }
        lock(&self.state).table.greet(hello)
    }

    /// Takes a connection whose peer greeted with `hello`: answers the greeting and sends what is missing there. For a
    /// new session the caller has paused all changes, so that none is between looking for the session and submitting.
    pub(crate) fn attach(&self, channel: &Arc<Channel>, hello: &Hello) -> Result<Attached, Lost> {
        // A half-open connection before this one may hold a writer: let it go.
        lock(&self.state).close_channel();
        let mut writer = lock(&self.writer);
        // It is among what is sent again.
        writer.later.clear();
        let scratch = &mut writer.scratch;
        let (attached, ours, again, verdicts) = {
            let mut state = lock(&self.state);
            let table = &mut state.table;
            let (first, applied) = match table.greet(hello) {
                Greeting::Opens => (true, table.sequence),
                Greeting::Resumes(applied) => (false, applied),
                Greeting::Refused(reason) => {
                    // Its old connection is closed by now: let the window run.
                    if let Some(session) = &mut table.session {
                        session.broken.get_or_insert((Instant::now(), reason.clone()));
                    }
                    return Err(Lost(reason));
                }
            };
            let epoch = if first { table.open(hello) } else { table.epoch() };
            if first {
                lock(&self.fresh).clear();
            }
            if let Some(session) = &mut table.session {
                session.broken = None;
            }
            let ours = self.local.hello(hello.session, table.generation, applied);
            // Its greeting acknowledges what it has applied: those acknowledgements may have been lost with the connection.
            table.synced_before(applied);
            table.answers_lost();
            let verdicts = table.acknowledge(applied, Instant::now()).map_err(Lost)?;
            let again = table.kept_after(applied);
            state.channel = Some(channel.clone());
            self.refresh(&state);
            (Attached { epoch, session: hello.session, first }, ours, again, verdicts)
        };
        answer(verdicts);
        let mut sent = channel.send(&encode(&Message::Hello(ours), &[]), scratch);
        for frame in again {
            sent = sent.and_then(|()| channel.send(&frame, scratch));
        }
        if let Err(error) = sent {
            self.detach(channel, &format!("sending to the secondary failed: {error}"));
        }
        Ok(attached)
    }

    /// A message from the peer.
    pub(crate) fn received(&self, message: Message, attached: Attached) -> Result<(), Lost> {
        match message {
            Message::Ack(sequence) => {
                let (verdicts, waiting) = {
                    let mut state = lock(&self.state);
                    if state.table.epoch() != attached.epoch {
                        return Ok(());
                    }
                    (state.table.acknowledge(sequence, Instant::now()).map_err(Lost)?, state.waiting > 0)
                };
                if waiting {
                    self.changed.notify_all();
                }
                answer(verdicts);
            }
            Message::Synced(sequence) => {
                let (verdicts, waiting) = {
                    let mut state = lock(&self.state);
                    if state.table.epoch() != attached.epoch {
                        return Ok(());
                    }
                    (state.table.synced(sequence), state.waiting > 0)
                };
                if waiting {
                    self.changed.notify_all();
                }
                answer(verdicts);
            }
            Message::Hashes { request, blocks } => self.replied(request, Reply::Hashes(blocks)),
            Message::Flushed(request) => self.replied(request, Reply::Flushed),
            Message::Checked { request, checked } => self.replied(request, Reply::Checked(checked)),
            Message::UpToDate => {
                crash::point("up-to-date-heard");
                let first = lock(&self.state).table.told_up_to_date(attached.epoch);
                if first {
                    (self.events)(ReplicaEvent::PeerUpToDate { session: attached.session });
                }
            }
            Message::Broken(reason) => self.lose(attached.epoch, &format!("the secondary cannot go on: {reason}")),
            Message::Refused(reason) => self.lose(attached.epoch, &format!("the secondary ended the stream: {reason}")),
            _ => return Err(Lost("the secondary sent what only a primary sends".into())),
        }
        Ok(())
    }

    fn replied(&self, request: u64, reply: Reply) {
        if let Some(slot) = lock(&self.state).table.replies.get_mut(&request) {
            *slot = Some(reply);
        }
        self.changed.notify_all();
    }

    /// `channel` is of no more use; its session may resume on another for a while.
    pub(crate) fn detach(&self, channel: &Arc<Channel>, reason: &str) {
        channel.shutdown();
        let mut state = lock(&self.state);
        if !state.channel.as_ref().is_some_and(|current| Arc::ptr_eq(current, channel)) {
            return;
        }
        state.channel = None;
        if let Some(session) = &mut state.table.session {
            session.broken.get_or_insert((Instant::now(), reason.into()));
        }
    }

    /// Why a peer that asks what is here is not the one expected.
    pub(crate) fn judge_survey(&self, hello: &Hello) -> Option<String> {
        let right = hello.module == self.local.module && hello.node == self.local.peer_node;
        (!right).then(|| format!("module {} of node {} asks what is here", hello.module, hello.node))
    }

    /// This end's greeting of a survey.
    pub(crate) fn survey_hello(&self) -> Hello {
        let generation = lock(&self.state).table.generation;
        self.local.hello(0, generation, 0)
    }
}
