//! One connection to the kernel: negotiation, the reader threads, and which operation handles which request.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rustix::io::Errno;

use super::inode::Inode;
use super::inodes::Inodes;
use super::lock;
use super::ops::dir::Listings;
use super::pool::Pool;
use super::reply::{Channel, Reply, Ttl};
use super::wire::{self, Header, Request, WireError, flag};
use crate::op::FileId;
use crate::replicate::Replicate;
use crate::tree::Result;
use crate::tree::identity::{Caller, own_umask};

/// The kernel's number for the root of every mount.
const ROOT_NODE: u64 = 1;
/// How long the primary's kernel may keep names and attributes: nobody but this process changes them.
const PRIMARY_TTL: Ttl = Ttl(3600);
/// On a secondary the stream changes the files behind the kernel's back.
const SECONDARY_TTL: Ttl = Ttl(0);
/// Reader threads of a mount: more than the cores only adds hand-overs.
const READERS: usize = 2;

/// Everything the handlers of one mount share.
pub(super) struct Connection {
    pub(super) channel: Arc<Channel>,
    pub(super) root: FileId,
    pub(super) directory: Arc<OwnedFd>,
    pub(super) inodes: Arc<Inodes>,
    pub(super) replicate: Arc<dyn Replicate>,
    pub(super) read_only: bool,
    pub(super) refused: Arc<AtomicBool>,
    pub(super) ttl: Ttl,
    pub(super) pool: Arc<Pool>,
    pub(super) listings: Listings,
    negotiated: OnceLock<u64>,
}

/// What a [`Connection`] is made of.
pub(super) struct ConnectionParts {
    pub(super) device: OwnedFd,
    pub(super) root: FileId,
    pub(super) directory: Arc<OwnedFd>,
    pub(super) inodes: Arc<Inodes>,
    pub(super) replicate: Arc<dyn Replicate>,
    pub(super) read_only: bool,
    pub(super) refused: Arc<AtomicBool>,
    pub(super) pool: Arc<Pool>,
    /// What an earlier process has agreed on with the kernel.
    pub(super) negotiated: Option<u64>,
}

impl Connection {
    pub(super) fn new(parts: ConnectionParts) -> Arc<Connection> {
        Arc::new(Connection {
            channel: Arc::new(Channel::new(parts.device)),
            root: parts.root,
            directory: parts.directory,
            inodes: parts.inodes,
            replicate: parts.replicate,
            read_only: parts.read_only,
            refused: parts.refused,
            ttl: if parts.read_only { SECONDARY_TTL } else { PRIMARY_TTL },
            pool: parts.pool,
            listings: Listings::default(),
            negotiated: parts.negotiated.map(OnceLock::from).unwrap_or_default(),
        })
    }

    /// What was agreed on with the kernel, once it was.
    pub(super) fn negotiated(&self) -> Option<u64> {
        self.negotiated.get().copied()
    }

    /// Starts the reader threads; they end when the mount or the connection does.
    pub(super) fn start(self: &Arc<Self>) -> std::io::Result<Vec<JoinHandle<()>>> {
        (0..READERS)
            .map(|number| {
                let connection = self.clone();
                let thread = std::thread::Builder::new().name(format!("front-{}-{number}", self.root.0));
                thread.spawn(move || connection.read_requests())
            })
            .collect()
    }

    fn read_requests(self: Arc<Self>) {
        if let Err(error) = own_umask() {
            tracing::error!(%error, "a thread cannot have its own umask (unshare): new files may get too few permissions");
        }
        let mut buffer = vec![0; wire::BUFFER_SIZE];
        loop {
            match rustix::io::read(self.channel.fd(), &mut buffer) {
                Ok(0) => return,
                Ok(length) => self.handle(&buffer[..length]),
                // ENOENT: the request was withdrawn before we had it.
                Err(Errno::INTR | Errno::NOENT | Errno::AGAIN) => {}
                Err(Errno::NODEV | Errno::CONNABORTED) => return,
                Err(error) => {
                    tracing::error!(%error, "reading requests of the file-system front failed; this mount is dead");
                    return;
                }
            }
        }
    }

