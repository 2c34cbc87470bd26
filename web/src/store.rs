//! What the whole page shares: the session, the live snapshot and how fresh it is, questions and messages.

use crate::client::{self, Answer};
use crate::components::dialog::Question;
use crate::effect::effect;
use crate::language::{self, tf};
use crate::modules::Modules;
use crate::platform;
use crate::rules::tone::Tone;
use holdfast_api::console::{LiveSnapshot, ModuleLive, SessionView, TaskStarted, TaskState, TaskView, UserRole};
use holdfast_api::ids::{ModuleId, NodeId};
use leptos::prelude::*;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// How fresh the live snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing has come yet.
    Connecting,
    /// Snapshots come.
    Live,
    /// None has come since this moment (Unix milliseconds of the browser).
    Stale(u64),
}

/// A message at the corner.
#[derive(Clone, Debug, PartialEq)]
pub struct Toast {
    /// Its number.
    pub id: u64,
    /// Its colour.
    pub tone: Tone,
    /// What it says.
    pub text: String,
}

/// The state of the page; a handle that is copied around.
#[derive(Clone, Copy)]
pub struct Console {
    /// Who is logged in; none until the server has said.
    pub session: RwSignal<Option<SessionView>>,
    /// Why the session could not be asked for.
    pub session_error: RwSignal<Option<String>>,
    /// The latest snapshot; what changes with every report of its modules is in `modules`.
    pub snapshot: RwSignal<Option<Arc<LiveSnapshot>>>,
    /// How fresh it is.
    pub link: RwSignal<Link>,
    /// The browser's clock minus the server's, milliseconds.
    pub clock_ahead_ms: RwSignal<i64>,
    /// The browser's clock, once a second.
    pub now: RwSignal<u64>,
    /// What the dialog asks.
    pub question: RwSignal<Option<Question>>,
    /// The messages at the corner.
    pub toasts: RwSignal<Vec<Toast>>,
    /// The modules of the snapshot, each by itself.
    pub modules: Modules,
    /// Tasks begun from this page whose end is to be told.
    watched: RwSignal<BTreeSet<u64>>,
}

impl Console {
    /// Makes the state of the page and hands it down.
    pub fn provide() -> Self {
        let console = Self {
            session: RwSignal::new(None),
            session_error: RwSignal::new(None),
            snapshot: RwSignal::new(None),
            modules: Modules::new(),
            link: RwSignal::new(Link::Connecting),
            clock_ahead_ms: RwSignal::new(0),
            now: RwSignal::new(platform::now_ms()),
            question: RwSignal::new(None),
            toasts: RwSignal::new(Vec::new()),
            watched: RwSignal::new(BTreeSet::new()),
        };
        provide_context(console);
        set_interval(move || console.now.set(platform::now_ms()), Duration::from_secs(1));
        effect(move || console.tell_ended_tasks());
        console
    }

    /// The state handed down by [`Console::provide`].
    pub fn get() -> Self {
        expect_context()
    }

    /// True while snapshots come.
    pub fn is_live(self) -> bool {
        self.link.get() == Link::Live
    }

    /// What the user may do.
    pub fn role(self) -> UserRole {
        self.session.with(|session| {
            session.as_ref().and_then(|session| session.user.as_ref()).map(|user| user.role).unwrap_or_default()
        })
    }

    /// True if this page came over plain http, where the server refuses what carries a lasting secret.
    pub fn is_plain(self) -> bool {
        self.session.with(|session| session.as_ref().is_some_and(|session| session.plain_http))
    }

    /// Where the console is reached by https, if this page was not.
    pub fn safe_address(self) -> Option<String> {
        let address = |session: &SessionView| Some(session.https_address.clone()).filter(|address| !address.is_empty());
        self.session.with(|session| session.as_ref().and_then(address))
    }

    /// Reads something from the latest snapshot; none before the first.
    pub fn read<T>(self, what: impl FnOnce(&LiveSnapshot) -> T) -> Option<T> {
        self.snapshot.with(|snapshot| snapshot.as_deref().map(what))
    }

    /// The module with this number, without the figures that change with every report, so that what shows it is drawn anew
    /// only when there is something new.
    pub fn module(self, id: ModuleId) -> Option<ModuleLive> {
        self.modules.one(id).map(|module| ModuleLive::clone(&module))
    }

    /// Takes a snapshot.
    pub fn take(self, mut snapshot: LiveSnapshot) {
        let now = platform::now_ms();
        // Both at once: how long something lasts would go back by the time since the last second.
        self.now.set(now);
        self.clock_ahead_ms.set(now as i64 - snapshot.unix_ms as i64);
        self.modules.take(&mut snapshot);
        self.snapshot.set(Some(Arc::new(snapshot)));
        if self.link.get_untracked() != Link::Live {
            self.link.set(Link::Live);
        }
    }

    /// Forgets what was known of the cluster.
    pub fn forget_snapshot(self) {
        self.snapshot.set(None);
        self.modules.forget();
        self.link.set(Link::Connecting);
    }

