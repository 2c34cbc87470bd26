//! The agent as a whole: the configurations it holds and the engines it runs; every way in (socket, server) ends here.

mod begin;
mod checks;
mod configure;
pub mod data;
mod export;
mod hooks;
mod marks;
mod retention;
mod scrub;
mod shutdown;
mod start;
pub(crate) mod tend;

use crate::boot::{self, Boot};
use crate::cluster_link::members::Members;
use crate::command_log::CommandLog;
use crate::drivers::health::{self, console::Console};
use crate::drivers::{hook, vip};
use crate::engine::{CommandResult, ToEngine};
use crate::identity::Identity;
use crate::link::register::ServerRegister;
use crate::logs::{LogFile, MODULE_LOG_MAX};
use crate::modules::Checked;
use crate::options::{Layout, Options, program_beside};
use crate::pairing::Pairing;
use crate::report::{Reports, blank};
use crate::store::Store;
use crate::{clock, cluster_link, control, files, link, modules};
use anyhow::{Context, Result, anyhow, ensure};
use holdfast_api::agent::LogKind;
use holdfast_api::config::ClusterConfig;
use holdfast_api::ids::ModuleId;
use holdfast_api::state::ModuleState;
use holdfast_core::heartbeat::Incarnation;
use holdfast_core::input::ModuleCommand;
use holdfast_core::output::EventLevel;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Longest time a command may wait for its answer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A module held by this node.
struct Held {
    checked: Checked,
    engine: Option<EngineHandle>,
}

/// A running engine; it ends when the requests' sender is dropped.
struct EngineHandle {
    requests: mpsc::Sender<ToEngine>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Inner {
    cluster: Option<ClusterConfig>,
    modules: BTreeMap<String, Held>,
}

/// The agent.
pub struct Agent {
    /// Options it was started with.
    pub options: Options,
    /// Where its files are.
    pub layout: Layout,
    /// Its key.
    pub identity: RwLock<Arc<Identity>>,
    /// What its modules are.
    pub reports: Reports,
    /// The machine's boot.
    pub boot: Boot,
    /// Its durable configurations.
    pub store: Store,
    /// Enrolment by pairing code.
    pub pairing: Pairing,
    /// The register at the management server.
    pub register: ServerRegister,
    /// The other nodes of the cluster.
    pub members: Members,
    /// Who asked for what.
    pub commands: CommandLog,
    /// When this agent started.
    pub started_unix_ms: u64,
    console: Console,
    /// Copies that were set aside, on their way to the server.
    downloads: export::Downloads,
    server_session: AtomicBool,
    cluster_changed: watch::Sender<()>,
    incarnation: Incarnation,
    inner: Mutex<Inner>,
    /// Configurations are taken and forgotten one after the other: hooks run meanwhile.
    configuring: Mutex<()>,
    ending: AtomicBool,
    _lock: File,
}

impl Agent {
    /// Opens the data folder; nothing runs yet.
    pub fn open(options: Options) -> Result<Arc<Self>> {
        let layout = Layout::new(&options)?;
        for dir in [&layout.data, &layout.run, &layout.safe(), &layout.data.join("ledger"), &layout.var()] {
            files::make_dir(dir)?;
        }
        let lock = lock(&layout)?;
        link_programs(&layout)?;
        let store = Store::open(&layout.store())?;
        let identity = Arc::new(Identity::open(&layout)?);
        let boot = Boot::read(&options.boot_id_file)?;
        let incarnation =
            Incarnation { count: store.next_incarnation(clock::unix_ms() / 1000)?, id: clock::random_u64() };
        let cluster = store.cluster()?;
        let reports = Reports::new(&node_name(&options, cluster.as_ref(), &identity.fingerprint));
        let pairing = Pairing::new(store.enrolment()?.is_some());
        let inner = Mutex::new(Inner { cluster, modules: BTreeMap::new() });
        let identity = RwLock::new(identity);
        let ending = AtomicBool::new(false);
        Ok(Arc::new(Self {
            commands: CommandLog::open(&layout.var(), &reports.node())?,
            members: Members::default(),
            started_unix_ms: clock::unix_ms(),
            downloads: export::Downloads::default(),
            console: Console::default(),
            server_session: AtomicBool::new(false),
            cluster_changed: watch::Sender::default(),
            options,
            layout,
            identity,
            reports,
            boot,
            store,
            pairing,
            register: ServerRegister::default(),
            incarnation,
            inner,
            configuring: Mutex::default(),
            ending,
            _lock: lock,
        }))
    }

