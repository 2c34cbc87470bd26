//! The witness of a module: asked when the core wants to know, and looked at now and then, so that a register which
//! cannot be asked is seen before it is needed.

mod etcd;
pub mod gateway;
#[cfg(test)]
mod tests;

pub use gateway::key as etcd_key;

use super::{Inbox, icmp};
use crate::link::register::ServerRegister;
use crate::logs::ModuleLog;
use crate::report::Reports;
use anyhow::{Result, anyhow};
use etcd::Etcd;
use futures_util::future::select_ok;
use holdfast_api::agent::{RegisterAnswer, RegisterMatter, RegisterQuestion};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::register::Ask;
use holdfast_api::resource::ResourceValue;
use holdfast_api::userconfig;
use holdfast_api::witness::Endpoint;
use holdfast_core::input::{Input, WitnessAnswer};
use holdfast_core::output::EventLevel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Time between two looks at a register that can be asked.
const LOOK_PERIOD: Duration = Duration::from_secs(30);
/// Time between two looks at one that cannot.
const RETRY_PERIOD: Duration = Duration::from_secs(5);
/// A node that has just started is given this long to reach the server before the register counts as down.
const FIRST_SESSION: Duration = Duration::from_secs(10);
/// Least and most time for an answer: that of the heartbeat's timeout, within these.
const LIMIT_MIN: Duration = Duration::from_secs(1);
/// See [`LIMIT_MIN`].
const LIMIT_MAX: Duration = Duration::from_secs(10);
/// Who sets the resource, as the module log says it.
const BY: &str = "splitbrain";

/// How long this module's witness has for an answer.
pub fn limit(config: &userconfig::UserConfig) -> Duration {
    Duration::from_millis(config.heart.timeout_ms).clamp(LIMIT_MIN, LIMIT_MAX)
}

/// What a witness is made of.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Name of the module.
    pub module: String,
    /// Number of the module.
    pub id: ModuleId,
    /// Key of the record in etcd: see [`etcd_key`].
    pub etcd_key: String,
    /// This node.
    pub node: NodeId,
    /// As configured.
    pub witness: userconfig::Witness,
    /// Every ask is answered within this.
    pub limit: Duration,
    /// The register at the management server.
    pub register: ServerRegister,
    /// The module's log, and the state it shows there.
    pub log: ModuleLog,
    /// See `log`.
    pub reports: Reports,
}

/// Who is asked.
#[derive(Debug)]
enum Kind {
    Nobody,
    Ping(Vec<String>),
    Server(ServerRegister),
    Etcd(Etcd),
}

/// What asks and looks have in common.
#[derive(Debug)]
struct Asker {
    setting: Setting,
    kind: Kind,
    /// `splitbrain.<ident>`.
    resource: String,
    inbox: Inbox,
    /// What was told last: it can be asked.
    told: Mutex<Option<bool>>,
    /// The life of the server's register that knows this node's generation.
    reported: Mutex<Option<u64>>,
}

/// The witness of one module; looks at it end when dropped.
#[derive(Debug)]
pub struct Witness {
    asker: Arc<Asker>,
    looking: Option<JoinHandle<()>>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
    }
}

impl Witness {
    /// Makes ready to ask, and begins to look.
    ///
    /// # Errors
    /// An endpoint is not usable; the cure.
    pub fn start(setting: Setting, inbox: Inbox) -> Result<Self> {
        let asker = Arc::new(Asker::new(setting, inbox)?);
        let looking = match &asker.kind {
            // A ping witness is asked only when every link is silent, as operators of it expect.
            Kind::Nobody | Kind::Ping(_) => None,
            Kind::Server(register) => Some(tokio::spawn(watch_server(Arc::clone(&asker), register.clone()))),
            Kind::Etcd(_) => Some(tokio::spawn(watch_etcd(Arc::clone(&asker)))),
        };
        Ok(Self { asker, looking })
    }

    /// Asks in the background; the answer is handed in within the limit.
    pub fn ask(&self, ask: u64, number: u64, nonce: u64) {
        let asker = Arc::clone(&self.asker);
        tokio::spawn(async move {
            let answer = asker.ask(number, nonce).await;
            let could_be_asked = match &answer {
                WitnessAnswer::Reachable(true) | WitnessAnswer::Granted => Ok(()),
                WitnessAnswer::Refused { number: 0, reason } | WitnessAnswer::Unreachable { reason } => {
                    Err(reason.clone())
                }
                WitnessAnswer::Refused { .. } => Ok(()),
                WitnessAnswer::Reachable(false) => Err("no address of the ping witness answers".to_owned()),
            };
            let _ = asker.inbox.send(Input::WitnessAnswered { ask, answer }).await;
            asker.tell(could_be_asked).await;
        });
    }

    /// Tells the server's register, in this life of it, which generation this node holds.
    pub fn report_generation(&self, life: u64, number: u64) {
        let asker = Arc::clone(&self.asker);
        tokio::spawn(async move {
            let answered = asker.question(RegisterMatter::Holds { life, number }).await;
            if matches!(answered, Ok(RegisterAnswer::Ready | RegisterAnswer::Refused { .. })) {
                *asker.reported.lock().unwrap_or_else(PoisonError::into_inner) = Some(life);
            }
            asker.tell(state_of(answered)).await;
        });
    }
}

