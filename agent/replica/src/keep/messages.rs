//! Messages between a replica and the process that holds its descriptors: one packet each, descriptors beside the bytes.

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Most descriptors of one message (the kernel takes 253).
pub(super) const DESCRIPTORS_MAX: usize = 250;
/// Longest message.
const BYTES_MAX: usize = 64 * 1024;

/// What is said; descriptors come with `Keep` (memory, then connection and directory of each mount) and `Pin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// These mounts are to outlive the sender.
    Keep(Mounts),
    /// This object has no name any more and is open: its descriptor is to outlive the sender.
    Pin {
        /// Its id.
        id: u64,
        /// It is good for writing.
        writable: bool,
    },
    /// The object is not needed any more.
    Unpin(u64),
    /// The mounts are gone, in order: nothing is held any more.
    Done,
    /// (A new replica) hand everything over: `Keep`, each `Pin`, `End`.
    Take,
    /// That was all.
    End,
    /// Nobody will take it: end the connections, take the mounts away.
    Abandon,
}

/// The mounts that are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mounts {
    /// Where each is, and what `stat` says its files are on.
    pub(super) at: Vec<(PathBuf, u64)>,
    /// How long it may be without a replica, in milliseconds.
    pub(super) limit_ms: u64,
}

pub(super) fn send(socket: impl AsFd, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > BYTES_MAX || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::Error::other("too many directories to be held"));
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next message and its descriptors; `None`: the other end is gone.
pub(super) fn receive(socket: impl AsFd) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            got => break got?,
        }
    };
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&bytes[..got.bytes])?, descriptors)))
}
