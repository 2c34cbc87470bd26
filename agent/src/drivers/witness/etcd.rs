//! The register in etcd: a record that is advanced by compare-and-set, asked of one member after the other.

use super::gateway::{self, Held, Swap};
use crate::clock;
use holdfast_api::register::{Ask, Decision, Refusal, decide};
use holdfast_api::witness::Endpoint;
use holdfast_core::input::WitnessAnswer;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Longest answer, in bytes; a record has about a hundred.
const ANSWER_MAX: usize = 64 * 1024;

/// The register of one module in etcd.
#[derive(Debug)]
pub struct Etcd {
    endpoints: Vec<Endpoint>,
    key: String,
    /// The member that answered last is asked first.
    first: AtomicUsize,
}

impl Etcd {
    /// The record under `key`, kept by the etcd of these members.
    pub fn new(endpoints: Vec<Endpoint>, key: String) -> Self {
        Self { endpoints, key, first: AtomicUsize::new(0) }
    }

    /// Asks for a generation; the answer comes within `limit`.
    pub async fn claim(&self, ask: &Ask, limit: Duration) -> WitnessAnswer {
        let claimed = self.any_member(limit, |member| claim_at(member, &self.key, *ask)).await;
        claimed.unwrap_or_else(|reason| WitnessAnswer::Unreachable { reason })
    }

    /// Whether it could be asked.
    ///
    /// # Errors
    /// Why not, and the cure.
    pub async fn look(&self, limit: Duration) -> Result<(), String> {
        self.any_member(limit, |member| read(member, &self.key)).await.map(|_| ())
    }

    /// The first answer of a member, each of which gets its share of the time that is left.
    async fn any_member<'a, T, F: Future<Output = Result<T, String>>>(
        &'a self,
        limit: Duration,
        ask: impl Fn(&'a Endpoint) -> F,
    ) -> Result<T, String> {
        let (began, count) = (clock::now(), self.endpoints.len());
        let first = self.first.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for turn in 0..count {
            let index = (first + turn) % count;
            let member = &self.endpoints[index];
            let left = limit.saturating_sub(Duration::from_millis(clock::now().since(began)));
            let share = left / u32::try_from(count - turn).unwrap_or(1);
            match tokio::time::timeout(share, ask(member)).await {
                Ok(Ok(answer)) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(reason)) => failures.push(format!("{member}: {reason}")),
                Err(_) => failures.push(format!("{member}: no answer within {} ms", share.as_millis())),
            }
        }
        Err(format!("etcd cannot be asked ({}); start it, or mend the network to it", failures.join("; ")))
    }
}

/// Advances the record if it grants the ask. A reply that is lost costs nothing: the same ask is granted again.
async fn claim_at(member: &Endpoint, key: &str, ask: Ask) -> Result<WitnessAnswer, String> {
    let mut held = read(member, key).await?;
    loop {
        let record = match decide(held.record.as_ref(), 0, &ask) {
            Decision::Grant(record) => record,
            Decision::Again => return Ok(WitnessAnswer::Granted),
            Decision::Refuse { number, owner } => {
                let refusal = Refusal::Taken { number, owner };
                return Ok(WitnessAnswer::Refused { number, reason: refusal.to_string() });
            }
        };
        let body = gateway::compare_and_set(key, &held, &record).map_err(|error| error.to_string())?;
        match gateway::read_swap(&post(member, gateway::TXN, &body).await?)? {
            Swap::Set => return Ok(WitnessAnswer::Granted),
            Swap::Changed(now) => held = now,
        }
    }
}

async fn read(member: &Endpoint, key: &str) -> Result<Held, String> {
    gateway::read_range(&post(member, gateway::RANGE, &gateway::range(key)).await?)
}

/// One request on a connection of its own; given up when dropped.
async fn post(member: &Endpoint, path: &str, body: &Value) -> Result<Bytes, String> {
    let stream = TcpStream::connect((member.host.as_str(), member.port)).await.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, member.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|error| format!("the answer cannot be read: {error}"))?.to_bytes();
    if status.is_success() { Ok(body) } else { Err(format!("{status}, {}", gateway::read_error(&body))) }
}
