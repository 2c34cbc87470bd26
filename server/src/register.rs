//! The server as witness: one record per module, decided by [`holdfast_api::register`] in one transaction, saved before
//! the answer leaves. What nodes have reported in this life of the process is kept here; only grants need the database.

use crate::app::{App, Desired};
use crate::db;
use crate::error::{Failure, Outcome};
use holdfast_api::agent::{RegisterAnswer, RegisterMatter, RegisterQuestion};
use holdfast_api::console::{RegisterLive, RegisterView};
use holdfast_api::ids::{ModuleId, NodeId};
use holdfast_api::register::{Arming, Ask, Refusal, answer};
use rusqlite::Transaction;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Records read: the one that counts, and the 50 earlier ones that are shown.
const HISTORY: u32 = 51;

/// What is known of a module's nodes in this life.
#[derive(Clone, Debug, Default)]
struct Heard {
    /// Who reported which generation.
    reported: BTreeMap<NodeId, u64>,
    /// The administrator who armed it.
    armed_by: Option<String>,
}

impl Heard {
    fn arming(&self, nodes: &[NodeId]) -> Arming {
        let mut arming = Arming::new(nodes.iter().copied());
        for (node, number) in &self.reported {
            arming.report(*node, *number);
        }
        if self.armed_by.is_some() {
            arming.arm();
        }
        arming
    }
}

/// The registers of all modules, in this life of the process.
pub struct Register {
    life: u64,
    heard: Mutex<BTreeMap<ModuleId, Heard>>,
}

impl Default for Register {
    fn default() -> Self {
        Self { life: u64::from_ne_bytes(crate::tls::random()), heard: Mutex::default() }
    }
}

/// Who asks about what.
struct Asker {
    node: NodeId,
    module: ModuleId,
    /// The module's nodes.
    nodes: Vec<NodeId>,
}

impl Register {
    /// Names this life.
    pub fn life(&self) -> u64 {
        self.life
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ModuleId, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, module: ModuleId) -> Heard {
        self.lock().get(&module).cloned().unwrap_or_default()
    }

    /// In the writer's transaction, so that questions are decided one after another.
    fn decide(&self, tx: &Transaction<'_>, asker: &Asker, matter: &RegisterMatter) -> Outcome<RegisterAnswer> {
        let module = asker.module;
        match *matter {
            RegisterMatter::Look => {}
            RegisterMatter::Holds { life, number } => {
                if life != self.life {
                    let reason = "the generation was reported to an earlier life of the register, before the server was \
                                  started anew: the node reports it again by itself";
                    return Ok(RegisterAnswer::Failed { reason: reason.to_owned() });
                }
                db::register::raise(tx, module, asker.node, number)?;
                let mut all = self.lock();
                let known = all.entry(module).or_default().reported.entry(asker.node).or_default();
                *known = number.max(*known);
            }
            RegisterMatter::Claim { number, nonce } => {
                let ask = Ask { number, owner: asker.node, nonce };
                return self.claim(tx, asker, &ask);
            }
        }
        let arming = self.heard(module).arming(&asker.nodes);
        Ok(if arming.armed() { RegisterAnswer::Ready } else { refused(&not_armed(&arming)) })
    }

    fn claim(&self, tx: &Transaction<'_>, asker: &Asker, ask: &Ask) -> Outcome<RegisterAnswer> {
        let mut arming = self.heard(asker.module).arming(&asker.nodes);
        // What was reported in earlier lives counts too; but it arms nothing.
        let highest = db::register::history(tx, asker.module, 1)?.pop().filter(|highest| !highest.granted);
        if let Some(highest) = highest.filter(|_| arming.armed()) {
            arming.report(highest.owner, highest.number);
        }
        let record = db::register::last_grant(tx, asker.module)?;
        Ok(match answer(record.as_ref(), &arming, ask) {
            Ok(new) => {
                if let Some(new) = new {
                    db::register::grant(tx, asker.module, &new)?;
                }
                RegisterAnswer::Granted
            }
            Err(refusal) => refused(&refusal),
        })
    }
}

fn not_armed(arming: &Arming) -> Refusal {
    Refusal::NotArmed { waits_for: arming.waits_for().collect() }
}

fn refused(refusal: &Refusal) -> RegisterAnswer {
    RegisterAnswer::Refused { number: refusal.number(), reason: refusal.to_string() }
}

