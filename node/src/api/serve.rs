//! The loop that accepts connections. It is our own because what is at the other end may be slow on
//! purpose: the head of a request has a time limit, so has an answer that is not read, and connections
//! have a number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::stream::Impatient;
use crate::threads::{Ending, task};

/// How long to wait when the operating system gives no more connections.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most connections at a time.
    pub(crate) connections: usize,
    /// How long the head of a request may take.
    pub(crate) header_timeout: Duration,
    /// How long nothing at all of an answer may be read.
    pub(crate) write_timeout: Duration,
}

/// What serves clients.
pub(crate) struct Server {
    address: SocketAddr,
    close: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Begins to serve.
    ///
    /// # Errors
    /// If the listener does not know its address.
    pub(super) fn start(
        listener: TcpListener,
        router: Router,
        bounds: Bounds,
        ending: &Arc<Ending>,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (close, closing) = watch::channel(false);
        let task = task("server", ending, accept(listener, router, bounds, closing));
        Ok(Self { address, close, task })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and waits for those that are open to get their answers, at most so
    /// long.
    pub(crate) async fn close(self, patience: Duration) {
        let _ = self.close.send(true);
        let mut task = self.task;
        if tokio::time::timeout(patience, &mut task).await.is_err() {
            task.abort();
        }
    }

    /// Cuts all connections.
    pub(crate) fn abort(&self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    mut closing: watch::Receiver<bool>,
) {
    let permits = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    // Telling HTTP/1 from HTTP/2 would wait for the first bytes as long as a client likes.
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(bounds.header_timeout);
    // When this task is aborted its connections are, too.
    let mut open = tokio::task::JoinSet::new();
    loop {
        let arrived = async {
            let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        let arrived = tokio::select! {
            arrived = arrived => arrived,
            _ = closing.changed() => break,
            Some(_) = open.join_next() => continue,
        };
        let Some((permit, accepted)) = arrived else { break };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "no connection could be accepted");
                tokio::time::sleep(EXHAUSTED).await;
                continue;
            }
        };
        // Small answers leave at once.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let stream = TokioIo::new(Impatient::new(stream, bounds.write_timeout));
        let connection = builder.serve_connection(stream, service).into_owned();
        let connection = graceful.watch(connection);
        open.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection of a client has ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
