//! `holdfast-replica`: the data-plane process of one mirror module, started and commanded by the agent.

use anyhow::Context;
use clap::Parser;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// The data plane of one mirror module. The agent starts it; it is of no use by hand.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Number of the inherited descriptor of the control socket.
    #[arg(long)]
    control_fd: RawFd,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    // A session of its own: nothing that ends the agent's ends this. It fails only where it is that already.
    let _ = rustix::process::setsid();
    std::panic::set_hook(Box::new(|panic| {
        // A replica with a thread missing could hold back writes for ever: its end is what the agent can see.
        tracing::error!(%panic, "fault in the data plane");
        std::process::abort();
    }));
    // SAFETY: the agent hands this descriptor over for this one use; nothing in this process knows its number before.
    let socket = unsafe { UnixStream::from_raw_fd(options.control_fd) };
    let flags = rustix::io::fcntl_getfd(&socket).with_context(|| {
        format!(
            "--control-fd {}: no such descriptor; the agent passes it, do not start this by hand",
            options.control_fd
        )
    })?;
    rustix::io::fcntl_setfd(&socket, flags | rustix::io::FdFlags::CLOEXEC)?;
    holdfast_replica::process::run(socket)
}
