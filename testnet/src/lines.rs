//! The lines between the nodes of a testnet: one for each way from a node to another.
//!
//! A node looks for another at the beginning of its line to it, so whatever the two say to each other
//! passes there, whoever has called whom. What is wrong between nodes is of two kinds, each undone by itself:
//! they are *parted*, and a node is *slow*: whatever comes to it or from it takes longer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quorate_node::config::Config;
use quorate_node::exit::{Exit, Failure};

use crate::proxy::{Fault, Proxy};

/// The lines between all nodes of a testnet.
#[derive(Debug)]
pub(crate) struct Lines {
    ways: BTreeMap<(u16, u16), Proxy>,
    slow: Mutex<BTreeMap<u16, Slowness>>,
}

/// How slow a node is.
#[derive(Clone, Copy, Debug, Default)]
struct Slowness {
    delay: Duration,
    lost: u16,
}

impl Lines {
    /// Lines between nodes that are set like this, all good.
    pub(crate) async fn start(configs: &[Config]) -> Result<Self, Failure> {
        let mut ways = BTreeMap::new();
        for (to, config) in (0..).zip(configs) {
            let target = socket_address(&config.p2p_listen)?;
            for from in (0..).take(configs.len()).filter(|from| *from != to) {
                let line = Proxy::start(target).await;
                ways.insert((from, to), line.map_err(no_line)?);
            }
        }
        Ok(Self { ways, slow: Mutex::default() })
    }

    /// Where a node has to look for the others, in order, given where they are.
    pub(crate) fn through(&self, from: u16, peers: &[String]) -> Vec<String> {
        let others = (0..).filter(|to| *to != from);
        let begins = |(to, peer): (u16, &String)| {
            let id = peer.rsplit('/').next().unwrap_or_default();
            let line = self.ways[&(from, to)].address();
            format!("/ip4/{}/tcp/{}/p2p/{id}", line.ip(), line.port())
        };
        others.zip(peers).map(begins).collect()
    }

    /// Changes what is wrong between two nodes.
    pub(crate) fn both_ways(&self, one: u16, other: u16, change: impl Fn(&mut Fault)) {
        for way in [(one, other), (other, one)] {
            if let Some(line) = self.ways.get(&way) {
                line.change(&change);
            }
        }
    }

    /// Parts groups of nodes from each other, and joins each in itself. The nodes that are in none are one
    /// more group.
    pub(crate) fn part(&self, groups: &[BTreeSet<u16>]) {
        let group = |node: &u16| groups.iter().position(|group| group.contains(node));
        for ((from, to), line) in &self.ways {
            let cut = group(from) != group(to);
            line.change(|fault| fault.cut = cut);
        }
    }

    /// Cuts a node off from all others; what else is parted stays so.
    pub(crate) fn isolate(&self, node: u16) {
        for (_, line) in self.of(node) {
            line.change(|fault| fault.cut = true);
        }
    }

    /// Joins all nodes.
    pub(crate) fn join(&self) {
        self.ways.values().for_each(|line| line.change(|fault| fault.cut = false));
    }

    /// Makes whatever comes to a node or from it take so long.
    pub(crate) fn slow(&self, node: u16, delay: Duration) {
        self.change(node, |slow| slow.delay = delay);
    }

    /// Has so many of a thousand pieces be lost that come to a node or from it.
    pub(crate) fn lose(&self, node: u16, lost: u16) {
        self.change(node, |slow| slow.lost = lost);
    }

    /// A line is as slow as the slower one of its ends.
    fn change(&self, node: u16, change: impl FnOnce(&mut Slowness)) {
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        change(slow.entry(node).or_default());
        let of = |end: &u16| slow.get(end).copied().unwrap_or_default();
        for ((from, to), line) in self.of(node) {
            let (one, other) = (of(from), of(to));
            line.change(|fault| {
                fault.delay = one.delay.max(other.delay);
                fault.lost = one.lost.max(other.lost);
            });
        }
    }

    /// Makes all lines good again.
    pub(crate) fn heal(&self) {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.ways.values().for_each(|line| line.change(|fault| *fault = Fault::default()));
    }

