//! How a link begins. The dialer opens both lanes and names the link on each; the other names it back
//! when it has both. Only then is there a link, so neither end believes in half of one.
//!
//! `hello := u32 8 ‖ u64 generation`

use std::io;
use std::time::Duration;

use libp2p::futures::{AsyncRead, AsyncWriteExt as _};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::Control;
use quorate_chain::ids::ChainId;
use tokio::time::timeout;

use super::event::Lane;
use super::frame;
use super::shared::Generation;

/// The name of a lane to libp2p. It names the chain, so that nodes of two chains have no lane in common.
pub(super) fn protocol(chain_id: ChainId, lane: Lane) -> StreamProtocol {
    let lane = match lane {
        Lane::Control => "control",
        Lane::Blocks => "blocks",
    };
    named(chain_id, lane)
}

/// The name of a protocol of this chain.
pub(super) fn named(chain_id: ChainId, name: &str) -> StreamProtocol {
    let text = format!("/quorate/1/{chain_id}/{name}");
    StreamProtocol::try_from_owned(text).expect("the text begins with a slash")
}

pub(super) fn hello(generation: Generation) -> Vec<u8> {
    let mut out = Vec::with_capacity(12);
    frame::put(&mut out, &generation.0.to_be_bytes());
    out
}

async fn read_hello<R: AsyncRead + Unpin>(from: &mut R) -> io::Result<Generation> {
    let bytes = frame::read(from, 8).await?;
    let bytes = bytes.as_ref().try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(Generation(u64::from_be_bytes(bytes)))
}

/// Waits for the dialer's name of a link.
pub(super) async fn greeted(
    mut stream: Stream,
    patience: Duration,
) -> Option<(Generation, Stream)> {
    let generation = timeout(patience, read_hello(&mut stream)).await.ok()?.ok()?;
    Some((generation, stream))
}

/// Opens both lanes of a link, if the other agrees in time.
pub(super) async fn open(
    control: Control,
    peer: PeerId,
    chain_id: ChainId,
    generation: Generation,
    patience: Duration,
) -> Option<[Stream; 2]> {
    timeout(patience, open_patiently(control, peer, chain_id, generation)).await.ok()?.ok()
}

async fn open_patiently(
    mut control: Control,
    peer: PeerId,
    chain_id: ChainId,
    generation: Generation,
) -> io::Result<[Stream; 2]> {
    let mut streams = Vec::with_capacity(2);
    for lane in Lane::ALL {
        let opened = control.open_stream(peer, protocol(chain_id, lane)).await;
        let mut stream = opened.map_err(io::Error::other)?;
        stream.write_all(&hello(generation)).await?;
        stream.flush().await?;
        streams.push(stream);
    }
    for stream in &mut streams {
        if read_hello(stream).await? != generation {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    streams.try_into().map_err(|_| io::ErrorKind::Other.into())
}
