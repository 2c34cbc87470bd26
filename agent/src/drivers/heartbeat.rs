//! Heartbeats of one module: a UDP socket per network, bound to this node's address there.

use super::Inbox;
use super::watch::Teller;
use holdfast_api::resource::ResourceValue;
use holdfast_core::heartbeat::{DATAGRAM_MAX, Heartbeat};
use holdfast_core::input::Input;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A link that cannot be opened, or fails, is opened again after this time.
const RETRY: Duration = Duration::from_secs(1);
/// A peer known by name is resolved again after this much silence.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// One network of a module.
#[derive(Clone, Debug)]
pub struct Link {
    /// Name of the lan.
    pub lan: String,
    /// Second half of the names of its resources.
    pub ident: String,
    /// This node's address or name there.
    pub local: String,
    /// The peer's address or name there.
    pub peer: String,
    /// Port on both sides.
    pub port: u16,
}

/// All links of a module; ends when dropped.
#[derive(Debug)]
pub struct Heartbeats {
    /// Per link.
    datagrams: Vec<watch::Sender<Arc<Vec<u8>>>>,
    key: [u8; 32],
    _tasks: JoinSet<()>,
}

impl Heartbeats {
    /// Opens the links and begins to listen.
    pub fn start(links: &[Link], key: [u8; 32], inbox: &Inbox) -> Self {
        let mut datagrams = Vec::new();
        let mut tasks = JoinSet::new();
        for (index, link) in links.iter().enumerate() {
            let (sender, receiver) = watch::channel(Arc::default());
            datagrams.push(sender);
            tasks.spawn(run_link(index, link.clone(), key, inbox.clone(), receiver));
        }
        Self { datagrams, key, _tasks: tasks }
    }

    /// Sends on these links. A link whose socket is busy sends the newest only: everything in a heartbeat is a level.
    pub fn send(&self, heartbeat: &Heartbeat, on: &[usize]) {
        let datagram = Arc::new(heartbeat.encode(&self.key));
        for sender in on.iter().filter_map(|link| self.datagrams.get(*link)) {
            sender.send_replace(Arc::clone(&datagram));
        }
    }

    /// Sends on every link.
    pub fn send_on_all(&self, heartbeat: &Heartbeat) {
        self.send(heartbeat, &Vec::from_iter(0..self.datagrams.len()));
    }
}

async fn resolve(name: &str, port: u16) -> Option<SocketAddr> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, port));
    }
    lookup_host((name, port)).await.ok()?.next()
}

