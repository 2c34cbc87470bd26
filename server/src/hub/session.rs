//! One agent's session over its WebSocket: hello, then pushes, requests, answers and reports until it ends.

use crate::app::{App, VERSION};
use crate::db;
use crate::db::nodes::NodeRow;
use crate::error::{Failure, Outcome};
use crate::hub::{Handle, Outgoing, RETRY_MS};
use crate::register;
use crate::serve::{Ends, PeerCertificate};
use crate::tasks::Thing;
use anyhow::{Context, bail};
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use base64::Engine;
use holdfast_api::agent::{Answer, FRAME_BYTES_MAX, FromAgent, FromServer, Hello, PROTOCOL_VERSION, Request};
use holdfast_api::config::ModuleConfig;
use holdfast_api::console::TaskState;
use holdfast_api::ids::NodeId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Requests of one session that wait for an answer.
const PENDING_MAX: usize = 256;
/// An agent says hello within this.
const HELLO_TIMEOUT: Duration = Duration::from_secs(15);
/// A frame is taken by the agent within this.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// A session without any frame for this long has ended.
const SILENCE: Duration = Duration::from_secs(45);
/// A push is answered within this.
const PUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// `GET /agent`: the agents' socket.
///
/// # Errors
/// 403 if the certificate's key belongs to no enrolled node.
pub async fn upgrade(
    State(app): State<Arc<App>>,
    Extension(certificate): Extension<PeerCertificate>,
    ends: Ends,
    socket: WebSocketUpgrade,
) -> Outcome<Response> {
    let fingerprint = certificate.fingerprint.clone();
    let node = app.db.read(move |tx| db::nodes::by_fingerprint(tx, &fingerprint)).await?;
    let node = node.ok_or_else(|| {
        Failure::forbidden("this node is not enrolled here (any more); open pairing on it and enrol it again")
    })?;
    let socket = socket.max_message_size(FRAME_BYTES_MAX).max_frame_size(FRAME_BYTES_MAX);
    Ok(socket.on_upgrade(move |socket| async move {
        let (id, name) = (node.id, node.name.clone());
        let outcome = serve(&app, node, ends, &certificate, socket).await;
        let reason = outcome.err().map_or_else(|| "closed".to_owned(), |error| format!("{error:#}"));
        tracing::info!("session of {name} ({id}) ended: {reason}");
        app.live.changed();
    }))
}

async fn send(socket: &mut WebSocket, message: &FromServer) -> anyhow::Result<()> {
    let text = serde_json::to_string(message)?;
    if text.len() > FRAME_BYTES_MAX {
        bail!("a frame of {} bytes is too long to be sent", text.len());
    }
    tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::Text(text.into())))
        .await
        .context("the agent takes no data")?
        .context("the connection is lost")
}

async fn serve(
    app: &Arc<App>,
    node: NodeRow,
    ends: Ends,
    certificate: &PeerCertificate,
    mut socket: WebSocket,
) -> anyhow::Result<()> {
    let hello = match tokio::time::timeout(HELLO_TIMEOUT, socket.recv()).await.context("no hello came")? {
        Some(frame) => read_hello(frame.context("before hello")?),
        None => bail!("closed before hello"),
    };
    let hello = match hello {
        Ok(hello) => hello,
        Err(reason) => {
            app.hub.refused(node.id, &reason);
            send(&mut socket, &FromServer::Refused { reason: reason.clone() }).await?;
            let _ = socket.send(Message::Close(None)).await;
            bail!("refused: {reason}");
        }
    };
    let certificate = renew(app, &node, certificate).await.unwrap_or_else(|error| {
        tracing::warn!("the certificate of {} is not renewed: {error:#}", node.name);
        None
    });
    let welcome = FromServer::Welcome {
        node: node.id,
        name: node.name.clone(),
        server_version: VERSION.to_owned(),
        servers: app.server_addresses(Some(ends.local)),
        certificate,
        register_life: app.register.life(),
    };
    send(&mut socket, &welcome).await?;
    let (handle, queue) = app.hub.begin(node.id, &hello, ends.peer.ip());
    app.live.changed();
    tracing::info!("{} ({}) is connected from {}", node.name, node.id, ends.peer);
    let outcome = tokio::select! {
        outcome = carry(app, &node, &handle, queue, &mut socket) => outcome,
        () = push(app, &node) => Ok(()),
    };
    app.hub.end(node.id, handle.id);
    outcome
}

