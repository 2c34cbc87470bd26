//! The connection of a survey, both ends of it.

use super::walk::{Sink, walk};
use crate::frame::{CheckStep, FrameReader, Hello, Message, encode};
use crate::stream::server::Serve;
use crate::stream::{Local, Lost, lock};
use crate::tls::{Channel, Inbox, Protection};
use holdfast_api::ids::Generation;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest wait for the connection.
const CONNECT: Duration = Duration::from_secs(3);

/// Frames that wait for room, so that nothing is sent while an order lock is held.
struct Buffered {
    channel: Arc<Channel>,
    waiting: Mutex<(Vec<u8>, Vec<u8>)>,
}

impl Sink for Buffered {
    fn send(&self, step: CheckStep) -> Result<(), Lost> {
        lock(&self.waiting).0.extend_from_slice(&encode(&Message::Check(step), &[]));
        Ok(())
    }

    fn wait(&self) -> Result<(), Lost> {
        let mut waiting = lock(&self.waiting);
        let (bytes, scratch) = &mut *waiting;
        let sent = self.channel.send(bytes, scratch);
        bytes.clear();
        sent.map_err(|error| Lost(format!("sending to the peer failed: {error}")))
    }
}

/// (Serving) tells the peer that greeted with `hello` everything there is here.
pub(crate) fn serve(channel: &Arc<Channel>, hello: &Hello, serve: &Serve) -> io::Result<()> {
    if let Some(reason) = serve.sender.judge_survey(hello) {
        // It may be gone already.
        let _ = channel.send(&encode(&Message::Refused(reason.clone()), &[]), &mut Vec::new());
        return Err(io::Error::other(reason));
    }
    channel.send(&encode(&Message::Hello(serve.sender.survey_hello()), &[]), &mut Vec::new())?;
    channel.greeted()?;
    let sink = Buffered { channel: channel.clone(), waiting: Mutex::default() };
    walk(&serve.inodes, &sink, &mut |_| {}).map_err(io::Error::other)?;
    sink.send(CheckStep::End { request: 0 }).and_then(|()| sink.wait()).map_err(io::Error::other)?;
    tracing::info!("a diverged copy was told what is here");
    Ok(())
}

/// What the serving peer has, step by step.
pub(crate) struct Survey {
    channel: Channel,
    reader: FrameReader,
    inbox: Inbox,
}

impl Survey {
    /// Asks the peer.
    pub(crate) fn open(local: &Local, peer: SocketAddr, protection: &Protection) -> io::Result<Self> {
        let socket = TcpStream::connect_timeout(&peer, CONNECT)?;
        let channel = protection.channel(socket, false, local.send_timeout)?;
        let hello = local.hello(0, Generation::default(), 0);
        channel.send(&encode(&Message::Survey(hello), &[]), &mut Vec::new())?;
        let mut reader = FrameReader::default();
        match channel.expect_message(&mut reader)? {
            Message::Hello(theirs) if theirs.node == local.peer_node => {}
            Message::Refused(reason) => return Err(io::Error::other(reason)),
            _ => return Err(io::Error::other("the primary did not answer as a primary does")),
        }
        channel.greeted()?;
        Ok(Self { channel, reader, inbox: Inbox::default() })
    }

    /// The next message.
    pub(crate) fn next(&mut self) -> io::Result<Message> {
        loop {
            let next = self.reader.next_frame().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(frame) = next {
                return Ok(frame.message);
            }
            if !self.channel.receive(&mut self.inbox, &mut self.reader)? {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the primary closed the connection"));
            }
        }
    }
}