/// Keeps one link open for ever: opens it, uses it, and opens it again after an error.
async fn run_link(index: usize, link: Link, key: [u8; 32], inbox: Inbox, mut datagrams: watch::Receiver<Arc<Vec<u8>>>) {
    let mut told = false;
    let mut own = Teller::new(&inbox, format!("heartbeatlocaladdr.{}", link.ident), "heart");
    let named = link.peer.parse::<IpAddr>().is_err();
    loop {
        let opened = open(&link).await;
        match opened {
            Ok((socket, peer)) => {
                told = false;
                own.say(ResourceValue::Up, None).await;
                tracing::info!(lan = link.lan, %peer, port = link.port, "heartbeat link open");
                let ends = Ends { socket: &socket, peer, named, own: &mut own };
                let error = use_link(index, ends, &key, &inbox, &mut datagrams).await;
                tracing::warn!(lan = link.lan, "heartbeat link failed: {error}");
            }
            Err(error) if !told => {
                told = true;
                own.say(ResourceValue::Down, Some(&format!("{}: {error}", link.local))).await;
                tracing::warn!(lan = link.lan, local = link.local, "heartbeat link cannot be opened: {error}");
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn open(link: &Link) -> std::io::Result<(UdpSocket, SocketAddr)> {
    let unknown = |name: &str| std::io::Error::other(format!("the name {name} has no address"));
    let local = resolve(&link.local, link.port).await.ok_or_else(|| unknown(&link.local))?;
    let peer = resolve(&link.peer, link.port).await.ok_or_else(|| unknown(&link.peer))?;
    Ok((UdpSocket::bind(local).await?, peer))
}

/// An open link: this node's end, which may lose its address, and the peer's.
struct Ends<'a> {
    socket: &'a UdpSocket,
    peer: SocketAddr,
    /// The peer is known by name.
    named: bool,
    /// Says whether this node's address is there.
    own: &'a mut Teller,
}

/// Whether what cannot be sent says so of this node's own address or interface, and not of the way or of a filter.
fn lacks_address(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{AddrNotAvailable, InvalidInput, NetworkDown, NetworkUnreachable};
    matches!(error.kind(), AddrNotAvailable | InvalidInput | NetworkDown | NetworkUnreachable)
}

async fn use_link(
    index: usize,
    ends: Ends<'_>,
    key: &[u8; 32],
    inbox: &Inbox,
    datagrams: &mut watch::Receiver<Arc<Vec<u8>>>,
) -> std::io::Error {
    let Ends { socket, peer, named, own } = ends;
    let mut buffer = [0; DATAGRAM_MAX + 1];
    let mut refused = 0u64;
    let mut heard = Instant::now();
    let mut failures = 0u32;
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => match received {
                // The tag says who speaks; the sender's address may change behind a router.
                Ok((length, from)) => match Heartbeat::decode(key, &buffer[..length]) {
                    Ok(heartbeat) => {
                        (failures, heard) = (0, Instant::now());
                        // A full inbox means that the engine is behind: the next heartbeat says the same.
                        let _ = inbox.try_send(Input::HeartbeatReceived { link: index, heartbeat });
                    }
                    Err(error) => {
                        refused += 1;
                        if refused.is_power_of_two() {
                            tracing::warn!(%from, refused, "datagram refused: {error}");
                        }
                    }
                },
                // The peer's machine answers "port unreachable" while its agent is down: not an error of the link.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(error) => return error,
            },
            // A name may mean another address by now.
            () = tokio::time::sleep_until(heard + LOOK_AGAIN), if named => {
                return std::io::Error::other("nothing heard; its name is resolved again");
            }
            changed = datagrams.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
                let datagram = Arc::clone(&datagrams.borrow_and_update());
                if datagram.is_empty() {
                    continue;
                }
                match socket.send_to(&datagram, peer).await {
                    Ok(_) => own.say(ResourceValue::Up, None).await,
                    Err(error) => {
                        if lacks_address(&error) {
                            own.say(ResourceValue::Down, Some(&error.to_string())).await;
                        }
                        failures += 1;
                        // Addresses and routes come back by themselves; after a while everything is resolved anew.
                        if failures > 20 {
                            return error;
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Heartbeats, Link};
    use holdfast_api::ids::{Generation, NodeId};
    use holdfast_api::resource::ResourceValue;
    use holdfast_api::state::{DataState, ModuleState, Readiness};
    use holdfast_core::heartbeat::{Heartbeat, Incarnation};
    use holdfast_core::input::Input;
    use holdfast_core::replica::Inventory;
    use std::time::Duration;
    use tokio::sync::mpsc;

    fn heartbeat(sequence: u64) -> Heartbeat {
        Heartbeat {
            from: NodeId(1),
            boot_id: 1,
            incarnation: Incarnation::default(),
            origin: Incarnation::default(),
            sequence,
            echo: Incarnation::default(),
            saving: false,
            hears_you: false,
            signature: 1,
            state: ModuleState::Stop,
            readiness: Readiness::NotReady,
            running: false,
            data: DataState::Unknown,
            generation: Generation::default(),
            history: Vec::new(),
            solo: false,
            outdated_since: 0,
            continued: false,
            was_primary: false,
            claims: false,
            failover: true,
            asks: 0,
            session: 0,
            swap_request: 0,
            inventory: Inventory::default(),
            resources: Vec::new(),
        }
    }

    #[tokio::test]
    async fn heartbeats_arrive_and_other_keys_are_not_heard() {
        let link = |local: &str, peer: &str| {
            [Link { lan: "default".into(), ident: "flow".into(), local: local.into(), peer: peer.into(), port: 18_888 }]
        };
        let (to_first, _keep) = mpsc::channel(10);
        let (to_second, mut second) = mpsc::channel(10);
        let first = Heartbeats::start(&link("127.0.7.1", "127.0.7.2"), [1; 32], &to_first);
        let stranger = Heartbeats::start(&link("127.0.7.3", "127.0.7.2"), [2; 32], &to_first);
        let _second = Heartbeats::start(&link("127.0.7.2", "127.0.7.1"), [1; 32], &to_second);
        let received = tokio::time::timeout(Duration::from_secs(30), async {
            let mut sequence = 0;
            loop {
                sequence += 1;
                stranger.send(&heartbeat(1_000_000), &[0]);
                first.send(&heartbeat(sequence), &[0]);
                let wait = tokio::time::timeout(Duration::from_millis(50), second.recv());
                match wait.await {
                    Ok(Some(Input::ResourceSet { name, value, .. })) => {
                        assert_eq!((name.as_str(), value), ("heartbeatlocaladdr.flow", ResourceValue::Up));
                    }
                    Ok(Some(input)) => return input,
                    _ => {}
                }
            }
        });
        let Input::HeartbeatReceived { link: 0, heartbeat } = received.await.unwrap() else { panic!("a heartbeat") };
        assert!(heartbeat.sequence < 1_000_000);
    }

    #[tokio::test]
    async fn a_network_on_which_this_node_has_no_address_says_so() {
        let link = Link {
            lan: "default".into(),
            ident: "flow".into(),
            local: "192.0.2.77".into(),
            peer: "192.0.2.78".into(),
            port: 18_889,
        };
        let (inbox, mut inputs) = mpsc::channel(10);
        let _links = Heartbeats::start(&[link], [1; 32], &inbox);
        let said = tokio::time::timeout(Duration::from_secs(30), inputs.recv()).await.unwrap();
        let Some(Input::ResourceSet { name, value, by }) = said else { panic!("{said:?}") };
        assert_eq!((name.as_str(), value), ("heartbeatlocaladdr.flow", ResourceValue::Down));
        assert!(by.starts_with("heart (192.0.2.77: "), "{by}");
    }
}
