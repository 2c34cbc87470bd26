//! Operations in a frame's body.

use super::{ALLOCATIONS, Reader, Writer, kind_code};
use crate::frame::FrameError;
use crate::op::{Attributes, FileId, FileKind, Op};

impl Writer<'_> {
    fn place(&mut self, kind: u16, id: FileId, parent: FileId, name: &[u8]) -> u16 {
        self.id(id);
        self.id(parent);
        self.short(name);
        kind
    }

    pub(super) fn op(&mut self, op: &Op) -> u16 {
        match op {
            Op::Bind { id, parent, name, kind, exact } => {
                self.u8(kind_code(*kind) | u8::from(*exact) << 7);
                self.place(32, *id, *parent, name)
            }
            Op::Forget { id } => self.numbers(33, &[id.0]),
            Op::Write { id, offset, clear_suid } => {
                self.u8(u8::from(*clear_suid));
                self.numbers(34, &[id.0, *offset])
            }
            Op::SetAttributes { id, attributes } => {
                self.id(*id);
                self.attributes(attributes);
                35
            }
            Op::Create { id, parent, name, kind, mode, uid, gid, device } => {
                self.u8(kind_code(*kind));
                self.u32(*mode);
                self.u32(*uid);
                self.u32(*gid);
                self.u64(*device);
                self.place(36, *id, *parent, name)
            }
            Op::Symlink { id, parent, name, uid, gid } => {
                self.u32(*uid);
                self.u32(*gid);
                self.place(37, *id, *parent, name)
            }
            Op::Link { id, parent, name } => self.place(38, *id, *parent, name),
            Op::Unlink { id, parent, name } => self.place(39, *id, *parent, name),
            Op::RemoveDirectory { id, parent, name } => self.place(40, *id, *parent, name),
            Op::Rename { id, parent, name, new_parent, new_name } => {
                self.id(*new_parent);
                self.short(new_name);
                self.place(41, *id, *parent, name)
            }
            Op::SetXattr { id, name } => {
                self.id(*id);
                self.short(name);
                42
            }
            Op::RemoveXattr { id, name } => {
                self.id(*id);
                self.short(name);
                43
            }
            Op::Sync { id, data_only } => {
                self.u8(u8::from(*data_only));
                self.numbers(44, &[id.0])
            }
            Op::SyncAll => 45,
            Op::Allocate { id, offset, length, how } => {
                self.u8(ALLOCATIONS.iter().position(|known| known == how).map_or(0, |code| code as u8));
                self.numbers(46, &[id.0, *offset, *length])
            }
            Op::Exchange { id, parent, name, other, other_parent, other_name } => {
                self.place(47, *other, *other_parent, other_name);
                self.place(47, *id, *parent, name)
            }
            Op::CreateUnnamed { id, parent, mode, uid, gid } => {
                [*mode, *uid, *gid].into_iter().for_each(|value| self.u32(value));
                self.numbers(48, &[id.0, parent.0])
            }
        }
    }

    fn attributes(&mut self, a: &Attributes) {
        let present = u8::from(a.size.is_some())
            | u8::from(a.mode.is_some()) << 1
            | u8::from(a.uid.is_some()) << 2
            | u8::from(a.gid.is_some()) << 3
            | u8::from(a.accessed.is_some()) << 4
            | u8::from(a.modified.is_some()) << 5;
        self.u8(present);
        a.size.into_iter().for_each(|v| self.u64(v));
        [a.mode, a.uid, a.gid].into_iter().flatten().for_each(|v| self.u32(v));
        [a.accessed, a.modified].into_iter().flatten().for_each(|v| self.time(v));
    }
}

impl Reader<'_> {
    fn place(&mut self) -> Result<(FileId, FileId, Vec<u8>), FrameError> {
        Ok((self.id()?, self.id()?, self.name()?))
    }

    pub(super) fn op(&mut self) -> Result<Op, FrameError> {
        Ok(match self.kind {
            32 => {
                let code = self.u8()?;
                let kind = self.kind_of(code & 0x7f)?;
                let (id, parent, name) = self.place()?;
                Op::Bind { id, parent, name, kind, exact: code & 0x80 != 0 }
            }
            33 => Op::Forget { id: self.id()? },
            34 => {
                let clear_suid = self.flag()?;
                Op::Write { id: self.id()?, offset: self.u64()?, clear_suid }
            }
            35 => Op::SetAttributes { id: self.id()?, attributes: self.attributes()? },
            36 => {
                let kind = self.file_kind()?;
                if kind == FileKind::Symlink {
                    return Err(self.bad("a symbolic link without target"));
                }
                let (mode, uid, gid, device) = (self.mode()?, self.u32()?, self.u32()?, self.u64()?);
                let (id, parent, name) = self.place()?;
                Op::Create { id, parent, name, kind, mode, uid, gid, device }
            }
            37 => {
                let (uid, gid) = (self.u32()?, self.u32()?);
                let (id, parent, name) = self.place()?;
                Op::Symlink { id, parent, name, uid, gid }
            }
            38 => self.place().map(|(id, parent, name)| Op::Link { id, parent, name })?,
            39 => self.place().map(|(id, parent, name)| Op::Unlink { id, parent, name })?,
            40 => self.place().map(|(id, parent, name)| Op::RemoveDirectory { id, parent, name })?,
            41 => {
                let (new_parent, new_name) = (self.id()?, self.name()?);
                let (id, parent, name) = self.place()?;
                Op::Rename { id, parent, name, new_parent, new_name }
            }
            42 => Op::SetXattr { id: self.id()?, name: self.xattr_name()? },
            43 => Op::RemoveXattr { id: self.id()?, name: self.xattr_name()? },
            44 => {
                let data_only = self.flag()?;
                Op::Sync { id: self.id()?, data_only }
            }
            45 => Op::SyncAll,
            46 => {
                let how = ALLOCATIONS.get(usize::from(self.u8()?)).copied();
                let how = how.ok_or_else(|| self.bad("unknown kind of allocation"))?;
                Op::Allocate { id: self.id()?, offset: self.u64()?, length: self.u64()?, how }
            }
            47 => {
                let (other, other_parent, other_name) = self.place()?;
                let (id, parent, name) = self.place()?;
                Op::Exchange { id, parent, name, other, other_parent, other_name }
            }
            _ => {
                let (mode, uid, gid) = (self.mode()?, self.u32()?, self.u32()?);
                Op::CreateUnnamed { id: self.id()?, parent: self.id()?, mode, uid, gid }
            }
        })
    }

    fn attributes(&mut self) -> Result<Attributes, FrameError> {
        let present = self.u8()?;
        if present & !0x3f != 0 {
            return Err(self.bad("unknown attributes"));
        }
        let has = |bit: u8| present & (1 << bit) != 0;
        Ok(Attributes {
            size: has(0).then(|| self.u64()).transpose()?,
            mode: has(1).then(|| self.mode()).transpose()?,
            uid: has(2).then(|| self.u32()).transpose()?,
            gid: has(3).then(|| self.u32()).transpose()?,
            accessed: has(4).then(|| self.time()).transpose()?,
            modified: has(5).then(|| self.time()).transpose()?,
        })
    }
}
