//! The real server with a hundred working modules on two simulated nodes: what the page is looked at with.

use super::agent::{Fleet, Node};
use super::api::Api;
use super::program::{PASSWORD, Program, USER};
use super::{configure, make_modules, save_cluster, wait_connected};
use anyhow::Result;
use std::path::Path;

/// Modules on both nodes.
const MODULES: usize = 100;
const NODES: usize = 2;

/// It ends with this value.
pub struct Crowd {
    _fleet: Fleet,
    program: Program,
    _folder: tempfile::TempDir,
}

impl Crowd {
    /// Starts all of it; the server serves the console in `console`.
    ///
    /// # Errors
    /// The server does not start or refuses a step.
    pub fn start(console: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("holdfast-bench-").tempdir()?;
        let program = Program::start(folder.path(), Some(console))?;
        let api = Api::log_in(&program)?;
        let join = |number| Node::join(&api, number, 0).map(Node::livened);
        let nodes: Vec<Node> = (1..=NODES).map(join).collect::<Result<_>>()?;
        save_cluster(&api, &nodes)?;
        let fleet = Fleet::start(nodes, program.address)?;
        wait_connected(&fleet)?;
        let ids = make_modules(&api, MODULES)?;
        configure(&api, &fleet, &ids, NODES)?;
        Ok(Self { _fleet: fleet, program, _folder: folder })
    }

    /// Address of the console, with a slash at its end.
    pub fn url(&self) -> String {
        format!("https://{}/", self.program.address)
    }

    /// Name and password of its administrator.
    pub fn login(&self) -> (&'static str, &'static str) {
        (USER, PASSWORD)
    }

    /// Name of the module that is drawn last.
    pub fn last_module(&self) -> String {
        format!("m{MODULES}")
    }
}
