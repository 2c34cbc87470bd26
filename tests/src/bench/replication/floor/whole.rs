//! The floor of programs that need a whole file system: our own front, and below it nothing but a round trip.

use super::{Head, NOTE, SYNC, WRITE, receive, send};
use anyhow::Result;
use holdfast_replica::front::{Front, Inodes, Mode};
use holdfast_replica::op::Op;
use holdfast_replica::replicate::{Answer, Replicate, Ticket, Verdict};
use std::collections::HashMap;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Mounts over `directory`; served as long as the value lives.
///
/// # Errors
/// The mount is refused.
pub fn serve(directory: &Path, peer: TcpStream) -> Result<Front> {
    peer.set_nodelay(true)?;
    let inodes = Inodes::open(&[directory.to_owned()])?;
    let way = Arc::new(RoundTrip { peer, sent: Mutex::new(0), open: Mutex::default() });
    let reader = way.clone();
    std::thread::spawn(move || {
        // The end of the connection is the end of the bench.
        while let Ok(number) = receive(&reader.peer) {
            reader.answered(number);
        }
    });
    let replicate: Arc<dyn Replicate> = way;
    Ok(Front::mount(&inodes, Mode::ReadWrite, &replicate)?)
}

/// Each change is one frame, answered when the peer has answered that frame.
struct RoundTrip {
    peer: TcpStream,
    /// Number of the last frame; held while it is sent.
    sent: Mutex<u64>,
    /// What is known of frames under way; one that is answered before it is completed waits as `None`.
    open: Mutex<HashMap<u64, Option<Answer>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RoundTrip {
    fn answered(&self, number: u64) {
        let mut open = lock(&self.open);
        match open.remove(&number) {
            Some(Some(answer)) => {
                drop(open);
                answer(Verdict::Acknowledged);
            }
            _ => {
                open.insert(number, None);
            }
        }
    }
}

impl Replicate for RoundTrip {
    fn submit(&self, op: &Op, payload: &[u8]) -> Ticket {
        let (kind, file, offset) = match op {
            Op::Write { id, offset, .. } => (WRITE, id.0, *offset),
            Op::Sync { id, .. } => (SYNC, id.0, 0),
            _ => (NOTE, 0, 0),
        };
        let mut sent = lock(&self.sent);
        *sent += 1;
        let head = Head { kind, length: payload.len() as u32, number: *sent, file, offset };
        // A peer that is gone shows in answers that do not come.
        let _ = send(&self.peer, head, payload);
        Ticket(*sent)
    }

    fn complete(&self, ticket: Ticket, answer: Answer) {
        let mut open = lock(&self.open);
        if open.remove(&ticket.0).is_some() {
            drop(open);
            return answer(Verdict::Acknowledged);
        }
        open.insert(ticket.0, Some(answer));
    }

    fn session(&self) -> u64 {
        0
    }
}