/// The hello in the first frame, or the reason to refuse the session.
fn read_hello(frame: Message) -> Result<Hello, String> {
    let Message::Text(text) = frame else {
        return Err("the first frame must be a hello, as text".into());
    };
    // The version is read by itself first: a hello of another version may look different.
    #[derive(serde::Deserialize)]
    struct Version {
        protocol: u32,
    }
    let version: Version = serde_json::from_str(&text).map_err(|error| format!("the hello cannot be read: {error}"))?;
    if version.protocol != PROTOCOL_VERSION {
        return Err(format!(
            "the agent speaks version {} of the protocol, this server version {PROTOCOL_VERSION}; install the same \
             release on both",
            version.protocol
        ));
    }
    match serde_json::from_str(&text) {
        Ok(FromAgent::Hello(hello)) => Ok(hello),
        Ok(_) => Err("the first frame must be a hello".into()),
        Err(error) => Err(format!("the hello cannot be read: {error}")),
    }
}

/// A new certificate if the node's is near its end.
async fn renew(app: &App, node: &NodeRow, certificate: &PeerCertificate) -> anyhow::Result<Option<String>> {
    let Some(signed) = app.tls.renew_node(&certificate.der, &node.name)? else {
        return Ok(None);
    };
    let (id, serial, end) = (node.id, signed.serial, signed.not_after_ms);
    app.db.call(move |tx| db::nodes::add_certificate(tx, id, &serial, end)).await?;
    Ok(Some(signed.pem))
}

/// Carries requests, answers and reports until the session ends.
async fn carry(
    app: &App,
    node: &NodeRow,
    handle: &Handle,
    mut queue: mpsc::Receiver<Outgoing>,
    socket: &mut WebSocket,
) -> anyhow::Result<()> {
    let mut pending: HashMap<u64, mpsc::Sender<Answer>> = HashMap::new();
    let mut next = 1;
    let mut ping = tokio::time::interval(SILENCE / 3);
    let mut heard = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = handle.kick.notified() => bail!("the node was removed, or has a newer session"),
            outgoing = queue.recv() => {
                let Some(outgoing) = outgoing else { return Ok(()) };
                pending.retain(|_, answers| !answers.is_closed());
                if pending.len() >= PENDING_MAX {
                    let reason = "too many requests wait for this node".to_owned();
                    let _ = outgoing.answers.try_send(Answer::Refused { reason });
                    continue;
                }
                pending.insert(next, outgoing.answers);
                send(socket, &FromServer::Request { id: next, request: outgoing.request }).await?;
                next += 1;
            }
            frame = socket.recv() => {
                let Some(frame) = frame else { return Ok(()) };
                heard = tokio::time::Instant::now();
                match frame.context("a frame cannot be read")? {
                    Message::Text(text) => {
                        if let Some(answer) = take(app, node.id, &text, &mut pending).await? {
                            send(socket, &answer).await?;
                        }
                    }
                    Message::Binary(_) => bail!("a binary frame came"),
                    Message::Close(_) => return Ok(()),
                    Message::Ping(_) | Message::Pong(_) => {}
                }
            }
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE {
                    bail!("nothing heard for {} s", SILENCE.as_secs());
                }
                tokio::time::timeout(SEND_TIMEOUT, socket.send(Message::Ping(Default::default()))).await??;
            }
        }
    }
}