    /// The node's key and certificate.
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Serves the console of the server at this address on port 9010 over plain http, or none any more.
    ///
    /// # Errors
    /// There is no enrolment, or the address cannot be read.
    pub fn serve_console(&self, server: Option<&str>) -> Result<()> {
        let Some(server) = server else {
            if self.console.close() {
                tracing::info!("the console is not served on the health port any more");
            }
            return Ok(());
        };
        let enrolment = self.store.enrolment()?.context("this node is not enrolled")?;
        self.console.open(server, &self.identity(), &enrolment.ca)?;
        tracing::warn!(server, "the console is served on the health port too, over plain http: the server wants it");
        Ok(())
    }

    /// Runs until a signal or a failing listener ends it.
    pub async fn run(self: Arc<Self>) -> Result<()> {
        release_addresses(&self.layout, "an agent that was killed has left");
        let socket = control::server::listen(&self.layout.socket())?;
        let health_address = self.options.health_listen;
        let health = TcpListener::bind(health_address).await;
        let health = health.with_context(|| format!("cannot listen on {health_address}: give --health-listen"))?;
        tokio::spawn(health::serve(health, self.reports.clone(), self.console.clone()));
        self.start_modules().await?;
        hook::end_left_behind(self.layout.data.clone()).await;
        let control = tokio::spawn(control::server::serve(socket, Arc::clone(&self)));
        let link = tokio::spawn(link::run(Arc::clone(&self)));
        let enrol = tokio::spawn(crate::enrol::run(Arc::clone(&self)));
        let cluster = tokio::spawn(cluster_link::run(Arc::clone(&self)));
        tokio::spawn(retention::run(Arc::clone(&self)));
        tokio::spawn(scrub::run(Arc::clone(&self)));
        tokio::spawn(data::keep_counting(Arc::clone(&self)));
        tracing::info!(node = self.reports.node(), socket = %self.layout.socket().display(), "agent runs");
        let mut signals = shutdown::Signals::listen()?;
        tokio::select! {
            signal = signals.next() => {
                if signal == "SIGTERM" && shutdown::is_restarted().await {
                    tracing::info!("the service is restarted: the next agent goes on with what runs");
                    // At once: what is dropped in order would order its end.
                    std::process::exit(0);
                }
                self.shut_down(signal, &mut signals).await;
            }
            _ = control => {
                tracing::error!("the control socket failed: the agent ends, and its service starts it again");
                // As after a restart: what runs is left for the next one.
                std::process::exit(1);
            }
        }
        link.abort();
        enrol.abort();
        cluster.abort();
        // The peer takes over a silent node's modules: their addresses must not stay here.
        release_addresses(&self.layout, "this agent had set");
        let _ = std::fs::remove_file(self.layout.socket());
        Ok(())
    }

    /// Starts the engines of everything held, and what boot or restart asks for.
    async fn start_modules(self: &Arc<Self>) -> Result<()> {
        let new_boot = self.store.last_boot()? != self.boot.text;
        let mut inner = self.inner.lock().await;
        for (name, config) in self.store.modules()? {
            // A module that cannot be read must not keep the others from running; its page says why.
            let checked = match modules::check(&config) {
                Ok(checked) => checked,
                Err(error) => {
                    let reason = format!("the configuration held is not usable: {error:#}");
                    tracing::error!(module = name, reason);
                    self.reports.set(blank(&name, config.id, &self.reports.node(), config.version, &reason), false);
                    continue;
                }
            };
            modules::activate(&self.layout, &checked)?;
            inner.modules.insert(name, Held { checked, engine: None });
        }
        self.start_engines(&mut inner).await;
        drop(inner);
        for (name, policy, delay) in self.boot_policies().await {
            let Ok(durable) = self.durable(&name) else {
                continue;
            };
            let Some(actor) = boot::starter(&durable, policy, self.boot.id, new_boot) else {
                continue;
            };
            let (agent, delay) = (Arc::clone(self), if new_boot { delay } else { Duration::ZERO });
            if delay.is_zero() {
                agent.start_module(&name, actor).await;
            } else {
                tokio::spawn(async move {
                    // The configuration's `boot_delay`: what the module needs and nobody can ask for may come up.
                    tokio::time::sleep(delay).await;
                    agent.start_module(&name, actor).await;
                });
            }
        }
        self.store.save_boot(&self.boot.text)
    }

