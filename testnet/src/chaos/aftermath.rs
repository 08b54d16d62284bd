//! What is left when all is mended: whether the nodes agree and go on, and what they hold.
//!
//! Only those are asked that are alive; of the others it was noted that they did not come back. That the nodes do
//! not agree is no reason not to look at what they hold.

use std::thread;
use std::time::{Duration, Instant};

use quorate_chain::ids::Height;
use quorate_client::{Client, KeyFile, Level, Testnet, TestnetNode, Wait};
use quorate_node::exit::Failure;

use super::history::{History, Holdings};
use super::violation::Violation;
use super::{Run, watch};
use crate::supervisor::{leader, statuses};

/// How long the nodes may take to agree when all is well again: far longer than they need on any machine.
const MENDED: Duration = Duration::from_secs(120);
/// How often they are asked.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until all these nodes name one leader and their heights are as they should be.
pub(super) fn agreed(
    nodes: &[TestnetNode],
    heights_are: impl Fn(&[Option<Height>]) -> bool,
) -> bool {
    let end = Instant::now() + MENDED;
    while Instant::now() < end {
        let statuses = statuses(nodes);
        let heights: Vec<_> =
            statuses.iter().map(|status| status.as_ref().map(|status| status.applied)).collect();
        if leader(&statuses).is_some() && heights_are(&heights) {
            return true;
        }
        thread::sleep(PAUSE);
    }
    false
}

/// Waits until all these nodes have come to one height.
pub(super) fn are_equal(nodes: &[TestnetNode]) -> bool {
    agreed(nodes, |heights| heights.iter().all(|height| height.is_some() && height == &heights[0]))
}

/// Whether one more transaction is acknowledged.
pub(super) fn one_more(testnet: &Testnet) -> bool {
    let key = testnet.keys.get("alice").and_then(|path| KeyFile::read(path).ok());
    let client = Client::new(&testnet.nodes()).ok();
    let Some((key, client)) = key.zip(client) else { return false };
    let wait = Wait { level: Level::Applied, timeout: Duration::from_secs(60) };
    client.account(key.into_secret()).waiting(wait).update("chaos/over", "yes").is_ok()
}

/// What the nodes hold, with what has happened, and what is wrong at first sight.
///
/// A transaction in doubt may come to the chain as late as now, so the states are read first, and then the chain
/// as far as any of them reaches. If no node can be sure of anything, there is no chain to judge by.
pub(super) fn gather(
    nodes: &[TestnetNode],
    from: Height,
    prefix: &str,
    run: &Run,
) -> (Option<History>, Vec<Violation>) {
    let mut wrong = Vec::new();
    if run.agreed.is_none() {
        let what = format!("{} s after all was mended the nodes had not agreed", MENDED.as_secs());
        wrong.push(Violation::NoProgress(what));
    }
    let mut silent = |node: &TestnetNode, failure: Failure| {
        wrong.push(Violation::NoProgress(format!(
            "{} does not say what it holds: {failure}",
            node.name
        )));
    };
    let mut states = Vec::new();
    for node in nodes {
        match watch::entries(node, prefix) {
            Ok((entries, as_of)) => states.push((node.clone(), entries, as_of)),
            Err(failure) => silent(node, failure),
        }
    }
    let top = states.iter().map(|(.., as_of)| *as_of).max().unwrap_or(from);
    let heights = (from.max(Height::new(1)), top);
    let sure: Vec<_> = states.iter().map(|(node, ..)| node.clone()).collect();
    let reach = |height: &Option<Height>| height.is_some_and(|height| height >= top);
    // If some stay behind, one that is not has the chain.
    let all_reach = run.agreed.is_some() && agreed(&sure, |heights| heights.iter().all(reach));
    let able = if all_reach { sure } else { at_the_top(&states) };
    if able.is_empty() {
        return (None, wrong);
    }
    let chain = match watch::chain(&able, heights, prefix) {
        Ok(chain) => chain,
        Err(failure) => {
            silent(&able[0], failure);
            return (None, wrong);
        }
    };
    let mut holdings = Vec::new();
    for (node, entries, as_of) in states {
        match watch::hashes(&node, heights) {
            Ok(blocks) => holdings.push(Holdings { node: node.node_id, blocks, entries, as_of }),
            Err(failure) => silent(&node, failure),
        }
    }
    let (operations, sightings) = (run.operations.clone(), run.sightings.clone());
    (Some(History { operations, sightings, chain, holdings }), wrong)
}

/// One of the nodes that came highest.
fn at_the_top<T>(states: &[(TestnetNode, T, Height)]) -> Vec<TestnetNode> {
    let highest = states.iter().max_by_key(|(.., as_of)| *as_of);
    highest.map(|(node, ..)| node.clone()).into_iter().collect()
}

/// What the nodes have said so far, in bytes.
pub(super) fn logs(testnet: &Testnet) -> Vec<usize> {
    let length = |node: &TestnetNode| std::fs::read(&node.log).map_or(0, |text| text.len());
    testnet.nodes.iter().map(length).collect()
}

/// Nodes whose log says, after what they had said before, that they were wrong themselves.
pub(super) fn panics(testnet: &Testnet, before: &[usize]) -> Vec<Violation> {
    let mut found = Vec::new();
    for (node, before) in testnet.nodes.iter().zip(before) {
        let text = std::fs::read(&node.log).unwrap_or_default();
        let text = String::from_utf8_lossy(text.get(*before..).unwrap_or_default());
        for line in text.lines().filter(|line| line.contains("panicked at")) {
            let (name, what) = (node.name.clone(), line.trim().to_owned());
            found.push(Violation::Casualty { name, at: 0, what });
        }
    }
    found
}
