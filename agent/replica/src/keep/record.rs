//! What is kept of one object the kernel knows, as bytes: four parts, each with its own checksum and written at once.

use crate::op::{FileId, FileKind};
use crate::tree::handle::FileHandle;

/// Room of one object, in bytes: no part crosses a page, so that a killed process leaves each whole or untouched.
pub(super) const SLOT: usize = 512;

/// Where the parts are within it, and how long they are.
pub(super) const REFS: (usize, usize) = (0, 16);
pub(super) const USES: (usize, usize) = (16, 16);
pub(super) const IDENTITY: (usize, usize) = (32, 176);
pub(super) const NAME: (usize, usize) = (208, 272);

const HANDLE_MAX: usize = 128;
const NAME_MAX: usize = 255;
const SUM: usize = 4;

/// What an object is, for as long as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: FileId,
    pub(crate) kind: FileKind,
    pub(crate) excluded: bool,
    pub(crate) device: u64,
    pub(crate) ino: u64,
    pub(crate) tag: u64,
    /// How it is opened; `None`: by the descriptor that is held for it.
    pub(crate) handle: Option<FileHandle>,
}

/// One object, as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) identity: Identity,
    /// References the kernel has.
    pub(crate) refs: u64,
    /// Its last name is gone.
    pub(crate) removed: bool,
    pub(crate) opens: u32,
    pub(crate) writers: u32,
    /// A name it has, if one was known.
    pub(crate) name: Option<(FileId, Vec<u8>)>,
}

