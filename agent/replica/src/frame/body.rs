//! Bodies of the stream's frames: one compact encoding per message, read back with every length and name checked.

use super::FrameError;
use crate::op::{Allocation, Attributes, FileId, FileKind, Op, Time};
use holdfast_api::ids::Generation;

/// The first message of each side: who speaks, and where its side of the stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Module both ends serve.
    pub module: u16,
    /// Node that speaks.
    pub node: u16,
    /// Boot of that node (at most 64 bytes).
    pub boot_id: String,
    /// Drawn at random by each replica process.
    pub incarnation: u64,
    /// Session both agents have saved.
    pub session: u64,
    /// Generation that is served or followed.
    pub generation: Generation,
    /// Follower: the last sequence number it has applied (0: none yet). Server: the number before the first it will send.
    pub applied: u64,
}

/// One entry of a directory's listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Object behind the name.
    pub id: FileId,
    /// Name in the directory.
    pub name: Vec<u8>,
    /// Kind of the object.
    pub kind: FileKind,
    /// Whether the object has more names than this one.
    pub linked: bool,
    /// Device number, for devices.
    pub device: u64,
    /// Target, for symbolic links.
    pub target: Vec<u8>,
}

/// One step of a resync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResyncStep {
    /// Part of the listing of `directory`; with `last` the secondary makes its directory match the whole.
    List {
        /// The directory.
        directory: FileId,
        /// The first part: forget what was collected.
        first: bool,
        /// The last part.
        last: bool,
        /// Entries of this part.
        entries: Vec<Entry>,
    },
    /// Answer with the hashes of the blocks of extent `index` of `id`, as they are at this point of the stream.
    Hash {
        /// Comes back in the answer.
        request: u64,
        /// The file.
        id: FileId,
        /// Number of the 4 MiB extent.
        index: u64,
    },
    /// Make this range of `id` zeros (a hole where the file system can).
    Zero {
        /// The file.
        id: FileId,
        /// First byte.
        offset: u64,
        /// Length in bytes.
        length: u64,
    },
    /// The last step of an object: these attributes, and no extended attributes but the named ones.
    Settle {
        /// The object.
        id: FileId,
        /// Permission bits.
        mode: u32,
        /// Access time.
        accessed: Time,
        /// Modification time.
        modified: Time,
        /// Names of extended attributes that stay.
        xattrs: Vec<Vec<u8>>,
    },
    /// Write everything so far to disk and answer.
    Flush {
        /// Comes back in the answer.
        request: u64,
    },
    /// The secondary has everything: sync, tell the agent, answer `UpToDate` when it says so.
    Complete,
}

/// Everything that travels between two replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Opens a connection in each direction.
    Hello(Hello),
    /// Ends a connection: this end cannot go on, for this reason.
    Refused(String),
    /// (Without encryption) a fresh random number the other end must answer to.
    Challenge([u8; 32]),
    /// (Without encryption) proof of knowing the cluster's secret.
    Proof([u8; 32]),
    /// A change; the payload travels behind it.
    Op(Op),
    /// A step of a resync.
    Resync(ResyncStep),
    /// Everything up to this sequence number is applied.
    Ack(u64),
    /// The sync with this sequence number is done (an `Ack` says only that it has begun).
    Synced(u64),
    /// Answer to `Hash`: one hash per block, all zeros for a block of zeros, none beyond the end of the file.
    Hashes {
        /// As asked.
        request: u64,
        /// Hashes of the blocks present.
        blocks: Vec<[u8; 32]>,
    },
    /// Answer to `Flush`.
    Flushed(u64),
    /// The secondary's agent has saved UpToDate.
    UpToDate,
    /// The secondary could not apply a change.
    Broken(String),
    /// How far the resync is, for the secondary's agent: entries done and of, bytes done and of, bytes sent, milliseconds.
    Progress([u64; 6]),
}

/// A decoded body.
pub struct Decoded<'a> {
    /// What it says.
    pub message: Message,
    /// What follows it.
    pub payload: &'a [u8],
}

const TEXT_MAX: usize = 4096;
const NAME_MAX: usize = 255;
const XATTR_NAMES_MAX: usize = 64 << 10;

/// Appends the body of `message` and returns its kind.
pub(super) fn encode(message: &Message, out: &mut Vec<u8>) -> u16 {
    let mut w = Writer(out);
    match message {
        Message::Hello(hello) => w.hello(hello),
        Message::Refused(text) => w.text(2, text),
        Message::Challenge(bytes) => w.bytes(3, bytes),
        Message::Proof(bytes) => w.bytes(4, bytes),
        Message::Ack(sequence) => w.numbers(5, &[*sequence]),
        Message::Hashes { request, blocks } => {
            w.u64(*request);
            w.u16(blocks.len() as u16);
            blocks.iter().for_each(|block| w.0.extend_from_slice(block));
            6
        }
        Message::Flushed(request) => w.numbers(7, &[*request]),
        Message::UpToDate => 8,
        Message::Broken(text) => w.text(9, text),
        Message::Progress(figures) => w.numbers(10, figures),
        Message::Synced(sequence) => w.numbers(11, &[*sequence]),
        Message::Op(op) => w.op(op),
        Message::Resync(step) => w.step(step),
    }
}

