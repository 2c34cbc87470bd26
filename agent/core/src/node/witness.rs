//! The witness: asking it, hearing it, telling a register what it did not grant itself; and what a suspended node drops.

use super::Node;
use crate::grant::{self, Source};
use crate::input::WitnessAnswer;
use crate::output::{Act, EventLevel};
use crate::settings::Witness;
use crate::time::Instant;
use crate::view::WitnessView;
use crate::witness::Word;
use holdfast_api::resource::ResourceValue;

impl Node {
    /// What the witness's word is worth for `number` (0: a ping).
    pub(super) fn word(&self, number: u64) -> Word {
        self.talk.word(number, self.now, self.retry_ms())
    }

    /// What it is worth for the number this node needs from a register to go on.
    pub(super) fn word_on_next(&self) -> Word {
        self.word(grant::number_of_register(&self.durable))
    }

    pub(super) fn retry_ms(&self) -> u64 {
        self.settings.witness_timeout_ms.max(self.settings.pulse_ms)
    }

    /// Asks for a number (0: a ping). The wish and its nonce are saved before it is sent, so that a lost reply is
    /// harmless however often it is repeated. Telling of the generation held keeps the nonce of the wish: what was
    /// granted and not used must be granted again.
    pub(super) fn ask_witness(&mut self, number: u64) {
        let nonce = if number == 0 {
            0
        } else if number == self.durable.generation.number {
            self.durable.generation.id
        } else {
            if self.durable.witness_asked != number {
                self.durable.witness_asked = number;
                self.durable.witness_nonce = self.draw();
            }
            self.durable.witness_nonce
        };
        let ask = self.talk.ask(number, self.now);
        self.act(Act::AskWitness { ask, number, nonce });
    }

    pub(super) fn on_witness_answered(&mut self, ask: u64, answer: WitnessAnswer) {
        let (open, repeated) = (self.talk.is_open(), self.talk.said_later());
        let mut believed = self.talk.hear(ask, answer.clone(), self.now, self.settings.witness_timeout_ms);
        if !believed && self.settings.broken.believe_old_answers {
            self.talk.hear_anything(grant::number_of_register(&self.durable), answer.clone(), self.now);
            believed = true;
        }
        if believed {
            self.note_told();
            match answer {
                // Said once; it is asked again and again.
                WitnessAnswer::Refused { number: 0, .. } | WitnessAnswer::Unreachable { .. } if repeated => {}
                WitnessAnswer::Reachable(true) | WitnessAnswer::Granted => {}
                WitnessAnswer::Reachable(false) => {
                    self.event(EventLevel::Warning, "no address of the ping witness answers".to_owned());
                }
                WitnessAnswer::Refused { reason, .. } => {
                    self.event(EventLevel::Warning, format!("the register refuses: {reason}"));
                }
                WitnessAnswer::Unreachable { reason } => {
                    self.event(EventLevel::Warning, format!("the witness cannot be asked: {reason}"));
                }
            }
        } else if open && !self.talk.is_open() {
            self.event(EventLevel::Info, "an answer of the witness came too late; it is asked anew".to_owned());
        }
    }

    /// No answer in time is as good as none; and a step that waits for one goes on when there is nothing to wait for.
    pub(super) fn witness_overdue(&mut self) {
        let repeated = self.talk.said_later();
        if self.talk.give_up(self.now, self.settings.witness_timeout_ms) && !repeated {
            self.event(EventLevel::Warning, "the witness does not answer".to_owned());
        }
        if !self.talk.is_open() {
            self.on_witness_word();
        }
    }

    pub(super) fn witness_deadline(&self) -> Option<Instant> {
        if self.settings.witness == Witness::None {
            return None;
        }
        let half_pulse = self.links.silent_from().after(self.settings.pulse_ms / 2);
        let pulse = self.links.silent_from().after(self.settings.pulse_ms);
        let talk = self.talk.deadline(self.settings.witness_timeout_ms, self.retry_ms());
        [Some(half_pulse), Some(pulse), talk].into_iter().flatten().filter(|at| *at > self.now).min()
    }