/// Puts the checksum behind the bytes of a part.
fn sealed<const LENGTH: usize>(mut bytes: [u8; LENGTH]) -> [u8; LENGTH] {
    let sum = crc32fast::hash(&bytes[..LENGTH - SUM]);
    bytes[LENGTH - SUM..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Whether a part is whole.
fn is_whole(bytes: &[u8]) -> bool {
    let Some((body, sum)) = bytes.split_last_chunk::<SUM>() else { return false };
    crc32fast::hash(body) == u32::from_le_bytes(*sum)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

pub(super) fn refs(refs: u64, removed: bool) -> [u8; REFS.1] {
    let mut bytes = [0; REFS.1];
    bytes[..8].copy_from_slice(&refs.to_le_bytes());
    bytes[8] = removed.into();
    sealed(bytes)
}

pub(super) fn uses(opens: u32, writers: u32) -> [u8; USES.1] {
    let mut bytes = [0; USES.1];
    bytes[..4].copy_from_slice(&opens.to_le_bytes());
    bytes[4..8].copy_from_slice(&writers.to_le_bytes());
    sealed(bytes)
}

/// `None`: its handle is longer than any.
pub(super) fn identity(identity: &Identity) -> Option<[u8; IDENTITY.1]> {
    let mut bytes = [0; IDENTITY.1];
    for (at, value) in [(0, identity.id.0), (8, identity.device), (16, identity.ino), (24, identity.tag)] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes[32] = kind_number(identity.kind);
    bytes[33] = identity.excluded.into();
    if let Some((handle_type, handle)) = identity.handle.as_ref().map(FileHandle::parts) {
        bytes[34] = u8::try_from(handle.len()).ok().filter(|length| usize::from(*length) <= HANDLE_MAX)?;
        bytes[35] = 1;
        bytes[36..40].copy_from_slice(&handle_type.to_le_bytes());
        bytes[40..40 + handle.len()].copy_from_slice(handle);
    }
    Some(sealed(bytes))
}

/// A name; one that no directory can hold is none.
pub(super) fn name(place: Option<(FileId, &[u8])>) -> [u8; NAME.1] {
    let mut bytes = [0; NAME.1];
    if let Some((parent, name)) = place.filter(|(_, name)| name.len() <= NAME_MAX) {
        bytes[..8].copy_from_slice(&parent.0.to_le_bytes());
        bytes[8] = name.len() as u8;
        bytes[9..9 + name.len()].copy_from_slice(name);
    }
    sealed(bytes)
}

/// What a slot says. `Ok(None)`: it is free.
///
/// # Errors
/// It is damaged.
pub(super) fn read(slot: &[u8]) -> Result<Option<Known>, &'static str> {
    let part = |(at, length): (usize, usize)| slot.get(at..at + length).unwrap_or_default();
    let (refs, uses, identity, name) = (part(REFS), part(USES), part(IDENTITY), part(NAME));
    if refs.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    if ![refs, uses, identity, name].into_iter().all(is_whole) {
        return Err("an object's record is damaged");
    }
    let count = number(refs, 0);
    if count == 0 {
        return Ok(None);
    }
    let handle = match identity[35] {
        0 => None,
        _ => {
            let handle_type = i32::from_le_bytes([identity[36], identity[37], identity[38], identity[39]]);
            let length = usize::from(identity[34]).min(HANDLE_MAX);
            Some(FileHandle::from_parts(handle_type, &identity[40..40 + length]).ok_or("a handle is too long")?)
        }
    };
    let parent = FileId(number(name, 0));
    let text = name[9..9 + usize::from(name[8])].to_vec();
    Ok(Some(Known {
        identity: Identity {
            id: FileId(number(identity, 0)),
            kind: kind_of(identity[32]).ok_or("an object is of no known kind")?,
            excluded: identity[33] != 0,
            device: number(identity, 8),
            ino: number(identity, 16),
            tag: number(identity, 24),
            handle,
        },
        refs: count,
        removed: refs[8] != 0,
        opens: number(uses, 0) as u32,
        writers: (number(uses, 0) >> 32) as u32,
        name: (parent.0 != 0).then_some((parent, text)),
    }))
}

const KINDS: [FileKind; 7] = [
    FileKind::File,
    FileKind::Directory,
    FileKind::Symlink,
    FileKind::Fifo,
    FileKind::Socket,
    FileKind::CharDevice,
    FileKind::BlockDevice,
];

fn kind_number(kind: FileKind) -> u8 {
    KINDS.iter().position(|known| *known == kind).map_or(0, |at| at as u8)
}

fn kind_of(number: u8) -> Option<FileKind> {
    KINDS.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known {
            identity: Identity {
                id: FileId(70000),
                kind: FileKind::Symlink,
                excluded: true,
                device: 0xfe00,
                ino: 12,
                tag: u64::MAX,
                handle: FileHandle::from_parts(1, &[7; 128]),
            },
            refs: 3,
            removed: true,
            opens: 2,
            writers: 1,
            name: Some((FileId(1), vec![b'x'; 255])),
        }
    }

    fn slot(known: &Known) -> Vec<u8> {
        let place = known.name.as_ref().map(|(parent, name)| (*parent, name.as_slice()));
        let mut bytes = vec![0; SLOT];
        for ((at, length), part) in [
            (REFS, refs(known.refs, known.removed).to_vec()),
            (USES, uses(known.opens, known.writers).to_vec()),
            (IDENTITY, identity(&known.identity).unwrap().to_vec()),
            (NAME, name(place).to_vec()),
        ] {
            bytes[at..at + length].copy_from_slice(&part);
        }
        bytes
    }

    #[test]
    fn an_object_is_read_back_as_it_was() {
        let unnamed = Known { name: None, ..known() };
        let held = Known { identity: Identity { handle: None, ..known().identity }, ..known() };
        for known in [known(), unnamed, held] {
            assert_eq!(read(&slot(&known)).unwrap(), Some(known));
        }
        assert_eq!(read(&[0; SLOT]).unwrap(), None);
    }

    #[test]
    fn damage_anywhere_in_a_used_slot_is_noticed() {
        let whole = slot(&known());
        for at in (0..NAME.0 + NAME.1).step_by(3) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x40;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
        assert!(read(&whole[..100]).is_err());
    }
}