    /// Each module held: whether it starts at boot, and how long after.
    async fn boot_policies(&self) -> Vec<(String, holdfast_api::userconfig::Boot, Duration)> {
        let inner = self.inner.lock().await;
        let policy = |(name, held): (&String, &Held)| {
            let service = &held.checked.user_config.service;
            (name.clone(), service.boot, Duration::from_millis(service.boot_delay_ms))
        };
        inner.modules.iter().map(policy).collect()
    }

    async fn start_module(&self, name: &str, actor: &str) {
        if let Err(reason) = self.command(name, ModuleCommand::Start, actor, false).await {
            tracing::error!(module = name, "not started by {actor}: {reason}");
        }
    }

    fn durable(&self, name: &str) -> Result<holdfast_core::durable::Durable> {
        Ok(crate::ledger::Ledger::open(&self.layout.ledger(name))?.1)
    }

    /// The schedule of each module that has one and runs by its configuration.
    async fn schedules(&self) -> BTreeMap<String, String> {
        let inner = self.inner.lock().await;
        let scheduled = |(name, held): (&String, &Held)| {
            let schedule = held.checked.user_config.rfs.as_ref()?.scrub.clone()?;
            held.engine.as_ref().map(|_| (name.clone(), schedule))
        };
        inner.modules.iter().filter_map(scheduled).collect()
    }

    /// Names of the modules held.
    pub async fn names(&self) -> Vec<String> {
        self.inner.lock().await.modules.keys().cloned().collect()
    }

    /// Name and version of each module held.
    pub async fn held(&self) -> Vec<holdfast_api::agent::HeldModule> {
        let inner = self.inner.lock().await;
        let held = |held: &Held| {
            let config = &held.checked.config;
            holdfast_api::agent::HeldModule { id: config.id, name: config.name.clone(), version: config.version }
        };
        inner.modules.values().map(held).collect()
    }

    /// Version of the cluster configuration held; 0: none.
    pub async fn cluster_version(&self) -> u64 {
        self.inner.lock().await.cluster.as_ref().map_or(0, |cluster| cluster.version)
    }

    /// The cluster configuration held.
    pub async fn cluster(&self) -> Option<ClusterConfig> {
        self.inner.lock().await.cluster.clone()
    }

    /// Name of the module with this number.
    pub async fn name_of(&self, id: ModuleId) -> Result<String> {
        let inner = self.inner.lock().await;
        let found = inner.modules.values().find(|held| held.checked.config.id == id);
        found.map(|held| held.checked.config.name.clone()).with_context(|| format!("this node does not hold {id}"))
    }

    async fn requests(&self, module: &str) -> Result<mpsc::Sender<ToEngine>> {
        let inner = self.inner.lock().await;
        let held = inner.modules.get(module);
        let held = held.with_context(|| {
            format!("module {module} is not configured on this node: `holdfast config -m {module}`, or the console")
        })?;
        let report = self.reports.get(module);
        let why = report.map_or_else(String::new, |report| report.detail);
        let engine = held.engine.as_ref().with_context(|| format!("module {module} cannot run: {why}"))?;
        Ok(engine.requests.clone())
    }

    /// Gives a command to a module and waits for its answer.
    pub async fn command(&self, module: &str, kind: ModuleCommand, actor: &str, counted: bool) -> CommandResult {
        let ends = matches!(kind, ModuleCommand::Stop | ModuleCommand::ForceStop);
        if self.ending.load(Ordering::Acquire) && !ends {
            return Err(format!("the agent of {} is ending: order it again when it is back", self.reports.node()));
        }
        self.ask(module, |reply| ToEngine::Command { kind, actor: actor.to_owned(), counted, reply }).await
    }

