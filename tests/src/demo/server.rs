//! The management server on its host, and what the demo asks of it as any REST client would.

use crate::bank::client::Connect;
use crate::bank::http::Client;
use crate::lab::cluster::{ModulePlan, PATIENCE};
use crate::lab::relay::Relay;
use crate::lab::wait::{wait_for, wait_until};
use crate::lab::{CONSOLE, Lab};
use anyhow::{Context, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Port of console, REST and agents.
const PORT: u16 = 9453;
/// Name of the administrator.
pub const USER: &str = "admin";
/// Longest wait for any single answer of the server.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The running server, the door to it, and a session on it.
pub struct Server {
    address: SocketAddr,
    connect: Connect,
    tls: Arc<ClientConfig>,
    cookie: Option<String>,
    password: String,
    relay: Relay,
}

impl Server {
    /// Starts the server on the lab's console host and logs in; it answers on `outside` (loopback) too.
    ///
    /// # Errors
    /// It does not start or does not let us in.
    pub fn start(lab: &Lab, outside: SocketAddr) -> Result<Self> {
        let password = random_password()?;
        let file = lab.host(CONSOLE).folder().join("password");
        std::fs::write(&file, format!("{password}\n"))?;
        run(lab, &file)?;
        let authority = lab.host(CONSOLE).folder().join("data/pki/ca.pem");
        Self::attach(lab, outside, lab.network().address(CONSOLE), &authority, &password).with_context(|| log(lab))
    }

    /// Logs in at the server at an address in the lab, however it was started; `authority` is its `ca.pem`.
    ///
    /// # Errors
    /// It does not answer or does not let us in.
    pub fn attach(lab: &Lab, outside: SocketAddr, inside: Ipv4Addr, authority: &Path, password: &str) -> Result<Self> {
        let address = SocketAddr::from((inside, PORT));
        let connect = lab.network().connector();
        let relay = Relay::start(outside, address, Arc::clone(&connect))?;
        let tls = wait_for("the server's certificate authority", PATIENCE, || trust(authority).map(Some))?;
        let mut server = Self { address, connect, tls, cookie: None, password: password.to_owned(), relay };
        wait_until("the server to let us in", PATIENCE, || server.log_in().map(|()| true))?;
        Ok(server)
    }

    /// The certificate that the server shows (DER); it must be of its authority and for its address.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn certificate(&self) -> Result<Vec<u8>> {
        let mut stream = self.dial()?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
        Ok(shown.context("no certificate was shown")?.to_vec())
    }

    fn dial(&self) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let stream = (self.connect)(self.address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let session = ClientConnection::new(Arc::clone(&self.tls), ServerName::from(self.address.ip()))?;
        Ok(StreamOwned::new(session, stream))
    }

    /// Starts the server's program again after it was killed; the session lives on in its database.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&self, lab: &Lab) -> Result<()> {
        run(lab, &lab.host(CONSOLE).folder().join("password"))?;
        wait_until("the server to answer again", PATIENCE, || self.get("/session").map(|_| true))
            .with_context(|| log(lab))
    }

    /// The administrator's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// `NAME=VALUE` of the session's cookie.
    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Where a browser on this machine finds the console.
    pub fn url(&self) -> String {
        format!("https://{}/", self.relay.address())
    }

    fn log_in(&mut self) -> Result<()> {
        let (headers, _) = self.call("POST", "/session", Some(&json!({ "user": USER, "password": self.password })))?;
        let cookie = headers.iter().find(|(name, _)| name == "set-cookie").context("no session cookie")?;
        self.cookie = cookie.1.split(';').next().map(str::to_owned);
        Ok(())
    }

    /// `GET /api/v1/PATH`.
    ///
    /// # Errors
    /// The server does not answer or refuses; the problem's text.
    pub fn get(&self, path: &str) -> Result<Value> {
        Ok(self.call("GET", path, None)?.1)
    }

    /// Any request with a body.
    ///
    /// # Errors
    /// As [`Server::get`].
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        Ok(self.call(method, path, Some(body))?.1)
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(Vec<(String, String)>, Value)> {
        let host = self.address.to_string();
        let origin = format!("https://{host}");
        let mut headers = vec![("Host", host.as_str()), ("Origin", origin.as_str()), ("Connection", "close")];
        if let Some(cookie) = &self.cookie {
            headers.push(("Cookie", cookie));
        }
        let text = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        let path = format!("/api/v1{path}");
        let response = Client::over(self.dial()?).request_with(method, &path, &headers, text.as_bytes())?;
        if !(200..300).contains(&response.status) {
            bail!("{method} {path} answered {}: {}", response.status, response.text());
        }
        let value = if response.body.is_empty() { Value::Null } else { serde_json::from_slice(&response.body)? };
        Ok((response.headers, value))
    }

    /// Enrols a node whose agent runs, with its pairing code, as a person in the console does.
    ///
    /// # Errors
    /// The node or the server refuses.
    pub fn enrol(&self, lab: &Lab, number: u8) -> Result<u64> {
        let code = pairing_code(lab, number)?;
        let address = lab.network().address(number).to_string();
        let probe = self.send("POST", "/nodes/probe", &json!({ "address": address }))?;
        let fingerprint = probe["identity"]["fingerprint"].as_str().with_context(|| format!("{probe}"))?;
        let name = lab.host(number).name();
        let form = json!({ "address": address, "fingerprint": fingerprint, "code": code, "name": name });
        let node = self.send("POST", "/nodes/enrol", &form)?;
        node["id"].as_u64().with_context(|| format!("no number in {node}"))
    }

    /// Starts the agents of the lab, enrols them and saves the cluster they are.
    ///
    /// # Errors
    /// An agent does not start, or the server refuses.
    pub fn form_cluster(&self, lab: &Lab) -> Result<()> {
        let mut nodes = Vec::new();
        for number in lab.numbers() {
            lab.start_agent(number)?;
            nodes.push((self.enrol(lab, number)?, number));
        }
        self.save_cluster(lab, &nodes)
    }

    /// Saves the cluster of these enrolled nodes: (number given by the server, number in the lab).
    ///
    /// # Errors
    /// The server refuses or a node does not take it.
    pub fn save_cluster(&self, lab: &Lab, nodes: &[(u64, u8)]) -> Result<()> {
        let form = |(id, number): &(u64, u8)| {
            let address = lab.network().address(*number).to_string();
            json!({ "id": id, "name": lab.host(*number).name(), "addresses": { "default": address } })
        };
        let nodes: Vec<Value> = nodes.iter().map(form).collect();
        let form = json!({ "expected_version": 0, "name": "demo", "lans": ["default"], "nodes": nodes });
        self.task(&self.send("PUT", "/cluster", &form)?)
    }

    /// Makes a module from the template and the plan's files, and configures it on all nodes; its number.
    ///
    /// # Errors
    /// The server or a node refuses.
    pub fn configure(&self, plan: &ModulePlan) -> Result<u64> {
        self.configure_from("mirror.safe", plan)
    }

    /// Like [`Server::configure`], from another template.
    ///
    /// # Errors
    /// As [`Server::configure`].
    pub fn configure_from(&self, template: &str, plan: &ModulePlan) -> Result<u64> {
        let module = self.send("POST", "/modules", &json!({ "template": template, "name": plan.name }))?;
        let id = module["id"].as_u64().context("no number")?;
        let changes: Vec<Value> =
            plan.files()?.into_iter().map(|(path, text)| json!({ "path": path, "text": text })).collect();
        let form = json!({ "expected_version": module["version"], "changes": changes });
        self.send("PUT", &format!("/modules/{id}/files"), &form)?;
        self.task(&self.send("POST", &format!("/modules/{id}/configure"), &json!({}))?)?;
        Ok(id)
    }

    /// Gives a command to a module on one node and waits until the node has taken it.
    ///
    /// # Errors
    /// The node refuses.
    pub fn command(&self, module: u64, command: &str, node: u64) -> Result<()> {
        let form = json!({ "command": command, "nodes": [node] });
        self.task(&self.send("POST", &format!("/modules/{module}/commands"), &form)?)
    }

    /// Waits for the end of a task that an answer names.
    fn task(&self, started: &Value) -> Result<()> {
        let path = format!("/tasks/{}", started["task"].as_u64().with_context(|| format!("no task in {started}"))?);
        let task = wait_for("the task's end", PATIENCE, || {
            let task = self.get(&path)?;
            match task["state"].as_str() {
                Some("done" | "failed") => Ok(Some(task)),
                _ => bail!("{}", task["nodes"]),
            }
        })?;
        if task["state"] == "failed" {
            bail!("{} failed: {}", task["title"], task["nodes"]);
        }
        Ok(())
    }
}

