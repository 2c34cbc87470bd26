//! A data plane that served and ended is followed by another, which takes its mounts over: for the application a pause.

use super::found::Found;
use super::reading::{End, Patience, Reading};
use super::{Orders, Process, Running, Setting, Told, begin_anew, not_compared, resolve, start, write_commands};
use anyhow::{Context, Result, anyhow, bail};
use holdfast_core::input::Input;
use holdfast_core::replica::{Plane, ReplicaCommand, ReplicaEvent};
use holdfast_replica::control::{Configure, FromReplica, Orphan, ToReplica};
use holdfast_replica::{crash, keep};
use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

/// So many that ended within this time are followed by another: whatever ends them is not to hold the application
/// for ever.
const TAKEN_OVER_MAX: usize = 8;
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);

/// Longest time in which mounts are to be taken over: a disk that hangs would hold the application, and the module on
/// this node, for as long as it likes. The peer can do better.
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
    match begin(program, configure, TAKING_OVER).await {
        Ok(found) => Some(found),
        Err(error) => {
            tracing::warn!("the mounts of a data plane that ended are not taken over: {error:#}");
            if let Some(orphan) = &configure.orphan {
                abandon(orphan).await;
            }
            None
        }
    }
}

/// Starts a data plane that takes mounts over. One that has not done so within `limit` is killed: nobody would command
/// it, and it is not to serve later by a right that its agent believes to be over.
async fn begin(program: &Path, configure: &Configure, limit: Duration) -> Result<Found> {
    let mut running = start(program, configure, ToReplica::Resume(Box::new(configure.clone())))?;
    let told = tokio::time::timeout(limit, what_was_found(&mut running)).await;
    match told.unwrap_or_else(|_| {
        Err(anyhow!(
            "the next data plane has not taken them over within {} s: does the disk answer?",
            limit.as_secs_f32()
        ))
    }) {
        Ok(plane) => {
            let socket = running.reader.reunite(running.writer)?;
            Ok(Found { plane, socket, decoder: running.decoder, process: running.process })
        }
        Err(error) => {
            running.process.kill();
            tokio::spawn(async move { running.process.ended().await });
            Err(error)
        }
    }
}

async fn what_was_found(running: &mut Running) -> Result<Plane> {
    running.writer.write_all(&running.first).await?;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        while let Some(message) = running.decoder.next_message::<FromReplica>()? {
            match message {
                FromReplica::Found(plane) => return Ok(plane),
                FromReplica::Event(ReplicaEvent::Failed { reason }) => bail!(reason),
                _ => {}
            }
        }
        match running.reader.read(&mut buffer).await? {
            0 => bail!("the next data plane ended before it had taken them over"),
            length => running.decoder.push(&buffer[..length]),
        }
    }
}