    /// A register that lives anew: nothing of an earlier life counts, and only then may this node's answer.
    pub(super) fn on_register_restarted(&mut self, life: u64) {
        if !self.settings.broken.keep_old_grants {
            self.talk.forget();
        }
        self.told = 0;
        self.act(Act::ReportGeneration { life, number: self.durable.generation.number });
    }

    /// A generation that came by the peer's promise or an operator's force is recorded too, afterwards and without hurry:
    /// then a copy from before it (a restored machine image, one that was left behind by force) is refused.
    pub(super) fn tell_register(&mut self) {
        let number = self.durable.generation.number;
        if self.settings.witness == Witness::Register
            && self.serving.settled()
            && self.slept_until.is_none()
            && self.told < number
            && !self.talk.is_open()
            && self.word(number) == Word::Nothing
        {
            self.ask_witness(number);
        }
    }

    /// What the register has said of a number shows what it has recorded.
    fn note_told(&mut self) {
        let Some(said) = self.talk.said() else { return };
        match said.answer {
            WitnessAnswer::Granted => self.told = self.told.max(said.number),
            WitnessAnswer::Refused { number, .. } => self.told = self.told.max(number),
            _ => {}
        }
    }

    /// After a suspension, a node that held the right to go on alone makes sure that nobody was given more.
    ///
    /// A register is asked at once. Without one, or if it cannot be asked, the peer's word counts once a whole timeout
    /// has passed: what waited in the socket meanwhile is drained by then, and a peer that serves has been heard.
    pub(super) fn prove_alone(&mut self) {
        let Some(slept_until) = self.slept_until else { return };
        let waited = self.now >= slept_until.after(self.settings.patience_ms());
        if self.settings.witness != Witness::Register {
            if waited && (self.heard() || self.links.silent(self.now)) {
                self.slept_until = None;
            }
            return;
        }
        match self.word_on_next() {
            Word::Nothing => self.ask_witness(grant::number_of_register(&self.durable)),
            Word::Granted => self.continue_alone(Source::Register),
            Word::Taken => self.lose(&format!("{} meanwhile", self.witness_said())),
            Word::Later | Word::Hidden if waited && self.heard() => self.slept_until = None,
            Word::Asking | Word::Later | Word::Hidden => {}
        }
    }

    /// This node was suspended while it served: somebody may have taken over. Its addresses go before anything else.
    pub(super) fn drop_addresses(&mut self) {
        self.talk.forget();
        if !self.serving.holds_role() || !self.addresses_set {
            return;
        }
        self.addresses_dropped = true;
        self.addresses_set = false;
        self.healthy = false;
        let run = self.next_run();
        self.dropping = Some(run);
        self.act(Act::SetHealth { ready: false });
        self.act(Act::ReleaseAddresses { run });
        let text = "the virtual addresses are released until it is sure that nobody else serves";
        self.event(EventLevel::Warning, text.to_owned());
    }

    /// Sure again to be the primary: its addresses come back.
    pub(super) fn restore_addresses(&mut self) {
        if self.slept_until.is_none() {
            self.on_proof();
        }
        if !self.addresses_dropped || self.slept_until.is_some() || !self.serving.settled() || self.leaves() {
            return;
        }
        self.addresses_dropped = false;
        self.addresses_set = true;
        let run = self.next_run();
        self.restoring = Some(run);
        self.act(Act::SetAddresses { run });
        self.event(EventLevel::Event, "nobody else serves: the virtual addresses are set again".to_owned());
        if self.procedure.is_none() {
            self.healthy = true;
            self.act(Act::SetHealth { ready: true });
        }
    }

    /// What a view shows of the witness.
    pub(super) fn witness_view(&self) -> Option<WitnessView> {
        if self.settings.witness == Witness::None {
            return None;
        }
        let said = self.talk.said();
        let text = match said.map(|said| (&said.answer, said.number)) {
            None => self.last_granted(),
            Some((WitnessAnswer::Reachable(true), _)) => "answers".to_owned(),
            Some((WitnessAnswer::Reachable(false), _)) => "does not answer".to_owned(),
            Some((WitnessAnswer::Granted, number)) => format!("granted generation {number}"),
            Some((WitnessAnswer::Refused { reason, .. }, _)) => reason.clone(),
            Some((WitnessAnswer::Unreachable { reason }, _)) => format!("cannot be asked: {reason}"),
        };
        Some(WitnessView { said: text, at: said.map(|said| said.at), uptodate: self.splitbrain_uptodate() })
    }