    fn handle(self: &Arc<Self>, bytes: &[u8]) {
        let setxattr_ext = self.negotiated.get().is_some_and(|flags| flags & flag::SETXATTR_EXT != 0);
        match wire::parse(bytes, setxattr_ext) {
            Ok((header, request)) => {
                // A defect must not leave an application waiting for ever.
                let handled = catch_unwind(AssertUnwindSafe(|| self.dispatch(&header, request)));
                if let Err(error) = handled.unwrap_or(Err(Errno::IO)) {
                    self.channel.send(header.unique, Err(error));
                }
                self.inodes.submit_forgotten(&*self.replicate);
            }
            Err((Some(header), error)) => {
                tracing::error!(%error, "the kernel sent a request this version does not understand");
                if !matches!(error, WireError::Body(2 | 42)) {
                    self.channel.send(header.unique, Err(Errno::IO));
                }
            }
            Err((None, error)) => tracing::error!(%error, "the kernel sent a broken request"),
        }
    }

    /// Has the request handled. A handler answers by itself, now or later; an error it returns is the answer.
    fn dispatch(self: &Arc<Self>, header: &Header, request: Request<'_>) -> Result<()> {
        let unique = header.unique;
        match request {
            Request::Init { major, minor, readahead_max, flags } => {
                self.negotiate(unique, (major, minor), readahead_max, flags)
            }
            Request::Forget { count } => {
                self.forget(header.node, count);
                Ok(())
            }
            Request::BatchForget { pairs } => {
                wire::forget_pairs(pairs).for_each(|(node, count)| self.forget(node, count));
                Ok(())
            }
            Request::Destroy => self.answer(unique, Reply::done()),
            // ENOSYS is remembered by the kernel, which then does without.
            Request::Interrupt | Request::Unsupported => Err(unsupported(header.opcode)),
            Request::StatFs => self.answer(unique, Reply::statfs(&rustix::fs::fstatvfs(&*self.directory)?)),
            Request::SyncFs => self.sync_all(unique),
            _ => {
                let inode = self.object(header.node)?;
                let handled = self.dispatch_object(header, &inode, request);
                self.let_go_on_secondary(&inode);
                handled
            }
        }
    }

    fn dispatch_object(self: &Arc<Self>, header: &Header, inode: &Arc<Inode>, request: Request<'_>) -> Result<()> {
        let unique = header.unique;
        let caller = |umask| Caller { uid: header.uid, gid: header.gid, umask };
        match request {
            Request::Lookup { name } => self.lookup(unique, inode, name),
            Request::GetAttr => self.get_attributes(unique, inode),
            Request::SetAttr(wanted) => self.set_attributes(unique, inode.clone(), wanted),
            Request::ReadLink => self.read_link(unique, inode),
            Request::Symlink { name, target } => self.symlink(unique, inode, name, target, caller(0)),
            Request::Mknod { name, mode, device, umask } => {
                self.mknod(unique, inode, name, (mode, device), caller(umask))
            }
            Request::Mkdir { name, mode, umask } => self.mkdir(unique, inode, name, mode, caller(umask)),
            Request::Unlink { name } => self.remove(unique, inode, name, false),
            Request::Rmdir { name } => self.remove(unique, inode, name, true),
            Request::Rename { name, new_parent, new_name, flags } => {
                let new_parent = self.object(new_parent)?;
                self.rename(unique, (inode, name), (&new_parent, new_name), flags)
            }
            Request::Link { object, name } => {
                let object = self.object(object)?;
                self.link(unique, &object, inode, name)
            }
            Request::Open { flags } => self.open(unique, inode, flags),
            Request::Create { name, flags, mode, umask } => {
                self.create(unique, inode, name, (flags, mode), caller(umask))
            }
            Request::CreateUnnamed { flags, mode, umask } => {
                self.create_unnamed(unique, inode, (flags, mode), caller(umask))
            }
            Request::Fallocate { offset, length, mode } => self.allocate(unique, inode.clone(), (offset, length), mode),
            Request::CopyRange { offset, target, target_offset, length } => {
                let target = self.object(target)?;
                self.copy_range(unique, (inode.clone(), offset), (target, target_offset), length)
            }
            Request::Read { offset, size } => self.read(unique, inode, offset, size),
            Request::Write { offset, flags, data } => self.write(unique, inode, offset, flags, data),
            Request::Release { flags } => self.release(unique, inode, flags),
            Request::Fsync { data_only } | Request::FsyncDir { data_only } => {
                self.sync(unique, inode.clone(), data_only)
            }
            Request::Lseek { offset, whence } => self.seek(unique, inode, offset, whence),
            Request::OpenDir => self.open_directory(unique, inode),
            Request::ReadDir { handle, offset, size, plus } => {
                self.read_directory(unique, inode, handle, (offset, size), plus)
            }
            Request::ReleaseDir { handle } => self.release_directory(unique, inode, handle),
            Request::GetXattr { name, size } => self.get_xattr(unique, inode, name, size),
            Request::ListXattr { size } => self.list_xattrs(unique, inode, size),
            Request::SetXattr { name, value, flags, kill_sgid } => {
                self.set_xattr(unique, inode, (name, value), flags, kill_sgid)
            }
            Request::RemoveXattr { name } => self.remove_xattr(unique, inode, name),
            _ => Err(Errno::NOSYS),
        }
    }

