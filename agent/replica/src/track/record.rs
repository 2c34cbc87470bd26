//! What is written down about an object that may differ, one fixed slot per record: encoding with every length checked.

use crate::tree::handle::FileHandle;

/// Length of a slot of the journal, in bytes: what a disk writes at once.
pub(super) const SLOT: usize = 512;

/// Most bytes of a record in its slot; the rest is the journal's frame around it.
pub(super) const RECORD_MAX: usize = SLOT - 32;

/// Most extents told in one record.
pub(crate) const EXTENTS_MAX: usize = 12;

/// An object of the backing tree, as it is found again after a crash: the number of its file system (index of the first
/// replicated directory on it) and its handle there, which survives renaming and is never reused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Object {
    pub file_system: u16,
    pub handle: FileHandle,
}

/// A name under which a file was known when it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub directory: Object,
    pub name: Vec<u8>,
}

/// What of an object may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Owner, mode, times, extended attributes.
    Attributes,
    /// All of its content as well.
    Whole,
    /// These extents of its content (number, one bit per block), attributes and length as well.
    Extents(Vec<(u32, u64)>),
}

/// How far this node's knowledge reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Session whose resync made both copies the same; 0: nothing is known, everything may differ.
    pub base: u64,
    /// Session whose resync is being completed: the peer may have it as its base already. 0: none.
    pub pairing: u64,
    /// Every change named up to this flush since `base` is on this node's disk, and (for the one that served) forgotten.
    pub flushed: u64,
    /// The latest flush this node has asked the peer for: the peer may stand there already.
    pub asked: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Something of an object that keeps its name.
    Object { object: Object, place: Option<Place>, what: What },
    /// Whatever is, or is not, at this name: with everything below it.
    Name { directory: Object, name: Vec<u8> },
    /// Every name in this directory that is not a directory, on either node.
    AllFiles { directory: Object },
    /// Nothing is known any more.
    Everything,
    /// The standing changed.
    Standing(Standing),
}

impl Record {
    /// The record's bytes; `None` if they do not fit a slot (an unusually long handle).
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(96);
        match self {
            Record::Object { object, place, what } => {
                out.push(1);
                put_object(&mut out, object)?;
                out.push(u8::from(place.is_some()));
                if let Some(place) = place {
                    put_object(&mut out, &place.directory)?;
                    put_bytes(&mut out, &place.name)?;
                }
                match what {
                    What::Attributes => out.push(0),
                    What::Whole => out.push(1),
                    What::Extents(extents) => {
                        out.push(2);
                        out.push(u8::try_from(extents.len()).ok().filter(|n| usize::from(*n) <= EXTENTS_MAX)?);
                        for (index, mask) in extents {
                            out.extend_from_slice(&index.to_le_bytes());
                            out.extend_from_slice(&mask.to_le_bytes());
                        }
                    }
                }
            }
            Record::Name { directory, name } => {
                out.push(2);
                put_object(&mut out, directory)?;
                put_bytes(&mut out, name)?;
            }
            Record::AllFiles { directory } => {
                out.push(3);
                put_object(&mut out, directory)?;
            }
            Record::Everything => out.push(4),
            Record::Standing(standing) => {
                out.push(5);
                out.extend_from_slice(&standing.encode());
            }
        }
        (out.len() <= RECORD_MAX).then_some(out)
    }

    /// Reads a record back; `None` if it is not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Record> {
        let mut rest = Rest(bytes);
        let record = match rest.u8()? {
            1 => {
                let object = rest.object()?;
                let place = match rest.u8()? {
                    0 => None,
                    1 => Some(Place { directory: rest.object()?, name: rest.bytes()? }),
                    _ => return None,
                };
                let what = match rest.u8()? {
                    0 => What::Attributes,
                    1 => What::Whole,
                    2 => {
                        let count = rest.u8()?;
                        let extents = (0..count).map(|_| Some((u32::from_le_bytes(rest.array()?), rest.u64()?)));
                        What::Extents(extents.collect::<Option<_>>()?)
                    }
                    _ => return None,
                };
                Record::Object { object, place, what }
            }
            2 => Record::Name { directory: rest.object()?, name: rest.bytes()? },
            3 => Record::AllFiles { directory: rest.object()? },
            4 => Record::Everything,
            5 => Record::Standing(Standing {
                base: rest.u64()?,
                pairing: rest.u64()?,
                flushed: rest.u64()?,
                asked: rest.u64()?,
            }),
            _ => return None,
        };
        rest.0.is_empty().then_some(record)
    }
}

impl Standing {
    /// As it travels.
    pub(crate) fn numbers(&self) -> [u64; 4] {
        [self.base, self.pairing, self.flushed, self.asked]
    }

    pub(crate) fn from_numbers([base, pairing, flushed, asked]: [u64; 4]) -> Self {
        Self { base, pairing, flushed, asked }
    }

    pub(super) fn encode(&self) -> [u8; 32] {
        let mut out = [0; 32];
        for (at, number) in self.numbers().into_iter().enumerate() {
            out[at * 8..at * 8 + 8].copy_from_slice(&number.to_le_bytes());
        }
        out
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    out.push(u8::try_from(bytes.len()).ok()?);
    out.extend_from_slice(bytes);
    Some(())
}

fn put_object(out: &mut Vec<u8>, object: &Object) -> Option<()> {
    let (kind, bytes) = object.handle.parts();
    out.extend_from_slice(&object.file_system.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    put_bytes(out, bytes)
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }
    fn u8(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.array()?))
    }
    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(self.u8()?);
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head.to_vec())
    }
    fn object(&mut self) -> Option<Object> {
        let file_system = u16::from_le_bytes(self.array()?);
        let kind = i32::from_le_bytes(self.array()?);
        Some(Object { file_system, handle: FileHandle::from_parts(kind, &self.bytes()?)? })
    }
}
