//! A data plane that served and ended is followed by another, which takes its mounts over: for the application a pause.

use super::found::Found;
use super::{Orders, Running, Setting, Told, not_compared, read_events, resolve, start, write_commands};
use anyhow::{Context, Result, bail};
use holdfast_core::input::Input;
use holdfast_core::replica::{ReplicaCommand, ReplicaEvent};
use holdfast_replica::control::{Configure, FromReplica, Orphan, ToReplica};
use holdfast_replica::keep;
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// So many that ended within this time are followed by another: whatever ends them is not to hold the application
/// for ever.
const TAKEN_OVER_MAX: usize = 8;
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);

/// Longest time a data plane may take to take mounts over.
const TAKING_OVER: Duration = Duration::from_secs(5);

/// Whether what a data plane that ended has mounted is held.
pub(super) async fn is_held(orphan: &Orphan) -> bool {
    let door = keep::door_of(&orphan.socket);
    tokio::task::spawn_blocking(move || keep::is_held(&door)).await.unwrap_or(false)
}

/// Whoever waits on mounts that nobody takes over gets an error now.
pub(super) async fn abandon(orphan: &Orphan) {
    let door = keep::door_of(&orphan.socket);
    let _ = tokio::task::spawn_blocking(move || keep::abandon(&door)).await;
}

/// Starts a data plane that takes over what an earlier agent's had mounted; `None`: it cannot, and nothing is mounted.
pub(super) async fn take_over(program: &Path, configure: &Configure) -> Option<Found> {
    let taking = tokio::time::timeout(TAKING_OVER, begin(program, configure)).await;
    match taking.context("it does not answer").and_then(|taken| taken) {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!("the mounts of a data plane that ended are not taken over: {error:#}");
            None
        }
    }
}

async fn begin(program: &Path, configure: &Configure) -> Result<Found> {
    let mut running = start(program, configure, ToReplica::Resume(Box::new(configure.clone())))?;
    running.writer.write_all(&running.first).await?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        while let Some(message) = running.decoder.next_message::<FromReplica>()? {
            match message {
                FromReplica::Found(plane) => {
                    let socket = running.reader.reunite(running.writer)?;
                    return Ok(Found { plane, socket, decoder: running.decoder, process: running.process });
                }
                FromReplica::Event(ReplicaEvent::Failed { reason }) => bail!(reason),
                _ => {}
            }
        }
        match running.reader.read(&mut buffer).await? {
            0 => bail!("it has ended"),
            length => running.decoder.push(&buffer[..length]),
        }
    }
}

/// Carries commands and events, through as many data planes as it takes, until the last one has ended.
pub(super) async fn attend(mut running: Running, setting: Setting, orders: Orders, told: Told) {
    let mut taken_over = VecDeque::new();
    loop {
        let Running { mut process, reader, decoder, writer, first } = running;
        let writing = tokio::spawn(write_commands(writer, first, orders.clone()));
        let trouble = read_events((reader, decoder), &orders, &told).await;
        told.stats.send_replace(None);
        told.verify.send_if_modified(|report| {
            let cut = report.as_mut().filter(|report| report.running);
            cut.map(|report| *report = not_compared("the data plane ended meanwhile")).is_some()
        });
        let held = match &setting.configure.orphan {
            // Nobody listens any more: it has its order to end.
            Some(orphan) => !told.inbox.is_closed() && is_held(orphan).await,
            None => false,
        };
        if held || trouble.is_some() {
            // All of its threads but one that waits for its own mount have ended, or do now.
            process.kill();
        }
        if held && let Some(next) = follow(&setting, &mut taken_over).await {
            writing.abort();
            let _ = writing.await;
            answer_what_was_done(&orders, &told).await;
            tokio::spawn(async move { process.ended().await });
            running = next;
            continue;
        }
        if let Some(orphan) = setting.configure.orphan.as_ref().filter(|_| held) {
            abandon(orphan).await;
        }
        let how = process.ended().await;
        writing.abort();
        let reason = trouble.map_or(how.clone(), |trouble| format!("{how}; {trouble}"));
        let _ = told.inbox.send(Input::Replica(ReplicaEvent::Exited { reason })).await;
        return;
    }
}

/// Another data plane, unless too many have ended.
async fn follow(setting: &Setting, taken_over: &mut VecDeque<Instant>) -> Option<Running> {
    let now = Instant::now();
    taken_over.retain(|at| now - *at < TAKEN_OVER_WITHIN);
    if taken_over.len() >= TAKEN_OVER_MAX {
        tracing::error!(
            "{TAKEN_OVER_MAX} data planes have ended within a minute: the module does not go on with another"
        );
        return None;
    }
    taken_over.push_back(now);
    tracing::warn!("the data plane has ended: another one takes its mounts over");
    let started = match resolve(setting).await {
        Ok(configure) => start(&setting.program, &configure, ToReplica::Resume(Box::new(configure.clone()))),
        Err(error) => Err(error),
    };
    started.inspect_err(|error| tracing::error!("another data plane cannot be started: {error:#}")).ok()
}

/// Of all orders that may be given twice, those that would be refused: what is held was mounted; and a resync that was to
/// be complete is over with its stream, whose loss is told.
async fn answer_what_was_done(orders: &Orders, told: &Told) {
    let served = {
        let mut sent = orders.sent();
        let before = sent.len();
        sent.retain(|command| !matches!(command, ReplicaCommand::Serve { .. }));
        let served = before - sent.len();
        sent.retain(|command| !matches!(command, ReplicaCommand::CompleteResync));
        served
    };
    for _ in 0..served {
        let _ = told.inbox.send(Input::Replica(ReplicaEvent::Serving)).await;
    }
}
