//! The management server: console over HTTPS, users, desired configuration in SQLite, pushes to agents, live reports.
//!
//! Never in the failover path: agents hold their configuration durably and decide between themselves.

pub mod anonymous;
pub mod app;
pub mod ask;
pub mod assets;
pub mod auth;
pub mod config;
pub mod db;
pub mod enrol;
pub mod error;
pub mod http;
pub mod hub;
pub mod live;
pub mod modules;
pub mod placement;
pub mod reconcile;
pub mod register;
pub mod serve;
pub mod tasks;
pub mod tls;

use anyhow::{Context, bail};
use app::App;
use config::Config;
use db::Db;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;
use tls::names::Names;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A running server; dropping it ends it.
pub struct Server {
    /// Where it listens (with the real port).
    pub listen: SocketAddr,
    /// The one-time set-up link, if there is no user yet.
    pub setup_link: Option<String>,
    /// Its shared parts.
    pub app: Arc<App>,
    tasks: JoinSet<()>,
    _lock: File,
}

impl Server {
    /// Waits until a part of the server ends, which it does not by itself.
    pub async fn ended(&mut self) {
        self.tasks.join_next().await;
    }
}

/// Starts the server; it serves when this returns.
///
/// # Errors
/// Folder, database, certificates, password file or port cannot be used.
pub async fn start(config: Config) -> anyhow::Result<Server> {
    let data = &config.data_dir;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .with_context(|| format!("cannot make {}", data.display()))?;
    let lock = File::create(data.join("lock")).with_context(|| format!("cannot write in {}", data.display()))?;
    if lock.try_lock().is_err() {
        bail!("another server uses {}; stop it first", data.display());
    }
    let db = Db::open(&data.join("holdfast.sqlite"))?;
    let revoked = db.call(db::nodes::revoked_certificates).await?;
    let reached = Names { given: config.names.clone(), only_given: config.only_names };
    let tls = Tls::open(&data.join("pki"), &reached, &revoked)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}; is another server running?", config.listen))?;
    let listen = listener.local_addr()?;
    let app = App::new(&config, db, tls, listen).await?;
    let setup_link = first_user(&app, &config, listen).await?;
    let mut tasks = JoinSet::new();
    let (browsers, agents) = (http::browsers(Arc::clone(&app)), http::agents(Arc::clone(&app)));
    tasks.spawn(serve::accept(Arc::clone(&app), listener, browsers, agents));
    tasks.spawn(live::Live::keep(Arc::clone(&app)));
    tasks.spawn(hub::Hub::keep(Arc::clone(&app)));
    tasks.spawn(tasks::Tasks::keep(Arc::clone(&app)));
    tasks.spawn(hourly(Arc::clone(&app)));
    Ok(Server { listen, setup_link, app, tasks, _lock: lock })
}

/// Renews the server's certificate when that is due and deletes what is older than it is to be kept, for ever.
async fn hourly(app: Arc<App>) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    loop {
        hour.tick().await;
        match app.tls.renew() {
            Ok(true) => tracing::info!("the server's certificate was renewed"),
            Ok(false) => {}
            Err(error) => tracing::error!("the server's certificate cannot be renewed: {error:#}"),
        }
        if let Err(failure) = http::settings::sweep(&app).await {
            tracing::error!("old records cannot be deleted: {failure}");
        }
    }
}

/// If there is no user yet: makes `admin` from the password file, or opens the set-up and returns its link.
async fn first_user(app: &App, config: &Config, listen: SocketAddr) -> anyhow::Result<Option<String>> {
    if !app.db.read(db::users::none).await? {
        return Ok(None);
    }
    if let Some(file) = &config.admin_password_file {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let password = text.lines().next().unwrap_or_default().to_owned();
        let hash = app.gate.hash(password).await.with_context(|| format!("the password in {}", file.display()))?;
        app.db.call(move |tx| http::session::first_admin(tx, "admin", &hash)).await?;
        return Ok(None);
    }
    let token = app.gate.open_setup();
    Ok(Some(format!("{}setup#{token}", url(config, listen))))
}

/// The console's address as people type it.
pub fn url(config: &Config, listen: SocketAddr) -> String {
    let host = match config.names.first() {
        Some(name) => tls::names::bare_host(name).to_owned(),
        None if listen.ip().is_unspecified() => tls::names::host_name().unwrap_or_else(|| "localhost".into()),
        None => listen.ip().to_string(),
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    format!("https://{host}:{}/", listen.port())
}
