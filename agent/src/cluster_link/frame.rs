//! Frames of the cluster link: four bytes of length, then JSON; bounded, and read as bytes come, so that a length alone
//! costs no memory.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed.
    #[error("a frame of {length} bytes is refused: at most {max} are allowed here")]
    TooLong {
        /// Bytes announced.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The stream ended inside a frame.
    #[error("the stream ended inside a frame")]
    Cut,
    /// No JSON of the type wanted.
    #[error("a frame is not understood ({0}): install the same version on both nodes")]
    Malformed(#[from] serde_json::Error),
    /// The connection is gone.
    #[error("the connection is lost: {0}")]
    Lost(#[from] io::Error),
}

/// The next frame's bytes; `None` at the end of the stream.
pub async fn read_bytes(from: &mut (impl AsyncRead + Unpin), max: usize) -> Result<Option<Vec<u8>>, FrameError> {
    let mut head = Vec::with_capacity(4);
    from.take(4).read_to_end(&mut head).await?;
    let head: [u8; 4] = match head.len() {
        0 => return Ok(None),
        _ => head.try_into().map_err(|_| FrameError::Cut)?,
    };
    let length = u32::from_be_bytes(head) as usize;
    if length > max {
        return Err(FrameError::TooLong { length, max });
    }
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() == length { Ok(Some(bytes)) } else { Err(FrameError::Cut) }
}

/// The next frame; `None` at the end of the stream.
pub async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> Result<Option<T>, FrameError> {
    match read_bytes(from, max).await? {
        Some(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        None => Ok(None),
    }
}

/// Writes a frame.
pub async fn write<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), value: &T, max: usize) -> Result<(), FrameError> {
    let bytes = serde_json::to_vec(value)?;
    let length = bytes.len();
    let head = u32::try_from(length).ok().filter(|_| length <= max).ok_or(FrameError::TooLong { length, max })?;
    to.write_all(&head.to_be_bytes()).await?;
    to.write_all(&bytes).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FrameError, read, read_bytes, write};
    use crate::cluster_link::message::{Hello, Status, read_hello};
    use crate::control::server::parse;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Frames over a slice never wait.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("a slice is always ready"),
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_panic_or_excess(bytes in any::<Vec<u8>>(), max in 0usize..64) {
            let mut rest = bytes.as_slice();
            while let Ok(Some(frame)) = now(read_bytes(&mut rest, max)) {
                prop_assert!(frame.len() <= max);
                let _ = read_hello(&frame);
                let _ = parse(&frame);
                let _ = serde_json::from_slice::<Status>(&frame);
            }
        }

        #[test]
        fn damaged_greetings_never_panic(at in 0usize..200, byte in any::<u8>(), cut in 0usize..200) {
            let mut bytes = serde_json::to_vec(&Hello::own()).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read_hello(&bytes);
            let _ = read_hello(&bytes[..cut.min(bytes.len())]);
        }

        #[test]
        fn frames_arrive_as_they_were_written(texts in proptest::collection::vec(".{0,40}", 0..5)) {
            let mut bytes = Vec::new();
            for text in &texts {
                now(write(&mut bytes, text, 1000)).unwrap();
            }
            let mut rest = bytes.as_slice();
            let mut found = Vec::new();
            while let Some(text) = now(read::<String>(&mut rest, 1000)).unwrap() {
                found.push(text);
            }
            prop_assert_eq!(found, texts);
        }
    }

    #[test]
    fn long_and_cut_frames_are_told_apart() {
        let long = u32::MAX.to_be_bytes();
        assert!(matches!(now(read_bytes(&mut long.as_slice(), 9)), Err(FrameError::TooLong { max: 9, .. })));
        assert!(matches!(now(read_bytes(&mut [0u8, 0].as_slice(), 9)), Err(FrameError::Cut)));
        assert!(matches!(now(read_bytes(&mut [0u8, 0, 0, 3, 1].as_slice(), 9)), Err(FrameError::Cut)));
        assert!(matches!(now(write(&mut Vec::new(), &"too long", 3)), Err(FrameError::TooLong { .. })));
        assert!(matches!(now(read_bytes(&mut [].as_slice(), 9)), Ok(None)));
    }
}