/// Carries commands and events, through as many data planes as it takes, until the last one has ended.
pub(super) async fn attend(mut running: Running, setting: Setting, orders: Orders, told: Told) {
    let mut taken_over = VecDeque::new();
    loop {
        let Running { mut process, reader: socket, decoder, writer, first, serves, speaks } = running;
        let writing = tokio::spawn(write_commands(writer, first, orders.clone()));
        let gives_way = process.is_of_another(&setting.program);
        let patience = Patience::of(&setting.configure);
        let reading = Reading { socket, decoder, serves, speaks, gives_way, released: false, patience };
        let end = reading.until_the_end(&orders, &told).await;
        forget_figures(&told);
        let trouble = match end {
            End::Closed(trouble) => trouble,
            End::GivesWay => {
                writing.abort();
                let _ = writing.await;
                match give_way(process, &setting, &told).await {
                    Some(next) => running = next,
                    None => return,
                }
                continue;
            }
        };
        if let Some(trouble) = &trouble {
            tracing::error!("the data plane is ended: {trouble}");
        }
        let held = match &setting.configure.orphan {
            // Nobody listens any more: it has its order to end.
            Some(orphan) => !told.inbox.is_closed() && is_held(orphan).await,
            None => false,
        };
        if held || trouble.is_some() {
            // All of its threads but one that waits for its own mount have ended, or do now.
            process.kill();
        }
        let (mut next, mut failed) = (None, None);
        if held {
            match follow(&setting, &mut taken_over).await {
                Ok(running) => next = Some(running),
                Err(error) => {
                    tracing::error!("no other data plane takes the mounts over: {error:#}");
                    failed = Some(format!("its mounts are not taken over: {error:#}"));
                }
            }
        }
        if let Some(next) = next {
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
        let reason = [Some(how), trouble, failed].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let _ = told.inbox.send(Input::Replica(ReplicaEvent::Exited { reason })).await;
        return;
    }
}

fn forget_figures(told: &Told) {
    told.stats.send_replace(None);
    told.verify.send_if_modified(|report| {
        let cut = report.as_mut().filter(|report| report.running);
        cut.map(|report| *report = not_compared("the data plane ended meanwhile")).is_some()
    });
}

/// What runs now in place of a data plane that has nothing mounted, and whose program was replaced. Orders that it was
/// given and has not carried out are the next one's. `None`: none could be started, which is told.
async fn give_way(mut process: Process, setting: &Setting, told: &Told) -> Option<Running> {
    tracing::info!("the program of the data plane was replaced: another one begins in its place");
    process.kill();
    process.ended().await;
    match begin_anew(setting).await {
        Ok(running) => Some(running),
        Err(error) => {
            let reason = format!("{error:#}");
            let _ = told.inbox.send(Input::Replica(ReplicaEvent::Exited { reason })).await;
            None
        }
    }
}

/// Another data plane that has taken the mounts over.
///
/// # Errors
/// Too many have ended, or this one cannot: the mounts are to be taken away.
async fn follow(setting: &Setting, taken_over: &mut VecDeque<Instant>) -> Result<Running> {
    let orphan = setting.configure.orphan.as_ref().context("nothing is held")?;
    let end = Instant::now() + TAKING_OVER;
    loop {
        let now = Instant::now();
        taken_over.retain(|at| now - *at < TAKEN_OVER_WITHIN);
        if taken_over.len() >= TAKEN_OVER_MAX {
            bail!("{TAKEN_OVER_MAX} data planes have ended within a minute: the module does not go on with another");
        }
        taken_over.push_back(now);
        tracing::warn!("the data plane has ended: another one takes its mounts over");
        let configure = resolve(setting).await?;
        match begin(&setting.program, &configure, end.saturating_duration_since(now)).await {
            Ok(found) => {
                crash::point("replica-taken-over");
                return Ok(found.into());
            }
            // It was killed itself, and left them as they were.
            Err(error) if Instant::now() < end && is_held(orphan).await => {
                tracing::warn!("the mounts are not taken over yet: {error:#}");
            }
            Err(error) => return Err(error),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn configure(folder: &Path) -> Configure {
        let folder = folder.display().to_string();
        serde_json::from_value(serde_json::json!({
            "protocol": holdfast_replica::control::PROTOCOL,
            "module": "shop",
            "module_id": 1,
            "directories": [],
            "listen": "127.0.0.1:1",
            "peer": "127.0.0.1:2",
            "node": 1,
            "peer_node": 2,
            "key_file": "",
            "certificate_file": "",
            "peer_fingerprint": "",
            "encryption": false,
            "state_dir": folder,
            "boot_id": "",
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn a_data_plane_that_hangs_while_it_takes_over_is_given_up_and_does_not_live_on() {
        let folder = tempfile::tempdir().unwrap();
        let (program, number) = (folder.path().join("hangs"), folder.path().join("number"));
        let text = format!("#!/bin/sh\necho $$ > {0}.new && mv {0}.new {0}\nexec sleep 600\n", number.display());
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let taken = begin(&program, &configure(folder.path()), Duration::from_millis(500)).await;
        assert!(taken.unwrap_err().to_string().contains("not taken them over"));
        let Ok(number) = std::fs::read_to_string(&number) else { return };
        let process = std::path::PathBuf::from("/proc").join(number.trim());
        let end = Instant::now() + Duration::from_secs(60);
        while process.exists() {
            assert!(Instant::now() < end, "it lives on");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
