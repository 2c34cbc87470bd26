//! Command line of the server.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The Holdfast management server: console, users, desired configuration.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "holdfast-server", version)]
pub struct Config {
    /// Folder for database, certificates and keys; made if missing.
    #[arg(long, env = "HOLDFAST_DATA_DIR", default_value = "/var/lib/holdfast/server")]
    pub data_dir: PathBuf,
    /// Address and port of console, REST and agents. Port 0 takes a free one and prints it.
    #[arg(long, env = "HOLDFAST_LISTEN", default_value = "0.0.0.0:9453")]
    pub listen: SocketAddr,
    /// A further name or address by which browsers and agents reach this server (also `host:port`); may be repeated.
    #[arg(long = "name", value_name = "HOST")]
    pub names: Vec<String>,
    /// Certificate and agents get the names of --name alone, not also this machine's own name and addresses: for a server
    /// that moves from one machine to another with its folder.
    #[arg(long, requires = "names")]
    pub only_names: bool,
    /// Make this (empty) file once the server serves, for the script that starts it.
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// For unattended set-up: if there is no user yet, make the user `admin` with the first line of this file as password.
    #[arg(long, env = "HOLDFAST_ADMIN_PASSWORD_FILE", value_name = "FILE")]
    pub admin_password_file: Option<PathBuf>,
    /// Serve the console from this folder (read at each request) instead of the built-in one.
    #[arg(long, env = "HOLDFAST_CONSOLE_DIR", value_name = "FOLDER")]
    pub console_dir: Option<PathBuf>,
}
