//! Comparing two copies without changing either: the primary tells what it has, the other side compares.
//!
//! In the ordered stream of a pair (`rfsverify`) each object is told under its order lock, so what is compared is what
//! both nodes had at one point of the stream, whatever is written meanwhile. On a connection of its own, to a node that
//! does not follow yet, the same walk tells a diverged copy what the survivor has.

mod diff;
mod door;
mod walk;

pub(crate) use diff::diff;
pub(crate) use door::{Survey, serve};
pub(crate) use walk::{Sink, Walked, walk};

use crate::control::VerifyReport;
use crate::frame::{CheckStep, Message};
use crate::front::Inodes;
use crate::stream::Lost;
use crate::stream::sender::Sender;
use crate::stream::table::Reply;
use rustix::io::Errno;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shortest time between two reports of progress.
const REPORT: Duration = Duration::from_millis(500);

/// Hash of all extended attributes of an object.
pub(crate) fn xattr_hash(fd: impl AsFd) -> Result<[u8; 32], Errno> {
    let mut all = crate::tree::xattr::all(fd)?;
    all.sort();
    let mut hasher = blake3::Hasher::new();
    for (name, value) in all {
        for part in [name, value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(&part);
        }
    }
    Ok(*hasher.finalize().as_bytes())
}

/// The ordered stream of a pair.
struct Stream {
    sender: Arc<Sender>,
    epoch: u64,
}

impl Sink for Stream {
    fn send(&self, step: CheckStep) -> Result<(), Lost> {
        self.sender.resync_send(self.epoch, &Message::Check(step), &[])
    }

    fn wait(&self) -> Result<(), Lost> {
        self.sender.wait_window(self.epoch)
    }
}

/// Compares both copies of a pair; `report` hears of the progress and, last, of the end.
pub(crate) fn verify(sender: &Arc<Sender>, inodes: &Arc<Inodes>, report: &dyn Fn(VerifyReport)) {
    let mut last = VerifyReport { running: true, ..VerifyReport::default() };
    let ended = compare(sender, inodes, &mut |walked| {
        (last.entries, last.bytes) = (walked.entries, walked.bytes);
        report(last.clone());
    });
    report(match ended {
        Ok(done) => done,
        Err(reason) => VerifyReport { running: false, failed: Some(reason), ..last },
    });
}

fn compare(
    sender: &Arc<Sender>,
    inodes: &Arc<Inodes>,
    progress: &mut dyn FnMut(&Walked),
) -> Result<VerifyReport, String> {
    let epoch =
        sender.paired().ok_or("no secondary is in sync: nothing can be compared; wait until the state is PRIM")?;
    let stream = Stream { sender: sender.clone(), epoch };
    let mut told = Instant::now();
    let walked = walk(inodes, &stream, &mut |walked| {
        if told.elapsed() >= REPORT {
            told = Instant::now();
            progress(walked);
        }
    });
    walked.map_err(|error| error.to_string())?;
    let lost = |lost: Lost| format!("the secondary was lost meanwhile: {lost}");
    let request = sender.ask_with(epoch, |request| Message::Check(CheckStep::End { request })).map_err(lost)?;
    match sender.reply(epoch, request).map_err(lost)? {
        Reply::Checked(checked) => {
            if checked.differences > 0 {
                // Nobody named them, so no resync by names would find them.
                inodes.doubt(&format!("a comparison found {} differences", checked.differences));
            }
            Ok(VerifyReport {
                running: false,
                entries: checked.entries,
                bytes: checked.bytes,
                differences: checked.differences,
                bytes_to_copy: 0,
                named: checked.named,
                failed: None,
            })
        }
        _ => Err("the secondary gave another answer than asked for".into()),
    }
}