    /// Asks a module's engine and waits for its answer.
    async fn ask(
        &self,
        module: &str,
        request: impl FnOnce(oneshot::Sender<CommandResult>) -> ToEngine,
    ) -> CommandResult {
        let requests = self.requests(module).await.map_err(|error| format!("{error:#}"))?;
        let (reply, answer) = oneshot::channel();
        let given = async {
            requests.send(request(reply)).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(REPLY_TIMEOUT, given).await {
            Ok(Some(result)) => result,
            Ok(None) => Err(format!("module {module} was configured anew meanwhile: try again")),
            Err(_) => Err(format!("module {module} did not answer within {} s: see its log", REPLY_TIMEOUT.as_secs())),
        }
    }

    /// Writes a line into a module's log.
    pub async fn print(&self, module: &str, level: EventLevel, text: &str) -> Result<()> {
        let request = ToEngine::Print { level, text: text.to_owned() };
        let requests = self.requests(module).await?;
        requests.send(request).await.map_err(|_| anyhow!("module {module} was configured anew meanwhile: try again"))
    }

    /// A log of a module.
    pub async fn log(&self, module: &str, which: LogKind) -> Result<LogFile> {
        let inner = self.inner.lock().await;
        let held =
            inner.modules.get(module).with_context(|| format!("module {module} is not configured on this node"))?;
        Ok(match which {
            LogKind::Module => self.module_log(module),
            LogKind::Application => self.application_log(&held.checked),
        })
    }

    fn module_log(&self, module: &str) -> LogFile {
        LogFile::new(&self.layout.module_var(module), "module", MODULE_LOG_MAX)
    }

    fn application_log(&self, checked: &Checked) -> LogFile {
        let max = checked.user_config.user.as_ref().map_or(MODULE_LOG_MAX, |user| user.log_size_bytes);
        LogFile::new(&self.layout.module_var(&checked.config.name), "application", max)
    }

    /// State of a module; STOP if it does not run.
    fn state(&self, module: &str) -> ModuleState {
        self.reports.get(module).map_or(ModuleState::Stop, |report| report.state)
    }

    fn running(&self, inner: &Inner) -> Vec<String> {
        inner.modules.keys().filter(|name| self.state(name) != ModuleState::Stop).cloned().collect()
    }
}

/// One agent per data folder.
fn lock(layout: &Layout) -> Result<File> {
    let path = layout.data.join("agent.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path)?;
    let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    ensure!(locked.is_ok(), "another agent runs on {}: end it, or give --data-dir", layout.data.display());
    Ok(file)
}

/// Takes away the virtual addresses on record in the run folder.
fn release_addresses(layout: &Layout, whose: &str) {
    match vip::release_left(&layout.run, |module| crate::settled::goes_on(&layout.run, module)) {
        Ok(addresses) if addresses.is_empty() => {}
        Ok(addresses) => tracing::info!("released what {whose}: {addresses:?}"),
        Err(error) => tracing::error!("cannot release what {whose}: {error:#}"),
    }
}

/// `$SAFE/safekit`, under which scripts know the command line, and its tools (`$SAFEBIN/boundcmd` and so on).
fn link_programs(layout: &Layout) -> Result<()> {
    let target = program_beside("holdfast");
    for name in std::iter::once("safekit").chain(crate::cli::TOOLS) {
        let link = layout.safe().join(name);
        if std::fs::read_link(&link).is_ok_and(|old| old == target) {
            continue;
        }
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&target, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(())
}

/// Name of this node: as the cluster says, as an option says, or the host's.
fn node_name(options: &Options, cluster: Option<&ClusterConfig>, fingerprint: &str) -> String {
    let own = cluster.and_then(|cluster| cluster.nodes.iter().find(|node| node.fingerprint == fingerprint));
    own.map(|node| node.name.clone()).or_else(|| options.node_name.clone()).unwrap_or_else(host_name)
}

/// The machine's name in the form of a node name.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_lowercase();
    let name: String =
        name.chars().take_while(|c| *c != '.').filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    if name.is_empty() { "node".to_owned() } else { name.chars().take(24).collect() }
}