    /// The task with this number.
    pub fn task(self, id: u64) -> Option<TaskView> {
        self.read(|snapshot| snapshot.tasks.iter().find(|task| task.id == id).cloned()).flatten()
    }

    /// Name of a node as known now (names do not change once a node is enrolled); its number in words if it is not known.
    pub fn node_name(self, node: NodeId) -> String {
        let name =
            |snapshot: &LiveSnapshot| snapshot.nodes.iter().find(|view| view.id == node).map(|view| view.name.clone());
        self.snapshot.with_untracked(|snapshot| snapshot.as_deref().and_then(name)).unwrap_or_else(|| node.to_string())
    }

    /// Number and name of each node of the cluster, as known now.
    pub fn cluster_nodes(self) -> Vec<(NodeId, String)> {
        let nodes = |snapshot: &LiveSnapshot| {
            snapshot.nodes.iter().filter(|node| node.in_cluster).map(|node| (node.id, node.name.clone())).collect()
        };
        self.snapshot.with_untracked(|snapshot| snapshot.as_deref().map(nodes)).unwrap_or_default()
    }

    /// Asks before something with consequences.
    pub fn ask(self, question: Question) {
        self.question.set(Some(question));
    }

    /// Says something at the corner; only what is bad stays until it is dismissed.
    pub fn toast(self, tone: Tone, text: impl Into<String>) {
        let id = self.toasts.with_untracked(|toasts| toasts.iter().map(|toast| toast.id + 1).max().unwrap_or(1));
        self.toasts.update(|toasts| {
            // Good news replaces good news: the tray below keeps all of it.
            toasts.retain(|toast| toast.tone == Tone::Bad);
            toasts.push(Toast { id, tone, text: text.into() });
        });
        if tone != Tone::Bad {
            set_timeout(move || self.dismiss(id), Duration::from_secs(5));
        }
    }

    /// Takes a message away.
    pub fn dismiss(self, id: u64) {
        self.toasts.update(|toasts| toasts.retain(|toast| toast.id != id));
    }

    /// Waits for `request` and hands its answer to `then`; a session that has ended leads back to the login page.
    pub fn call<T: 'static>(
        self,
        request: impl Future<Output = Answer<T>> + 'static,
        then: impl FnOnce(Answer<T>) + 'static,
    ) {
        self.call_boxed(Box::pin(request), Box::new(then));
    }

    /// In the program once for every kind of answer, not once for every call.
    fn call_boxed<T: 'static>(
        self,
        request: Pin<Box<dyn Future<Output = Answer<T>>>>,
        then: Box<dyn FnOnce(Answer<T>)>,
    ) {
        leptos::task::spawn_local(async move {
            let answer = request.await;
            if answer.as_ref().err().and_then(client::ApiError::status) == Some(401) {
                self.forget_user();
            }
            then(answer);
        });
    }

    /// Starts a task whose results the page shows itself: only a failure to start is told. `then` gets its number.
    pub fn start_shown_task(
        self,
        request: impl Future<Output = Answer<TaskStarted>> + 'static,
        then: impl FnOnce(Option<u64>) + 'static,
    ) {
        self.call(request, move |answer| {
            let task = match answer {
                Ok(started) => Some(started.task),
                Err(error) => {
                    self.toast(Tone::Bad, error.text());
                    None
                }
            };
            then(task);
        });
    }

    /// Starts a task; its end is told when it comes. `then` gets its number.
    pub fn start_task(
        self,
        request: impl Future<Output = Answer<TaskStarted>> + 'static,
        then: impl FnOnce(Option<u64>) + 'static,
    ) {
        self.start_shown_task(request, move |task| {
            self.watched.update(|watched| watched.extend(task));
            then(task);
        });
    }

    /// Leads to the login page.
    pub fn forget_user(self) {
        self.session.update(|session| {
            if let Some(session) = session {
                session.user = None;
            }
        });
    }

    fn tell_ended_tasks(self) {
        let ended: Vec<TaskView> = self
            .read(|snapshot| {
                snapshot
                    .tasks
                    .iter()
                    .filter(|task| {
                        task.ended_unix_ms.is_some()
                            && self.watched.with_untracked(|watched| watched.contains(&task.id))
                    })
                    .cloned()
                    .collect()
            })
            .unwrap_or_default();
        for task in ended {
            let title = language::heard(&task.title);
            self.watched.update(|watched| {
                watched.remove(&task.id);
            });
            if task.state == TaskState::Failed {
                let reasons: Vec<String> = task
                    .nodes
                    .iter()
                    .filter(|node| node.state == TaskState::Failed)
                    .map(|node| format!("{}: {}", node.name, language::heard(&node.message)))
                    .collect();
                self.toast(Tone::Bad, tf!("{0} failed. {1}", 0 = title, 1 = reasons.join(" ")));
            } else {
                self.toast(Tone::Ok, tf!("{0}: done.", 0 = title));
            }
        }
    }
}
