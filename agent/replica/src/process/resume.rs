//! Mounts that outlive the process: having them held while this one serves, and going on with those of one that ended.

use super::Role;
use super::run::Replica;
use crate::control::Configure;
use crate::front::{Front, Inodes};
use crate::keep::{self, Keep, Right, Taken, Word};
use crate::stream::Events;
use crate::stream::sender::Sender;
use crate::track::Moment;
use holdfast_core::replica::{Plane, ReplicaEvent};
use std::sync::Arc;
use std::time::Duration;

impl Replica {
    /// Starts the holder of what is about to be mounted over `inodes`. `None`: the mount will end with this process.
    pub(super) fn start_keep(&self, inodes: &Arc<Inodes>) -> Option<Arc<Keep>> {
        let orphan = self.configure.orphan.as_ref().filter(|_| inodes.can_be_kept())?;
        match Keep::start(&keep::door_of(&orphan.socket)) {
            Ok(keep) => {
                let keep = Arc::new(keep);
                inodes.set_keep(&keep);
                Some(keep)
            }
            Err(error) => {
                tracing::warn!(%error, "no holder could be started: the mounts end with this process");
                None
            }
        }
    }

    /// From now on what is mounted outlives this process.
    pub(super) fn hold(&mut self, keep: Option<Arc<Keep>>) {
        let (Some(keep), Some(front), Some(sender)) = (keep, &self.front, &self.sender) else { return };
        let limit = self.configure.orphan.as_ref().map_or(0, |orphan| orphan.limit_ms);
        let Some(negotiated) = front.resendable() else {
            tracing::info!("this kernel cannot hand requests out again (6.9 can): the mounts end with this process");
            return;
        };
        // Who takes it over is to find it: first of all.
        sender.set_keep(keep.clone(), negotiated);
        match front.hold(&keep, Duration::from_millis(limit)) {
            Ok(()) => self.keep = Some(keep),
            Err(error) => tracing::warn!(%error, "the mounts are not held: they end with this process"),
        }
    }

    /// Goes on with what a replica that ended has left with its holder.
    ///
    /// # Errors
    /// It cannot, in plain words; then the mounts are gone.
    pub(super) fn take_over(configure: Configure, events: Events) -> Result<Self, String> {
        let orphan = configure.orphan.as_ref().ok_or("nothing was left to be taken over")?;
        let door = keep::door_of(&orphan.socket);
        // Before anything is served: nobody but replicas has been below the mounts until now.
        let covered = Moment::now(&configure.boot_id);
        let taken = keep::take(&door).map_err(|error| error.to_string()).and_then(|taken| {
            let right = taken.keep.store.right().map_err(|error| error.to_string())?;
            let mut replica = Self::made(configure, events)?;
            replica.go_on(taken, &right, &covered).map(|()| replica)
        });
        taken.map_err(|reason| {
            keep::abandon(&door);
            format!("the mounts of the replica that ended cannot be taken over, and are taken away: {reason}")
        })
    }

    fn go_on(&mut self, taken: Taken, right: &Right, covered: &Moment) -> Result<(), String> {
        if right.word == Word::Never {
            return Err("it had refused its writers already".into());
        }
        if !taken.mounts.iter().map(|mount| &mount.path).eq(&self.configure.directories) {
            return Err("the replicated directories are not the same".into());
        }
        let copy = |mount: &keep::TakenMount| Ok((mount.path.clone(), mount.directory.try_clone()?));
        let directories = taken.mounts.iter().map(copy).collect::<std::io::Result<Vec<_>>>();
        let directories = directories.map_err(|error| error.to_string())?;
        let handles = Inodes::taken_over(directories, self.filter.clone(), taken.first_id);
        self.track(&handles.map_err(|error| error.to_string())?, Some(covered))?;
        let inodes = self.table()?;
        let (objects, unnamed) = (taken.known.len(), taken.pinned.len());
        let unheard_of = inodes.restore(taken.known, taken.pinned)?;
        let keep = Arc::new(taken.keep);
        unheard_of.into_iter().for_each(|id| keep.unpin(id));
        inodes.set_keep(&keep);
        let sender = Sender::taken_over(self.local.clone(), right, self.events.clone());
        sender.set_keep(keep.clone(), right.negotiated);
        let (mounts, negotiated) = (taken.mounts, right.negotiated);
        self.serve_over(&inodes, &sender, |inodes, replicate| Front::take_over(inodes, mounts, negotiated, replicate))?;
        self.keep = Some(keep);
        self.role = Role::Serving;
        let plane = sender.plane();
        tracing::warn!(?plane, objects, unnamed, "the mounts of a replica that ended are taken over");
        Ok(())
    }

    /// The session of the replica that ended is over.
    pub(super) fn tell_what_was_lost(&self) {
        let lost = self.keep.as_ref().and_then(|keep| keep.store.right().ok()).map_or(0, |right| right.session);
        if lost != 0 && self.plane() != Plane::Nothing {
            let reason = "the data plane of this node ended and was started anew".to_owned();
            (self.events)(ReplicaEvent::StreamLost { session: lost, reason });
        }
    }
}
