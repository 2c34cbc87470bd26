//! What was asked of the witness, what it said, and for how long that counts.
//!
//! A grant counts only while the answer that brought it is being handled: whoever does not take it then asks anew. So
//! no right to serve is ever drawn from an answer that lay about.

use crate::input::WitnessAnswer;
use crate::time::Instant;

/// The talk with the witness.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Talk {
    /// Number of the last ask.
    asks: u64,
    open: Option<Open>,
    word: Option<Said>,
    /// The highest number it named in a refusal, until all is forgotten.
    refused: u64,
}

/// An ask that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    ask: u64,
    number: u64,
    since: Instant,
}

/// What it said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// To the wish for this number; 0 for a ping witness.
    pub number: u64,
    /// When.
    pub at: Instant,
    /// What.
    pub answer: WitnessAnswer,
}

/// What the witness's word is worth for one wish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Word {
    /// It has not been asked, or that is too long ago: ask.
    #[default]
    Nothing,
    /// It is being asked.
    Asking,
    /// Yes.
    Granted,
    /// No: the number is taken.
    Taken,
    /// No, for as long as this silence lasts: a ping witness did not answer.
    Hidden,
    /// It could not be asked, or may not grant yet: ask again later.
    Later,
}

impl Talk {
    /// Begins an ask and returns its number; an older one is not listened to any more.
    pub fn ask(&mut self, number: u64, now: Instant) -> u64 {
        self.asks += 1;
        self.open = Some(Open { ask: self.asks, number, since: now });
        self.asks
    }

    /// An answer. Returns whether it is believed: it must be to the ask under way, and not too old.
    pub fn hear(&mut self, ask: u64, answer: WitnessAnswer, now: Instant, timeout_ms: u64) -> bool {
        let Some(open) = self.open.filter(|open| open.ask == ask) else {
            return false;
        };
        self.open = None;
        let in_time = now.since(open.since) <= timeout_ms;
        self.word = None;
        if in_time {
            if let WitnessAnswer::Refused { number, .. } = answer {
                self.refused = self.refused.max(number);
            }
            self.word = Some(Said { number: open.number, at: now, answer });
        }
        in_time
    }

    /// As [`Self::hear`], without its rules: see [`crate::settings::BrokenRules::believe_old_answers`].
    pub fn hear_anything(&mut self, number: u64, answer: WitnessAnswer, now: Instant) {
        self.open = None;
        self.word = Some(Said { number, at: now, answer });
    }

    /// Gives up an ask without an answer in time. Returns whether there was one.
    pub fn give_up(&mut self, now: Instant, timeout_ms: u64) -> bool {
        let Some(open) = self.open.filter(|open| now.since(open.since) > timeout_ms) else {
            return false;
        };
        self.open = None;
        let reason = format!("no answer within {timeout_ms} ms");
        self.word = Some(Said { number: open.number, at: now, answer: WitnessAnswer::Unreachable { reason } });
        true
    }

    /// Whatever was asked or granted does not count any more.
    pub fn forget(&mut self) {
        self.open = None;
        self.word = None;
        self.refused = 0;
    }

    /// A grant that was not taken at once does not count any more.
    pub fn let_go(&mut self) {
        let granted = |said: &Said| matches!(said.answer, WitnessAnswer::Granted | WitnessAnswer::Reachable(true));
        if self.word.as_ref().is_some_and(granted) {
            self.word = None;
        }
    }

    /// An ask is under way.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// What it said last, also while it is asked again.
    pub fn said(&self) -> Option<&Said> {
        self.word.as_ref()
    }

    /// When it was last asked, it could not be, or might not grant yet.
    pub fn said_later(&self) -> bool {
        self.word.as_ref().is_some_and(|said| match &said.answer {
            WitnessAnswer::Refused { number, .. } => *number < said.number,
            WitnessAnswer::Unreachable { .. } => true,
            WitnessAnswer::Reachable(_) | WitnessAnswer::Granted => false,
        })
    }

    /// The highest number it named in a refusal: this one is not to be had.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What its word is worth for the wish for `number`; "later" has come after `retry_ms`.
    ///
    /// What it said to another wish says nothing: a refusal that names this very number may name this node's own grant,
    /// whose answer was lost.
    pub fn word(&self, number: u64, now: Instant, retry_ms: u64) -> Word {
        if let Some(open) = &self.open {
            return if open.number == number { Word::Asking } else { Word::Nothing };
        }
        let Some(said) = self.word.as_ref().filter(|said| said.number == number) else {
            return Word::Nothing;
        };
        match &said.answer {
            WitnessAnswer::Reachable(true) | WitnessAnswer::Granted => Word::Granted,
            WitnessAnswer::Reachable(false) => Word::Hidden,
            WitnessAnswer::Refused { number, .. } if *number >= said.number => Word::Taken,
            _ if now.since(said.at) >= retry_ms => Word::Nothing,
            WitnessAnswer::Refused { .. } | WitnessAnswer::Unreachable { .. } => Word::Later,
        }
    }

    /// When something changes by time alone.
    pub fn deadline(&self, timeout_ms: u64, retry_ms: u64) -> Option<Instant> {
        match (&self.open, &self.word) {
            (Some(open), _) => Some(open.since.after(timeout_ms + 1)),
            (None, Some(said)) => Some(said.at.after(retry_ms)),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: u64 = 1000;

    #[test]
    fn an_answer_counts_only_for_the_ask_under_way_and_in_time() {
        let mut talk = Talk::default();
        let first = talk.ask(7, Instant(0));
        let second = talk.ask(7, Instant(10));
        assert!(!talk.hear(first, WitnessAnswer::Granted, Instant(20), TIMEOUT), "of an older ask");
        assert_eq!(talk.word(7, Instant(20), TIMEOUT), Word::Asking);
        assert_eq!(talk.word(8, Instant(20), TIMEOUT), Word::Nothing, "another wish");
        assert!(!talk.hear(second, WitnessAnswer::Granted, Instant(1011), TIMEOUT), "too old");
        assert_eq!(talk.word(7, Instant(1011), TIMEOUT), Word::Nothing, "asked anew");
        let third = talk.ask(7, Instant(2000));
        assert!(talk.hear(third, WitnessAnswer::Granted, Instant(3000), TIMEOUT));
        assert_eq!(talk.word(7, Instant(3000), TIMEOUT), Word::Granted);
        talk.let_go();
        assert_eq!(talk.word(7, Instant(3000), TIMEOUT), Word::Nothing, "not taken at once");
    }

    #[test]
    fn what_cannot_be_asked_is_asked_again_later_and_a_refusal_stays() {
        let mut talk = Talk::default();
        talk.ask(7, Instant(0));
        assert!(!talk.give_up(Instant(1000), TIMEOUT) && talk.give_up(Instant(1001), TIMEOUT));
        assert_eq!(talk.word(7, Instant(1500), TIMEOUT), Word::Later);
        assert_eq!(talk.word(7, Instant(2001), TIMEOUT), Word::Nothing);
        let ask = talk.ask(7, Instant(3000));
        let refused = |number| WitnessAnswer::Refused { number, reason: String::new() };
        assert!(talk.hear(ask, refused(0), Instant(3001), TIMEOUT));
        assert_eq!(talk.word(7, Instant(3002), TIMEOUT), Word::Later, "not armed yet");
        let ask = talk.ask(7, Instant(5000));
        assert!(talk.hear(ask, refused(7), Instant(5001), TIMEOUT));
        assert_eq!(talk.word(7, Instant(9_000_000), TIMEOUT), Word::Taken);
    }
}