/// Answers a node's question.
pub async fn ask(app: &App, node: NodeId, question: RegisterQuestion) -> RegisterAnswer {
    let asker = match asker(&app.desired(), node, &question) {
        Ok(asker) => asker,
        Err(reason) => return RegisterAnswer::Failed { reason },
    };
    let register = Arc::clone(&app.register);
    let (module, matter) = (asker.module, question.matter);
    let looked = matter == RegisterMatter::Look;
    let decided = app.db.call(move |tx| register.decide(tx, &asker, &matter)).await;
    let answer = decided.unwrap_or_else(|failure| RegisterAnswer::Failed {
        reason: format!(
            "the register's database does not work ({}): look at the server's log, and at the room and the rights of its \
             data directory",
            failure.0.detail
        ),
    });
    if looked {
        tracing::debug!(%node, %module, ?answer, "the register was looked at");
    } else {
        tracing::info!(%node, %module, ?answer, "the register was asked");
        app.live.changed();
    }
    answer
}

/// Only a node of the module may ask: of one that is configured under this number and name.
fn asker(desired: &Desired, node: NodeId, question: &RegisterQuestion) -> Result<Asker, String> {
    let RegisterQuestion { module, name, .. } = question;
    let configured =
        desired.modules.iter().any(|view| view.id == *module && view.name == *name && view.desired.is_some());
    if !configured {
        return Err(format!(
            "this server has not configured {name} as {module} (was it restored from a backup?): configure the module \
             from the console, so that its nodes and its register agree"
        ));
    }
    let nodes = desired.members();
    if !nodes.contains(&node) {
        return Err(format!("{node} is not a node of {name}: add it to the cluster in the console"));
    }
    Ok(Asker { node, module: *module, nodes })
}

/// The register of a module as the console shows it.
///
/// # Errors
/// 404; 409 if the module is a draft.
pub async fn view(app: &App, module: ModuleId) -> Outcome<RegisterView> {
    let mut earlier = app
        .db
        .call(move |tx| {
            let view = db::modules::get(tx, module)?;
            configured(view.desired, &view.name)?;
            db::register::history(tx, module, HISTORY)
        })
        .await?;
    let record = (!earlier.is_empty()).then(|| earlier.remove(0));
    let desired = app.desired();
    let heard = app.register.heard(module);
    let arming = heard.arming(&desired.members());
    let name = |id: NodeId| desired.node(id).map_or_else(|| id.to_string(), |node| node.name.clone());
    let reason = match &heard.armed_by {
        _ if !arming.armed() => not_armed(&arming).to_string(),
        Some(user) => format!("it grants: {user} armed it since the server started"),
        None => "it grants: every node has reported its generation since the server started".to_owned(),
    };
    Ok(RegisterView {
        record,
        armed: arming.armed(),
        armed_by: heard.armed_by,
        waits_for: arming.waits_for().map(name).collect(),
        reason,
        earlier,
    })
}

/// The register of a module in short, for every live snapshot.
pub fn glance(register: &Register, desired: &Desired, module: ModuleId) -> RegisterLive {
    let arming = register.heard(module).arming(&desired.members());
    let name = |id: NodeId| desired.node(id).map_or_else(|| id.to_string(), |node| node.name.clone());
    RegisterLive { armed: arming.armed(), waits_for: arming.waits_for().map(name).collect() }
}

/// An administrator vouches that nodes which have not reported do not serve: the register grants from now on, in this life.
///
/// # Errors
/// As [`view`].
pub async fn arm(app: &App, module: ModuleId, user: &str) -> Outcome<RegisterView> {
    let before = view(app, module).await?;
    let author = user.to_owned();
    app.db
        .call(move |tx| {
            let name = db::modules::get(tx, module)?.name;
            let without = match before.waits_for.as_slice() {
                [] => String::new(),
                silent => format!(" without the word of {}", silent.join(", ")),
            };
            db::records::audit(tx, &author, &format!("armed the register of {name}{without}"))
        })
        .await?;
    // Only once it is on record who did.
    app.register.lock().entry(module).or_default().armed_by = Some(user.to_owned());
    app.live.changed();
    view(app, module).await
}

fn configured(desired: Option<u64>, name: &str) -> Outcome<()> {
    match desired {
        Some(_) => Ok(()),
        None => Err(Failure::conflict(format!("{name} is a draft and has no register: configure it first"))),
    }
}
