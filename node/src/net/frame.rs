//! Frames on a stream: a `u32` length, big-endian, then that many bytes. An empty frame says that its
//! sender is there.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

/// Bytes of a peer, with the room that they take up in its budget until they are dropped.
#[derive(Debug)]
pub struct Frame {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Frame {
    pub(crate) fn new(bytes: Bytes, room: OwnedSemaphorePermit) -> Self {
        Self { bytes, _room: room }
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes; their room is free again.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

/// What a frame counts for: its bytes, and what it costs to have it at all.
pub(super) fn weight(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_add(64)
}

/// Reads one frame of at most `limit` bytes.
///
/// Memory grows with what has come, not with what the length promises.
pub(super) async fn read<R>(from: &mut R, limit: usize) -> io::Result<Bytes>
where
    R: AsyncRead + Unpin,
{
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length);
    if length as usize > limit {
        let what = format!("a frame of {length} bytes, at most {limit} are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut bytes = Vec::new();
    let found = from.take(u64::from(length)).read_to_end(&mut bytes).await?;
    if found < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes.into())
}

/// Appends a frame that fits.
pub(super) fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends the length that stands before a frame.
pub(super) fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("the limits of frames are below 2^32");
    out.extend_from_slice(&length.to_be_bytes());
}

/// How much is written before it is looked at whether anything moves.
const CHUNK: usize = 64 << 10;

/// Writes all bytes, as long as some of them are taken within every `stall`.
pub(super) async fn write<W>(to: &mut W, bytes: &[u8], stall: Duration) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    for chunk in bytes.chunks(CHUNK) {
        timeout(stall, to.write_all(chunk)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
    Ok(())
}

/// Pushes out what has been written.
pub(super) async fn flush<W>(to: &mut W, stall: Duration) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    timeout(stall, to.flush()).await.map_err(|_| io::ErrorKind::TimedOut)?
}

#[cfg(test)]
mod tests {
    use libp2p::futures::executor::block_on;
    use libp2p::futures::io::Cursor;

    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut bytes = Vec::new();
        for frame in [&b"one"[..], b"", b"three"] {
            put(&mut bytes, frame);
        }
        let mut from = Cursor::new(bytes);
        for frame in [&b"one"[..], b"", b"three"] {
            assert_eq!(block_on(read(&mut from, 5)).unwrap(), frame);
        }
        assert_eq!(block_on(read(&mut from, 5)).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_it_is_read() {
        let mut from = Cursor::new([0, 0, 0, 6, 1].to_vec());
        assert_eq!(block_on(read(&mut from, 5)).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(from.position(), 4);
    }

    #[test]
    fn a_frame_that_breaks_off_is_no_frame() {
        let mut from = Cursor::new([0, 0, 0, 5, 1, 2].to_vec());
        assert_eq!(block_on(read(&mut from, 5)).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
