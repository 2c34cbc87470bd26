//! Writes held back: who decides whether a primary that lost its secondary goes on alone, and when it is too late.

use super::Node;
use super::serving::Serving;
use crate::arbiter;
use crate::automaton::Trigger;
use crate::grant::{self, Source};
use crate::output::EventLevel;
use crate::replica::ReplicaCommand;
use crate::settings::Witness;
use crate::time::Instant;
use crate::witness::Word;
use holdfast_api::state::{DataState, ModuleState, Readiness};

impl Node {
    /// The peer that every write waits for is lost: ask whether this node may go on alone.
    pub(super) fn hold(&mut self, reason: &str) {
        let text = format!("writes are held back: {reason}; asking {} whether to go on alone", self.settings.peer_name);
        self.event(EventLevel::Warning, text);
        self.resync = None;
        self.serving = Serving::Held { since: self.now, asked_at: None };
        if self.settings.broken.continue_without_asking {
            self.continue_alone(Source::Force);
        }
    }

    /// A suspension is not the peer's doing: wait a whole timeout again.
    pub(super) fn restart_hold(&mut self) {
        if let Serving::Held { since, .. } = &mut self.serving {
            *since = self.now;
        }
    }

    /// The solo rule, while writes are held back.
    ///
    /// If the peer falls silent shortly after its stream (a machine dies in some order), silence decides, at most
    /// three pulses after `timeout`; if it is heard and does not answer for `timeout`, this node loses.
    pub(super) fn decide_held(&mut self, since: Instant) {
        let number = grant::number_to_ask(&self.durable, self.heard_peer());
        if self.heard_peer().is_some_and(|peer| arbiter::granted(&self.durable, peer, number)) {
            return self.continue_alone(Source::Peer);
        }
        self.asking = Some(number);
        self.durable.asked = number;
        if self.decide_apart() {
            return;
        }
        let patience = since.after(self.settings.timeout_ms);
        let silence_counts = self.live || self.settings.witness == Witness::Register;
        let silence_decides =
            silence_counts && self.links.silent_from() <= patience.after(self.settings.pulse_ms.saturating_mul(3));
        if self.now >= patience && !silence_decides {
            let name = self.settings.peer_name.clone();
            let reason = if self.live {
                format!("{name} is heard but does not answer whether this node may go on alone")
            } else {
                format!("this node slept longer than the timeout and cannot know whether {name} serves")
            };
            self.lose(&reason);
        }
    }

    /// What the silence of the peer, or the register, decides. Returns whether nothing else is to be done now.
    fn decide_apart(&mut self) -> bool {
        let silent = self.links.silent(self.now);
        match self.settings.witness {
            Witness::None if silent && self.live => self.continue_alone(Source::Silence),
            Witness::Ping if silent && self.live => match self.word(0) {
                Word::Nothing => self.ask_witness(0),
                Word::Asking => {}
                Word::Granted => self.continue_alone(Source::Ping),
                Word::Taken | Word::Hidden | Word::Later => {
                    self.lose("no link passes and the ping witness does not answer: this node is the isolated one");
                }
            },
            Witness::Register if self.settings.broken.silence_despite_register && silent && self.live => {
                self.continue_alone(Source::Silence);
            }
            Witness::Register if silent || self.slept_until.is_some() => return self.decide_by_register(silent),
            Witness::None | Witness::Ping | Witness::Register => return false,
        }
        true
    }

    /// Writes are held back until the register has spoken. A primary that is in good health asks at once, another a pulse
    /// later, so that a secondary may win.
    fn decide_by_register(&mut self, silent: bool) -> bool {
        let healthy = self.procedure.is_none() && self.status.1 == Readiness::Ready;
        let turn = healthy || self.now >= self.links.silent_from().after(self.settings.pulse_ms);
        let overdue = self.asked_long_ago();
        match self.word_on_next() {
            Word::Nothing | Word::Asking | Word::Later | Word::Hidden if overdue => {
                self.lose("the register has not said in time whether this node may go on alone");
            }
            Word::Nothing if turn => self.ask_witness(grant::number_of_register(&self.durable)),
            Word::Nothing | Word::Asking => {}
            Word::Granted => self.continue_alone(Source::Register),
            Word::Taken => {
                self.durable.data = DataState::Outdated;
                self.lose(&format!("the register refuses: {}", self.witness_said()));
            }
            Word::Later | Word::Hidden if silent => {
                self.lose("no link passes and the register cannot be asked whether this node may go on alone");
            }
            Word::Later | Word::Hidden => return false,
        }
        true
    }

    /// Notes the first ask of this hold. Returns whether it is longer ago than a witness may take.
    fn asked_long_ago(&mut self) -> bool {
        let (now, limit) = (self.now, self.settings.witness_timeout_ms);
        match &mut self.serving {
            Serving::Held { asked_at: Some(at), .. } => now.since(*at) > limit,
            Serving::Held { asked_at, .. } => {
                *asked_at = Some(now);
                false
            }
            _ => false,
        }
    }

    pub(super) fn continue_alone(&mut self, source: Source) {
        let number = match source {
            Source::Peer => grant::number_to_ask(&self.durable, self.heard_peer()),
            Source::Register => grant::number_of_register(&self.durable),
            Source::Silence | Source::Ping | Source::Force => grant::number_beyond(&self.durable, self.peer.as_ref()),
        };
        let id = self.draw();
        grant::take(&mut self.durable, number, id, true);
        self.asking = None;
        self.live = false;
        self.slept_until = None;
        self.serving = Serving::Alone { retry_at: self.now };
        self.replica(ReplicaCommand::ContinueAlone { generation: self.durable.generation });
        let why = source.reason(&self.settings.peer_name);
        if self.status.0 == ModuleState::Prim {
            self.take_edge(Trigger::SecondaryGone, &why);
        } else {
            self.event(EventLevel::Event, format!("goes on alone: {why}"));
        }
    }
}
