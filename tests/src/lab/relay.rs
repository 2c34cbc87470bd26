//! A door into the lab: a port on loopback whose connections are passed on to an address in the lab's network.

use crate::bank::client::Connect;
use anyhow::{Context, Result};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a connection into the lab may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The door; shut when dropped (connections that are open end with the host they lead to).
pub struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Listens on `listen` (loopback) and passes each connection on to `target`.
    ///
    /// # Errors
    /// The port is taken.
    pub fn start(listen: SocketAddr, target: SocketAddr, connect: Connect) -> Result<Self> {
        let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for outside in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(outside), connect) = (outside, Arc::clone(&connect)) else { continue };
                std::thread::spawn(move || {
                    // Either end may hang up at any time: that is how connections end.
                    let _ = connect(target, CONNECT_TIMEOUT).and_then(|inside| pass(&outside, &inside));
                });
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Copies both ways until both ends are done.
fn pass(outside: &TcpStream, inside: &TcpStream) -> io::Result<()> {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let copied = io::copy(&mut from, &mut to).map(|_| ());
        let _ = to.shutdown(Shutdown::Write);
        copied
    };
    std::thread::scope(|scope| {
        let back = scope.spawn(|| copy(inside, outside));
        let there = copy(outside, inside);
        back.join().unwrap_or(Ok(())).and(there)
    })
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, which then looks at `stop`.
        if TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}
