//! A server in a temporary folder, an HTTPS client, and a simulated agent.

use futures_util::{SinkExt, StreamExt};
use holdfast_api::agent::{
    AGENT_SNI, Answer, FRAME_BYTES_MAX, FromAgent, FromServer, Hello, NodeModuleReport, NodeReport, PROTOCOL_VERSION,
    Request,
};
use holdfast_api::enrol::{ENROL_VERSION, Enrolment, JoinRequest, JoinToken};
use holdfast_api::ids::{Generation, ModuleId};
use holdfast_api::state::{DataState, ModuleState, Readiness};
use holdfast_server::{Server, config::Config, start};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

pub const PASSWORD: &str = "correct horse battery";

/// A running server and its folder.
pub struct Running {
    pub server: Server,
    pub folder: tempfile::TempDir,
}

pub fn config(folder: &std::path::Path) -> Config {
    Config {
        data_dir: folder.join("data"),
        listen: "127.0.0.1:0".parse().unwrap(),
        names: vec![],
        only_names: false,
        ready_file: None,
        admin_password_file: None,
        console_dir: None,
    }
}

/// A server with the user `admin`.
pub async fn server() -> Running {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let config = Config { admin_password_file: Some(file), ..config(folder.path()) };
    Running { server: start(config).await.unwrap(), folder }
}

impl Running {
    pub fn client(&self) -> Client {
        let origin = Some(format!("https://localhost:{}", self.server.listen.port()));
        Client { address: self.server.listen, ca: self.server.app.tls.ca_pem.clone(), cookie: None, origin }
    }

    pub async fn admin(&self) -> Client {
        let mut client = self.client();
        let (status, headers, _) =
            client.full(Method::POST, "/api/v1/session", Some(json!({"user": "admin", "password": PASSWORD}))).await;
        assert_eq!(status, StatusCode::OK);
        client.take_cookie(&headers);
        client
    }
}

/// Polls until `look` gives something; fails after ten seconds.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn roots(ca: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    roots
}

pub fn tls_config(ca: &str, own: Option<(&str, &KeyPair)>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca));
    match own {
        None => builder.with_no_client_auth(),
        Some((pem, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

pub async fn dial(
    address: SocketAddr,
    sni: &'static str,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(sni).unwrap(), stream).await
}

/// A browser or script.
#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub ca: String,
    pub cookie: Option<String>,
    pub origin: Option<String>,
}

impl Client {
    pub fn take_cookie(&mut self, headers: &HeaderMap) {
        let set = headers["set-cookie"].to_str().unwrap();
        self.cookie = Some(set.split(';').next().unwrap().to_owned());
    }

    pub fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        let mut request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("localhost:{}", self.address.port()));
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(origin) = &self.origin {
            request = request.header("origin", origin);
        }
        request
    }

    pub async fn raw(&self, request: hyper::Request<Full<Bytes>>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let stream = dial(self.address, "localhost", tls_config(&self.ca, None)).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = sender.send_request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    pub async fn full(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, HeaderMap, Value) {
        let bytes = body.map(|body| body.to_string()).unwrap_or_default();
        let request = self.request(method, path).header("content-type", "application/json");
        let (status, headers, bytes) = self.raw(request.body(Full::from(bytes)).unwrap()).await;
        if status.is_client_error() || status.is_server_error() {
            assert_eq!(headers["content-type"], "application/problem+json", "{path}");
        }
        (status, headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, _, value) = self.full(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {value}");
        value
    }

    pub async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let (status, _, value) = self.full(method, path, Some(body)).await;
        (status, value)
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, body).await
    }

    /// Posts what must be accepted.
    pub async fn done(&self, path: &str, body: Value) -> Value {
        let (status, value) = self.post(path, body).await;
        assert!(status.is_success(), "{path}: {status} {value}");
        value
    }

    /// Waits until a task has ended.
    pub async fn task(&self, id: &Value) -> Value {
        let path = format!("/api/v1/tasks/{id}");
        eventually("the task ends", || async {
            Some(self.get(&path).await).filter(|task| !task["ended_unix_ms"].is_null())
        })
        .await
    }

    pub async fn live(&self) -> WebSocketStream<TlsStream<TcpStream>> {
        let stream = dial(self.address, "localhost", tls_config(&self.ca, None)).await.unwrap();
        let request = self
            .request(Method::GET, &format!("wss://localhost:{}/api/v1/live", self.address.port()))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", tokio_tungstenite::tungstenite::handshake::client::generate_key())
            .body(())
            .unwrap();
        tokio_tungstenite::client_async(request, stream).await.unwrap().0
    }
}

/// Key, certificate and number of a simulated node.
pub struct Node {
    pub key: KeyPair,
    pub enrolment: Enrolment,
    pub address: SocketAddr,
}

pub fn csr(key: &KeyPair, name: &str) -> String {
    CertificateParams::new(vec![name.to_owned()]).unwrap().serialize_request(key).unwrap().pem().unwrap()
}

