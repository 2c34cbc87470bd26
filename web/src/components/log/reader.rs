//! Reading a log page by page: the newest lines, what is added, older ones, those that pass a filter.

use crate::client::{self, LogPlace};
use crate::rules::log::{Filter, PAGE_LINES, Piece};
use gloo_timers::future::TimeoutFuture;
use holdfast_api::agent::{LogKind, LogPage};
use holdfast_api::ids::{ModuleId, NodeId};
use leptos::prelude::*;

const FOLLOW_MS: u32 = 1_000;

/// Which log of which module on which node, and its name for the file.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSource {
    /// The module.
    pub module: ModuleId,
    /// Its name.
    pub module_name: String,
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub node_name: String,
    /// Which of the two logs.
    pub which: LogKind,
}

/// What is read and how; a handle that is copied around.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    pub(super) piece: RwSignal<Piece>,
    pub(super) problem: RwSignal<Option<String>>,
    pub(super) filter: RwSignal<Filter>,
    pub(super) follow: RwSignal<bool>,
    pub(super) unseen: RwSignal<usize>,
    /// The lines shown were found by this filter; none while they are being looked for.
    pub(super) shown: RwSignal<Option<Filter>>,
    /// Older lines are being read.
    pub(super) older: RwSignal<bool>,
    alive: StoredValue<bool>,
}

impl Reader {
    /// Nothing is read yet, and every line is wanted.
    pub(super) fn new() -> Self {
        Self {
            piece: RwSignal::new(Piece::default()),
            problem: RwSignal::new(None),
            filter: RwSignal::new(Filter::default()),
            follow: RwSignal::new(true),
            unseen: RwSignal::new(0),
            shown: RwSignal::new(None),
            older: RwSignal::new(false),
            alive: StoredValue::new(true),
        }
    }

    pub(super) fn is_alive(self) -> bool {
        self.alive.try_get_value() == Some(true)
    }

    /// Reads the page at `place` and hands it to `take`, unless the log has left the page or another filter was chosen
    /// meanwhile; false when it was not taken.
    async fn read(self, source: &LogSource, place: LogPlace, take: impl FnOnce(&mut Piece, LogPage)) -> bool {
        // A task begins a turn after it was made: the log may have left the page.
        if !self.is_alive() {
            return false;
        }
        let filter = self.filter.get_untracked();
        let answer = client::log(source.module, source.node, source.which, place, &filter, PAGE_LINES).await;
        if !self.is_alive() || self.filter.get_untracked() != filter {
            return false;
        }
        match answer {
            Ok(page) => {
                self.problem.set(None);
                self.piece.update(|piece| take(piece, page));
                true
            }
            Err(error) => {
                self.problem.set(Some(error.text()));
                false
            }
        }
    }

    /// Reads the newest lines in place of those shown, and older ones while a filter finds few.
    pub(super) async fn read_last(self, source: &LogSource) {
        if !self.read(source, LogPlace::Last, Piece::take_last).await {
            return;
        }
        self.unseen.set(0);
        while self.piece.with_untracked(Piece::wants_older) {
            if !self.read_older(source).await {
                return;
            }
        }
        self.shown.set(Some(self.filter.get_untracked()));
    }

    pub(super) async fn read_older(self, source: &LogSource) -> bool {
        let Some(before) = self.piece.try_with_untracked(Piece::before).flatten() else { return false };
        self.read(source, LogPlace::Before(before), Piece::take_older).await
    }

    /// Reads what was written since.
    async fn read_newer(self, source: &LogSource) {
        let Some(from) = self.piece.with_untracked(Piece::from) else { return self.read_last(source).await };
        let follow = self.follow.get_untracked();
        let unseen = self.unseen;
        self.read(source, LogPlace::From(from), move |piece, page| {
            let fresh = piece.take_newer(page);
            if fresh > 0 && !follow {
                unseen.update(|unseen| *unseen += fresh);
            }
        })
        .await;
    }
}

/// Reads the newest lines, then what is added, for as long as the log is on the page and the node can be asked.
pub(super) fn keep_reading(reader: Reader, source: LogSource, reachable: Signal<bool>) {
    on_cleanup(move || reader.alive.set_value(false));
    leptos::task::spawn_local(async move {
        let mut begun = false;
        while reader.is_alive() {
            if reachable.try_get_untracked() == Some(true) {
                if reader.shown.with_untracked(Option::is_none) {
                    // Whoever changed the filter reads; here only what failed is tried again.
                    if !begun || reader.problem.with_untracked(Option::is_some) {
                        begun = true;
                        reader.read_last(&source).await;
                    }
                } else if reader.follow.get_untracked() || !reader.piece.with_untracked(Piece::is_detached) {
                    reader.read_newer(&source).await;
                }
            }
            TimeoutFuture::new(FOLLOW_MS).await;
        }
    });
}
