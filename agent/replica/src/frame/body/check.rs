//! Bodies of the frames by which two copies are compared without changing either.

use super::{Entry, FrameError, NAME_MAX, Reader, Writer};
use crate::op::{FileId, Time};

/// One step of a comparison: what is true on the primary, for the secondary to compare with its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckStep {
    /// All names of `directory` after one and up to another, as in a resync.
    List {
        /// The directory.
        directory: FileId,
        /// The names of the piece come after this one; empty: it is the first piece.
        after: Vec<u8>,
        /// The last name that belongs to the piece; empty: it is the last piece.
        upto: Vec<u8>,
        /// What is there.
        entries: Vec<Entry>,
    },
    /// Attributes of an object listed before.
    Object {
        /// The object.
        id: FileId,
        /// Permission bits, owner, group.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
        /// Length in bytes, of a file.
        size: u64,
        /// Modification time of a file, where it is settled.
        modified: Option<Time>,
        /// Hash of its extended attributes.
        xattrs: [u8; 32],
    },
    /// Hashes of the blocks of a file from `offset` on.
    Blocks {
        /// The file.
        id: FileId,
        /// First byte.
        offset: u64,
        /// Hashes, as in `Hashes`.
        blocks: Vec<[u8; 32]>,
    },
    /// Nothing more comes about this object.
    Done {
        /// The object.
        id: FileId,
    },
    /// Everything was compared: answer.
    End {
        /// Comes back in the answer.
        request: u64,
    },
}

/// What a comparison has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Entries compared.
    pub entries: u64,
    /// Bytes compared.
    pub bytes: u64,
    /// Differences found.
    pub differences: u64,
    /// The first of them, in words.
    pub named: Vec<String>,
}

/// Most differences named, and most bytes of all their texts.
pub const NAMED_MAX: usize = 1000;
/// See [`NAMED_MAX`].
pub const NAMED_BYTES_MAX: usize = 256 << 10;

/// A piece of a listing: the directory, between which names, its entries.
type Listed = (FileId, (Vec<u8>, Vec<u8>), Vec<Entry>);

impl Writer<'_> {
    pub(super) fn list(&mut self, directory: FileId, (after, upto): (&[u8], &[u8]), entries: &[Entry]) {
        self.id(directory);
        self.short(after);
        self.short(upto);
        self.u32(entries.len() as u32);
        for entry in entries {
            self.entry(entry);
        }
    }

    pub(super) fn check(&mut self, step: &CheckStep) -> u16 {
        match step {
            CheckStep::List { directory, after, upto, entries } => {
                self.list(*directory, (after, upto), entries);
                80
            }
            CheckStep::Object { id, mode, uid, gid, size, modified, xattrs } => {
                self.id(*id);
                [*mode, *uid, *gid].into_iter().for_each(|number| self.u32(number));
                self.u64(*size);
                self.u8(u8::from(modified.is_some()));
                if let Some(time) = modified {
                    self.time(*time);
                }
                self.bytes(81, xattrs)
            }
            CheckStep::Blocks { id, offset, blocks } => {
                self.id(*id);
                self.u64(*offset);
                self.u16(blocks.len() as u16);
                blocks.iter().for_each(|block| self.0.extend_from_slice(block));
                82
            }
            CheckStep::Done { id } => self.numbers(83, &[id.0]),
            CheckStep::End { request } => self.numbers(84, &[*request]),
        }
    }

    pub(super) fn checked(&mut self, request: u64, checked: &Checked) -> u16 {
        self.numbers(15, &[request, checked.entries, checked.bytes, checked.differences]);
        self.u16(checked.named.len() as u16);
        for text in &checked.named {
            self.text(15, text);
        }
        15
    }
}

impl Reader<'_> {
    pub(super) fn list(&mut self) -> Result<Listed, FrameError> {
        let directory = self.id()?;
        let (after, upto) = (self.short(NAME_MAX)?, self.short(NAME_MAX)?);
        let count = self.u32()?;
        let entries: Vec<Entry> = (0..count).map(|_| self.entry()).collect::<Result<_, _>>()?;
        let within = |name: &Vec<u8>| *name > after && (upto.is_empty() || *name <= upto);
        if !(upto.is_empty() || after < upto) || !entries.iter().all(|entry| within(&entry.name)) {
            return Err(self.bad("names out of their place"));
        }
        Ok((directory, (after, upto), entries))
    }

    pub(super) fn check(&mut self) -> Result<CheckStep, FrameError> {
        Ok(match self.kind {
            80 => {
                let (directory, (after, upto), entries) = self.list()?;
                CheckStep::List { directory, after, upto, entries }
            }
            81 => {
                let (id, mode, uid, gid) = (self.id()?, self.mode()?, self.u32()?, self.u32()?);
                let (size, timed) = (self.u64()?, self.flag()?);
                let modified = timed.then(|| self.time()).transpose()?;
                CheckStep::Object { id, mode, uid, gid, size, modified, xattrs: self.array()? }
            }
            82 => {
                let (id, offset, count) = (self.id()?, self.u64()?, self.u16()?);
                let blocks = (0..count).map(|_| self.array()).collect::<Result<_, _>>()?;
                CheckStep::Blocks { id, offset, blocks }
            }
            83 => CheckStep::Done { id: self.id()? },
            _ => CheckStep::End { request: self.u64()? },
        })
    }

    pub(super) fn checked(&mut self) -> Result<(u64, Checked), FrameError> {
        let request = self.u64()?;
        let (entries, bytes, differences) = (self.u64()?, self.u64()?, self.u64()?);
        let count = self.u16()?;
        let named = (0..count).map(|_| self.text()).collect::<Result<_, _>>()?;
        Ok((request, Checked { entries, bytes, differences, named }))
    }
}
