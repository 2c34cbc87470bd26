//! The modules of the latest snapshot, each by itself: news of one reaches only what shows it, and news of many a few at a
//! time, so that the page answers in between.

use crate::rules::news::{Figures, settle};
use gloo_timers::future::TimeoutFuture;
use holdfast_api::console::{LiveSnapshot, ModuleLive};
use holdfast_api::ids::ModuleId;
use leptos::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Modules that are told of in one turn of the browser.
const TOLD_AT_ONCE: usize = 8;

/// What is told of one module.
#[derive(Clone, Default)]
struct One {
    /// Without what changes with every report though nothing has happened.
    settled: ArcRwSignal<Option<Arc<ModuleLive>>>,
    /// That.
    figures: ArcRwSignal<Arc<Vec<Figures>>>,
}

impl One {
    /// Says what is new, if anything is.
    fn hears(&self, latest: Option<Latest>) {
        let (settled, figures) = latest.map_or_else(Default::default, |(settled, figures)| (Some(settled), figures));
        let same = |was: &Option<Arc<ModuleLive>>| match (was, &settled) {
            (Some(was), Some(is)) => Arc::ptr_eq(was, is),
            (was, is) => was.is_none() && is.is_none(),
        };
        if !self.settled.with_untracked(same) {
            self.settled.set(settled);
        }
        if self.figures.with_untracked(|was| *was != figures) {
            self.figures.set(figures);
        }
    }
}

/// What the snapshot holds of one module.
type Latest = (Arc<ModuleLive>, Arc<Vec<Figures>>);

/// What has come, and who is told of it.
#[derive(Default)]
struct Held {
    latest: BTreeMap<ModuleId, Latest>,
    told: BTreeMap<ModuleId, One>,
    /// Those of which something has happened that is not told yet.
    news: BTreeSet<ModuleId>,
    /// Those that only moved since they were told: they wait for the others.
    moved: BTreeSet<ModuleId>,
    telling: bool,
}

impl Held {
    /// Takes the modules of a snapshot, and leaves them [settled](settle); they are handed back in their order.
    fn take(&mut self, modules: &mut [ModuleLive]) -> Vec<Arc<ModuleLive>> {
        let mut before = std::mem::take(&mut self.latest);
        let mut all = Vec::with_capacity(modules.len());
        for module in modules {
            let (id, figures) = (module.module.id, settle(module));
            let (settled, figures) = match before.remove(&id) {
                Some((settled, figured)) if *settled == *module => {
                    if *figured != figures {
                        self.moved.insert(id);
                    }
                    (settled, Arc::new(figures))
                }
                _ => {
                    self.news.insert(id);
                    (Arc::new(module.clone()), Arc::new(figures))
                }
            };
            all.push(Arc::clone(&settled));
            self.latest.insert(id, (settled, figures));
        }
        // Those that are left are in no snapshot any more.
        self.news.extend(before.into_keys());
        all
    }

    /// Who is told next, and of what.
    fn next(&mut self) -> Vec<(One, Option<Latest>)> {
        let mut next = Vec::new();
        while next.len() < TOLD_AT_ONCE
            && let Some(id) = self.news.pop_first().or_else(|| self.moved.pop_first())
        {
            if let Some(one) = self.told.get(&id) {
                next.push((one.clone(), self.latest.get(&id).cloned()));
            }
        }
        next
    }
}

/// The modules; a handle that is copied around.
#[derive(Clone, Copy)]
pub struct Modules {
    all: RwSignal<Option<Arc<Vec<Arc<ModuleLive>>>>>,
    held: StoredValue<Held>,
}

impl Modules {
    /// None is known yet.
    pub fn new() -> Self {
        Self { all: RwSignal::new(None), held: StoredValue::new(Held::default()) }
    }

    /// Reads all of them, in the server's order, without their figures; none before the first snapshot.
    pub fn read<T>(self, what: impl FnOnce(&[Arc<ModuleLive>]) -> T) -> Option<T> {
        self.all.with(|all| all.as_ref().map(|all| what(all)))
    }

    /// The module with this number, without its figures.
    pub fn one(self, id: ModuleId) -> Option<Arc<ModuleLive>> {
        self.told(id).settled.get()
    }

    /// Its figures, one for each node in its order.
    pub fn figures(self, id: ModuleId) -> Arc<Vec<Figures>> {
        self.told(id).figures.get()
    }

    fn told(self, id: ModuleId) -> One {
        let mut found = None;
        self.held.update_value(|held| {
            let Held { latest, told, .. } = held;
            let made = || {
                let (settled, figures) = latest
                    .get(&id)
                    .cloned()
                    .map_or_else(Default::default, |(settled, figures)| (Some(settled), figures));
                One { settled: ArcRwSignal::new(settled), figures: ArcRwSignal::new(figures) }
            };
            found = Some(told.entry(id).or_insert_with(made).clone());
        });
        found.unwrap_or_default()
    }

    /// Takes what a snapshot holds, and leaves its modules [settled](settle).
    pub fn take(self, snapshot: &mut LiveSnapshot) {
        let taken = self.held.try_update_value(|held| {
            let all = held.take(&mut snapshot.modules);
            (all, !std::mem::replace(&mut held.telling, true))
        });
        let Some((all, begins)) = taken else { return };
        let same = |was: &Vec<Arc<ModuleLive>>| {
            was.len() == all.len() && was.iter().zip(&all).all(|(was, is)| Arc::ptr_eq(was, is))
        };
        if !self.all.with_untracked(|was| was.as_deref().is_some_and(same)) {
            self.all.set(Some(Arc::new(all)));
        }
        if begins {
            self.tell();
        }
    }

    /// Nothing is known any more.
    pub fn forget(self) {
        self.all.set(None);
        self.held.update_value(|held| {
            held.take(&mut []);
        });
        while self.tell_some() {}
    }

    /// Tells what waits; what waits for long is told in its latest form.
    fn tell(self) {
        leptos::task::spawn_local(async move {
            while self.tell_some() {
                TimeoutFuture::new(0).await;
            }
        });
    }

    /// Tells of the next ones; false if there are none, and nobody tells any more.
    fn tell_some(self) -> bool {
        let next = self.held.try_update_value(|held| {
            let next = held.next();
            held.telling = !next.is_empty();
            next
        });
        let next = next.unwrap_or_default();
        let any = !next.is_empty();
        for (one, latest) in next {
            one.hears(latest);
        }
        any
    }
}
