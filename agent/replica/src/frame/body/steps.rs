//! Steps of a resync in a frame's body.

use super::{Entry, Reader, ResyncStep, TEXT_MAX, Writer, XATTR_NAMES_MAX, kind_code};
use crate::frame::FrameError;

impl Writer<'_> {
    pub(super) fn step(&mut self, step: &ResyncStep) -> u16 {
        match step {
            ResyncStep::List { directory, after, upto, entries } => {
                self.list(*directory, (after, upto), entries);
                65
            }
            ResyncStep::Hash { request, id, index, blocks } => self.numbers(66, &[*request, id.0, *index, *blocks]),
            ResyncStep::Zero { id, offset, length } => self.numbers(67, &[id.0, *offset, *length]),
            ResyncStep::Settle { id, mode, accessed, modified, xattrs } => {
                self.id(*id);
                self.u32(*mode);
                self.time(*accessed);
                self.time(*modified);
                self.u16(xattrs.len() as u16);
                xattrs.iter().for_each(|name| self.short(name));
                68
            }
            ResyncStep::Flush { request, flush } => self.numbers(69, &[*request, *flush]),
            ResyncStep::Mark { request, base, flush } => self.numbers(73, &[*request, *base, *flush]),
            ResyncStep::Complete => 70,
            ResyncStep::Begin { full } => {
                self.u8(u8::from(*full));
                71
            }
            ResyncStep::Match { directory, entries, absent } => {
                self.id(*directory);
                self.u32(entries.len() as u32);
                entries.iter().for_each(|entry| self.entry(entry));
                self.u32(absent.len() as u32);
                absent.iter().for_each(|name| self.short(name));
                72
            }
        }
    }

    pub(super) fn entry(&mut self, entry: &Entry) {
        self.u8(kind_code(entry.kind) | u8::from(entry.linked) << 7 | u8::from(entry.exact) << 6);
        self.u64(entry.device);
        self.id(entry.id);
        self.short(&entry.name);
        self.short(&entry.target);
    }
}

impl Reader<'_> {
    pub(super) fn step(&mut self) -> Result<ResyncStep, FrameError> {
        Ok(match self.kind {
            65 => {
                let (directory, (after, upto), entries) = self.list()?;
                ResyncStep::List { directory, after, upto, entries }
            }
            66 => ResyncStep::Hash { request: self.u64()?, id: self.id()?, index: self.u64()?, blocks: self.u64()? },
            67 => ResyncStep::Zero { id: self.id()?, offset: self.u64()?, length: self.u64()? },
            68 => {
                let (id, mode) = (self.id()?, self.mode()?);
                let (accessed, modified) = (self.time()?, self.time()?);
                let count = self.u16()?;
                let xattrs: Vec<_> = (0..count).map(|_| self.xattr_name()).collect::<Result<_, _>>()?;
                if xattrs.iter().map(Vec::len).sum::<usize>() > XATTR_NAMES_MAX {
                    return Err(self.bad("too many extended attributes"));
                }
                ResyncStep::Settle { id, mode, accessed, modified, xattrs }
            }
            69 => ResyncStep::Flush { request: self.u64()?, flush: self.u64()? },
            70 => ResyncStep::Complete,
            71 => ResyncStep::Begin { full: self.flag()? },
            73 => ResyncStep::Mark { request: self.u64()?, base: self.u64()?, flush: self.u64()? },
            _ => {
                let directory = self.id()?;
                let count = self.u32()?;
                let entries = (0..count).map(|_| self.entry()).collect::<Result<_, _>>()?;
                let count = self.u32()?;
                let absent = (0..count).map(|_| self.name()).collect::<Result<_, _>>()?;
                ResyncStep::Match { directory, entries, absent }
            }
        })
    }

    pub(super) fn entry(&mut self) -> Result<Entry, FrameError> {
        let code = self.u8()?;
        Ok(Entry {
            kind: self.kind_of(code & 0x3f)?,
            linked: code & 0x80 != 0,
            exact: code & 0x40 != 0,
            device: self.u64()?,
            id: self.id()?,
            name: self.name()?,
            target: self.short(TEXT_MAX)?,
        })
    }
}
