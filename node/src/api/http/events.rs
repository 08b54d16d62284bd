//! Server-sent events: the chain as it grows, or from any height on.
//!
//! Nothing is kept for a client. What it has not read yet is read from the store when it is ready for
//! it, so a slow client costs no more than a fast one, and misses nothing; it only lags. All events
//! of a height have that height as their `id`, and come in one order, always the same: whoever is
//! cut off in the middle asks for that height again and skips what it has. A node that is asked to stop ends the
//! answer between two heights.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use futures_core::Stream;
use quorate_chain::ids::Height;
use quorate_client::problem::Code;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::super::events::{Event, Topics};
use super::super::ledger::{Answered, Ledger};
use super::super::problem::{bad_request, problem};
use super::{Queried, Reply, Shared, from_base64, query};

/// How often a client without news hears that the line is open.
const COMMENT: Duration = Duration::from_secs(15);
/// How often it is looked who is there.
const PRESENCE: Duration = Duration::from_millis(200);
/// About how many bytes are sent at a time.
const CHUNK: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    topics: Option<String>,
    prefix: Option<String>,
    prefix_base64: Option<String>,
    from: Option<u64>,
}

impl EventsQuery {
    fn topics(&self) -> Answered<Topics> {
        let prefix = match (&self.prefix, &self.prefix_base64) {
            (Some(_), Some(_)) => return Err(bad_request("the prefix is named twice")),
            (Some(text), None) => Bytes::from(text.clone()),
            (None, Some(text)) => from_base64(text)?,
            (None, None) => Bytes::new(),
        };
        let named = self.topics.as_deref().unwrap_or("block,leadership,state,peer");
        Topics::read(named, prefix).map_err(|unknown| {
            let known = "block, leadership, state and peer";
            bad_request(format!("there is no topic `{unknown}`; there are {known}"))
        })
    }

    /// Where the events begin: behind the last one that the client has, or where it says, or with
    /// the next block.
    fn from(&self, headers: &HeaderMap, latest: Height) -> Answered<Height> {
        let last = headers.get("last-event-id").map(|id| {
            let id = id.to_str().ok().and_then(|id| id.trim().parse::<u64>().ok());
            id.ok_or_else(|| bad_request("Last-Event-ID is no height"))
        });
        let behind = |height: u64| Height::new(height.saturating_add(1));
        let from = match (last.transpose()?, self.from) {
            (Some(last), _) => behind(last),
            (None, Some(from)) => Height::new(from),
            (None, None) => behind(latest.get()),
        };
        Ok(from.max(Height::new(1)))
    }
}

pub(super) async fn events(
    State(ledger): Shared,
    headers: HeaderMap,
    wanted: Queried<EventsQuery>,
) -> Reply {
    let wanted = query(wanted)?;
    let topics = wanted.topics()?;
    let from = wanted.from(&headers, ledger.latest())?;
    if from <= ledger.latest() && topics.are_of_the_chain() {
        // Whoever asks for what is not kept hears it at once.
        ledger.block_at(from).await?;
    }
    let permit = Arc::clone(&ledger.subscribers).try_acquire_owned().map_err(|_| {
        problem(Code::RateLimited, "as many clients as this node allows hear its events already")
    })?;
    let (chunks, waiting) = mpsc::channel(1);
    let feed = Feed { ledger, topics, next: from, chunks, permit };
    tokio::spawn(feed.run());
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::OK, kind, Body::from_stream(Chunks(waiting))).into_response())
}

/// The body of the answer.
struct Chunks(mpsc::Receiver<Bytes>);

impl Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

/// Who writes the body.
struct Feed {
    ledger: Arc<Ledger>,
    topics: Topics,
    next: Height,
    chunks: mpsc::Sender<Bytes>,
    permit: OwnedSemaphorePermit,
}

/// The client has gone away, or the node is about to.
struct Over;

fn write(event: &Event, id: Option<Height>, out: &mut Vec<u8>) {
    let data = serde_json::to_string(event).expect("an event has a JSON form");
    let id = id.map_or_else(String::new, |id| format!("id: {id}\n"));
    out.extend_from_slice(format!("event: {}\n{id}data: {data}\n\n", event.topic()).as_bytes());
}

impl Feed {
    async fn run(mut self) {
        // An error is the end of it, whoever has ended it.
        let _over = self.feed().await;
        drop(self.permit);
    }

    async fn feed(&mut self) -> Result<(), Over> {
        let mut view = self.ledger.view.clone();
        let (ending, ledger) = (Arc::clone(&self.ledger.ending), Arc::clone(&self.ledger));
        let (mut comment, mut presence) = (interval(COMMENT), interval(PRESENCE));
        comment.set_missed_tick_behavior(MissedTickBehavior::Delay);
        presence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = BTreeMap::new();
        let chain = self.topics.are_of_the_chain();
        loop {
            let next = self.next;
            let grown = async {
                let grown = view.wait_for(|view| view.status.applied.height >= next).await;
                grown.map(|view| view.status.applied.height)
            };
            let latest = tokio::select! {
                () = self.chunks.closed() => return Err(Over),
                _ = ending.wait() => return Err(Over),
                () = ledger.is_asked_to_leave() => return Err(Over),
                latest = grown, if chain => latest.map_err(|_| Over)?,
                _ = comment.tick() => {
                    self.send(b":\n\n".to_vec()).await?;
                    continue;
                }
                _ = presence.tick(), if self.topics.peer => {
                    self.presence(&mut seen).await?;
                    continue;
                }
            };
            while self.next <= latest {
                self.height().await?;
            }
        }
    }

    async fn send(&self, chunk: Vec<u8>) -> Result<(), Over> {
        self.chunks.send(chunk.into()).await.map_err(|_| Over)
    }

    /// All events of the next height.
    async fn height(&mut self) -> Result<(), Over> {
        let events = match self.ledger.events_of(self.next, &self.topics).await {
            Ok(events) => events,
            Err(problem) => {
                let data = serde_json::to_string(&problem).expect("a problem has a JSON form");
                self.send(format!("event: problem\ndata: {data}\n\n").into_bytes()).await?;
                return Err(Over);
            }
        };
        let mut chunk = Vec::new();
        for event in &events {
            write(event, Some(self.next), &mut chunk);
            if chunk.len() >= CHUNK {
                self.send(std::mem::take(&mut chunk)).await?;
            }
        }
        if !chunk.is_empty() {
            self.send(chunk).await?;
        }
        self.next = self.next.next().ok_or(Over)?;
        Ok(())
    }

    /// Who has come or gone since it was looked last; at first, who is there.
    async fn presence(
        &self,
        seen: &mut BTreeMap<quorate_chain::ids::NodeId, &'static str>,
    ) -> Result<(), Over> {
        let mut chunk = Vec::new();
        for peer in self.ledger.status().peers {
            if seen.insert(peer.node_id, peer.state) != Some(peer.state) {
                let event = Event::Peer { node_id: peer.node_id, state: peer.state };
                write(&event, None, &mut chunk);
            }
        }
        if chunk.is_empty() { Ok(()) } else { self.send(chunk).await }
    }
}
