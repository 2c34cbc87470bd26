//! Bodies of the frames by which two copies are compared without changing either.

use super::{Entry, FrameError, Reader, Writer};
use crate::op::{FileId, Time};

/// One step of a comparison: what is true on the primary, for the secondary to compare with its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckStep {
    /// Part of the listing of `directory`.
    List {
        /// The directory.
        directory: FileId,
        /// The first part.
        first: bool,
        /// The last part: now compare.
        last: bool,
        /// Entries of this part.
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

/// Part of a listing: the directory, whether it is the first and the last part, its entries.
type Listed = (FileId, (bool, bool), Vec<Entry>);

impl Writer<'_> {
    pub(super) fn list(&mut self, directory: FileId, (first, last): (bool, bool), entries: &[Entry]) {
        self.id(directory);
        self.u8(u8::from(first) | u8::from(last) << 1);
        self.u32(entries.len() as u32);
        for entry in entries {
            self.entry(entry);
        }
    }

    pub(super) fn check(&mut self, step: &CheckStep) -> u16 {
        match step {
            CheckStep::List { directory, first, last, entries } => {
                self.list(*directory, (*first, *last), entries);
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
        let flags = self.u8()?;
        if flags > 3 {
            return Err(self.bad("unknown flags"));
        }
        let count = self.u32()?;
        let entries = (0..count).map(|_| self.entry()).collect::<Result<_, _>>()?;
        Ok((directory, (flags & 1 != 0, flags & 2 != 0), entries))
    }

    pub(super) fn check(&mut self) -> Result<CheckStep, FrameError> {
        Ok(match self.kind {
            80 => {
                let (directory, (first, last), entries) = self.list()?;
                CheckStep::List { directory, first, last, entries }
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
