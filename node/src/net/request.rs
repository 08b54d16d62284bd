//! Requests and answers as libp2p's request-response wants them: a frame each.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use libp2p::StreamProtocol;
use libp2p::futures::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::{self, ProtocolSupport};

use super::config::Config;
use super::{frame, greet};

/// What a request and an answer may measure.
#[derive(Clone, Debug)]
pub(super) struct Codec {
    request_bytes: usize,
    answer_bytes: usize,
    stall: Duration,
}

pub(super) type Behaviour = request_response::Behaviour<Codec>;

pub(super) fn behaviour(config: &Config) -> Behaviour {
    let codec = Codec {
        request_bytes: config.request_bytes,
        answer_bytes: config.answer_bytes,
        stall: config.dead_after,
    };
    let protocol = greet::named(config.chain_id, "request");
    let settings = request_response::Config::default()
        .with_request_timeout(config.request_timeout)
        .with_max_concurrent_streams(config.requests);
    Behaviour::with_codec(codec, [(protocol, ProtocolSupport::Full)], settings)
}

async fn write<W>(to: &mut W, bytes: &[u8], stall: Duration) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let mut length = Vec::with_capacity(4);
    frame::put_length(&mut length, bytes.len());
    frame::write(to, &length, stall).await?;
    frame::write(to, bytes, stall).await?;
    to.close().await
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        frame::read(io, self.request_bytes).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes>
    where
        T: AsyncRead + Unpin + Send,
    {
        frame::read(io, self.answer_bytes).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &bytes, self.stall).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        bytes: Bytes,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &bytes, self.stall).await
    }
}
