//! What the data plane tells: handed on, until its socket ends or it stands still.

use super::{Orders, Told};
use holdfast_core::input::Input;
use holdfast_core::replica::ReplicaEvent;
use holdfast_replica::control::{Configure, Decoder, FromReplica};
use std::io;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;

/// A data plane says something every second. In so many looks it has to have said something: a machine that stands still as
/// a whole misses one of them, however long.
const LOOKS: u32 = 6;

/// A shorter silence is that of a busy machine.
const SILENT_MIN: Duration = Duration::from_secs(3);

/// Where no application waits for it, a longer one may still be that of a machine short of memory.
const SILENT_UNSERVED_MIN: Duration = Duration::from_secs(10);

/// Longest silence of a data plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// While it serves: no application is to wait longer for it than for a silent peer.
    serving: Duration,
    otherwise: Duration,
}

impl Patience {
    pub(super) fn of(configure: &Configure) -> Self {
        let timeout = Duration::from_millis(configure.send_timeout_ms);
        Self { serving: timeout.max(SILENT_MIN), otherwise: timeout.max(SILENT_UNSERVED_MIN) }
    }
}

/// How reading a data plane ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With its socket, or because of what is wrong with it.
    Closed(Option<String>),
    /// It is to give way, and has let go of everything.
    GivesWay,
}

/// The reading end of a data plane's socket.
pub(super) struct Reading {
    pub(super) socket: OwnedReadHalf,
    pub(super) decoder: Decoder,
    /// It serves: applications wait for it.
    pub(super) serves: bool,
    /// It has begun to speak; how long it takes until then depends on what it was left.
    pub(super) speaks: bool,
    /// Another is to come in its place once it has let go of everything.
    pub(super) gives_way: bool,
    /// That was the last it told.
    pub(super) released: bool,
    pub(super) patience: Patience,
}

impl Reading {
    /// Reads until that ends.
    pub(super) async fn until_the_end(mut self, orders: &Orders, told: &Told) -> End {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            // What came with the first answer is read already.
            match self.pass_on(orders, told).await {
                Ok(None) => {}
                Ok(Some(end)) => return end,
                Err(error) => return End::Closed(Some(error)),
            }
            match self.read(&mut buffer).await {
                Ok(0) => return End::Closed(None),
                Ok(length) => self.decoder.push(&buffer[..length]),
                Err(error) => return End::Closed(Some(error.to_string())),
            }
        }
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.speaks {
            return self.socket.read(buffer).await;
        }
        let patience = if self.serves { self.patience.serving } else { self.patience.otherwise };
        for _ in 0..LOOKS {
            if let Ok(read) = tokio::time::timeout(patience / LOOKS, self.socket.read(buffer)).await {
                return read;
            }
        }
        let (patience, serving) = (patience.as_secs_f32(), if self.serves { " while it serves" } else { "" });
        Err(io::Error::other(format!("it stands still: not a word in {patience} s{serving}")))
    }

    /// Hands whole messages on; an end when nobody listens any more, or it gives way.
    async fn pass_on(&mut self, orders: &Orders, told: &Told) -> Result<Option<End>, String> {
        while let Some(message) = self.decoder.next_message::<FromReplica>().map_err(|error| error.to_string())? {
            self.speaks = true;
            match message {
                FromReplica::Event(event) => {
                    self.released = event == ReplicaEvent::Released;
                    match event {
                        ReplicaEvent::Serving => self.serves = true,
                        ReplicaEvent::Refusing | ReplicaEvent::Fenced | ReplicaEvent::Released => self.serves = false,
                        _ => {}
                    }
                    if told.inbox.send(Input::Replica(event)).await.is_err() {
                        return Ok(Some(End::Closed(None)));
                    }
                }
                FromReplica::Stats(figures) => drop(told.stats.send_replace(Some(figures))),
                FromReplica::Verify(report) => drop(told.verify.send_replace(Some(report))),
                FromReplica::Done => {
                    orders.sent().pop_front();
                    if self.released && self.gives_way {
                        return Ok(Some(End::GivesWay));
                    }
                }
                FromReplica::Alive | FromReplica::Found(_) | FromReplica::Refused(_) => {}
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_replica::control::{Stats, encode};
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;
    use tokio::sync::{mpsc, watch};

    const SERVING: Duration = Duration::from_millis(200);
    const OTHERWISE: Duration = Duration::from_millis(600);

    /// What the reading of a data plane that sends `messages` and then nothing, its socket open, ends with within `limit`.
    async fn read(messages: &[FromReplica], gives_way: bool, limit: Duration) -> Option<End> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        for message in messages {
            theirs.write_all(&encode(message).unwrap()).await.unwrap();
        }
        let (inbox, _inputs) = mpsc::channel(64);
        let told = Told { inbox, stats: watch::channel(None).0, verify: watch::channel(None).0 };
        let orders = Orders::new(mpsc::channel(1).1);
        let (socket, _writer) = ours.into_split();
        let patience = Patience { serving: SERVING, otherwise: OTHERWISE };
        let reading = Reading {
            socket,
            decoder: Decoder::default(),
            serves: false,
            speaks: false,
            gives_way,
            released: false,
            patience,
        };
        tokio::time::timeout(limit, reading.until_the_end(&orders, &told)).await.ok()
    }

    #[tokio::test]
    async fn data_plane_that_says_nothing_any_more_stands_still() {
        let event = FromReplica::Event;
        let serving = [event(ReplicaEvent::Serving), FromReplica::Stats(Stats::default())];
        let refusing = [event(ReplicaEvent::Serving), event(ReplicaEvent::Refusing)];
        let following = [event(ReplicaEvent::Following { session: 1 })];
        let otherwise = "it stands still: not a word in 0.6 s";
        for (messages, expected) in [
            (&serving[..], "it stands still: not a word in 0.2 s while it serves"),
            (&refusing[..], otherwise),
            (&following[..], otherwise),
            (&[FromReplica::Alive][..], otherwise),
        ] {
            let expected = End::Closed(Some(expected.to_owned()));
            assert_eq!(read(messages, false, Duration::from_secs(60)).await, Some(expected), "{messages:?}");
        }
    }

    #[tokio::test]
    async fn data_plane_that_has_not_begun_to_speak_may_be_silent() {
        assert_eq!(read(&[], false, OTHERWISE * 2).await, None);
    }

    #[tokio::test]
    async fn data_plane_that_is_to_give_way_does_so_once_it_has_let_go_of_everything() {
        let told = [FromReplica::Event(ReplicaEvent::Released), FromReplica::Done];
        let limit = Duration::from_secs(60);
        assert_eq!(read(&told, true, limit).await, Some(End::GivesWay));
        assert_ne!(read(&told, false, limit).await, Some(End::GivesWay));
        assert_ne!(read(&told[..1], true, limit).await, Some(End::GivesWay), "the order is not carried out yet");
        let other = [FromReplica::Event(ReplicaEvent::Serving), FromReplica::Done];
        assert_ne!(read(&other, true, limit).await, Some(End::GivesWay));
    }
}
