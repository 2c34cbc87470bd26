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
pub use record::{release_left, release_of};

use super::Inbox;
use apply::Announced;
use holdfast_api::ids::ModuleId;
use holdfast_api::userconfig::Vip;
use holdfast_core::input::Input;
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

/// The driver of one module's addresses; its orders are carried out one after another.
#[derive(Debug)]
pub struct Addresses(mpsc::UnboundedSender<Order>);

#[derive(Clone, Copy, Debug)]
enum Order {
    Set { run: u64, holder: Holder },
    Release { run: u64 },
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
        tokio::spawn(serve(setting.map(Arc::new), received, inbox));
        Self(orders)
    }

    /// Sets every address or none; comes back as `AddressesDone` with this run.
    pub fn set(&self, run: u64, holder: Holder) {
        let _ = self.0.send(Order::Set { run, holder });
    }

    /// Releases what was set; comes back as `AddressesDone` with this run.
    pub fn release(&self, run: u64) {
        let _ = self.0.send(Order::Release { run });
    }
}

async fn serve(setting: Option<Arc<Setting>>, mut orders: mpsc::UnboundedReceiver<Order>, inbox: Inbox) {
    let mut announcing = None;
    while let Some(order) = orders.recv().await {
        drop(announcing.take());
        let (run, error) = match (order, &setting) {
            (Order::Set { run, .. } | Order::Release { run }, None) => (run, None),
            (Order::Set { run, holder }, Some(setting)) => match set(setting, holder).await {
                Ok(announced) => {
                    announcing = Some(Announcing(tokio::spawn(announce_again(announced))));
                    (run, None)
                }
                Err(reason) => (run, Some(reason)),
            },
            (Order::Release { run }, Some(setting)) => (run, release(setting).await.err()),
        };
        if inbox.send(Input::AddressesDone { run, error }).await.is_err() {
            return;
        }
    }
}

async fn set(setting: &Arc<Setting>, holder: Holder) -> Result<Vec<Announced>, String> {
    let setting = Arc::clone(setting);
    let set = spawn_blocking(move || apply::set(&setting, holder)).await;
    set.unwrap_or_else(|error| Err(format!("the addresses could not be set: {error}")))
}

async fn release(setting: &Arc<Setting>) -> Result<(), String> {
    let record = record::Record::of(&setting.run_dir, &setting.module);
    match spawn_blocking(move || record.release()).await {
        Ok(released) => released.map(|_| ()).map_err(|error| format!("{error:#}")),
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
