//! The right to serve without the peer's word, or where that is not enough: from its silence, a witness, or an operator's
//! order.

use super::{Decision, Force, Situation, Verdict, Wait, prim_unsafe};
use crate::grant::{self, Source};
use crate::settings::Witness;
use crate::witness::Word;
use holdfast_api::state::DataState;

/// (c) Silence decides, for a node that is in sync or solo; a ping witness has to answer first.
///
/// A solo node does not ask it: nobody else can have served since. It is asked once in a silence: if the network around
/// it changed while nodes are apart, a second answer could let both serve.
pub(super) fn by_silence(s: &Situation<'_>) -> Decision {
    let number = grant::number_beyond(s.durable, s.peer);
    if s.settings.witness != Witness::Ping || s.durable.solo {
        return Decision::Promote { source: Source::Silence, number };
    }
    match s.word(0) {
        Word::Granted => Decision::Promote { source: Source::Ping, number },
        Word::Nothing => Decision::AskWitness { number: 0 },
        Word::Asking => Decision::Wait(Wait::Witness),
        Word::Taken | Word::Hidden | Word::Later => Decision::Wait(Wait::PingHidden),
    }
}

/// (b) The register decides, for any copy that is up to date: whoever went on from it without this node's saved promise,
/// which would have made it out of date, was granted this very number.
pub(super) fn by_register(s: &Situation<'_>) -> Verdict {
    let mut number = grant::number_of_register(s.durable);
    if s.settings.broken.ask_beyond {
        number = number.max(s.talk.refused() + 1);
    }
    let decision = match s.word(number) {
        Word::Granted => Decision::Promote { source: Source::Register, number },
        Word::Taken => {
            // Solo, it holds writes of its own, whoever was granted more: they are not declared out of date unseen.
            let mark = (!s.durable.solo).then_some(DataState::Outdated);
            return Verdict { mark, decision: Decision::Wait(Wait::RegisterRefused) };
        }
        Word::Asking => Decision::Wait(Wait::Witness),
        Word::Later | Word::Hidden => Decision::Wait(Wait::RegisterLater),
        _ if !s.long_silent => Decision::Wait(Wait::Listening),
        Word::Nothing => Decision::AskWitness { number },
    };
    Verdict { mark: None, decision }
}

/// (a) beside a register, from a peer that is not known to be the one that was in step with this copy: its promise binds
/// itself alone. The one that was, a machine that was replaced and could not be told, may ask the register; so that has
/// to grant this node the next number first, and refuses it to everybody else from then on.
pub(super) fn by_stranger(s: &Situation<'_>, number: u64) -> Verdict {
    let wanted = grant::number_of_register(s.durable);
    let decision = match s.word(wanted) {
        Word::Granted => Decision::Promote { source: Source::Peer, number },
        Word::Taken => {
            let decision = Decision::Wait(Wait::RegisterRefused);
            return Verdict { mark: Some(DataState::Outdated), decision };
        }
        Word::Asking => Decision::Wait(Wait::Witness),
        Word::Later | Word::Hidden => Decision::Wait(Wait::RegisterLater),
        Word::Nothing => Decision::AskWitness { number: wanted },
    };
    Verdict { mark: None, decision }
}

/// (d) An operator's order. A register has to learn of it, or a copy that was left behind could be granted more.
///
/// `prim` goes no further than what is safe: with the peer heard (and not serving) any whole copy; with the peer
/// silent only an up to date copy, or one at its first start, may ask, for the number after its own. `primforce` asks for
/// a number beyond all others, and goes on if the register cannot be asked; it is told later.
pub(super) fn by_order(s: &Situation<'_>, force: Force) -> Decision {
    let heard = s.peer.filter(|_| s.heard);
    if force == Force::Prim && heard.is_some_and(|peer| prim_unsafe(s.durable, peer)) {
        return Decision::Wait(Wait::PrimForceNeeded);
    }
    let beyond = grant::number_beyond(s.durable, s.peer);
    let promote = |number| Decision::Promote { source: Source::Force, number };
    if s.settings.witness != Witness::Register {
        return promote(beyond);
    }
    let cautious = force == Force::Prim && !s.heard;
    if cautious && !matches!(s.durable.data, DataState::UpToDate | DataState::Unknown) {
        return Decision::Wait(Wait::PrimForceNeeded);
    }
    // The number after all that is known and no other: if it is taken, the peer's word was older than the register's.
    let number = match (force, heard) {
        (Force::PrimForce, _) => beyond.max(s.talk.refused().saturating_add(1)),
        (Force::Prim, Some(_)) => grant::number_to_ask(s.durable, heard),
        (Force::Prim, None) => grant::number_of_register(s.durable),
    };
    match s.word(number) {
        Word::Granted => promote(number),
        Word::Asking => Decision::Wait(Wait::Witness),
        Word::Later | Word::Hidden if force == Force::PrimForce => promote(number),
        Word::Later | Word::Hidden => Decision::Wait(Wait::RegisterLater),
        Word::Taken => Decision::Wait(Wait::PrimForceNeeded),
        Word::Nothing => Decision::AskWitness { number },
    }
}