impl Asker {
    fn new(setting: Setting, inbox: Inbox) -> Result<Self> {
        use userconfig::Witness as W;
        let (kind, ident) = match &setting.witness {
            W::None => (Kind::Nobody, String::new()),
            W::Ping { ident, addresses } => (Kind::Ping(addresses.clone()), ident.clone()),
            W::Server { ident } => (Kind::Server(setting.register.clone()), ident.clone()),
            W::Etcd { ident, endpoints } => {
                let endpoints = Endpoint::parse_all(endpoints).map_err(|reason| anyhow!(reason))?;
                (Kind::Etcd(Etcd::new(endpoints, setting.etcd_key.clone())), ident.clone())
            }
        };
        let resource = format!("splitbrain.{ident}");
        Ok(Self { setting, kind, resource, inbox, told: Mutex::default(), reported: Mutex::default() })
    }

    async fn ask(&self, number: u64, nonce: u64) -> WitnessAnswer {
        let limit = self.setting.limit;
        match &self.kind {
            Kind::Nobody => WitnessAnswer::Unreachable { reason: "no witness is configured".to_owned() },
            Kind::Ping(addresses) => WitnessAnswer::Reachable(any_answers(addresses, limit).await),
            Kind::Server(_) => match self.question(RegisterMatter::Claim { number, nonce }).await {
                Ok(RegisterAnswer::Granted) => WitnessAnswer::Granted,
                Ok(RegisterAnswer::Refused { number, reason }) => WitnessAnswer::Refused { number, reason },
                Ok(RegisterAnswer::Failed { reason }) | Err(reason) => WitnessAnswer::Unreachable { reason },
                Ok(RegisterAnswer::Ready) => {
                    WitnessAnswer::Unreachable { reason: "the server answered something else than asked".to_owned() }
                }
            },
            Kind::Etcd(etcd) => etcd.claim(&Ask { number, owner: self.setting.node, nonce }, limit).await,
        }
    }

    /// Asks the server's register.
    async fn question(&self, matter: RegisterMatter) -> Result<RegisterAnswer, String> {
        let Setting { module, id, limit, register, .. } = &self.setting;
        let question = RegisterQuestion { module: *id, name: module.clone(), matter };
        let late = || {
            format!(
                "the register at the management server did not answer within {} ms; mend the network to it",
                limit.as_millis()
            )
        };
        tokio::time::timeout(*limit, register.ask(question)).await.unwrap_or_else(|_| Err(late()))
    }

    /// Sets the resource; says in the module log when it becomes another (reasons may differ at every look).
    async fn tell(&self, state: Result<(), String>) {
        let (value, by) = match &state {
            Ok(()) => (ResourceValue::Up, BY.to_owned()),
            Err(reason) => (ResourceValue::Down, format!("{BY} ({reason})")),
        };
        let _ = self.inbox.send(Input::ResourceSet { name: self.resource.clone(), value, by }).await;
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).replace(state.is_ok());
        if told.unwrap_or(true) == state.is_ok() {
            return;
        }
        let shown = self.setting.reports.status(&self.setting.module).unwrap_or_default();
        match (&state, &self.kind) {
            (Ok(()), _) => self.setting.log.write(EventLevel::Info, &shown, "the witness can be asked again"),
            (Err(reason), Kind::Ping(_) | Kind::Nobody) => {
                self.setting.log.write(EventLevel::Warning, &shown, &format!("the witness: {reason}"));
            }
            (Err(reason), Kind::Server(_) | Kind::Etcd(_)) => {
                let text =
                    format!("the register grants nothing at the moment, so that no node could take over: {reason}");
                self.setting.log.write(EventLevel::Warning, &shown, &text);
            }
        }
    }

    fn is_down(&self) -> bool {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) == Some(false)
    }

    fn period(&self) -> Duration {
        if self.is_down() { RETRY_PERIOD } else { LOOK_PERIOD }
    }
}

/// Whether one of the addresses answers within `limit`; one echo that is lost is not held against it.
async fn any_answers(addresses: &[String], limit: Duration) -> bool {
    const ECHOES: u32 = 3;
    let echo = |(address, turn): (&String, u32)| {
        let address = address.clone();
        let wait = limit * turn / ECHOES;
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            icmp::answers(&address, limit.saturating_sub(wait)).await
        })
    };
    let echoes = addresses.iter().flat_map(|address| (0..ECHOES).map(move |turn| (address, turn)));
    let echoes: Vec<_> = echoes.map(echo).collect();
    !echoes.is_empty() && select_ok(echoes).await.is_ok()
}

fn state_of(answered: Result<RegisterAnswer, String>) -> Result<(), String> {
    match answered? {
        RegisterAnswer::Ready | RegisterAnswer::Granted => Ok(()),
        RegisterAnswer::Refused { reason, .. } | RegisterAnswer::Failed { reason } => Err(reason),
    }
}

async fn watch_etcd(asker: Arc<Asker>) {
    let Kind::Etcd(etcd) = &asker.kind else { return };
    loop {
        asker.tell(etcd.look(asker.setting.limit).await).await;
        tokio::time::sleep(asker.period()).await;
    }
}

/// Looks, and lets the core report its generation once in each life of the register.
async fn watch_server(asker: Arc<Asker>, register: ServerRegister) {
    let mut lives = register.lives();
    if lives.borrow().is_none() {
        let _ = tokio::time::timeout(FIRST_SESSION, lives.changed()).await;
    }
    loop {
        let life = *lives.borrow_and_update();
        let reported = *asker.reported.lock().unwrap_or_else(PoisonError::into_inner);
        match life.filter(|_| life != reported) {
            // The report that follows is a look as well.
            Some(life) => {
                if asker.inbox.send(Input::RegisterRestarted { life }).await.is_err() {
                    return;
                }
            }
            None => asker.tell(state_of(asker.question(RegisterMatter::Look).await)).await,
        }
        let period = if life == reported { asker.period() } else { RETRY_PERIOD };
        let _ = tokio::time::timeout(period, lives.changed()).await;
    }
}