/// Takes a frame; what is to be sent in return, if anything.
async fn take(
    app: &App,
    node: NodeId,
    text: &str,
    pending: &mut HashMap<u64, mpsc::Sender<Answer>>,
) -> anyhow::Result<Option<FromServer>> {
    match serde_json::from_str(text).context("a frame of the agent cannot be read")? {
        FromAgent::Hello(_) => bail!("a second hello came"),
        FromAgent::Report(report) => {
            if app.hub.report(node, report) {
                app.live.changed();
            }
        }
        FromAgent::Answer { id, answer } => {
            let more = matches!(answer, Answer::SnapshotChunk { last: false, .. });
            if let Some(answers) = pending.get(&id) {
                // A reader that does not keep up loses its answers; the session goes on.
                let taken = answers.try_send(answer).is_ok();
                if !more || !taken {
                    pending.remove(&id);
                }
            }
        }
        FromAgent::AskRegister { id, question } => {
            let answer = register::ask(app, node, question).await;
            return Ok(Some(FromServer::RegisterAnswered { id, answer }));
        }
    }
    Ok(None)
}

/// Brings the node what it lacks, one push at a time, for as long as the session lasts.
async fn push(app: &Arc<App>, node: &NodeRow) {
    let mut wake = app.hub.wake.subscribe();
    loop {
        wake.borrow_and_update();
        let plan = app.hub.plan(node.id, &app.desired());
        match plan.pushes.first() {
            Some(thing) => {
                let thing = *thing;
                app.hub.update(node.id, |live| live.pushing = Some(thing));
                app.tasks.pushed(thing, node.id, TaskState::Running, "applying…");
                app.live.changed();
                let outcome = push_one(app, node, thing).await;
                settle(app, node.id, thing, outcome);
            }
            None => {
                let retry = Duration::from_millis(RETRY_MS);
                let _ = tokio::time::timeout(retry, wake.changed()).await;
            }
        }
    }
}

async fn push_one(app: &Arc<App>, node: &NodeRow, thing: Thing) -> Outcome<String> {
    let desired = app.desired();
    let request = match thing {
        Thing::Cluster(version) => {
            let saved = desired.cluster.as_ref().filter(|saved| saved.config.version == version);
            let config = saved.ok_or_else(|| Failure::conflict("replaced by a newer version"))?.config.clone();
            Request::PushCluster { config }
        }
        Thing::Module(id, version) => {
            let (name, package) = app
                .db
                .read(move |tx| Ok((db::modules::get(tx, id)?.name, db::modules::package(tx, id, version)?)))
                .await?;
            let package = base64::engine::general_purpose::STANDARD.encode(package);
            Request::PushModule { config: ModuleConfig { id, name, version, package } }
        }
        Thing::Removal(module) => Request::RemoveModule { module },
    };
    match app.hub.ask(node.id, &node.name, request, PUSH_TIMEOUT).await? {
        Answer::Done { text } => Ok(text),
        _ => Err(Failure::node(format!("{} answered something else than asked", node.name))),
    }
}

/// Notes how a push went.
fn settle(app: &App, node: NodeId, thing: Thing, outcome: Outcome<String>) {
    app.hub.update(node, |live| {
        live.pushing = None;
        match (&outcome, thing) {
            (Ok(_), Thing::Cluster(version)) => Arc::make_mut(&mut live.held).cluster = version,
            (Ok(_), Thing::Module(id, version)) => {
                let name =
                    app.desired().modules.iter().find(|module| module.id == id).map(|module| module.name.clone());
                Arc::make_mut(&mut live.held).modules.insert(id, (name.unwrap_or_default(), version));
            }
            (Ok(_), Thing::Removal(id)) => {
                Arc::make_mut(&mut live.held).modules.remove(&id);
                if let Some(report) = &mut live.report {
                    Arc::make_mut(report).modules.retain(|module| module.id != id);
                }
            }
            (Err(failure), _) => {
                live.refused.insert(thing, (failure.0.detail.clone(), db::now_ms()));
            }
        }
    });
    match outcome {
        Ok(text) => app.tasks.pushed(thing, node, TaskState::Done, &text),
        Err(failure) => app.tasks.pushed(thing, node, TaskState::Failed, &failure.0.detail),
    }
    app.live.changed();
}
