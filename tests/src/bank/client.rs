//! Load on the bank and the oracle of what it acknowledged: writers that follow the health URL over failovers and
//! repeat each transfer by its id until it is acknowledged.

use crate::bank::http::{Client, Response};
use crate::bank::ledger::{ACCOUNTS, TOTAL_CENTS, Transfer};
use crate::bank::postgres::Session;
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a client reaches an address (labs connect from inside their own network).
pub type Connect = Arc<dyn Fn(SocketAddr, Duration) -> io::Result<TcpStream> + Send + Sync>;

/// A health URL that does not answer in this time counts as 404, as for a load balancer.
const HEALTH_TIMEOUT: Duration = Duration::from_millis(700);

/// Where a node answers.
#[derive(Clone, Debug)]
pub struct NodeDoor {
    /// Health URL: address and port.
    pub health: SocketAddr,
    /// Health URL: path.
    pub health_path: String,
    /// The bank.
    pub bank: SocketAddr,
}

/// What keeps the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// The bank's own service, over HTTP.
    Service,
    /// PostgreSQL.
    Postgres,
}

/// A connection to whatever keeps the ledger.
enum Teller {
    Service(Client),
    Postgres(Session),
}

/// The bank as its clients see it.
#[derive(Clone)]
pub struct Bank {
    /// Both nodes.
    pub doors: Vec<NodeDoor>,
    /// What keeps the ledger there.
    pub keeper: Keeper,
    /// How to get there.
    pub connect: Connect,
    /// Longest wait for any single answer.
    pub timeout: Duration,
}

/// How much load, at most.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// Prefix of every id: a name no other load on the same database has.
    pub run: String,
    /// Writers at once.
    pub writers: usize,
    /// Stop after this many acknowledged transfers in all.
    pub transfers_max: u64,
    /// Stop after this time.
    pub time_max: Duration,
    /// Pause of each writer after each transfer.
    pub pause: Duration,
}

/// What a load has seen.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// Ids of acknowledged transfers.
    pub acknowledged: BTreeSet<String>,
    /// Ids sent but never acknowledged: they may or may not be there.
    pub unanswered: BTreeSet<String>,
    /// Longest time in which nothing was acknowledged, in milliseconds.
    pub longest_outage_ms: u64,
    /// When it began, in milliseconds since the load began.
    pub longest_outage_began_ms: u64,
    /// Attempts that failed and were repeated.
    pub repeated: u64,
    /// The last failed attempt, in plain words.
    pub last_failure: Option<String>,
}

/// What is in the bank, compared with what was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// Acknowledged transfers that are not there: must be empty.
    pub lost: Vec<String>,
    /// Transfers that are there.
    pub present: usize,
    /// Sum over all accounts, in cents: must be [`TOTAL_CENTS`].
    pub cents: i64,
}

impl Teller {
    fn transfer(&mut self, transfer: &Transfer) -> io::Result<()> {
        match self {
            Self::Service(client) => {
                let body = serde_json::to_vec(transfer)?;
                accepted(client.request("POST", "/transfer", &body)?).map(|_| ())
            }
            Self::Postgres(session) => session.transfer(transfer),
        }
    }

    fn transfers(&mut self) -> io::Result<BTreeSet<String>> {
        match self {
            Self::Service(client) => {
                let body = accepted(client.request("GET", "/transfers", b"")?)?;
                Ok(serde_json::from_value(body["transfers"].clone())?)
            }
            Self::Postgres(session) => Ok(session.transfers()?.into_iter().collect()),
        }
    }

    fn balance(&mut self) -> io::Result<i64> {
        match self {
            Self::Service(client) => {
                let body = accepted(client.request("GET", "/balance", b"")?)?;
                body["cents"].as_i64().ok_or_else(|| io::Error::other("no balance"))
            }
            Self::Postgres(session) => session.balance(),
        }
    }
}

/// The body of a 200; anything else is an error.
fn accepted(response: Response) -> io::Result<serde_json::Value> {
    if response.status != 200 {
        return Err(io::Error::other(format!("{}: {}", response.status, response.text())));
    }
    Ok(serde_json::from_slice(&response.body)?)
}

impl Bank {
    fn open(&self, door: &NodeDoor) -> io::Result<Teller> {
        let stream = (self.connect)(door.bank, self.timeout)?;
        Ok(match self.keeper {
            Keeper::Service => Teller::Service(Client::new(stream, self.timeout)?),
            Keeper::Postgres => Teller::Postgres(Session::open(stream, self.timeout)?),
        })
    }

