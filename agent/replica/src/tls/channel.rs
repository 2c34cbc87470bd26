//! One end of a connection between two replicas: bytes out, bytes in, encrypted or not.

use super::patience::Patience;
use crate::frame::{FrameReader, Message};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::Connection;
use std::io::{self, BufRead, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Size of the buffer for received bytes.
const RECEIVE: usize = 256 << 10;

/// What is encrypted and sent together: the peer decrypts one piece while the next is encrypted here.
const PIECE: usize = 64 << 10;

/// What this process has sent to its peer and received from it since [`take_traffic`] was last called, in bytes on the
/// wire: one process serves one module, so its figures are the module's.
static TRAFFIC: Traffic = Traffic { sent: AtomicU64::new(0), received: AtomicU64::new(0) };

struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

/// Bytes sent and received by all connections since the last call, encryption included.
pub fn take_traffic() -> (u64, u64) {
    (TRAFFIC.sent.swap(0, Ordering::Relaxed), TRAFFIC.received.swap(0, Ordering::Relaxed))
}

/// One end of a connection between two replicas.
///
/// One thread at a time sends (the sender's lock sees to that) and one thread receives. The lock inside is held for
/// encryption and decryption only, never while a socket call blocks.
#[derive(Debug)]
pub struct Channel {
    socket: TcpStream,
    tls: Option<Mutex<Connection>>,
}

/// What the one thread that receives keeps between two calls.
#[derive(Debug, Default)]
pub struct Inbox {
    raw: Vec<u8>,
    patience: Patience,
}

impl Channel {
    pub(super) fn new(socket: TcpStream, tls: Option<Connection>) -> Self {
        Self { socket, tls: tls.map(Mutex::new) }
    }

    /// Sends all of `bytes`, encrypted into `scratch` first. After an error the channel is of no more use.
    pub fn send(&self, bytes: &[u8], scratch: &mut Vec<u8>) -> io::Result<()> {
        let Some(tls) = &self.tls else { return self.write(bytes) };
        for piece in bytes.chunks(PIECE) {
            scratch.clear();
            {
                let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
                tls.writer().write_all(piece)?;
                while tls.wants_write() {
                    tls.write_tls(scratch)?;
                }
            }
            self.write(scratch)?;
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.socket).write_all(bytes)?;
        TRAFFIC.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Waits for bytes and appends what they decrypt to. Answers `false` at the end of the stream.
    pub fn receive(&self, inbox: &mut Inbox, into: &mut FrameReader) -> io::Result<bool> {
        let Inbox { raw, patience } = inbox;
        raw.resize(RECEIVE, 0);
        let Some(tls) = &self.tls else {
            let count = self.read(raw, patience)?;
            into.push(&raw[..count]);
            return Ok(count > 0);
        };
        // The handshake may have left decrypted bytes behind.
        if take_plaintext(&mut tls.lock().unwrap_or_else(PoisonError::into_inner), into)? {
            return Ok(true);
        }
        loop {
            let count = self.read(raw, patience)?;
            if count == 0 {
                return Ok(false);
            }
            let mut rest = &raw[..count];
            let mut any = false;
            let mut tls = tls.lock().unwrap_or_else(PoisonError::into_inner);
            while !rest.is_empty() {
                tls.read_tls(&mut rest)?;
                tls.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                any |= take_plaintext(&mut tls, into)?;
            }
            if any {
                return Ok(true);
            }
        }
    }

    /// Waits for bytes on the socket.
    fn read(&self, raw: &mut [u8], patience: &mut Patience) -> io::Result<usize> {
        let count = self.wait(raw, patience)?;
        TRAFFIC.received.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    /// Looks as long as [`Patience`] says, then sleeps until bytes are there.
    fn wait(&self, raw: &mut [u8], patience: &mut Patience) -> io::Result<usize> {
        let began = Instant::now();
        let mut before = began;
        let mut looks = patience.looks(began);
        while looks {
            if let Some(count) = self.look(raw)? {
                patience.waited(before.duration_since(began));
                return Ok(count);
            }
            rustix::thread::sched_yield();
            let now = Instant::now();
            looks = patience.looks_again(began, before, now);
            before = now;
        }
        let count = rustix::io::retry_on_intr(|| rustix::net::recv(&self.socket, &mut *raw, RecvFlags::empty()))?.0;
        patience.waited(began.elapsed());
        Ok(count)
    }

    /// What is there now, without waiting.
    fn look(&self, raw: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::net::recv(&self.socket, raw, RecvFlags::DONTWAIT) {
            Ok((count, _)) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for one message, for the greeting.
    pub fn expect_message(&self, reader: &mut FrameReader) -> io::Result<Message> {
        let mut inbox = Inbox::default();
        loop {
            let next = reader.next_frame().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(frame) = next {
                return Ok(frame.message);
            }
            if !self.receive(&mut inbox, reader)? {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the peer closed the connection while greeting",
                ));
            }
        }
    }

    /// From now on waits for bytes as long as it takes (keep-alive notices a peer that is gone).
    pub fn greeted(&self) -> io::Result<()> {
        self.socket.set_read_timeout(None)
    }

    /// Ends both directions at once: a blocked sender or receiver returns. Bytes received already can still be read.
    pub fn shutdown(&self) {
        // An error means that it is closed already.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

fn take_plaintext(tls: &mut Connection, into: &mut FrameReader) -> io::Result<bool> {
    let mut any = false;
    let mut reader = tls.reader();
    loop {
        let count = match reader.fill_buf() {
            Ok([]) => return Ok(any),
            Ok(bytes) => {
                into.push(bytes);
                bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
            Err(error) => return Err(error),
        };
        reader.consume(count);
        any = true;
    }
}
