//! The command line's end of the socket: blocking, one request at a time.

use super::{Answer, Ask, LINE_MAX, PROTOCOL, Request};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than the agent waits for a module.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Why the agent did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no agent answers on {}: is holdfast-agent running? (--socket or HOLDFAST_SOCKET name another) [{error}]", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The node that was to answer cannot be reached.
    #[error("{0}")]
    Away(String),
    /// The answer is not one.
    #[error("the agent's answer is not understood ({0}): use the command line of the same version")]
    Malformed(String),
}

/// A connection to the agent.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
    actor: String,
    on: Option<String>,
}

impl Client {
    /// Connects, for somebody who is at this node.
    pub fn connect(path: &Path, actor: String) -> Result<Self, ClientError> {
        let lost = |error| ClientError::Unreachable { path: path.to_owned(), error };
        let stream = UnixStream::connect(path).map_err(lost)?;
        stream.set_read_timeout(Some(TIMEOUT)).map_err(lost)?;
        stream.set_write_timeout(Some(TIMEOUT)).map_err(lost)?;
        Ok(Self { path: path.to_owned(), stream: BufReader::new(stream), actor, on: None })
    }

    /// From now on the node of this name is to carry out the requests; `None`: the one connected to.
    pub fn ask_node(&mut self, node: Option<String>) {
        self.on = node;
    }

    /// Asks; the first answer.
    pub fn ask(&mut self, request: Request) -> Result<Answer, ClientError> {
        let actor = self.actor.clone();
        self.ask_as(actor, request)
    }

    /// Asks in the name of somebody else (`-i`); the first answer.
    pub fn ask_as(&mut self, actor: String, request: Request) -> Result<Answer, ClientError> {
        let malformed = |error: serde_json::Error| ClientError::Malformed(error.to_string());
        let ask = Ask { protocol: PROTOCOL, actor, on: self.on.clone(), request };
        let mut line = serde_json::to_vec(&ask).map_err(malformed)?;
        line.push(b'\n');
        let sent = self.stream.get_mut().write_all(&line);
        sent.map_err(|error| ClientError::Unreachable { path: self.path.clone(), error })?;
        self.next_answer()
    }

    /// The next answer to the same request.
    pub fn next_answer(&mut self) -> Result<Answer, ClientError> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(LINE_MAX as u64).read_until(b'\n', &mut line);
        let length = read.map_err(|error| ClientError::Unreachable { path: self.path.clone(), error })?;
        if length == 0 {
            return Err(ClientError::Malformed("the connection was closed".to_owned()));
        }
        match serde_json::from_slice(&line).map_err(|error| ClientError::Malformed(error.to_string()))? {
            Answer::Unreachable { reason } => Err(ClientError::Away(reason)),
            answer => Ok(answer),
        }
    }
}
