//! As much of gRPC as etcd needs: one message each way, and a status behind it.

use std::io;
use std::net::SocketAddr;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;

use super::Asked;
use crate::protobuf;
use crate::work::Kind;

/// How many clients share a connection.
pub(super) const SHARE: usize = 10;
/// Bytes before a message: whether it is compressed, and its length.
const FRAME: usize = 5;
/// The field of the keys and values in what is said of a range.
const PAIRS: u8 = 2;

/// A connection that several clients use.
pub(super) struct Shared(SendRequest<Bytes>);

/// One of them.
pub(crate) struct Grpc(SendRequest<Bytes>);

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(error.to_string())
}

impl Shared {
    /// Connects to a node.
    pub(super) async fn open(node: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(node).await?;
        stream.set_nodelay(true)?;
        let (send, connection) = h2::client::handshake(stream).await.map_err(failed)?;
        // It ends when nobody has a part of it any more.
        tokio::spawn(connection);
        Ok(Self(send))
    }

    /// One more client of it.
    pub(super) fn client(&self) -> Grpc {
        Grpc(self.0.clone())
    }
}

/// What etcd calls it.
const fn method(kind: Kind) -> &'static str {
    match kind {
        Kind::Writes | Kind::Hot => "Put",
        Kind::Batches | Kind::Operations => "Txn",
        Kind::Reads | Kind::Local => "Range",
    }
}

impl Grpc {
    pub(super) async fn ask(&mut self, kind: Kind, message: &Bytes) -> io::Result<Asked> {
        let request = Request::post(format!("http://node/etcdserverpb.KV/{}", method(kind)))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(failed)?;
        let mut framed = BytesMut::with_capacity(message.len() + FRAME);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).map_err(failed)?);
        framed.put_slice(message);
        let mut ready = self.0.clone().ready().await.map_err(failed)?;
        let (answer, mut send) = ready.send_request(request, false).map_err(failed)?;
        send.send_data(framed.freeze(), true).map_err(failed)?;
        let answer = answer.await.map_err(failed)?;
        // Without a body the status stands in the head.
        let early = answer.headers().get("grpc-status").cloned();
        let mut body = answer.into_body();
        let mut received = BytesMut::new();
        while let Some(part) = body.data().await {
            let part = part.map_err(failed)?;
            body.flow_control().release_capacity(part.len()).map_err(failed)?;
            received.put_slice(&part);
        }
        let trailers = body.trailers().await.map_err(failed)?;
        let status = early.or_else(|| trailers?.get("grpc-status").cloned());
        if status.as_ref().is_none_or(|status| status.as_bytes() != b"0") {
            return Ok(Asked::not(format!("status {status:?}"), &received));
        }
        // What is said of a range of nothing has a header, which is a field as well, and no pair.
        let message = received.get(FRAME..).unwrap_or_default();
        let found = kind.writes() || protobuf::found(PAIRS, message).is_some();
        Ok(if found { Asked::Done } else { Asked::not("no value", &received) })
    }
}