/// Reads a body of this kind.
pub(super) fn decode(kind: u16, body: &[u8]) -> Result<Decoded<'_>, FrameError> {
    let mut r = Reader { kind, rest: body };
    let message = r.message()?;
    let carries = matches!(message, Message::Op(Op::Write { .. } | Op::Symlink { .. } | Op::SetXattr { .. }));
    if !carries && !r.rest.is_empty() {
        return Err(r.bad("bytes after its end"));
    }
    if matches!(message, Message::Op(Op::Symlink { .. })) && r.rest.len() > TEXT_MAX {
        return Err(r.bad("target of a symbolic link too long"));
    }
    if r.rest.len() > super::PAYLOAD_MAX {
        return Err(r.bad("payload too long"));
    }
    Ok(Decoded { message, payload: r.rest })
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn id(&mut self, id: FileId) {
        self.u64(id.0);
    }
    fn short(&mut self, bytes: &[u8]) {
        self.u16(bytes.len() as u16);
        self.0.extend_from_slice(bytes);
    }
    fn time(&mut self, time: Time) {
        self.u64(time.seconds as u64);
        self.u32(time.nanoseconds);
    }
    fn text(&mut self, kind: u16, text: &str) -> u16 {
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.short(&text.as_bytes()[..end]);
        kind
    }
    fn bytes(&mut self, kind: u16, bytes: &[u8]) -> u16 {
        self.0.extend_from_slice(bytes);
        kind
    }
    fn numbers(&mut self, kind: u16, numbers: &[u64]) -> u16 {
        numbers.iter().for_each(|number| self.u64(*number));
        kind
    }

    fn hello(&mut self, hello: &Hello) -> u16 {
        self.u16(hello.module);
        self.u16(hello.node);
        self.short(&hello.boot_id.as_bytes()[..hello.boot_id.len().min(64)]);
        self.numbers(
            1,
            &[hello.incarnation, hello.session, hello.generation.number, hello.generation.id, hello.applied],
        )
    }

    fn place(&mut self, kind: u16, id: FileId, parent: FileId, name: &[u8]) -> u16 {
        self.id(id);
        self.id(parent);
        self.short(name);
        kind
    }

    fn op(&mut self, op: &Op) -> u16 {
        match op {
            Op::Bind { id, parent, name, kind } => {
                self.u8(kind_code(*kind));
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

    fn step(&mut self, step: &ResyncStep) -> u16 {
        match step {
            ResyncStep::List { directory, first, last, entries } => {
                self.id(*directory);
                self.u8(u8::from(*first) | u8::from(*last) << 1);
                self.u32(entries.len() as u32);
                for entry in entries {
                    self.u8(kind_code(entry.kind) | u8::from(entry.linked) << 7);
                    self.u64(entry.device);
                    self.id(entry.id);
                    self.short(&entry.name);
                    self.short(&entry.target);
                }
                65
            }
            ResyncStep::Hash { request, id, index } => self.numbers(66, &[*request, id.0, *index]),
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
            ResyncStep::Flush { request } => self.numbers(69, &[*request]),
            ResyncStep::Complete => 70,
        }
    }
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

const ALLOCATIONS: [Allocation; 5] =
    [Allocation::Reserve, Allocation::ReserveOnly, Allocation::PunchHole, Allocation::Zero, Allocation::ZeroOnly];

fn kind_code(kind: FileKind) -> u8 {
    KINDS.iter().position(|k| *k == kind).map_or(0, |i| i as u8)
}

struct Reader<'a> {
    kind: u16,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bad(&self, what: &'static str) -> FrameError {
        FrameError::Malformed { kind: self.kind, what }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], FrameError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.bad("cut short"))?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.bad("cut short"))?;
        self.rest = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(self.array::<1>()?[0])
    }
    fn u16(&mut self) -> Result<u16, FrameError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    fn u64(&mut self) -> Result<u64, FrameError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    fn flag(&mut self) -> Result<bool, FrameError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.bad("a flag that is neither 0 nor 1")),
        }
    }

    fn id(&mut self) -> Result<FileId, FrameError> {
        match self.u64()? {
            0 => Err(self.bad("object 0")),
            id => Ok(FileId(id)),
        }
    }

    fn kind_of(&self, code: u8) -> Result<FileKind, FrameError> {
        KINDS.get(usize::from(code)).copied().ok_or_else(|| self.bad("unknown kind of object"))
    }

    fn file_kind(&mut self) -> Result<FileKind, FrameError> {
        let code = self.u8()?;
        self.kind_of(code)
    }

    fn short(&mut self, longest: usize) -> Result<Vec<u8>, FrameError> {
        let length = usize::from(self.u16()?);
        if length > longest {
            return Err(self.bad("a text too long"));
        }
        Ok(self.take(length)?.to_vec())
    }

    /// A name of one step: it can never lead out of its directory.
    fn name(&mut self) -> Result<Vec<u8>, FrameError> {
        let name = self.short(NAME_MAX)?;
        let harmless = !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|b| matches!(b, b'/' | 0));
        if harmless { Ok(name) } else { Err(self.bad("a name that is not one")) }
    }

    fn xattr_name(&mut self) -> Result<Vec<u8>, FrameError> {
        let name = self.short(NAME_MAX)?;
        if name.is_empty() || name.contains(&0) { Err(self.bad("a name that is not one")) } else { Ok(name) }
    }

    fn text(&mut self) -> Result<String, FrameError> {
        String::from_utf8(self.short(TEXT_MAX)?).map_err(|_| self.bad("a text that is not UTF-8"))
    }

    fn time(&mut self) -> Result<Time, FrameError> {
        let time = Time { seconds: self.u64()? as i64, nanoseconds: self.u32()? };
        if time.nanoseconds < 1_000_000_000 { Ok(time) } else { Err(self.bad("nanoseconds above 10⁹")) }
    }

    fn mode(&mut self) -> Result<u32, FrameError> {
        match self.u32()? {
            mode if mode & !0o7777 == 0 => Ok(mode),
            _ => Err(self.bad("a mode above 07777")),
        }
    }

    fn message(&mut self) -> Result<Message, FrameError> {
        Ok(match self.kind {
            1 => Message::Hello(self.hello()?),
            2 => Message::Refused(self.text()?),
            3 => Message::Challenge(self.array()?),
            4 => Message::Proof(self.array()?),
            5 => Message::Ack(self.u64()?),
            6 => {
                let request = self.u64()?;
                let count = self.u16()?;
                let blocks = (0..count).map(|_| self.array()).collect::<Result<_, _>>()?;
                Message::Hashes { request, blocks }
            }
            7 => Message::Flushed(self.u64()?),
            8 => Message::UpToDate,
            9 => Message::Broken(self.text()?),
            10 => {
                let mut figures = [0; 6];
                for figure in &mut figures {
                    *figure = self.u64()?;
                }
                Message::Progress(figures)
            }
            11 => Message::Synced(self.u64()?),
            32..=48 => Message::Op(self.op()?),
            65..=70 => Message::Resync(self.step()?),
            _ => return Err(self.bad("unknown kind")),
        })
    }

    fn hello(&mut self) -> Result<Hello, FrameError> {
        Ok(Hello {
            module: self.u16()?,
            node: self.u16()?,
            boot_id: String::from_utf8(self.short(64)?).map_err(|_| self.bad("a boot id that is not UTF-8"))?,
            incarnation: self.u64()?,
            session: self.u64()?,
            generation: Generation { number: self.u64()?, id: self.u64()? },
            applied: self.u64()?,
        })
    }

    fn place(&mut self) -> Result<(FileId, FileId, Vec<u8>), FrameError> {
        Ok((self.id()?, self.id()?, self.name()?))
    }

    fn op(&mut self) -> Result<Op, FrameError> {
        Ok(match self.kind {
            32 => {
                let kind = self.file_kind()?;
                let (id, parent, name) = self.place()?;
                Op::Bind { id, parent, name, kind }
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

    fn step(&mut self) -> Result<ResyncStep, FrameError> {
        Ok(match self.kind {
            65 => {
                let directory = self.id()?;
                let flags = self.u8()?;
                if flags > 3 {
                    return Err(self.bad("unknown flags"));
                }
                let count = self.u32()?;
                let entries = (0..count).map(|_| self.entry()).collect::<Result<_, _>>()?;
                ResyncStep::List { directory, first: flags & 1 != 0, last: flags & 2 != 0, entries }
            }
            66 => ResyncStep::Hash { request: self.u64()?, id: self.id()?, index: self.u64()? },
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
            69 => ResyncStep::Flush { request: self.u64()? },
            _ => ResyncStep::Complete,
        })
    }

    fn entry(&mut self) -> Result<Entry, FrameError> {
        let code = self.u8()?;
        Ok(Entry {
            kind: self.kind_of(code & 0x7f)?,
            linked: code & 0x80 != 0,
            device: self.u64()?,
            id: self.id()?,
            name: self.name()?,
            target: self.short(TEXT_MAX)?,
        })
    }
}