    /// Whether the node behind `door` answers 200 on its health URL.
    pub fn is_ready(&self, door: &NodeDoor) -> bool {
        let timeout = self.timeout.min(HEALTH_TIMEOUT);
        (self.connect)(door.health, timeout)
            .and_then(|stream| Client::new(stream, timeout)?.request("GET", &door.health_path, b""))
            .is_ok_and(|response| response.status == 200)
    }

    /// A connection to the node that is ready.
    fn open_ready(&self) -> Result<Teller> {
        let door = self.doors.iter().find(|door| self.is_ready(door)).context("no node's health URL answers 200")?;
        Ok(self.open(door)?)
    }

    /// Makes tables and accounts where the service does not do so itself.
    ///
    /// # Errors
    /// No node is ready, or it refuses.
    pub fn set_up(&self) -> Result<()> {
        match self.open_ready()? {
            Teller::Service(_) => Ok(()),
            Teller::Postgres(mut session) => Ok(session.set_up()?),
        }
    }

    /// Looks for every acknowledged transfer and adds up the accounts, on the node that is ready.
    ///
    /// # Errors
    /// No node is ready, or it does not answer properly.
    pub fn verify(&self, acknowledged: &BTreeSet<String>) -> Result<Verification> {
        let mut teller = self.open_ready()?;
        let present = teller.transfers()?;
        let cents = teller.balance()?;
        let lost = acknowledged.difference(&present).cloned().collect();
        Ok(Verification { lost, present: present.len(), cents })
    }

    /// Like [`Self::verify`], and an error if anything was lost or the sum changed.
    ///
    /// # Errors
    /// As `verify`; lost transfers; a wrong sum.
    pub fn demand(&self, acknowledged: &BTreeSet<String>) -> Result<Verification> {
        let found = self.verify(acknowledged)?;
        if let Some(first) = found.lost.first() {
            bail!("{} of {} acknowledged transfers are lost, {first} first", found.lost.len(), acknowledged.len());
        }
        if found.cents != TOTAL_CENTS {
            bail!("the accounts add up to {} cents instead of {TOTAL_CENTS}", found.cents);
        }
        Ok(found)
    }
}