/// The code that a node which is not enrolled shows on its own screen.
///
/// # Errors
/// Its agent does not answer or shows none.
pub fn pairing_code(lab: &Lab, number: u8) -> Result<String> {
    let pairing: Value = serde_json::from_str(&lab.cli(number, &["pairing", "--json"])?)?;
    let code = find(&pairing, "code").and_then(Value::as_str).with_context(|| format!("no code in {pairing}"))?;
    Ok(code.to_owned())
}

/// The value of the first member `name` anywhere in `value`.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.values().find_map(|inner| find(inner, name)))
}

/// Starts the program on its host.
fn run(lab: &Lab, password_file: &Path) -> Result<()> {
    let data = lab.host(CONSOLE).folder().join("data").display().to_string();
    let address = lab.network().address(CONSOLE).to_string();
    let password = password_file.display().to_string();
    let arguments = [
        "--data-dir",
        &data,
        "--name",
        &address,
        "--name",
        "127.0.0.1",
        "--name",
        "localhost",
        "--admin-password-file",
        &password,
    ];
    lab.host(CONSOLE).spawn("server", "/opt/holdfast/bin/holdfast-server", &arguments)
}

fn log(lab: &Lab) -> String {
    let text = std::fs::read_to_string(lab.host(CONSOLE).folder().join("log/server")).unwrap_or_default();
    format!("the server printed:\n{text}")
}

/// Trusts exactly the server's own certificate authority.
fn trust(file: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file).with_context(|| format!("no certificate in {}", file.display()))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// A password that nobody knows.
///
/// # Errors
/// The system has no randomness.
pub fn random_password() -> Result<String> {
    let mut bytes = [0; 9];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
