//! Enrolment by pairing code: port 9001 while it is open, and what is kept afterwards.

pub mod join;
mod session;
#[cfg(test)]
mod tests;

use crate::agent::Agent;
use crate::identity::Identity;
use crate::pairing::PairingStatus;
use crate::tls;
use anyhow::{Context, Result, ensure};
use holdfast_api::enrol::Enrolment;
use holdfast_replica::tls::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Connections at the same time: one server enrols a node, and whoever else comes must not cost much.
const CONNECTIONS_MAX: usize = 8;
/// A port in use is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// Listens on 9001 whenever pairing is open, for ever.
pub async fn run(agent: Arc<Agent>) {
    let mut changes = agent.pairing.changes();
    let mut told = String::new();
    loop {
        changes.mark_unchanged();
        let PairingStatus::Open { code, .. } = agent.pairing.status() else {
            told.clear();
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        };
        if code != told {
            tracing::info!("this node is not enrolled; pairing code {code} (also: holdfast pairing)");
            told = code;
        }
        let listening = listen(&agent);
        tokio::select! {
            Err(error) = listening => {
                tracing::warn!("enrolment cannot be answered: {error:#}");
                tokio::time::sleep(RETRY).await;
            }
            _ = closed(&agent) => tracing::info!("port {} is closed", agent.options.enrol_listen.port()),
        }
    }
}

/// Returns when pairing is not open any more.
async fn closed(agent: &Agent) {
    let mut changes = agent.pairing.changes();
    while matches!(agent.pairing.status(), PairingStatus::Open { .. }) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn listen(agent: &Arc<Agent>) -> Result<std::convert::Infallible> {
    let address = agent.options.enrol_listen;
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}: give --enrol-listen"))?;
    let acceptor = TlsAcceptor::from(Arc::new(tls::enrolment(&agent.identity())?));
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = Arc::clone(&slots).acquire_owned().await?;
        let (stream, peer) = listener.accept().await?;
        let (agent, acceptor) = (Arc::clone(agent), acceptor.clone());
        tokio::spawn(async move {
            if let Err(error) = session::serve(&agent, &acceptor, stream).await {
                tracing::warn!(%peer, "enrolment: {error:#}");
            }
            drop(slot);
        });
    }
}

/// Checks and keeps what a server gave; the certificate must be for this node's key.
pub fn keep(
    layout: &crate::options::Layout,
    store: &crate::store::Store,
    fingerprint: &str,
    enrolment: &Enrolment,
) -> Result<()> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let certificate = CertificateDer::from_pem_slice(enrolment.certificate.as_bytes());
    let certificate = certificate.ok().context("the server's certificate for this node is not PEM")?;
    let found = pin::fingerprint(&certificate).context("the server's certificate for this node cannot be read")?;
    ensure!(found == fingerprint, "the server signed another key than this node's: enrol the node again");
    ensure!(!enrolment.servers.is_empty(), "the server did not say where to dial");
    Identity::save_certificate(layout, &enrolment.certificate)?;
    store.save_enrolment(enrolment)
}

impl Agent {
    /// Takes what a server gave.
    pub fn enrolled(&self, enrolment: &Enrolment) -> Result<()> {
        keep(&self.layout, &self.store, &self.identity().fingerprint, enrolment)?;
        self.use_enrolment(enrolment);
        Ok(())
    }

    /// The enrolment is on disk: use it from now on.
    pub fn use_enrolment(&self, enrolment: &Enrolment) {
        match Identity::open(&self.layout) {
            Ok(identity) => {
                *self.identity.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(identity);
                self.reports.set_node(&enrolment.name);
                self.pairing.done();
            }
            Err(error) => tracing::error!("the node's key cannot be read: {error:#}"),
        }
    }

    /// The server welcomed this node: keep what changed.
    pub fn welcomed(&self, name: &str, servers: Vec<String>, certificate: Option<String>) -> Result<()> {
        let enrolment = self.store.enrolment()?;
        let mut enrolment = enrolment.context("this node was just removed from its cluster: enrol it again")?;
        let old = enrolment.clone();
        name.clone_into(&mut enrolment.name);
        if !servers.is_empty() {
            enrolment.servers = servers;
        }
        if let Some(certificate) = certificate {
            enrolment.certificate = certificate;
        }
        if enrolment != old {
            self.enrolled(&enrolment)?;
        }
        Ok(())
    }
}
