//! Long actions with progress per node: kept in memory, saved when they change, shown live.

use crate::app::App;
use crate::db;
use holdfast_api::console::{TaskNode, TaskState, TaskView};
use holdfast_api::ids::{ModuleId, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Least time between two savings.
const SAVE_PERIOD: Duration = Duration::from_millis(250);
/// Tasks kept in memory.
const KEPT: usize = 200;

/// What a push brings to a node; tasks wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    /// The cluster configuration of this version.
    Cluster(u64),
    /// This version of a module.
    Module(ModuleId, u64),
    /// The module's absence.
    Removal(ModuleId),
}

#[derive(Default)]
struct Inner {
    tasks: BTreeMap<u64, (TaskView, Option<Thing>)>,
    next: u64,
    dirty: BTreeSet<u64>,
}

/// All tasks.
pub struct Tasks {
    inner: Mutex<Inner>,
    changed: Notify,
}

/// What a new task is about.
pub struct NewTask {
    /// See [`TaskView::title`].
    pub title: String,
    /// See [`TaskView::kind`].
    pub kind: String,
    /// See [`TaskView::module`].
    pub module: Option<ModuleId>,
    /// See [`TaskView::author`].
    pub author: String,
    /// What the nodes are to get, for tasks that end by pushes.
    pub thing: Option<Thing>,
    /// The nodes, with first state and message.
    pub nodes: Vec<TaskNode>,
}

