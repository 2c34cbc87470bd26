//! What the way to the peer can do: a stream's speed and a round trip, with nothing else.

use super::slices::{SLICE, median_us};
use anyhow::Result;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

/// A write's frame on the wire without its payload, and an answer: as long as the floor's.
const REQUEST: usize = 32 + 4096;
const ANSWER: usize = 16;

fn connected() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    for socket in [&ours, &theirs] {
        socket.set_nodelay(true)?;
    }
    Ok((ours, theirs))
}

/// MiB a second of one TCP stream.
///
/// # Errors
/// The sockets'.
pub fn speed() -> Result<f64> {
    let (mut ours, mut theirs) = connected()?;
    let reader = std::thread::spawn(move || {
        let mut room = vec![0; 1 << 20];
        // The end of the connection is the end.
        while theirs.read(&mut room).is_ok_and(|count| count > 0) {}
    });
    let block = vec![7; 1 << 20];
    let began = Instant::now();
    let mut sent = 0_u32;
    while began.elapsed() < SLICE {
        ours.write_all(&block)?;
        sent += 1;
    }
    let speed = f64::from(sent) / began.elapsed().as_secs_f64();
    drop(ours);
    let _ = reader.join();
    Ok(speed)
}

/// Median of a round trip with 4 KiB there, in microseconds.
///
/// # Errors
/// The sockets'.
pub fn round_trip_us() -> Result<f64> {
    let (mut ours, mut theirs) = connected()?;
    let echo = std::thread::spawn(move || {
        let mut room = vec![0; REQUEST];
        // The end of the connection is the end.
        while theirs.read_exact(&mut room).is_ok() && theirs.write_all(&[0; ANSWER]).is_ok() {}
    });
    let (block, mut answer) = (vec![7; REQUEST], [0; ANSWER]);
    let median = median_us(|| {
        ours.write_all(&block)?;
        Ok(ours.read_exact(&mut answer)?)
    })?;
    drop(ours);
    let _ = echo.join();
    Ok(median)
}