    /// A secondary keeps no descriptors of what nobody has open: the stream may remove it, and its room is to be free.
    fn let_go_on_secondary(&self, inode: &Inode) {
        if self.read_only && lock(&inode.use_count).opens == 0 {
            self.inodes.descriptors.close(inode.backing());
        }
    }

    fn negotiate(&self, unique: u64, version: (u32, u32), readahead_max: u32, offered: u64) -> Result<()> {
        let (major, minor) = version;
        if major > 7 {
            // The kernel asks again with the version we answer.
            return self.answer(unique, Reply::init(wire::MINOR_MAX, 0, 0, wire::PAYLOAD_MAX as u32));
        }
        if major < 7 || minor < wire::MINOR_MIN {
            tracing::error!(
                "this kernel speaks FUSE {major}.{minor}; at least 7.{} (Linux 5.4) is needed",
                wire::MINOR_MIN
            );
            return Err(Errno::PROTO);
        }
        let agreed = wanted_flags(self.read_only) & offered;
        let _ = self.negotiated.set(agreed);
        let readahead = readahead_max.min(wire::PAYLOAD_MAX as u32);
        self.answer(unique, Reply::init(minor.min(wire::MINOR_MAX), readahead, agreed, wire::PAYLOAD_MAX as u32))
    }

    fn forget(&self, node: u64, count: u64) {
        if node != ROOT_NODE {
            self.note_unsent_time(FileId(node), count);
            self.inodes.forgotten_by_kernel(FileId(node), count);
        }
    }

    /// The object the kernel means; it names only what we told it and it has not forgotten.
    pub(super) fn object(&self, node: u64) -> Result<Arc<Inode>> {
        let id = if node == ROOT_NODE { self.root } else { FileId(node) };
        self.inodes.find(id).ok_or(Errno::STALE)
    }

    pub(super) fn answer(&self, unique: u64, reply: Reply) -> Result<()> {
        self.channel.send(unique, Ok(reply));
        Ok(())
    }
}

fn wanted_flags(read_only: bool) -> u64 {
    let common = flag::ASYNC_READ
        | flag::BIG_WRITES
        | flag::MAX_PAGES
        | flag::PARALLEL_DIROPS
        | flag::POSIX_ACL
        | flag::DONT_MASK
        | flag::HANDLE_KILLPRIV_V2
        | flag::SETXATTR_EXT
        | flag::DIRECT_IO_ALLOW_MMAP
        | flag::INIT_EXT;
    let cached = flag::DO_READDIRPLUS | flag::READDIRPLUS_AUTO | flag::EXPLICIT_INVAL_DATA | flag::CACHE_SYMLINKS;
    if read_only { common } else { common | cached | flag::HAS_RESEND }
}

/// What an operation we do not have answers: `ioctl` its own error, the rest ENOSYS, which the kernel turns into doing
/// without (flush, poll, statx).
fn unsupported(opcode: u32) -> Errno {
    const IOCTL: u32 = 39;
    if opcode == IOCTL { Errno::NOTTY } else { Errno::NOSYS }
}
