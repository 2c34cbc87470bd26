//! What the data plane tells: handed on, until its socket ends or it stands still while it serves.

use super::{Orders, Told};
use holdfast_core::input::Input;
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};
use holdfast_replica::control::{Decoder, FromReplica};
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;

/// A data plane that serves tells its figures every second. In so many looks it has to have told something: a machine that
/// stands still as a whole misses one of them, however long.
const LOOKS: u32 = 6;

/// The reading end of a data plane's socket.
pub(super) struct Reading {
    pub(super) socket: OwnedReadHalf,
    pub(super) decoder: Decoder,
    /// It serves: applications wait for it.
    pub(super) serves: bool,
    /// The time for all looks.
    pub(super) patience: Duration,
}

impl Reading {
    /// Reads until the socket ends; then what was wrong with it, if anything was.
    pub(super) async fn until_the_end(mut self, orders: &Orders, told: &Told) -> Option<String> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            // What came with the first answer is read already.
            match self.pass_on(orders, told).await {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(error),
            }
            match self.read(&mut buffer, orders).await {
                Ok(0) => return None,
                Ok(length) => self.decoder.push(&buffer[..length]),
                Err(error) => return Some(error.to_string()),
            }
        }
    }

    async fn read(&mut self, buffer: &mut [u8], orders: &Orders) -> io::Result<usize> {
        let mut missed = 0;
        loop {
            if let Ok(read) = tokio::time::timeout(self.patience / LOOKS, self.socket.read(buffer)).await {
                return read;
            }
            missed = if self.serves && !orders.takes_away() { missed + 1 } else { 0 };
            if missed == LOOKS {
                let patience = self.patience.as_secs_f32();
                return Err(io::Error::other(format!("it stands still: not a word in {patience} s while it serves")));
            }
        }
    }

    /// Hands whole messages on; `false` when nobody listens any more.
    async fn pass_on(&mut self, orders: &Orders, told: &Told) -> Result<bool, String> {
        while let Some(message) = self.decoder.next_message::<FromReplica>().map_err(|error| error.to_string())? {
            match message {
                FromReplica::Event(event) => {
                    match event {
                        ReplicaEvent::Serving => self.serves = true,
                        ReplicaEvent::Refusing | ReplicaEvent::Fenced | ReplicaEvent::Released => self.serves = false,
                        _ => {}
                    }
                    if told.inbox.send(Input::Replica(event)).await.is_err() {
                        return Ok(false);
                    }
                }
                FromReplica::Stats(figures) => drop(told.stats.send_replace(Some(figures))),
                FromReplica::Verify(report) => drop(told.verify.send_replace(Some(report))),
                FromReplica::Done => drop(orders.sent().pop_front()),
                FromReplica::Found(_) | FromReplica::Refused(_) => {}
            }
        }
        Ok(true)
    }
}

impl Orders {
    /// Something is to be taken away: that has limits of its own, and tells no figures.
    fn takes_away(&self) -> bool {
        let away = |order: &ReplicaCommand| {
            matches!(order, ReplicaCommand::Release { .. } | ReplicaCommand::Refuse | ReplicaCommand::Fence)
        };
        self.sent().iter().any(away)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_replica::control::{Stats, encode};
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;
    use tokio::sync::{mpsc, watch};

    const PATIENCE: Duration = Duration::from_millis(200);

    /// What the reading of a data plane that sends `messages` and then nothing, its socket open, ends with within `limit`.
    async fn read(messages: &[FromReplica], limit: Duration) -> Option<Option<String>> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        for message in messages {
            theirs.write_all(&encode(message).unwrap()).await.unwrap();
        }
        let (inbox, _inputs) = mpsc::channel(64);
        let told = Told { inbox, stats: watch::channel(None).0, verify: watch::channel(None).0 };
        let orders = Orders::new(mpsc::channel(1).1);
        let (socket, _writer) = ours.into_split();
        let reading = Reading { socket, decoder: Decoder::default(), serves: false, patience: PATIENCE };
        tokio::time::timeout(limit, reading.until_the_end(&orders, &told)).await.ok()
    }

    #[tokio::test]
    async fn data_plane_that_says_nothing_while_it_serves_stands_still() {
        let messages = [FromReplica::Event(ReplicaEvent::Serving), FromReplica::Stats(Stats::default())];
        let found = read(&messages, Duration::from_secs(60)).await.flatten();
        assert!(found.is_some_and(|reason| reason.contains("stands still")));
    }

    #[tokio::test]
    async fn data_plane_that_serves_nothing_may_be_silent() {
        assert_eq!(read(&[], PATIENCE * 4).await, None);
        let over = [FromReplica::Event(ReplicaEvent::Serving), FromReplica::Event(ReplicaEvent::Refusing)];
        assert_eq!(read(&over, PATIENCE * 4).await, None);
    }
}
