//! Two replicas of one directory on this machine, joined over loopback; or one that serves alone.

use super::replica::Replica;
use anyhow::{Context, Result};
use holdfast_api::ids::{Generation, ModuleId, NodeId};
use holdfast_core::replica::{ReplicaCommand as Command, ReplicaEvent as Event};
use holdfast_replica::control::{AsyncMode, Configure, PROTOCOL};
use holdfast_replica::tls::pin::fingerprint;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What both replicas of a pair are given.
struct Nodes {
    folder: PathBuf,
    addresses: [SocketAddr; 2],
    fingerprints: [String; 2],
    encryption: bool,
}

impl Nodes {
    fn new(folder: &Path, encryption: bool) -> Result<Self> {
        // Both at once, so that they differ.
        let free = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let addresses = [free[0].local_addr()?, free[1].local_addr()?];
        for node in [1, 2] {
            fs::create_dir_all(folder.join(format!("data{node}")))?;
            fs::create_dir_all(folder.join(format!("state{node}")))?;
        }
        let fingerprints = [make_key(folder, 1)?, make_key(folder, 2)?];
        Ok(Self { folder: folder.to_owned(), addresses, fingerprints, encryption })
    }

    fn data(&self, node: usize) -> PathBuf {
        self.folder.join(format!("data{node}"))
    }

    fn state(&self, node: usize) -> PathBuf {
        self.folder.join(format!("state{node}"))
    }

    fn start(&self, node: usize) -> Result<Replica> {
        let other = 3 - node;
        let configure = Configure {
            protocol: PROTOCOL,
            module: "bench".into(),
            module_id: ModuleId(1),
            directories: vec![self.data(node)],
            listen: self.addresses[node - 1],
            peer: self.addresses[other - 1],
            node: NodeId(u16::try_from(node)?),
            peer_node: NodeId(u16::try_from(other)?),
            key_file: self.folder.join(format!("node{node}.key")),
            certificate_file: self.folder.join(format!("node{node}.crt")),
            peer_fingerprint: self.fingerprints[other - 1].clone(),
            encryption: self.encryption,
            secret: if self.encryption { String::new() } else { "5a".repeat(32) },
            async_mode: AsyncMode::Second,
            state_dir: self.state(node),
            boot_id: "bench".into(),
            send_timeout_ms: 30_000,
            resume_window_ms: 700,
            exclusions: Vec::new(),
            covered: None,
            required: Vec::new(),
            resync_threads: 6,
            resync_bytes_per_s: 0,
            resync_mark_ms: 15_000,
            orphan: None,
        };
        Replica::start(configure, &self.folder.join(format!("log{node}")))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // Without it the folder cannot be removed.
        let _ = rustix::mount::unmount(self.folder.join("backing1"), rustix::mount::UnmountFlags::DETACH);
    }
}

fn make_key(folder: &Path, node: u8) -> Result<String> {
    let made = rcgen::generate_simple_self_signed(vec![format!("node{node}")])?;
    fs::write(folder.join(format!("node{node}.key")), made.signing_key.serialize_pem())?;
    fs::write(folder.join(format!("node{node}.crt")), made.cert.pem())?;
    fingerprint(made.cert.der()).context("a certificate without a key")
}

/// A primary, and its secondary unless that is away.
pub struct Pair {
    // Ended in this order.
    secondary: Option<Replica>,
    primary: Replica,
    nodes: Nodes,
    generation: u64,
    session: u64,
}

impl Pair {
    /// A primary that serves `folder`/data1 alone. `fill` is called with both copies before anything is mounted.
    ///
    /// # Errors
    /// A program was not built, or the mount fails.
    pub fn alone(folder: &Path, encryption: bool, fill: impl Fn(&Path) -> Result<()>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let nodes = Nodes::new(folder, encryption)?;
        fill(&nodes.data(1))?;
        fill(&nodes.data(2))?;
        let backing = nodes.folder.join("backing1");
        fs::create_dir_all(&backing)?;
        rustix::mount::mount_bind(nodes.data(1), &backing)?;
        let primary = nodes.start(1)?;
        let pair = Self { secondary: None, primary, nodes, generation: 1, session: 0 };
        pair.primary.order(Command::Serve { generation: pair.generation() })?;
        pair.primary.expect_event(&Event::Serving)?;
        Ok(pair)
    }

    /// A primary and a secondary that has everything.
    ///
    /// # Errors
    /// As [`Pair::alone`], or the resync fails.
    pub fn new(folder: &Path, encryption: bool, fill: impl Fn(&Path) -> Result<()>) -> Result<Self> {
        let mut pair = Self::alone(folder, encryption, fill)?;
        pair.join()?;
        Ok(pair)
    }

    /// The replicated directory as applications see it.
    pub fn mount(&self) -> PathBuf {
        self.nodes.data(1)
    }

    /// The primary's own copy, beside its mount.
    pub fn backing(&self) -> PathBuf {
        self.nodes.folder.join("backing1")
    }

    /// The secondary's copy, as everybody sees it there: read only.
    pub fn copy(&self) -> PathBuf {
        self.nodes.data(2)
    }

    /// Where the primary keeps its own files.
    pub fn state(&self) -> PathBuf {
        self.nodes.state(1)
    }

    /// Processes of both replicas.
    pub fn pids(&self) -> Vec<u32> {
        self.secondary.iter().chain([&self.primary]).map(Replica::pid).collect()
    }

    fn generation(&self) -> Generation {
        Generation { number: self.generation, id: self.generation }
    }

    /// The secondary ends in order; the primary goes on alone.
    ///
    /// # Errors
    /// The primary does not notice.
    pub fn part(&mut self) -> Result<()> {
        if let Some(secondary) = self.secondary.take() {
            secondary.order(Command::Fence)?;
            secondary.expect_event(&Event::Fenced)?;
        }
        self.primary.expect("StreamLost", |event| matches!(event, Event::StreamLost { .. }).then_some(()))?;
        self.generation += 1;
        self.primary.order(Command::ContinueAlone { generation: self.generation() })
    }

    /// A secondary comes (back) and is resynced; how long from the order to the primary's word that it is up to date.
    ///
    /// # Errors
    /// The resync fails.
    pub fn join(&mut self) -> Result<Duration> {
        self.session += 1;
        let session = self.session;
        let (primary, secondary) = (&self.primary, self.nodes.start(2)?);
        let began = Instant::now();
        primary.order(Command::AcceptPeer { session })?;
        secondary.order(Command::Follow { session, generation: self.generation() })?;
        primary.expect_event(&Event::ResyncCopied { session })?;
        primary.order(Command::CompleteResync)?;
        secondary.expect_event(&Event::CaughtUp { session })?;
        secondary.order(Command::ConfirmUpToDate)?;
        primary.expect_event(&Event::PeerUpToDate { session })?;
        let took = began.elapsed();
        self.secondary = Some(secondary);
        Ok(took)
    }
}