    /// What the witness said last, for messages.
    pub(super) fn witness_said(&self) -> String {
        self.witness_view().map(|view| view.said).unwrap_or_default()
    }

    fn last_granted(&self) -> String {
        match self.told {
            0 => "has not been asked".to_owned(),
            number => format!("has recorded generation {number}"),
        }
    }

    /// The resource `splitbrain.uptodate`: down while the witness's word, or its absence, keeps this node from serving.
    pub fn splitbrain_uptodate(&self) -> ResourceValue {
        if self.settings.witness == Witness::None {
            return ResourceValue::Init;
        }
        match self.waiting {
            Some(wait) if wait.of_witness() => ResourceValue::Down,
            _ => ResourceValue::Up,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::durable::Durable;
    use crate::heartbeat::Incarnation;
    use crate::settings::{BrokenRules, Rules, SAVE_LIMIT_MS, Settings};
    use crate::time::Moment;
    use holdfast_api::ids::{Generation, NodeId};
    use holdfast_api::userconfig::{Boot, DefaultPrim, Mode};

    /// A node of a mirror module with a register, stopped.
    pub(in crate::node) fn node(durable: Durable) -> Node {
        let settings = Settings {
            module: "m".to_owned(),
            node: NodeId(1),
            node_name: "node1".to_owned(),
            peer: NodeId(2),
            peer_name: "node2".to_owned(),
            links: 1,
            pulse_ms: 100,
            timeout_ms: 1000,
            link_times: Vec::new(),
            maxloop: 3,
            loop_interval_ms: 1000,
            failover: true,
            mode: Mode::Mirror,
            link_idents: Vec::new(),
            defaultprim: DefaultPrim::Alone,
            automatic_reboot: false,
            boot: Boot::Ignore,
            scripts: Vec::new(),
            checkers: Vec::new(),
            rules: Rules::default(),
            covered: Default::default(),
            signature: 0,
            boot_id: 1,
            incarnation: Incarnation { count: 1, id: 1 },
            witness: Witness::Register,
            witness_timeout_ms: 500,
            save_limit_ms: SAVE_LIMIT_MS,
            broken: BrokenRules::default(),
        };
        let durable = Durable { covered: Some(durable.covered.unwrap_or_default()), ..durable };
        Node::new(settings, durable, Moment { now: Instant(0), nonce: 5 })
    }

    fn asked(node: &mut Node, number: u64) -> (u64, u64) {
        node.ask_witness(number);
        match node.out.acts.pop() {
            Some(Act::AskWitness { number, nonce, .. }) => (number, nonce),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wish_keeps_its_nonce_though_the_register_was_told_of_the_generation_held_meanwhile() {
        let durable = Durable { generation: Generation { number: 4, id: 44 }, ..Durable::default() };
        let mut node = node(durable);
        let wish = asked(&mut node, 5);
        assert_ne!(wish.1, 0);
        assert_eq!(asked(&mut node, 4), (4, 44), "the same whenever it is told");
        assert_eq!(asked(&mut node, 5), wish, "or its own grant would be refused to it");
        assert_ne!(asked(&mut node, 6).1, wish.1);
    }

    #[test]
    fn a_register_that_lives_anew_hears_the_generation_and_nothing_of_before_counts() {
        let mut node = node(Durable { generation: Generation { number: 4, id: 44 }, ..Durable::default() });
        node.ask_witness(5);
        let ask = match node.out.acts.pop() {
            Some(Act::AskWitness { ask, .. }) => ask,
            other => panic!("{other:?}"),
        };
        node.on_register_restarted(9);
        assert_eq!(node.out.acts, [Act::ReportGeneration { life: 9, number: 4 }]);
        node.on_witness_answered(ask, WitnessAnswer::Granted);
        assert_eq!(node.word(5), Word::Nothing);
    }
}
