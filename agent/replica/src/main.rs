//! `holdfast-replica`: the data-plane process of one mirror module, started and commanded by the agent; and, started by
//! that process itself, the holder of its mounts.

use anyhow::Context;
use clap::Parser;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The data plane of one mirror module. The agent starts it; it is of no use by hand.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Number of the inherited descriptor of the control socket.
    #[arg(long, required_unless_present = "hold")]
    control_fd: Option<RawFd>,
    /// Hold the mounts of the replica at the other end of standard input, for those that come to standard output.
    #[arg(long, hide = true, conflicts_with = "control_fd")]
    hold: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let Some(control_fd) = options.control_fd else { return hold() };
    // A session of its own: nothing that ends the agent's ends this. It fails only where it is that already.
    let _ = rustix::process::setsid();
    std::panic::set_hook(Box::new(|panic| {
        // A replica with a thread missing could hold back writes for ever: its end is what the agent can see.
        tracing::error!(%panic, "fault in the data plane");
        std::process::abort();
    }));
    // SAFETY: the agent hands this descriptor over for this one use; nothing in this process knows its number before.
    let socket = unsafe { UnixStream::from_raw_fd(control_fd) };
    rustix::io::fcntl_getfd(&socket).with_context(|| {
        format!("--control-fd {control_fd}: no such descriptor; the agent passes it, do not start this by hand")
    })?;
    holdfast_replica::process::run(away_from_standard(socket)?)
}

/// The same socket under another number, closed for programs that are started, and not one of the three that every
/// thread keeps: the agent sees the end of this process by it, also while a thread of it hangs.
fn away_from_standard(socket: UnixStream) -> anyhow::Result<UnixStream> {
    let moved = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(&socket, 3)?);
    let number = socket.into_raw_fd();
    // SAFETY: the number was this socket's alone, and is given up here: closed, or made the standard descriptor again.
    let mut old = unsafe { OwnedFd::from_raw_fd(number) };
    if number < 3 {
        rustix::io::dup2(std::fs::File::open("/dev/null")?.as_fd(), &mut old)?;
        let _ = old.into_raw_fd();
    }
    Ok(moved)
}

fn hold() -> anyhow::Result<()> {
    let (replica, door) = (std::io::stdin(), std::io::stdout());
    holdfast_replica::keep::hold(replica.as_fd().try_clone_to_owned()?, door.as_fd().try_clone_to_owned()?)
}