/// What the writers share.
struct Shared {
    bank: Bank,
    plan: LoadPlan,
    began: Instant,
    stop: AtomicBool,
    /// The door that answered last.
    door: AtomicUsize,
    count: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    report: LoadReport,
    last_acknowledged_ms: u64,
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
            || self.began.elapsed() >= self.plan.time_max
            || self.count.load(Ordering::Relaxed) >= self.plan.transfers_max
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Seen {
    /// Accounts for the time since the last acknowledgement.
    fn measure(&mut self, now_ms: u64) {
        let outage = now_ms.saturating_sub(self.last_acknowledged_ms);
        if outage > self.report.longest_outage_ms {
            self.report.longest_outage_ms = outage;
            self.report.longest_outage_began_ms = self.last_acknowledged_ms;
        }
    }
}

/// Load that runs in the background until it is finished.
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the writers.
    pub fn start(bank: &Bank, plan: LoadPlan) -> Self {
        let shared = Arc::new(Shared {
            bank: bank.clone(),
            plan,
            began: Instant::now(),
            stop: AtomicBool::new(false),
            door: AtomicUsize::new(0),
            count: AtomicU64::new(0),
            seen: Mutex::default(),
        });
        let writer = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || write(&shared, number))
        };
        let writers = (0..shared.plan.writers).map(writer).collect();
        Self { shared, writers }
    }

    /// Acknowledged transfers so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.count.load(Ordering::Relaxed)
    }

    /// The longest outage so far, the running one included, in milliseconds.
    pub fn longest_outage_ms(&self) -> u64 {
        let now = self.shared.elapsed_ms();
        let seen = self.shared.seen();
        seen.report.longest_outage_ms.max(now.saturating_sub(seen.last_acknowledged_ms))
    }

    /// The last attempt that failed.
    pub fn last_failure(&self) -> Option<String> {
        self.shared.seen().report.last_failure.clone()
    }

    /// Stops the writers and says what they saw.
    pub fn finish(mut self) -> LoadReport {
        self.end();
        std::mem::take(&mut self.shared.seen().report)
    }

    fn end(&mut self) {
        let was_over = self.shared.over();
        self.shared.stop.store(true, Ordering::Relaxed);
        for writer in self.writers.drain(..) {
            // A writer that panicked has acknowledged what it recorded; the rest is unanswered.
            let _ = writer.join();
        }
        if !was_over {
            self.shared.seen().measure(self.shared.elapsed_ms());
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

/// One writer: transfers with ids of its own, each until it is acknowledged.
fn write(shared: &Shared, writer: usize) {
    let mut connection: Option<Teller> = None;
    for number in 0_u64.. {
        if shared.over() {
            return;
        }
        let transfer = nth_transfer(&shared.plan.run, writer, number);
        shared.seen().report.unanswered.insert(transfer.id.clone());
        if !make(shared, &mut connection, &transfer) {
            return;
        }
        let now = shared.elapsed_ms();
        let mut seen = shared.seen();
        seen.measure(now);
        seen.last_acknowledged_ms = seen.last_acknowledged_ms.max(now);
        seen.report.unanswered.remove(&transfer.id);
        seen.report.acknowledged.insert(transfer.id);
        drop(seen);
        shared.count.fetch_add(1, Ordering::Relaxed);
        if !shared.plan.pause.is_zero() {
            std::thread::sleep(shared.plan.pause);
        }
    }
}

/// The same numbers give the same transfer.
fn nth_transfer(run: &str, writer: usize, number: u64) -> Transfer {
    let mix = (number ^ (writer as u64) << 32).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
    let accounts = ACCOUNTS.unsigned_abs();
    let from = mix % accounts;
    let to = (from + 1 + (mix / accounts) % (accounts - 1)) % accounts;
    let cents = 1 + (mix >> 24) % 1000;
    Transfer {
        id: format!("{run}-{writer}-{number:08}"),
        from: from.cast_signed(),
        to: to.cast_signed(),
        cents: cents.cast_signed(),
    }
}

/// Repeats one transfer until it is acknowledged (true) or the load is over.
fn make(shared: &Shared, connection: &mut Option<Teller>, transfer: &Transfer) -> bool {
    loop {
        let Err(failure) = attempt(shared, connection, transfer) else { return true };
        *connection = None;
        let mut seen = shared.seen();
        seen.report.repeated += 1;
        seen.report.last_failure = Some(failure.to_string());
        drop(seen);
        if shared.over() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn attempt(shared: &Shared, connection: &mut Option<Teller>, transfer: &Transfer) -> io::Result<()> {
    if let Some(teller) = connection {
        return teller.transfer(transfer);
    }
    let doors = &shared.bank.doors;
    let last = shared.door.load(Ordering::Relaxed);
    let mut order = (0..doors.len()).map(|step| (last + step) % doors.len());
    let ready = order.find(|door| shared.bank.is_ready(&doors[*door]));
    let door = ready.ok_or_else(|| io::Error::other("no node's health URL answers 200"))?;
    shared.door.store(door, Ordering::Relaxed);
    connection.insert(shared.bank.open(&doors[door])?).transfer(transfer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::{ledger::Ledger, service};
    use std::net::TcpListener;

    /// A bank on loopback whose `/healthz` stands for the node's health URL.
    fn local_bank() -> (Bank, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("bank.db")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || service::serve(&listener, ledger));
        let dead = NodeDoor {
            health: "127.0.0.1:1".parse().unwrap(),
            health_path: "/healthz".into(),
            bank: "127.0.0.1:1".parse().unwrap(),
        };
        let door = NodeDoor { health: address, health_path: "/healthz".into(), bank: address };
        let connect: Connect = Arc::new(|address, timeout| TcpStream::connect_timeout(&address, timeout));
        (Bank { doors: vec![dead, door], keeper: Keeper::Service, connect, timeout: Duration::from_secs(10) }, folder)
    }

    #[test]
    fn every_acknowledged_transfer_is_found_and_a_missing_one_is_named() {
        let (bank, _folder) = local_bank();
        let plan = LoadPlan {
            run: "t".into(),
            writers: 3,
            transfers_max: 30,
            time_max: Duration::from_secs(60),
            pause: Duration::ZERO,
        };
        let load = Load::start(&bank, plan);
        let enough = || Ok(load.acknowledged() >= 30);
        crate::lab::wait::wait_until("thirty transfers", Duration::from_secs(60), enough).unwrap();
        let report = load.finish();
        assert!(report.acknowledged.len() >= 30 && report.unanswered.is_empty(), "{report:?}");
        bank.demand(&report.acknowledged).unwrap();
        let more = report.acknowledged.iter().cloned().chain(["t-9-00000000".to_owned()]).collect();
        assert_eq!(bank.verify(&more).unwrap().lost, ["t-9-00000000"]);
    }

    #[test]
    fn transfers_of_a_load_are_sensible() {
        for number in 0..1000 {
            let transfer = nth_transfer("r", 2, number);
            assert!(
                transfer.from != transfer.to && (0..ACCOUNTS).contains(&transfer.to) && transfer.cents > 0,
                "{transfer:?}"
            );
        }
    }
}
