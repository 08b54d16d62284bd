//! Whether the nodes of a testnet can do what they are for.

use std::thread;
use std::time::{Duration, Instant};

use quorate_chain::ids::NodeId;
use quorate_client::answer::Status;
use quorate_client::{Client, TestnetNode};
use quorate_node::exit::{Exit, Failure};

use super::group::Group;

/// How often nodes are asked.
const PAUSE: Duration = Duration::from_millis(30);
/// How long a node may take to say how it fares.
const ANSWER: Duration = Duration::from_millis(700);

/// Waits until every node says that it is ready and all name one leader.
pub(super) fn wait(group: &Group, timeout: Duration) -> Result<(), Failure> {
    let end = Instant::now() + timeout;
    loop {
        let nodes = group.testnet().nodes;
        let ready = all(&nodes, |client| client.body("/readyz").ok());
        let missing: Vec<_> =
            nodes.iter().zip(&ready).filter(|(_, ready)| ready.is_none()).collect();
        if missing.is_empty() && leader(&statuses(&nodes)).is_some() {
            return Ok(());
        }
        if group.is_ending() {
            return Ok(());
        }
        if let Some(failure) = group.casualty() {
            return Err(failure);
        }
        if Instant::now() > end {
            let names: Vec<_> = missing.iter().map(|(node, _)| node.name.as_str()).collect();
            let what = if names.is_empty() {
                "the nodes do not name one leader".to_owned()
            } else {
                format!("not ready: {}", names.join(", "))
            };
            let sentence = format!("after {} s {what}", timeout.as_secs());
            return Err(Failure::new(Exit::NoQuorum, sentence));
        }
        thread::sleep(PAUSE);
    }
}

/// How each node fares; `None` if it does not say.
pub(crate) fn statuses(nodes: &[TestnetNode]) -> Vec<Option<Status>> {
    all(nodes, |client| client.status().ok())
}

/// Asks all nodes at the same time.
pub(crate) fn all<T: Send>(
    nodes: &[TestnetNode],
    ask: impl Fn(&Client) -> Option<T> + Sync,
) -> Vec<Option<T>> {
    thread::scope(|scope| {
        let one = |node: &TestnetNode| {
            let client = Client::new(&node.api).ok().map(|client| client.with_timeout(ANSWER));
            let ask = &ask;
            scope.spawn(move || client.as_ref().and_then(ask))
        };
        let asked: Vec<_> = nodes.iter().map(one).collect();
        asked.into_iter().map(|answer| answer.join().ok().flatten()).collect()
    })
}

/// The leader that all of them name, at one term.
pub(crate) fn leader(statuses: &[Option<Status>]) -> Option<NodeId> {
    let mut named = statuses.iter().map(|status| {
        let status = status.as_ref()?;
        Some((status.leader?, status.term))
    });
    let first = named.next()??;
    named.all(|other| other == Some(first)).then_some(first.0)
}
