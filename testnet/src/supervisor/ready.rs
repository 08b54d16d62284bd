//! Whether the nodes of a testnet can do what they are for.

use std::thread;
use std::time::{Duration, Instant};

use quorate_chain::ids::NodeId;
use quorate_client::answer::Status;
use quorate_client::{Client, TestnetNode};
use quorate_node::exit::{Exit, Failure};

use super::Start;
use super::group::Group;
use super::handover::among;

/// How often nodes are asked.
const PAUSE: Duration = Duration::from_millis(30);
/// How long a node may take to say how it fares.
const ANSWER: Duration = Duration::from_millis(700);

/// How long a leader may take at a time to hand over to the one that should lead first.
const HANDOVER: Duration = Duration::from_secs(2);

/// Waits until every node says that it is ready and all name one leader: the one that should lead first, if there is
/// one. Whoever else was elected hands over to it.
pub(super) fn wait(group: &Group, start: &Start) -> Result<(), Failure> {
    let end = Instant::now() + start.timeout;
    loop {
        let testnet = group.testnet();
        let nodes = &testnet.nodes;
        let ready = all(nodes, |client| client.body("/readyz").ok());
        let missing: Vec<_> =
            nodes.iter().zip(&ready).filter(|(_, ready)| ready.is_none()).collect();
        let leads = leader(&statuses(nodes)).filter(|_| missing.is_empty());
        let first = start.first.and_then(|first| Some((first, nodes.get(usize::from(first))?)));
        let other = first.filter(|(_, first)| leads.is_some_and(|leads| leads != first.node_id));
        if leads.is_some() && other.is_none() || group.is_ending() {
            return Ok(());
        }
        if let Some(failure) = group.casualty() {
            return Err(failure);
        }
        // A leader that is elected while the others still start may be another one at once.
        let refused = other.and_then(|(first, _)| among(&testnet, first, HANDOVER).err());
        if Instant::now() > end {
            let names: Vec<_> = missing.iter().map(|(node, _)| node.name.as_str()).collect();
            let what = match (other, refused) {
                _ if !names.is_empty() => format!("not ready: {}", names.join(", ")),
                (Some((_, first)), Some(why)) => {
                    format!("{} does not lead: {}", first.name, why.sentence)
                }
                _ => "the nodes do not name one leader".to_owned(),
            };
            let sentence = format!("after {} s {what}", start.timeout.as_secs());
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
