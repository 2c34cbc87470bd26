//! Comparisons of both copies, and what is set aside before one is overwritten: each on a thread of its own.

use super::{Outbox, Replica};
use crate::control::{FromReplica, VerifyReport};
use crate::front::Inodes;
use crate::setaside::{self, Aside};
use crate::stream::applier::Applier;
use holdfast_api::ids::Generation;
use holdfast_core::replica::ReplicaEvent;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Replica {
    /// Compares both copies on a thread of its own.
    pub(super) fn verify(&self, outbox: Outbox) {
        // Nobody listens any more after the socket's end.
        let report = move |report| outbox.send(FromReplica::Verify(report));
        let Some((sender, inodes)) = self.sender.clone().zip(self.served.clone()) else {
            let failed = Some("this node does not serve: order it on the primary".to_owned());
            return report(VerifyReport { failed, ..VerifyReport::default() });
        };
        let running = self.verifying.clone();
        // The steps of two comparisons would mix on the secondary.
        if running.swap(true, Ordering::AcqRel) {
            let failed = Some("a comparison is running already: wait for its end".to_owned());
            return report(VerifyReport { failed, ..VerifyReport::default() });
        }
        std::thread::spawn(move || {
            crate::survey::verify(&sender, &inodes, &|told: VerifyReport| {
                if !told.running {
                    running.store(false, Ordering::Release);
                }
                report(told);
            });
        });
    }

    /// Compares the copy here with the serving peer's, on a thread of its own.
    pub(super) fn diff(&self, outbox: Outbox) {
        let report = move |report| outbox.send(FromReplica::Verify(report));
        let failed = |reason: String| VerifyReport { failed: Some(reason), ..VerifyReport::default() };
        let running = self.verifying.clone();
        if running.swap(true, Ordering::AcqRel) {
            return report(failed("a comparison is running already: wait for its end".to_owned()));
        }
        // Taken for this alone: while nothing is mounted the paths may come to lead elsewhere.
        let (directories, filter) = (self.configure.directories.clone(), self.filter.clone());
        let mode = self.configure.async_mode;
        let handles = Inodes::open_filtered(&directories, filter.clone()).map_err(|error| error.to_string());
        let applier = handles.and_then(|handles| {
            let roots = directories.iter().enumerate();
            let roots = roots.filter_map(|(index, path)| Some((path.clone(), handles.directory_fd(index)?))).collect();
            Applier::new(roots, mode).map_err(|error| error.to_string())
        });
        let applier = match applier {
            Ok(applier) => applier.with_filter(filter),
            Err(reason) => {
                running.store(false, Ordering::Release);
                return report(failed(reason));
            }
        };
        let (local, peer, protection) = (self.local.clone(), self.configure.peer, self.protection.clone());
        let stopped = self.diffing.clone();
        std::thread::spawn(move || {
            let goes_on = || !stopped.load(Ordering::Acquire);
            crate::survey::diff((&local, peer, &protection), applier, &goes_on, &|told: VerifyReport| {
                if !told.running {
                    running.store(false, Ordering::Release);
                }
                report(told);
            });
        });
    }

    /// What is compared here is about to change: a comparison under way ends.
    pub(super) fn end_diff(&mut self) {
        self.diffing.store(true, Ordering::Release);
        self.diffing = Arc::default();
    }

    pub(super) fn set_aside(&mut self, run: u64, generation: Generation) -> Result<(), String> {
        let (roots, applier) = self.applier()?;
        self.aside.store(true, Ordering::Release);
        self.aside = Arc::default();
        let job = setaside::Job {
            module: self.configure.module.clone(),
            local: self.local.clone(),
            peer: self.configure.peer,
            protection: self.protection.clone(),
            roots,
            state_dir: self.configure.state_dir.clone(),
            generation,
            stop: self.aside.clone(),
        };
        let events = self.events.clone();
        std::thread::spawn(move || {
            events(match setaside::run(&job, applier) {
                Ok(Aside { entries, bytes, folder }) => ReplicaEvent::SetAside { run, entries, bytes, folder },
                Err(reason) => ReplicaEvent::NotSetAside { run, reason },
            });
        });
        Ok(())
    }

    /// Forgets what is known of what may differ, durably.
    pub(super) fn compare_all(&mut self) -> Result<(), String> {
        if let Some(served) = &self.served {
            served.forget_known();
            return Ok(());
        }
        self.handles()?;
        let forgotten = self.tracker.as_ref().map_or(Ok(()), |tracker| tracker.nothing_known());
        let folder = self.configure.state_dir.display();
        forgotten.map_err(|error| format!("cannot note in {folder} that everything is compared: {error}"))
    }
}