    fn of(&self, node: u16) -> impl Iterator<Item = (&(u16, u16), &Proxy)> {
        self.ways.iter().filter(move |((from, to), _)| *from == node || *to == node)
    }
}

fn no_line(error: io::Error) -> Failure {
    Failure::new(Exit::Storage, format!("no line between nodes: {error}"))
}

/// The socket address of `/ip4/A/tcp/P`.
fn socket_address(multiaddress: &str) -> Result<SocketAddr, Failure> {
    let parts: Vec<_> = multiaddress.split('/').collect();
    let address = match parts.as_slice() {
        ["", "ip4", host, "tcp", port] => format!("{host}:{port}").parse().ok(),
        _ => None,
    };
    address.ok_or_else(|| Failure::new(Exit::Bug, format!("{multiaddress} is not /ip4/…/tcp/…")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(count: u16) -> Lines {
        let config = |node| Config {
            p2p_listen: format!("/ip4/127.0.0.1/tcp/{}", 1 + node),
            ..Config::default()
        };
        Lines::start(&(0..count).map(config).collect::<Vec<_>>()).await.unwrap()
    }

    fn parted(lines: &Lines) -> Vec<(u16, u16)> {
        let cut = lines.ways.iter().filter(|(_, line)| line.fault().cut);
        cut.map(|(way, _)| *way).filter(|(from, to)| from < to).collect()
    }

    #[tokio::test]
    async fn groups_are_parted_and_a_second_partition_replaces_the_first() {
        let lines = lines(5).await;
        lines.part(&[BTreeSet::from([0, 1]), BTreeSet::from([2, 3, 4])]);
        assert_eq!(parted(&lines), [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)]);
        // Nodes that are in no group are one.
        lines.part(&[BTreeSet::from([4])]);
        assert_eq!(parted(&lines), [(0, 4), (1, 4), (2, 4), (3, 4)]);
        lines.isolate(0);
        assert_eq!(parted(&lines), [(0, 1), (0, 2), (0, 3), (0, 4), (1, 4), (2, 4), (3, 4)]);
        lines.join();
        assert_eq!(parted(&lines), []);
    }

    #[tokio::test]
    async fn a_slow_node_stays_slow_when_all_are_joined() {
        let lines = lines(3).await;
        let delay = Duration::from_millis(50);
        lines.slow(1, delay);
        lines.isolate(1);
        lines.join();
        assert_eq!(lines.ways[&(0, 1)].fault(), Fault { delay, ..Fault::default() });
        assert_eq!(lines.ways[&(1, 2)].fault(), Fault { delay, ..Fault::default() });
        assert_eq!(lines.ways[&(0, 2)].fault(), Fault::default());
    }

    #[tokio::test]
    async fn a_line_is_slow_as_long_as_one_of_its_ends_is() {
        let lines = lines(3).await;
        let (short, long) = (Duration::from_millis(20), Duration::from_millis(50));
        let delay = |way| lines.ways[&way].fault().delay;
        lines.slow(1, long);
        lines.slow(2, short);
        lines.lose(1, 7);
        assert_eq!([delay((1, 2)), delay((0, 2)), delay((1, 0))], [long, short, long]);
        lines.slow(2, Duration::ZERO);
        lines.lose(2, 0);
        assert_eq!([delay((2, 1)), delay((2, 0)), delay((0, 1))], [long, Duration::ZERO, long]);
        assert_eq!(lines.ways[&(1, 2)].fault().lost, 7);
        lines.slow(1, Duration::ZERO);
        assert_eq!(delay((1, 2)), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_node_looks_for_the_others_at_the_beginnings_of_its_lines() {
        let lines = lines(3).await;
        let peers =
            ["/ip4/127.0.0.1/tcp/1/p2p/A".to_owned(), "/ip4/127.0.0.1/tcp/3/p2p/C".to_owned()];
        let through = lines.through(1, &peers);
        let begins = |to: u16, id| {
            let port = lines.ways[&(1, to)].address().port();
            format!("/ip4/127.0.0.1/tcp/{port}/p2p/{id}")
        };
        assert_eq!(through, [begins(0, "A"), begins(2, "C")]);
    }
}
