//! Bodies of the stream's frames: one compact encoding per message, read back with every length and name checked.

mod check;
mod ops;
mod steps;
pub use check::{CheckStep, Checked, NAMED_BYTES_MAX, NAMED_MAX};

use super::{FrameError, Told};
use crate::op::{Allocation, FileId, FileKind, Op, Time};
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
    /// Follower: how far its knowledge of what may differ reaches (base, pairing, flushed, asked).
    pub standing: [u64; 4],
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
    /// The name is known to mean the same on both nodes: the secondary must find it so.
    pub exact: bool,
    /// Device number, for devices.
    pub device: u64,
    /// Target, for symbolic links.
    pub target: Vec<u8>,
}

/// One step of a resync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResyncStep {
    /// All names of `directory` after one and up to another, in the order of their bytes: the secondary has exactly these
    /// there from this point of the stream on. Pieces of one listing follow each other without a gap.
    List {
        /// The directory.
        directory: FileId,
        /// The names of the piece come after this one; empty: it is the first piece.
        after: Vec<u8>,
        /// The last name that belongs to the piece, whether it is there or not; empty: it is the last piece.
        upto: Vec<u8>,
        /// What is there.
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
        /// Which of its blocks, one bit each.
        blocks: u64,
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
        /// Number of the flush to be saved before the answer; 0: none.
        flush: u64,
    },
    /// Write everything so far to disk, save that all but what the primary still names is the same here, and answer.
    Mark {
        /// Comes back in the answer.
        request: u64,
        /// What the marks are counted from.
        base: u64,
        /// Number of this one.
        flush: u64,
    },
    /// The first step. `full`: everything is compared, so from here on the secondary knows nothing of what may differ.
    Begin {
        /// Not only what is named.
        full: bool,
    },
    /// Some names of `directory`: those with an entry are made to mean what they mean on the primary, the others removed.
    Match {
        /// The directory.
        directory: FileId,
        /// What is there on the primary.
        entries: Vec<Entry>,
        /// Names that are not there.
        absent: Vec<Vec<u8>>,
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
    /// How far the resync is, for the secondary's agent: entries done and of, bytes done and of, bytes sent, milliseconds,
    /// bytes per second, milliseconds left (all ones: nobody knows).
    Progress([u64; 8]),
    /// A step of a comparison.
    Check(CheckStep),
    /// Answer to `CheckStep::End`.
    Checked {
        /// As asked.
        request: u64,
        /// What was found.
        checked: Checked,
    },
    /// Opens a connection on which the primary only tells what it has, in `Check` steps.
    Survey(Hello),
    /// (Greeting) the primary asks for part number so-and-so of what the secondary names.
    NamesWanted(u32),
    /// (Greeting) a part of what the secondary names; `None`: everything may differ.
    Names {
        /// Whether it was the last part.
        last: bool,
        /// What is named.
        told: Option<Vec<Told>>,
    },
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
        Message::NamesWanted(part) => {
            w.u32(*part);
            11
        }
        Message::Names { last, told } => {
            w.u8(u8::from(*last) | u8::from(told.is_some()) << 1);
            let told = told.as_deref().unwrap_or_default();
            w.u32(told.len() as u32);
            told.iter().for_each(|one| w.told(one));
            12
        }
        Message::Synced(sequence) => w.numbers(13, &[*sequence]),
        Message::Survey(hello) => {
            w.hello(hello);
            14
        }
        Message::Checked { request, checked } => w.checked(*request, checked),
        Message::Check(step) => w.check(step),
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

pub(super) struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }
    pub(super) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
    fn id(&mut self, id: FileId) {
        self.u64(id.0);
    }
    pub(super) fn short(&mut self, bytes: &[u8]) {
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
        self.numbers(1, &hello.standing);
        self.numbers(
            1,
            &[hello.incarnation, hello.session, hello.generation.number, hello.generation.id, hello.applied],
        )
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

pub(super) struct Reader<'a> {
    kind: u16,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn bad(&self, what: &'static str) -> FrameError {
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

    pub(super) fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(self.array::<1>()?[0])
    }
    pub(super) fn u16(&mut self) -> Result<u16, FrameError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    pub(super) fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    pub(super) fn u64(&mut self) -> Result<u64, FrameError> {
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
    pub(super) fn name(&mut self) -> Result<Vec<u8>, FrameError> {
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
                let mut figures = [0; 8];
                for figure in &mut figures {
                    *figure = self.u64()?;
                }
                Message::Progress(figures)
            }
            11 => Message::NamesWanted(self.u32()?),
            12 => {
                let flags = self.u8()?;
                if flags > 3 {
                    return Err(self.bad("unknown flags"));
                }
                let count = self.u32()?;
                let told = (0..count).map(|_| self.told()).collect::<Result<Vec<_>, _>>()?;
                Message::Names { last: flags & 1 != 0, told: (flags & 2 != 0).then_some(told) }
            }
            13 => Message::Synced(self.u64()?),
            14 => Message::Survey(self.hello()?),
            15 => {
                let (request, checked) = self.checked()?;
                Message::Checked { request, checked }
            }
            80..=84 => Message::Check(self.check()?),
            32..=48 => Message::Op(self.op()?),
            65..=73 => Message::Resync(self.step()?),
            _ => return Err(self.bad("unknown kind")),
        })
    }

    fn hello(&mut self) -> Result<Hello, FrameError> {
        Ok(Hello {
            module: self.u16()?,
            node: self.u16()?,
            boot_id: String::from_utf8(self.short(64)?).map_err(|_| self.bad("a boot id that is not UTF-8"))?,
            standing: [self.u64()?, self.u64()?, self.u64()?, self.u64()?],
            incarnation: self.u64()?,
            session: self.u64()?,
            generation: Generation { number: self.u64()?, id: self.u64()? },
            applied: self.u64()?,
        })
    }
}