impl Tasks {
    /// Takes over the saved tasks; those that ran when the server ended are ended.
    pub fn new(saved: Vec<TaskView>) -> Self {
        let mut inner = Inner { next: 1, ..Inner::default() };
        for mut task in saved {
            inner.next = inner.next.max(task.id + 1);
            if task.ended_unix_ms.is_none() {
                for node in &mut task.nodes {
                    if matches!(node.state, TaskState::Waiting | TaskState::Running) {
                        node.state = TaskState::Failed;
                        node.message = "the server was restarted meanwhile; configuration is pushed again by itself, \
                                        see the node's state"
                            .into();
                    }
                }
                finish(&mut task);
                inner.dirty.insert(task.id);
            }
            inner.tasks.insert(task.id, (task, None));
        }
        trim(&mut inner);
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a task; returns its number. A newer task for the same thing ends older ones that still wait.
    pub fn begin(&self, new: NewTask) -> u64 {
        let mut inner = self.lock();
        let id = inner.next;
        inner.next += 1;
        if let Some(thing) = new.thing {
            supersede(&mut inner, thing, id);
        }
        let mut task = TaskView {
            id,
            title: new.title,
            kind: new.kind,
            module: new.module,
            author: new.author,
            began_unix_ms: db::now_ms(),
            ended_unix_ms: None,
            state: TaskState::Running,
            nodes: new.nodes,
        };
        finish(&mut task);
        inner.tasks.insert(id, (task, new.thing));
        inner.dirty.insert(id);
        trim(&mut inner);
        drop(inner);
        self.changed.notify_one();
        id
    }

    /// Notes the progress of one node in one task.
    pub fn progress(&self, id: u64, node: NodeId, state: TaskState, message: &str) {
        let mut inner = self.lock();
        if let Some((task, _)) = inner.tasks.get_mut(&id) {
            set(task, node, state, message);
            inner.dirty.insert(id);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Notes the progress of a push to a node in every task that waits for it or for an older version of it.
    pub fn pushed(&self, thing: Thing, node: NodeId, state: TaskState, message: &str) {
        let mut inner = self.lock();
        let waits = |wanted: Thing| match (wanted, thing) {
            (Thing::Cluster(wanted), Thing::Cluster(got)) => wanted <= got,
            (Thing::Module(wanted, version), Thing::Module(got, got_version)) => {
                wanted == got && version <= got_version
            }
            (wanted, got) => wanted == got,
        };
        let mut touched = Vec::new();
        for (id, (task, wanted)) in &mut inner.tasks {
            if task.ended_unix_ms.is_none() && wanted.is_some_and(waits) {
                set(task, node, state, message);
                touched.push(*id);
            }
        }
        inner.dirty.extend(touched);
        drop(inner);
        self.changed.notify_one();
    }

    /// One task.
    pub fn get(&self, id: u64) -> Option<TaskView> {
        self.lock().tasks.get(&id).map(|(task, _)| task.clone())
    }

    /// Tasks that go on, and the latest ended ones, newest first.
    pub fn recent(&self, limit: usize) -> Vec<TaskView> {
        let inner = self.lock();
        let running = inner.tasks.values().rev().filter(|(task, _)| task.ended_unix_ms.is_none());
        let ended = inner.tasks.values().rev().filter(|(task, _)| task.ended_unix_ms.is_some());
        let mut recent: Vec<_> = running.chain(ended).take(limit).map(|(task, _)| task.clone()).collect();
        recent.sort_by_key(|task| std::cmp::Reverse(task.id));
        recent
    }

    /// Saves changed tasks and tells the consoles, for ever.
    pub async fn keep(app: Arc<App>) {
        loop {
            app.tasks.changed.notified().await;
            app.live.changed();
            // Hundreds of nodes that report progress are one write.
            tokio::time::sleep(SAVE_PERIOD).await;
            let dirty: Vec<TaskView> = {
                let mut inner = app.tasks.lock();
                let ids = std::mem::take(&mut inner.dirty);
                ids.iter().filter_map(|id| inner.tasks.get(id).map(|(task, _)| task.clone())).collect()
            };
            if let Err(failure) = app.db.call(move |tx| db::records::save_tasks(tx, &dirty)).await {
                tracing::warn!("tasks were not saved: {failure}");
            }
        }
    }
}

fn supersede(inner: &mut Inner, thing: Thing, by: u64) {
    let older = |wanted: Thing| match (wanted, thing) {
        (Thing::Cluster(old), Thing::Cluster(new)) => old < new,
        (Thing::Module(a, old), Thing::Module(b, new)) => a == b && old < new,
        (Thing::Module(a, _), Thing::Removal(b)) => a == b,
        _ => false,
    };
    let mut touched = Vec::new();
    for (id, (task, wanted)) in &mut inner.tasks {
        if task.ended_unix_ms.is_none() && wanted.is_some_and(older) {
            for node in task.nodes.iter_mut().filter(|node| node.state == TaskState::Waiting) {
                node.state = TaskState::Failed;
                node.message = format!("replaced by a newer change (task {by})");
            }
            finish(task);
            touched.push(*id);
        }
    }
    inner.dirty.extend(touched);
}

fn set(task: &mut TaskView, node: NodeId, state: TaskState, message: &str) {
    for entry in task.nodes.iter_mut().filter(|entry| entry.node == node) {
        entry.state = state;
        entry.message = message.to_owned();
    }
    finish(task);
}

/// The task's own state from its nodes'.
fn finish(task: &mut TaskView) {
    let any = |state: TaskState| task.nodes.iter().any(|node| node.state == state);
    task.state = if any(TaskState::Running) {
        TaskState::Running
    } else if any(TaskState::Waiting) {
        TaskState::Waiting
    } else if any(TaskState::Failed) {
        TaskState::Failed
    } else {
        TaskState::Done
    };
    let ended = matches!(task.state, TaskState::Done | TaskState::Failed);
    task.ended_unix_ms = ended.then(|| task.ended_unix_ms.unwrap_or_else(db::now_ms));
}

fn trim(inner: &mut Inner) {
    while inner.tasks.len() > KEPT {
        let Some(oldest) = inner.tasks.keys().next().copied() else {
            return;
        };
        inner.tasks.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u16, state: TaskState) -> TaskNode {
        TaskNode { node: NodeId(id), name: format!("node{id}"), state, message: String::new() }
    }

    fn begin(tasks: &Tasks, thing: Thing, nodes: Vec<TaskNode>) -> u64 {
        tasks.begin(NewTask {
            title: "t".into(),
            kind: "configure".into(),
            module: None,
            author: "admin".into(),
            thing: Some(thing),
            nodes,
        })
    }

    #[test]
    fn a_task_ends_when_every_node_has_answered() {
        let tasks = Tasks::new(vec![]);
        let thing = Thing::Module(ModuleId(1), 3);
        let id = begin(&tasks, thing, vec![node(1, TaskState::Running), node(2, TaskState::Waiting)]);
        tasks.pushed(thing, NodeId(1), TaskState::Done, "ok");
        assert_eq!(tasks.get(id).unwrap().state, TaskState::Waiting);
        tasks.pushed(Thing::Module(ModuleId(1), 4), NodeId(2), TaskState::Failed, "not stopped");
        let task = tasks.get(id).unwrap();
        assert_eq!((task.state, task.nodes[1].message.as_str()), (TaskState::Failed, "not stopped"));
        assert!(task.ended_unix_ms.is_some());
    }

    #[test]
    fn a_newer_version_ends_what_waits_for_the_older() {
        let tasks = Tasks::new(vec![]);
        let old = begin(&tasks, Thing::Module(ModuleId(1), 1), vec![node(1, TaskState::Waiting)]);
        let other = begin(&tasks, Thing::Module(ModuleId(2), 1), vec![node(1, TaskState::Waiting)]);
        begin(&tasks, Thing::Module(ModuleId(1), 2), vec![node(1, TaskState::Waiting)]);
        assert_eq!(tasks.get(old).unwrap().state, TaskState::Failed);
        assert_eq!(tasks.get(other).unwrap().state, TaskState::Waiting);
    }

    #[test]
    fn tasks_of_an_ended_server_are_ended_and_numbers_go_on() {
        let tasks = Tasks::new(vec![]);
        let id = begin(&tasks, Thing::Cluster(1), vec![node(1, TaskState::Running)]);
        let again = Tasks::new(vec![tasks.get(id).unwrap()]);
        assert_eq!(again.get(id).unwrap().state, TaskState::Failed);
        assert!(begin(&again, Thing::Cluster(2), vec![]) > id);
    }
}
