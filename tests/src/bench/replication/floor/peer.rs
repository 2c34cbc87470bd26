//! The floor's other end: answers frames, and keeps a copy of written files if it is given a folder.

use super::{ANSWER, HEADER, Head, SYNC, WRITE};
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

/// Threads that sync.
const SYNCING: usize = 4;

/// A file to sync and the number of the frame that asks for it.
type Job = (Arc<File>, u64);

/// Serves one connection until it ends.
///
/// # Errors
/// The socket's, or the copy's disk.
pub fn serve(listener: &TcpListener, copy: Option<&Path>) -> Result<()> {
    let (socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let socket = Arc::new(socket);
    let syncs = start_syncing(&socket);
    let mut files: HashMap<u64, Arc<File>> = HashMap::new();
    let (mut header, mut payload) = ([0; HEADER], Vec::new());
    loop {
        match (&*socket).read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let head = Head::parse(&header);
        payload.resize(head.length as usize, 0);
        (&*socket).read_exact(&mut payload)?;
        if let (Some(folder), WRITE | SYNC) = (copy, head.kind) {
            let file = match files.get(&head.file) {
                Some(file) => file.clone(),
                None => {
                    let file = Arc::new(File::create(folder.join(head.file.to_string()))?);
                    files.insert(head.file, file.clone());
                    file
                }
            };
            if head.kind == SYNC {
                syncs.send((file, head.number)).context("no thread syncs")?;
                continue;
            }
            file.write_all_at(&payload, head.offset)?;
        }
        answer(&socket, head.number)?;
    }
}

fn answer(mut socket: &TcpStream, number: u64) -> io::Result<()> {
    let mut bytes = [0; ANSWER];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    socket.write_all(&bytes)
}

fn start_syncing(socket: &Arc<TcpStream>) -> Sender<Job> {
    let (send, receive): (_, Receiver<Job>) = mpsc::channel();
    let receive = Arc::new(Mutex::new(receive));
    for _ in 0..SYNCING {
        let (receive, socket) = (receive.clone(), socket.clone());
        std::thread::spawn(move || {
            loop {
                let job = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((file, number)) = job else { return };
                // An answer of 16 bytes goes out in one piece.
                if file.sync_data().and_then(|()| answer(&socket, number)).is_err() {
                    let _ = socket.shutdown(std::net::Shutdown::Both);
                }
            }
        });
    }
    send
}
