//! Clients, and how long each request takes them.
//!
//! In a closed loop each client has one request under way and sends the next when that is answered. At a fixed rate
//! requests have a time at which they are due; how long one takes counts from then, so a node that is late once is not
//! forgiven for what had to wait (coordinated omission).
//!
//! The timer that waits for that time counts whole milliseconds: up to one of a latency at a fixed rate is the client's own,
//! for all systems alike.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use quorate_node::exit::{Exit, Failure};
use tokio::task::JoinSet;

use crate::connection::{self, Asked, Connection};
use crate::work::{Kind, System};

/// The longest time that is told from longer ones.
const LONGEST_US: u64 = 600_000_000;
/// How long a client waits that was told to come again later: twice as long each time.
const REST: Duration = Duration::from_millis(5);
/// At most so long.
const LONGEST_REST: Duration = Duration::from_millis(640);
/// When it gives up: nodes wait up to a minute for what becomes of a write.
const PATIENCE: Duration = Duration::from_secs(180);

/// What one client does, in order.
pub(crate) struct Client {
    /// Which node it asks.
    pub(crate) node: SocketAddr,
    /// What it asks.
    pub(crate) requests: Vec<Bytes>,
}

/// How it went.
pub(crate) struct Run {
    /// From the first request to the last answer.
    pub(crate) time: Duration,
    /// How long requests took, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// How often a client was told to come again later.
    pub(crate) put_off: u64,
}

/// What one client has seen.
#[derive(Default)]
struct Seen {
    took: Vec<Duration>,
    put_off: u64,
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::NoNode, format!("a client of the benchmark: {error}"))
}

/// Asks until it is done; the same bytes again, if the node has no room now, or cannot say what has become of them.
async fn asked(
    connection: &mut Connection,
    kind: Kind,
    request: &Bytes,
    seen: &mut Seen,
) -> io::Result<()> {
    let (begin, mut rest) = (Instant::now(), REST);
    while begin.elapsed() < PATIENCE {
        match connection.ask(kind, request).await? {
            Asked::Done => return Ok(()),
            Asked::Not(why) => return Err(io::Error::other(why)),
            Asked::Later => seen.put_off += 1,
        }
        tokio::time::sleep(rest).await;
        rest = (2 * rest).min(LONGEST_REST);
    }
    Err(io::Error::other(format!(
        "a node had no room, or no outcome, for {} s",
        PATIENCE.as_secs()
    )))
}

/// Each client with a connection.
async fn ready(
    system: System,
    clients: Vec<Client>,
) -> Result<Vec<(Connection, Vec<Bytes>)>, Failure> {
    let nodes: Vec<_> = clients.iter().map(|client| client.node).collect();
    let open = connection::open(system, nodes).await.map_err(failed)?;
    Ok(open.into_iter().zip(clients.into_iter().map(|client| client.requests)).collect())
}

/// All clients at once, each in a closed loop.
pub(crate) async fn closed(
    system: System,
    kind: Kind,
    clients: Vec<Client>,
) -> Result<Run, Failure> {
    let open = ready(system, clients).await?;
    let begin = Instant::now();
    let mut working = JoinSet::new();
    for (mut connection, requests) in open {
        working.spawn(async move {
            let mut seen = Seen::default();
            for request in &requests {
                let sent = Instant::now();
                asked(&mut connection, kind, request, &mut seen).await?;
                seen.took.push(sent.elapsed());
            }
            Ok(seen)
        });
    }
    together(begin, working).await
}

/// So many requests a second, whatever becomes of those before; each client has its share.
pub(crate) async fn open(
    system: System,
    kind: Kind,
    clients: Vec<Client>,
    rate: u64,
) -> Result<Run, Failure> {
    let count = u32::try_from(clients.len()).unwrap_or(u32::MAX);
    let each = Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX).max(1);
    let ready = ready(system, clients).await?;
    let begin = Instant::now();
    let mut working = JoinSet::new();
    for (number, (mut connection, requests)) in (0_u32..).zip(ready) {
        working.spawn(async move {
            let mut seen = Seen::default();
            for (turn, request) in (0_u32..).zip(&requests) {
                let due = begin + each * (turn * count + number);
                tokio::time::sleep_until(due.into()).await;
                asked(&mut connection, kind, request, &mut seen).await?;
                seen.took.push(due.elapsed());
            }
            Ok(seen)
        });
    }
    together(begin, working).await
}

async fn together(begin: Instant, mut working: JoinSet<io::Result<Seen>>) -> Result<Run, Failure> {
    let bug = |error: &dyn std::fmt::Display| Failure::new(Exit::Bug, error);
    let mut latency = Histogram::new_with_bounds(1, LONGEST_US, 3).map_err(|error| bug(&error))?;
    let mut put_off = 0;
    while let Some(client) = working.join_next().await {
        let seen = client.map_err(|error| bug(&error))?.map_err(failed)?;
        for took in seen.took {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            latency.saturating_record(micros.max(1));
        }
        put_off += seen.put_off;
    }
    Ok(Run { time: begin.elapsed(), latency, put_off })
}