/// Enrols a node by token.
pub async fn join(running: &Running, admin: &Client, name: &str) -> Node {
    let token = admin.done("/api/v1/nodes/tokens", json!({"minutes": 5})).await;
    let token = JoinToken::parse(token["token"].as_str().unwrap()).unwrap();
    assert_eq!(token.ca_fingerprint, running.server.app.tls.ca_key_fingerprint());
    let key = KeyPair::generate().unwrap();
    let request = JoinRequest {
        protocol: ENROL_VERSION,
        secret: token.secret,
        name: name.into(),
        version: "0.1.0".into(),
        csr: csr(&key, name),
    };
    let nobody = Client { cookie: None, origin: None, ..admin.clone() };
    let enrolment = nobody.done("/api/v1/join", serde_json::to_value(request).unwrap()).await;
    Node { key, enrolment: serde_json::from_value(enrolment).unwrap(), address: running.server.listen }
}

/// A cluster of these nodes, saved.
pub async fn cluster(admin: &Client, nodes: &[&Node]) -> Value {
    let version = admin.get("/api/v1/cluster").await["version"].clone();
    let nodes: Vec<_> = nodes
        .iter()
        .map(|node| {
            let id = node.enrolment.node.0;
            json!({"id": id, "name": node.enrolment.name, "addresses": {"default": format!("10.0.0.{id}")}})
        })
        .collect();
    let form = json!({"expected_version": version, "name": "demo", "lans": ["default"], "nodes": nodes});
    let (status, value) = admin.send(Method::PUT, "/api/v1/cluster", form).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{value}");
    value
}

pub type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// A session of a simulated agent.
pub struct Session {
    pub socket: Socket,
    pub name: String,
    pub held: Vec<(ModuleId, String, u64)>,
    pub cluster: u64,
}

impl Node {
    pub async fn socket(&self) -> Result<Socket, String> {
        let config = tls_config(&self.enrolment.ca, Some((&self.enrolment.certificate, &self.key)));
        let stream = dial(self.address, AGENT_SNI, config).await.map_err(|error| error.to_string())?;
        let mut config = WebSocketConfig::default();
        config.max_message_size = Some(FRAME_BYTES_MAX);
        let url = format!("wss://{AGENT_SNI}/agent");
        let connected = tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await;
        connected.map(|(socket, _)| socket).map_err(|error| error.to_string())
    }

    pub async fn connect(&self, cluster: u64, held: &[(ModuleId, &str, u64)]) -> Session {
        let mut session = Session {
            socket: self.socket().await.unwrap(),
            name: self.enrolment.name.clone(),
            held: held.iter().map(|(id, name, version)| (*id, (*name).to_owned(), *version)).collect(),
            cluster,
        };
        session.say(&FromAgent::Hello(session.hello(PROTOCOL_VERSION))).await;
        match session.next().await {
            Some(FromServer::Welcome { node, name, .. }) => {
                assert_eq!((node, name.as_str()), (self.enrolment.node, session.name.as_str()));
            }
            other => panic!("no welcome: {other:?}"),
        }
        session
    }
}

impl Session {
    pub fn hello(&self, protocol: u32) -> Hello {
        let held = |(id, name, version): &(ModuleId, String, u64)| holdfast_api::agent::HeldModule {
            id: *id,
            name: name.clone(),
            version: *version,
        };
        Hello {
            protocol,
            version: "0.1.0".into(),
            node: self.name.clone(),
            boot_id: "boot".into(),
            cluster_version: self.cluster,
            modules: self.held.iter().map(held).collect(),
        }
    }

    pub async fn say(&mut self, message: &FromAgent) {
        self.socket.send(Message::text(serde_json::to_string(message).unwrap())).await.unwrap();
    }

    /// The next message, or none if the session ended.
    pub async fn next(&mut self) -> Option<FromServer> {
        loop {
            let frame = tokio::time::timeout(Duration::from_secs(20), self.socket.next()).await.expect("in time");
            match frame? {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn request(&mut self) -> (u64, Request) {
        match self.next().await {
            Some(FromServer::Request { id, request }) => (id, request),
            other => panic!("no request: {other:?}"),
        }
    }

    pub async fn answer(&mut self, id: u64, answer: Answer) {
        self.say(&FromAgent::Answer { id, answer }).await;
    }

    /// Takes the next request, answers `Done`.
    pub async fn do_next(&mut self, text: &str) -> Request {
        let (id, request) = self.request().await;
        self.answer(id, Answer::Done { text: text.into() }).await;
        request
    }

    pub async fn report(&mut self, state: ModuleState) {
        let modules = self.held.iter().map(|(id, name, version)| NodeModuleReport {
            module: name.clone(),
            id: *id,
            node: self.name.clone(),
            state,
            readiness: Readiness::Ready,
            data: DataState::UpToDate,
            generation: Generation { number: 1, id: 2 },
            since_unix_ms: 1,
            waiting_for: None,
            detail: String::new(),
            boot_start: false,
            running: true,
            peer: None,
            resync: None,
            inventory: None,
            version: *version,
            resources: Vec::new(),
            replication: None,
            scrub: None,
            set_aside: 0,
        });
        let report = NodeReport {
            unix_ms: holdfast_server::db::now_ms(),
            boot_id: "boot".into(),
            cluster_version: self.cluster,
            modules: modules.collect(),
            ..NodeReport::default()
        };
        self.say(&FromAgent::Report(report)).await;
    }
}
