//! On whose word a replica acknowledges, noted for the one that takes its mount over: never more than it had.

use holdfast_api::ids::Generation;

/// Bytes of it.
pub(super) const SIZE: usize = 64;

/// On whose word changes are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// On that of the grant.
    Grant,
    /// On the peer's: without its stream on nobody's.
    Peer,
    /// On nobody's, since this moment of the boot-time clock, in milliseconds.
    Nobody(u64),
    /// Never again.
    Never,
}

/// The right of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) word: Word,
    pub(crate) generation: Generation,
    /// The peer was told that it has everything: the grant for `generation` is given up.
    pub(crate) given_up: bool,
    /// The session that was expected or open last; 0: none.
    pub(crate) session: u64,
    /// The kernel's protocol, as agreed on.
    pub(crate) negotiated: u64,
}

pub(super) fn encode(right: &Right) -> [u8; SIZE] {
    let (word, since) = match right.word {
        Word::Grant => (1, 0),
        Word::Peer => (2, 0),
        Word::Nobody(since) => (3, since),
        Word::Never => (4, 0),
    };
    let mut bytes = [0; SIZE];
    bytes[0] = word;
    bytes[1] = right.given_up.into();
    let numbers = [right.generation.number, right.generation.id, right.session, right.negotiated, since];
    for (at, value) in (8..).step_by(8).zip(numbers) {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    let sum = crc32fast::hash(&bytes[..SIZE - 4]);
    bytes[SIZE - 4..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

pub(super) fn decode(bytes: &[u8; SIZE]) -> Option<Right> {
    let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    if bytes[SIZE - 4..] != crc32fast::hash(&bytes[..SIZE - 4]).to_le_bytes() {
        return None;
    }
    let word = match bytes[0] {
        1 => Word::Grant,
        2 => Word::Peer,
        3 => Word::Nobody(number(40)?),
        4 => Word::Never,
        _ => return None,
    };
    Some(Right {
        word,
        given_up: bytes[1] != 0,
        generation: Generation { number: number(8)?, id: number(16)? },
        session: number(24)?,
        negotiated: number(32)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_read_back_and_damage_is_none() {
        let generation = Generation { number: 3, id: 4 };
        for word in [Word::Grant, Word::Peer, Word::Nobody(77), Word::Never] {
            let right = Right { word, generation, given_up: word == Word::Peer, session: 5, negotiated: 1 << 39 };
            let mut bytes = encode(&right);
            assert_eq!(decode(&bytes), Some(right));
            bytes[9] ^= 1;
            assert_eq!(decode(&bytes), None);
        }
        assert_eq!(decode(&[0; SIZE]), None);
    }
}
