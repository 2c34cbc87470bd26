//! The console in a real browser before a server that says what a test wants, when it wants it.
//!
//! The page comes from the real server with its real policy; what it asks under `/api/` and its live socket are answered in
//! the page itself (`rehearsal.js`), so that every state, every order of answers and every loss of contact can be made at
//! will. The components are those of the console, none is replaced.

pub mod world;

use crate::browser::{Browser, PATIENCE};
use crate::stage::console_folder;
use anyhow::{Context, Result, ensure};
use holdfast_api::console::{LiveSnapshot, SessionView};
use holdfast_tests::lab::program_path;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A page that is answered by the test; all of it ends with this value.
pub struct Rehearsal {
    /// The browser.
    pub browser: Browser,
    server: Server,
    _folder: tempfile::TempDir,
}

impl Rehearsal {
    /// Starts server and browser; every page begins with this session and snapshot, and pictures go to `pictures`.
    ///
    /// # Errors
    /// The console is not built, or something does not start.
    pub async fn begin(session: &SessionView, snapshot: &LiveSnapshot, pictures: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start(&folder.path().join("data"))?;
        let browser = Browser::start(&folder.path().join("downloads"), pictures).await?;
        let answers = json!({ "GET /session": [200, session] });
        let script = include_str!("rehearsal.js")
            .replace("ANSWERS", &answers.to_string())
            .replace("SNAPSHOT", &serde_json::to_string(snapshot)?);
        browser.before_pages(&script).await?;
        Ok(Self { browser, server, _folder: folder })
    }

    /// Opens a screen, with these answers besides, once the page is live.
    ///
    /// # Errors
    /// It does not come.
    pub async fn open(&self, path: &str, answers: &[(&str, Value)]) -> Result<()> {
        let mut script = String::new();
        for (what, body) in answers {
            script.push_str(&format!("window.rehearsal.answer({what:?}, 200, {body});"));
        }
        let name = self.browser.before_pages(&script).await?;
        self.browser.open(&format!("{}{path}", self.server.address)).await?;
        self.browser.expect("[data-testid=link][data-link=live]", PATIENCE).await?;
        self.browser.no_more_before_pages(&name).await
    }

    /// Answers `what` in this page from now on.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn answer(&self, what: &str, status: u16, body: impl Serialize) -> Result<()> {
        let body = serde_json::to_string(&body)?;
        self.do_in_page(&format!("answer({what:?}, {status}, {body})")).await
    }

    /// Sends a snapshot.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn tell(&self, snapshot: &LiveSnapshot) -> Result<()> {
        self.do_in_page(&format!("tell({})", serde_json::to_string(snapshot)?)).await
    }

    /// Calls a function of `rehearsal.js`.
    ///
    /// # Errors
    /// It fails.
    pub async fn do_in_page(&self, call: &str) -> Result<()> {
        self.browser.script(&format!("window.rehearsal.{call}")).await.map(drop)
    }

    /// What the page sent with its last request that begins with `what`.
    ///
    /// # Errors
    /// There was none yet, or it held no JSON.
    pub async fn sent(&self, what: &str) -> Result<Value> {
        let script = format!("return window.rehearsal.asked.findLast((one) => one.asked.startsWith({what:?}))?.body");
        let found = self.browser.script(&script).await?;
        let text = found.as_str().with_context(|| format!("{what} was not asked"))?;
        Ok(serde_json::from_str(text)?)
    }

    /// Ends it; the page had nothing to complain about.
    ///
    /// # Errors
    /// It had.
    pub async fn end(self) -> Result<()> {
        let complaints = self.browser.complaints().await?;
        self.browser.end().await?;
        ensure!(complaints.is_empty(), "the browser complained: {complaints:#?}");
        Ok(())
    }
}

/// The server that gives the page; it ends with this value.
struct Server {
    program: Child,
    /// With its scheme, without a slash at the end.
    address: String,
}

impl Server {
    fn start(data: &Path) -> Result<Self> {
        let program = Command::new(program_path("holdfast-server")?)
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .arg("--console-dir")
            .arg(console_folder()?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run the server")?;
        let mut server = Self { program, address: String::new() };
        let output = server.program.stdout.take().context("the server has no output")?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let found = lines.find_map(|line| line.strip_prefix("listening on ").map(|at| format!("https://{at}")));
        server.address = found.context("the server ended without saying where it listens")?;
        // What it says later is read and dropped, or it would block.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.program.kill().ok();
        self.program.wait().ok();
    }
}
