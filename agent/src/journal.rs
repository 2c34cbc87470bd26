//! The machine's journal: each shown line of a module log goes there too, with its module and state as fields.
//!
//! By the journal's own datagrams where it listens, else by those of syslog, else nowhere: what matters stands in the
//! module log in any case.

use crate::logs::{is_verbose, letter};
use holdfast_core::output::EventLevel;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Name under which the lines are found (`journalctl -t holdfast`).
pub const IDENTIFIER: &str = "holdfast";
/// Facility "system daemons" of syslog, shifted into place.
const DAEMON: u8 = 3 << 3;

/// Where lines go.
#[derive(Clone, Debug)]
pub struct Journal {
    native: PathBuf,
    syslog: PathBuf,
}

/// One line, as a module log has it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// How much it matters.
    pub level: EventLevel,
    /// Name of the module.
    pub module: &'a str,
    /// Name of the node.
    pub node: &'a str,
    /// State of the module, such as `PRIM Ready`.
    pub state: &'a str,
    /// The sentence.
    pub text: &'a str,
}

/// Priority as syslog counts it: 2 critical, 4 warning, 5 notice, 6 informational, 7 debug.
fn priority(level: EventLevel) -> u8 {
    match level {
        EventLevel::Error => 2,
        EventLevel::Warning => 4,
        EventLevel::Event => 5,
        EventLevel::User | EventLevel::Script | EventLevel::Info => 6,
        EventLevel::Debug => 7,
    }
}

impl Line<'_> {
    /// The fields of the journal's protocol; none of the values has a line break.
    fn fields(&self) -> String {
        let Self { level, module, node, state, text } = self;
        let clean = |text: &str| text.replace(char::is_control, " ");
        format!(
            "PRIORITY={}\nSYSLOG_IDENTIFIER={IDENTIFIER}\nMESSAGE={module}: {state} | {}\nMODULE={module}\nNODE={node}\n\
             STATE={state}\nLEVEL={}\n",
            priority(*level),
            clean(text),
            letter(*level)
        )
    }

    fn syslog(&self) -> String {
        let Self { level, module, state, text, .. } = self;
        let pid = std::process::id();
        format!("<{}>{IDENTIFIER}[{pid}]: {module}: {state} | {text}", DAEMON | priority(*level))
    }
}

impl Journal {
    /// That of this machine.
    pub fn system() -> Self {
        Self { native: "/run/systemd/journal/socket".into(), syslog: "/dev/log".into() }
    }

    /// One that listens at other places.
    pub fn at(native: PathBuf, syslog: PathBuf) -> Self {
        Self { native, syslog }
    }

    /// Hands a line over if it is one that is shown. Never waits: a journal that is full or gone loses it.
    pub fn write(&self, line: &Line<'_>) {
        if is_verbose(letter(line.level).encode_utf8(&mut [0; 4])) {
            return;
        }
        let Ok(socket) = UnixDatagram::unbound() else {
            return;
        };
        if socket.set_nonblocking(true).is_ok() && socket.send_to(line.fields().as_bytes(), &self.native).is_err() {
            let _ = socket.send_to(line.syslog().as_bytes(), &self.syslog);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Journal, Line};
    use holdfast_core::output::EventLevel;
    use std::os::unix::net::UnixDatagram;
    use std::path::Path;
    use std::time::Duration;

    fn listen(path: &Path) -> UnixDatagram {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1000];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    fn line(level: EventLevel, text: &str) -> Line<'_> {
        Line { level, module: "web", node: "node1", state: "PRIM Ready", text }
    }

    #[test]
    fn shown_lines_reach_the_journal_with_fields_and_detail_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let native = listen(&dir.path().join("native"));
        let journal = Journal::at(dir.path().join("native"), dir.path().join("log"));
        journal.write(&line(EventLevel::Info, "detail"));
        journal.write(&line(EventLevel::Error, "the disk\nis full"));
        let said = next(&native);
        for field in [
            "PRIORITY=2",
            "SYSLOG_IDENTIFIER=holdfast",
            "MESSAGE=web: PRIM Ready | the disk is full",
            "MODULE=web",
            "NODE=node1",
            "STATE=PRIM Ready",
            "LEVEL=C",
        ] {
            assert!(said.lines().any(|line| line == field), "{field} in {said}");
        }
    }

    #[test]
    fn without_a_journal_syslog_gets_the_line_and_without_both_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::at(dir.path().join("native"), dir.path().join("log"));
        journal.write(&line(EventLevel::Warning, "lost"));
        let syslog = listen(&dir.path().join("log"));
        journal.write(&line(EventLevel::Warning, "odd"));
        let said = next(&syslog);
        assert!(said.starts_with("<28>holdfast[") && said.ends_with("]: web: PRIM Ready | odd"), "{said}");
    }
}
