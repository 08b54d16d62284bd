//! `HOME/admin.sock`: what only the operator of this very node may do. Whoever can open the socket is
//! the operator, so it is 0600, and none of this is served over TCP.
//!
//! One line of JSON each way: an [`Order`], and what came of it.
//!
//! Left out: what concerns the chain. That is signed, and goes the way of all clients.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quorate_chain::ids::NodeId;
use quorate_chain::roster::Lead;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::api::Ledger;
use crate::exit::{Exit, Failure};
use crate::home::Layout;
use crate::telemetry;
use crate::threads;

/// The longest order.
const LONGEST: u64 = 4_096;
/// How long an order may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before the next connection when none could be accepted.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How long an order may take to be done.
const LONG: Duration = Duration::from_secs(60);

/// What a node can be told by its operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Hand leadership over.
    TransferLeader {
        /// To whom; to the best candidate if nobody is named.
        to: Option<NodeId>,
        /// How long to wait until somebody else leads, in milliseconds.
        patience_ms: u64,
    },
    /// Want to lead, or not, until the process ends.
    Lead {
        /// How much.
        lead: Lead,
    },
    /// Tell more or less on standard error.
    LogLevel {
        /// `error`, `warn`, `info`, `debug` or `trace`.
        level: String,
    },
}

impl Order {
    /// How long it may take.
    fn patience(&self) -> Duration {
        match self {
            Self::TransferLeader { patience_ms, .. } => {
                Duration::from_millis(*patience_ms).min(LONG)
            }
            Self::Lead { .. } | Self::LogLevel { .. } => Duration::ZERO,
        }
    }
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Who leads now, as far as the node knows.
    pub leader: Option<NodeId>,
    /// Why it was not done, with the exit code that goes with it.
    pub failure: Option<(u8, String)>,
}

/// The open socket. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
        // Without it nobody can give orders, and nobody is there to take them.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Opens the socket of a home that this process has locked. A path that is too long for a socket is
/// no reason not to run.
pub(crate) fn open(layout: &Layout, ledger: &Arc<Ledger>) -> Option<Socket> {
    let path = layout.admin();
    match bind(layout, &path) {
        Ok(listener) => {
            let accept = accept(listener, Arc::clone(ledger));
            let task = threads::task("operator's socket", &ledger.ending, accept);
            Some(Socket { path, task })
        }
        Err(error) => {
            warn!(%error, path = %path.display(), "no socket for the operator");
            None
        }
    }
}

/// Nobody else may open it, at no moment: it gets its rights where nobody else can go, and its name
/// after that.
fn bind(layout: &Layout, path: &Path) -> io::Result<UnixListener> {
    let hidden = layout.root().join("keys").join("admin.tmp");
    for old in [&hidden, path] {
        match std::fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind(&hidden)?;
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&hidden, path)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, ledger: Arc<Ledger>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No file is left to open, for instance; the operator is heard again when one is.
            tokio::time::sleep(EXHAUSTED).await;
            continue;
        };
        let ledger = Arc::clone(&ledger);
        tokio::spawn(async move {
            let (reader, mut writer) = stream.into_split();
            let mut line = String::new();
            let mut reader = tokio::io::BufReader::new(reader).take(LONGEST);
            let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await;
            let order = match read {
                Ok(Ok(_)) => serde_json::from_str(&line),
                // Who says nothing gets no answer.
                Ok(Err(_)) | Err(_) => return,
            };
            let failure = match order {
                Ok(order) => obey(&ledger, order).await.err(),
                Err(error) => Some(Failure::new(Exit::Usage, error)),
            };
            let failure = failure.map(|why| (why.exit.code(), why.sentence));
            let leader = ledger.view.borrow().status.leader;
            if let Ok(mut line) = serde_json::to_string(&Done { leader, failure }) {
                line.push('\n');
                // Who does not wait for the answer does not want it.
                let _ = writer.write_all(line.as_bytes()).await;
            }
        });
    }
}

async fn obey(ledger: &Ledger, order: Order) -> Result<(), Failure> {
    info!(?order, "the operator says");
    match order {
        Order::TransferLeader { to, patience_ms } => {
            let patience = Duration::from_millis(patience_ms).min(LONG);
            ledger.transfer(to, patience).await
        }
        Order::Lead { lead } => {
            ledger.want_to_lead(lead);
            Ok(())
        }
        Order::LogLevel { level } => {
            let level = level.parse().map_err(|_| {
                Failure::new(Exit::Usage, format!("`{level}` is no level of telling"))
            })?;
            telemetry::set_level(level);
            Ok(())
        }
    }
}

/// Gives an order to the node of a home.
///
/// # Errors
/// If no node runs there, or it did not do it.
pub fn order(layout: &Layout, order: &Order) -> Result<Done, Failure> {
    let path = layout.admin();
    let nobody = |error: io::Error| {
        Failure::new(Exit::NoNode, format!("no node can be told at {}: {error}", path.display()))
    };
    let mut stream = UnixStream::connect(&path).map_err(nobody)?;
    stream.set_read_timeout(Some(order.patience() + PATIENCE)).map_err(nobody)?;
    let line = serde_json::to_string(order).map_err(|error| Failure::new(Exit::Bug, error))?;
    writeln!(stream, "{line}").map_err(nobody)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(nobody)?;
    serde_json::from_str(&line).map_err(|error| {
        Failure::new(Exit::NoNode, format!("the node gave no answer that can be read: {error}"))
    })
}
