//! Two ends find each other by pinned keys; everybody else is refused.

use super::pin::fingerprint;
use super::*;
use std::net::TcpListener;
use std::thread;

/// A key with its files, as the agent writes them.
pub(crate) struct Keys {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) fingerprint: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["node".into()]).unwrap();
        std::fs::write(folder.path().join("key"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(folder.path().join("crt"), made.cert.pem()).unwrap();
        Self { fingerprint: fingerprint(made.cert.der()).unwrap(), folder }
    }

    pub(crate) fn trusting(&self, peer: &Self) -> Protection {
        let path = self.folder.path();
        Protection::tls(&path.join("key"), &path.join("crt"), &peer.fingerprint).unwrap()
    }
}

fn meet(server: Protection, client: Protection) -> (io::Result<Channel>, io::Result<Channel>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let timeout = Duration::from_secs(5);
    let accepted = thread::spawn(move || server.channel(listener.accept().unwrap().0, true, timeout));
    let connected = client.channel(TcpStream::connect(address).unwrap(), false, timeout);
    (accepted.join().unwrap(), connected)
}

fn talk(one: &Channel, other: &Channel) -> io::Result<Message> {
    one.send(&encode(&Message::Ack(7), &[]), &mut Vec::new())?;
    other.expect_message(&mut FrameReader::default())
}

#[test]
fn pinned_peers_talk_in_both_directions() {
    let (a, b) = (Keys::new(), Keys::new());
    let (server, client) = meet(a.trusting(&b), b.trusting(&a));
    let (server, client) = (server.unwrap(), client.unwrap());
    assert_eq!(talk(&server, &client).unwrap(), Message::Ack(7));
    assert_eq!(talk(&client, &server).unwrap(), Message::Ack(7));
}

#[test]
fn a_foreign_key_is_refused_as_either_end() {
    let (a, b, foreign) = (Keys::new(), Keys::new(), Keys::new());
    let (server, client) = meet(a.trusting(&b), foreign.trusting(&a));
    assert!(server.unwrap_err().to_string().contains("not the one in the cluster configuration"));
    // In TLS 1.3 a refused client learns it with the first byte it waits for.
    assert!(client.and_then(|c| c.expect_message(&mut FrameReader::default())).is_err());
    let (server, client) = meet(foreign.trusting(&b), b.trusting(&a));
    assert!(client.unwrap_err().to_string().contains("not the one in the cluster configuration"));
    assert!(server.is_err());
}

#[test]
fn plain_ends_must_know_the_secret() {
    let secret = "0123456789abcdef".repeat(4);
    let plain = |secret: &str| Protection::plain(secret, 3).unwrap();
    let (server, client) = meet(plain(&secret), plain(&secret));
    assert_eq!(talk(&server.unwrap(), &client.unwrap()).unwrap(), Message::Ack(7));
    let (server, client) = meet(plain(&secret), plain(&"f".repeat(64)));
    assert!(server.is_err() && client.is_err());
    assert!(matches!(Protection::plain("short", 3), Err(TlsError::Secret)));
}

#[test]
fn a_fingerprint_that_is_none_is_refused() {
    let keys = Keys::new();
    let path = keys.folder.path();
    let refused = Protection::tls(&path.join("key"), &path.join("crt"), "AB");
    assert!(matches!(refused, Err(TlsError::Fingerprint(_))));
    let refused = Protection::tls(&path.join("gone"), &path.join("crt"), &keys.fingerprint);
    assert!(refused.unwrap_err().to_string().contains("gone"));
}

/// Answers every message until the other end is gone.
fn echo(channel: Channel) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let (mut inbox, mut reader, mut scratch) = (Inbox::default(), FrameReader::default(), Vec::new());
        let mut payloads = 0;
        while channel.receive(&mut inbox, &mut reader).unwrap() {
            while let Some(frame) = reader.next_frame().unwrap() {
                payloads += frame.payload.len() as u64;
                channel.send(&encode(&Message::Ack(frame.payload.len() as u64), &[]), &mut scratch).unwrap();
            }
        }
        payloads
    })
}

#[test]
fn messages_in_quick_succession_and_long_ones_arrive_whole() {
    let (a, b) = (Keys::new(), Keys::new());
    let plain = || Protection::plain(&"5a".repeat(32), 3).unwrap();
    let kinds = [(a.trusting(&b), b.trusting(&a)), (plain(), plain())];
    for (server, client) in kinds {
        let (server, client) = meet(server, client);
        let (client, echo) = (client.unwrap(), echo(server.unwrap()));
        let (mut inbox, mut reader, mut scratch) = (Inbox::default(), FrameReader::default(), Vec::new());
        let mut sent = 0;
        // Quick ones, so that both ends look before they sleep; then some that take several pieces.
        let lengths = (0..400).chain([1 << 20, 0, (64 << 10) - 45, 300_000, 1, 1 << 20]);
        for length in lengths {
            let payload: Vec<u8> = (0..length).map(|at: usize| (at * 7) as u8).collect();
            let write = crate::op::Op::Write { id: crate::op::FileId(9), offset: 0, clear_suid: false };
            client.send(&encode(&Message::Op(write), &payload), &mut scratch).unwrap();
            sent += length as u64;
            let answered = loop {
                if let Some(frame) = reader.next_frame().unwrap() {
                    break frame.message;
                }
                assert!(client.receive(&mut inbox, &mut reader).unwrap());
            };
            assert_eq!(answered, Message::Ack(length as u64));
        }
        client.shutdown();
        assert_eq!(echo.join().unwrap(), sent);
    }
}
