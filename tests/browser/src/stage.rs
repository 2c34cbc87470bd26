//! The lab with the management server in it, started as on a fresh machine, and a door for the browser.

use anyhow::{Context, Result, ensure};
use holdfast_tests::lab::relay::Relay;
use holdfast_tests::lab::wait::wait_for;
use holdfast_tests::lab::{CONSOLE, Lab, LabOptions};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PORT: u16 = 9453;
const NODE_PORT: u16 = 9010;
const START: Duration = Duration::from_secs(60);

/// Two hosts with their agents running, a third with the server; nothing is enrolled.
pub struct Stage {
    /// The lab.
    pub lab: Lab,
    relay: Relay,
    /// To port 9010 of node1.
    plain: Relay,
}

impl Stage {
    /// Starts agents and server.
    ///
    /// # Errors
    /// A program is not built, the console is not built, or something does not start.
    pub fn set() -> Result<Self> {
        let console = console_folder()?;
        let lab = Lab::with("browser", &LabOptions { console: true, ..LabOptions::default() })?;
        name_hosts(&lab)?;
        for number in lab.numbers() {
            lab.start_agent(number)?;
        }
        let address = lab.network().address(CONSOLE);
        let host = lab.host(CONSOLE);
        let data = host.folder().join("data").display().to_string();
        let (listen, name, console) = (format!("0.0.0.0:{PORT}"), address.to_string(), console.display().to_string());
        let arguments = [
            "--data-dir",
            &data,
            "--listen",
            &listen,
            "--name",
            &name,
            "--name",
            "127.0.0.1",
            "--console-dir",
            &console,
        ];
        host.spawn("server", "/opt/holdfast/bin/holdfast-server", &arguments)?;
        let inside = SocketAddr::from((address, PORT));
        let relay = Relay::start(SocketAddr::from(([127, 0, 0, 1], 0)), inside, lab.network().connector())?;
        let node = SocketAddr::from((lab.network().address(1), NODE_PORT));
        let plain = Relay::start(SocketAddr::from(([127, 0, 0, 1], 0)), node, lab.network().connector())?;
        Ok(Self { lab, relay, plain })
    }

    /// Address of the console, as the browser outside reaches it, with a slash at its end.
    pub fn url(&self) -> String {
        format!("https://{}/", self.relay.address())
    }

    /// Address of port 9010 of node1, as the browser outside reaches it.
    pub fn plain_url(&self) -> String {
        format!("http://{}/", self.plain.address())
    }

    /// The part after `#` of the set-up link that the server printed on its terminal.
    ///
    /// # Errors
    /// The server has not printed one; the error holds what it printed.
    pub fn setup_token(&self) -> Result<String> {
        let log = self.lab.host(CONSOLE).folder().join("log/server");
        wait_for("the set-up link", START, || {
            let text = std::fs::read_to_string(&log)?;
            let token = text
                .split_once("setup#")
                .map(|(_, rest)| rest.split_whitespace().next().unwrap_or_default().to_owned());
            token.map(Some).with_context(|| text)
        })
    }

    /// Ends the agent of a node, as a fault does; its host stays.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop_agent(&self, number: u8) -> Result<()> {
        self.lab.host(number).signal("holdfast-agent", rustix::process::Signal::KILL)?;
        let gone = || Ok(self.lab.host(number).named("holdfast-agent").is_empty().then_some(()));
        wait_for("the agent to end", START, gone)
    }

    /// The pairing code that a person reads on the node.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn pairing_code(&self, number: u8) -> Result<String> {
        let answer: Value = serde_json::from_str(&self.lab.cli(number, &["pairing", "--json"])?)?;
        find(&answer, "code").with_context(|| format!("no pairing code in {answer}"))
    }

    /// What server and agents wrote last, for errors.
    pub fn diagnosis(&self) -> String {
        let server = std::fs::read_to_string(self.lab.host(CONSOLE).folder().join("log/server")).unwrap_or_default();
        let tail: Vec<&str> = server.lines().rev().take(30).collect();
        let mut text = format!("server:\n{}\n", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        for number in self.lab.numbers() {
            text.push_str(&format!("agent of node{number}:\n{}\n", self.lab.agent_log(number, 30)));
        }
        text
    }
}

/// The DNS name of a node.
pub fn dns_name(number: u8) -> String {
    format!("node{number}.holdfast.example")
}

/// Lets every host know the nodes by their DNS names.
fn name_hosts(lab: &Lab) -> Result<()> {
    let line = |number| format!("{} {}\n", lab.network().address(number), dns_name(number));
    let names: String = lab.numbers().into_iter().map(line).collect();
    lab.numbers().into_iter().chain([CONSOLE]).try_for_each(|number| lab.host(number).know_names(&names))
}

/// The text of the first member `name` anywhere in `value`.
fn find(value: &Value, name: &str) -> Option<String> {
    let object = value.as_object()?;
    let here = object.get(name).and_then(Value::as_str).map(str::to_owned);
    here.or_else(|| object.values().find_map(|inner| find(inner, name)))
}

/// Where `cargo xtask` puts the console it builds.
///
/// # Errors
/// It is not built.
pub fn console_folder() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/console/dist");
    ensure!(folder.join("index.html").is_file(), "the console is not built: run `cargo xtask console` first");
    Ok(folder.canonicalize()?)
}

/// Where the ring leaves its pictures: `HOLDFAST_PICTURES`, or `target/browser`.
pub fn pictures_folder() -> PathBuf {
    std::env::var_os("HOLDFAST_PICTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/browser"), PathBuf::from)
}
