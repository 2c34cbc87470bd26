//! The virtual addresses of a module: set on the primary, released everywhere else.
//!
//! `plan` decides where an address goes, `probe` makes sure that nobody has it, `record` writes it down before `netlink`
//! sets it; `source` makes it the source of connections where that is wanted, `reset` ends its connections before it
//! goes, and `look` answers what checkers ask.

mod apply;
mod frames;
mod look;
mod netlink;
mod plan;
mod probe;
mod record;
mod reset;
mod socket;
mod source;
#[cfg(test)]
mod tests;

pub use frames::Mac;
pub use look::{address_conflict, address_present, interface_of, link_is_up};
pub use netlink::Interface;
pub use probe::Holder;
pub use record::{release_left, release_of, set_for};

use super::Inbox;
use apply::{Announced, Renewed};
use holdfast_api::ids::ModuleId;
use holdfast_api::userconfig::Vip;
use holdfast_core::input::Input;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// The first announcement may be lost where a switch is still busy with the old holder's end.
const SECOND_ANNOUNCEMENT: Duration = Duration::from_secs(1);

/// The addresses of one module.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Name of the module.
    pub module: String,
    /// Number of the module.
    pub id: ModuleId,
    /// The addresses.
    pub vip: Vip,
    /// The agent's run folder, for the record.
    pub run_dir: PathBuf,
}

impl Setting {
    /// The addresses, for people.
    fn shown(&self) -> String {
        let addresses = self.vip.interfaces.iter().flat_map(|interface| &interface.addresses);
        addresses.map(|address| address.addr.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn record(&self) -> record::Record {
        record::Record::of(&self.run_dir, &self.module)
    }

    /// Something is set, by this agent or one before it.
    fn is_set(&self) -> bool {
        self.record().entries().is_ok_and(|entries| !entries.is_empty())
    }
}

/// The driver of one module's addresses; its orders are carried out one after another.
#[derive(Debug)]
pub struct Addresses {
    orders: mpsc::UnboundedSender<Order>,
    shown: Option<String>,
}

/// Is told which addresses were set and which are gone, or why nothing changed.
type Told = Box<dyn FnOnce(Result<(Vec<IpAddr>, Vec<IpAddr>), String>) + Send>;

enum Order {
    Set { run: u64, holder: Holder },
    Release { run: u64 },
    Renew { setting: Option<Setting>, told: Told },
}

/// Announcements that go on; they stop when dropped.
struct Announcing(JoinHandle<()>);

impl Drop for Announcing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Addresses {
    /// The driver of a module; `None`: it has no addresses, and every order is done at once.
    pub fn start(setting: Option<Setting>, inbox: Inbox) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let shown = setting.as_ref().map(Setting::shown);
        tokio::spawn(serve(setting.map(Arc::new), received, inbox));
        Self { orders, shown }
    }

    /// The addresses, for people; `None`: the module has none.
    pub fn shown(&self) -> Option<&str> {
        self.shown.as_deref()
    }

    /// Sets every address or none; comes back as `AddressesDone` with this run.
    pub fn set(&self, run: u64, holder: Holder) {
        let _ = self.orders.send(Order::Set { run, holder });
    }

    /// These are the addresses from now on, and their names are resolved anew. If they are set, what is new is set and what
    /// is wanted no more goes; `told` hears of it unless nothing changed.
    pub fn renew(
        &mut self,
        setting: Option<Setting>,
        told: impl FnOnce(Result<(Vec<IpAddr>, Vec<IpAddr>), String>) + Send + 'static,
    ) {
        self.shown = setting.as_ref().map(Setting::shown);
        let _ = self.orders.send(Order::Renew { setting, told: Box::new(told) });
    }

    /// Releases what was set; comes back as `AddressesDone` with this run.
    pub fn release(&self, run: u64) {
        let _ = self.orders.send(Order::Release { run });
    }
}

/// What carries the orders out.
struct Service {
    setting: Option<Arc<Setting>>,
    /// The last order was to set them.
    held: bool,
    announcing: Option<Announcing>,
}

async fn serve(setting: Option<Arc<Setting>>, mut orders: mpsc::UnboundedReceiver<Order>, inbox: Inbox) {
    let mut service = Service { setting, held: false, announcing: None };
    while let Some(order) = orders.recv().await {
        service.announcing = None;
        let (run, error) = match order {
            Order::Set { run, holder } => (run, service.set(holder).await.err()),
            Order::Release { run } => (run, service.release().await.err()),
            Order::Renew { setting, told } => {
                service.renew(setting.map(Arc::new), told).await;
                continue;
            }
        };
        if inbox.send(Input::AddressesDone { run, error }).await.is_err() {
            return;
        }
    }
}

impl Service {
    async fn set(&mut self, holder: Holder) -> Result<(), String> {
        if let Some(setting) = &self.setting {
            let announced = set(setting, holder).await?;
            self.announce(announced);
        }
        self.held = true;
        Ok(())
    }

    async fn release(&mut self) -> Result<(), String> {
        self.held = false;
        match &self.setting {
            Some(setting) => release(setting).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn renew(&mut self, new: Option<Arc<Setting>>, told: Told) {
        let before = std::mem::replace(&mut self.setting, new);
        // Those that an agent before this one has set are held, too.
        let held = self.held || before.as_ref().is_some_and(|setting| setting.is_set());
        let renewed = match (&self.setting, before) {
            (Some(setting), _) if held => renew(setting).await,
            (None, Some(before)) if held => {
                release(&before).await.map(|gone| Renewed { announced: Vec::new(), new: Vec::new(), gone })
            }
            _ => return,
        };
        match renewed {
            Ok(Renewed { announced, new, gone }) => {
                self.announce(announced);
                if !new.is_empty() || !gone.is_empty() {
                    told(Ok((new, gone)));
                }
            }
            Err(reason) => told(Err(reason)),
        }
    }

    fn announce(&mut self, announced: Vec<Announced>) {
        self.announcing = Some(Announcing(tokio::spawn(announce_again(announced))));
    }
}

async fn set(setting: &Arc<Setting>, holder: Holder) -> Result<Vec<Announced>, String> {
    let setting = Arc::clone(setting);
    let set = spawn_blocking(move || apply::set(&setting, holder)).await;
    set.unwrap_or_else(|error| Err(format!("the addresses could not be set: {error}")))
}

async fn renew(setting: &Arc<Setting>) -> Result<Renewed, String> {
    let setting = Arc::clone(setting);
    let renewed = spawn_blocking(move || apply::renew(&setting)).await;
    renewed.unwrap_or_else(|error| Err(format!("the addresses could not be renewed: {error}")))
}

async fn release(setting: &Arc<Setting>) -> Result<Vec<IpAddr>, String> {
    let record = setting.record();
    match spawn_blocking(move || record.release()).await {
        Ok(released) => released.map_err(|error| format!("{error:#}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Announces every address once more, then as often and as long as its interface says.
async fn announce_again(announced: Vec<Announced>) {
    tokio::time::sleep(SECOND_ANNOUNCEMENT).await;
    announced.iter().for_each(apply::tell);
    let repeat = |announced: Announced| async move {
        let Some((interval, elapse)) = announced.repeat else {
            return;
        };
        let again = async {
            loop {
                tokio::time::sleep(interval.max(SECOND_ANNOUNCEMENT)).await;
                apply::tell(&announced);
            }
        };
        let _ = tokio::time::timeout(elapse, again).await;
    };
    futures_util::future::join_all(announced.into_iter().map(repeat)).await;
}
