//! Connections to what is measured, one request after the other on each.

mod grpc;
mod http;
pub(crate) mod nats;

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::work::{Kind, System, is_done, is_put_off};

pub(crate) use http::Http;

/// A connection to a node of some system.
pub(crate) enum Connection {
    /// To Quorate.
    Quorate(Http),
    /// To etcd.
    Etcd(grpc::Grpc),
    /// To NATS.
    Nats(nats::Nats),
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it was done.
    Done,
    /// There is no room now, or nobody knows yet what becomes of it.
    Later,
    /// It was not done, as the answer says.
    Not(String),
}

impl Asked {
    fn not(what: impl std::fmt::Display, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(500)]);
        Self::Not(format!("{what}: {text}"))
    }
}

/// Opens so many connections. Of etcd ten clients share one, as its own benchmark has it.
pub(crate) async fn open(
    system: System,
    nodes: impl IntoIterator<Item = SocketAddr>,
) -> io::Result<Vec<Connection>> {
    let mut open = Vec::new();
    let mut shared: Vec<grpc::Shared> = Vec::new();
    for (number, node) in nodes.into_iter().enumerate() {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{node}: {error}"));
        open.push(match system {
            System::Quorate => Connection::Quorate(Http::open(node).await.map_err(named)?),
            System::Nats => Connection::Nats(nats::Nats::open(node).await.map_err(named)?),
            System::Etcd => {
                if number % grpc::SHARE == 0 {
                    shared.push(grpc::Shared::open(node).await.map_err(named)?);
                }
                Connection::Etcd(shared[shared.len() - 1].client())
            }
        });
    }
    Ok(open)
}

impl Connection {
    /// Sends a request and waits for what comes of it.
    pub(crate) async fn ask(&mut self, kind: Kind, request: &Bytes) -> io::Result<Asked> {
        match self {
            Self::Quorate(http) => {
                let answer = http.ask(request).await?;
                let (status, body) = (answer.status, &answer.body);
                Ok(if is_done(kind, status, body) {
                    Asked::Done
                } else if is_put_off(kind, status, body) {
                    Asked::Later
                } else {
                    Asked::not(format!("status {status}"), body)
                })
            }
            Self::Etcd(grpc) => grpc.ask(kind, request).await,
            Self::Nats(nats) => nats.ask(request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn where_nobody_listens_is_said_with_its_address() {
        // Nobody has spoken this port's protocol for decades.
        let node = (Ipv4Addr::LOCALHOST, 1).into();
        for system in [System::Quorate, System::Etcd, System::Nats] {
            let error = open(system, [node]).await.map(drop).unwrap_err();
            assert!(error.to_string().starts_with("127.0.0.1:1: "), "{error}");
        }
    }
}
