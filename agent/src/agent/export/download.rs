//! The zip of what was set aside, carried to the server piece by piece as it asks for them: never whole in memory, never a
//! second time on a disk that may be full.

use super::{Agent, pack};
use anyhow::{Result, anyhow, bail, ensure};
use holdfast_api::agent::CHUNK_BYTES;
use holdfast_replica::setaside;
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use zip::ZipWriter;

/// Downloads of a node at the same time.
const DOWNLOADS_MAX: usize = 4;
/// A download of which nothing is asked for this long is given up.
const IDLE: Duration = Duration::from_secs(120);
/// Pieces packed ahead of what is asked for.
const AHEAD: usize = 2;

/// A piece, and whether it is the last; or why there is none.
type Piece = Result<(Vec<u8>, bool), String>;
type Ask = oneshot::Sender<Piece>;

/// What is being downloaded, by the number the server gave it.
#[derive(Debug, Default)]
pub(in crate::agent) struct Downloads(Arc<Mutex<HashMap<u64, mpsc::Sender<Ask>>>>);

impl Downloads {
    /// The next piece of this download, which the first question begins.
    ///
    /// # Errors
    /// The folder cannot be read, too many downloads go on, or the download was given up.
    async fn next(
        &self,
        number: u64,
        first: bool,
        folder: impl FnOnce() -> Result<PathBuf>,
    ) -> Result<(Vec<u8>, bool)> {
        let asks = if first { self.begin(number, &folder()?)? } else { self.known(number)? };
        let (ask, piece) = oneshot::channel();
        asks.send(ask).await.map_err(|_| given_up())?;
        piece.await.map_err(|_| given_up())?.map_err(|reason| anyhow!(reason))
    }

    fn known(&self, number: u64) -> Result<mpsc::Sender<Ask>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&number).cloned().ok_or_else(given_up)
    }

    fn begin(&self, number: u64, folder: &Path) -> Result<mpsc::Sender<Ask>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(
            all.len() < DOWNLOADS_MAX,
            "{DOWNLOADS_MAX} downloads go on at this node: try again when one has ended"
        );
        if all.contains_key(&number) {
            bail!("a download of this number goes on already: begin it again");
        }
        let (asks, asked) = mpsc::channel(1);
        all.insert(number, asks.clone());
        let (pieces, packed) = mpsc::channel(AHEAD);
        let folder = folder.to_owned();
        tokio::task::spawn_blocking(move || write_pieces(&folder, &pieces));
        let all = Arc::clone(&self.0);
        tokio::spawn(async move {
            answer(asked, packed).await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        });
        Ok(asks)
    }
}

impl Agent {
    /// The next piece of the zip of what was set aside under this name, and whether it is the last one. `first` begins the
    /// download of that number.
    ///
    /// # Errors
    /// Nothing is there under this name; it cannot be read; the download was given up.
    pub async fn download_set_aside(
        &self,
        module: &str,
        id: &str,
        number: u64,
        first: bool,
    ) -> Result<(Vec<u8>, bool)> {
        self.requests(module).await?;
        let state = self.layout.replica(module);
        let folder = || setaside::find(&state, id).map_err(|reason| anyhow!(reason));
        self.downloads.next(number, first, folder).await
    }
}

fn given_up() -> anyhow::Error {
    anyhow!("the download was given up: begin it again")
}

/// Answers each question with the next piece, until the last one, a failure, or nobody asks any more.
async fn answer(mut asked: mpsc::Receiver<Ask>, mut packed: mpsc::Receiver<Piece>) {
    while let Ok(Some(ask)) = tokio::time::timeout(IDLE, asked.recv()).await {
        let piece = packed.recv().await.unwrap_or_else(|| Err("packing ended early".to_owned()));
        let more = matches!(piece, Ok((_, false)));
        if ask.send(piece).is_err() || !more {
            break;
        }
    }
}

fn write_pieces(folder: &Path, pieces: &mpsc::Sender<Piece>) {
    let writer = BufWriter::with_capacity(CHUNK_BYTES, Pieces(pieces));
    let packed = pack(folder, ZipWriter::new_stream(writer));
    // The last piece says so itself, so it may be empty.
    let ended =
        packed.and_then(|(stream, _)| Ok(stream.into_inner().into_inner().map_err(io::IntoInnerError::into_error)?));
    let last = ended.map(|_| (Vec::new(), true)).map_err(|error| format!("{error:#}"));
    // Nobody waits for it any more: nothing is lost.
    let _ = pieces.blocking_send(last);
}

/// Hands on what is written, a piece at a time.
struct Pieces<'a>(&'a mpsc::Sender<Piece>);

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(CHUNK_BYTES)];
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody waits for the download");
        self.0.blocking_send(Ok((piece.to_vec(), false))).map_err(gone)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Read};

    fn copy(base: &Path, bytes: usize) -> PathBuf {
        let folder = base.join("1-2");
        std::fs::create_dir_all(folder.join("files/srv")).unwrap();
        std::fs::write(folder.join("manifest.json"), "{}").unwrap();
        // What deflate cannot make small: several pieces.
        let content: Vec<u8> = (0..bytes as u64 / 8)
            .flat_map(|at| at.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).to_le_bytes())
            .collect();
        std::fs::write(folder.join("files/srv/f"), content).unwrap();
        folder
    }

    #[tokio::test]
    async fn a_download_comes_piece_by_piece_as_it_is_asked_for_and_is_a_whole_zip() {
        let base = tempfile::tempdir().unwrap();
        let folder = copy(base.path(), 9 * CHUNK_BYTES);
        let downloads = Downloads::default();
        let (mut whole, mut pieces, mut last) = (Vec::new(), 0, false);
        while !last {
            let (bytes, end) = downloads.next(7, pieces == 0, || Ok(folder.clone())).await.unwrap();
            assert!(bytes.len() <= CHUNK_BYTES, "{}", bytes.len());
            whole.extend(bytes);
            (pieces, last) = (pieces + 1, end);
        }
        assert!(pieces > 3, "{pieces}");
        let mut zip = zip::ZipArchive::new(Cursor::new(whole)).unwrap();
        let mut found = Vec::new();
        zip.by_name("files/srv/f").unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(found, std::fs::read(folder.join("files/srv/f")).unwrap());
        assert_eq!(zip.len(), 4, "manifest, two directories and the file");
    }

    #[tokio::test]
    async fn downloads_are_bounded_and_what_is_not_there_says_so() {
        let base = tempfile::tempdir().unwrap();
        let folder = copy(base.path(), 9 * CHUNK_BYTES);
        let downloads = Downloads::default();
        for number in 0..DOWNLOADS_MAX as u64 {
            downloads.next(number, true, || Ok(folder.clone())).await.unwrap();
        }
        let refused = downloads.next(99, true, || Ok(folder.clone())).await.unwrap_err().to_string();
        assert!(refused.contains("downloads go on"), "{refused}");
        let unknown = downloads.next(98, false, || Ok(folder.clone())).await.unwrap_err().to_string();
        assert!(unknown.contains("begin it again"), "{unknown}");
        // What cannot be read is told before the last piece, so that the receiver knows that it has no whole zip.
        let (broken, mut first) = (Downloads::default(), true);
        let missing = loop {
            match broken.next(1, first, || Ok(base.path().join("no"))).await {
                Ok((_, last)) => assert!(!last, "an unreadable folder made a whole zip"),
                Err(error) => break error.to_string(),
            }
            first = false;
        };
        assert!(missing.contains("no"), "{missing}");
    }
}
