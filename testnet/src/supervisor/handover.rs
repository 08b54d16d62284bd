//! Having another node lead: the one that leads is asked to, through its own socket.

use std::time::Duration;

use quorate_chain::ids::NodeId;
use quorate_client::{Client, Testnet};
use quorate_node::admin;
use quorate_node::exit::{Exit, Failure};
use quorate_node::home::Layout;

use super::control::{no_such_node, none_runs};
use crate::directory::Directory;

/// Since when a node leads that shall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandedOver {
    /// It led before that was wanted.
    Before,
    /// Because it was wanted.
    Now,
}

/// Has the node at this place lead, and waits until it does.
pub(crate) fn hand_over(
    directory: &Directory,
    to: u16,
    patience: Duration,
) -> Result<HandedOver, Failure> {
    let testnet = Testnet::in_dir(directory.root()).ok_or_else(|| none_runs(directory))?;
    if usize::from(to) >= testnet.nodes.len() {
        return Err(no_such_node(usize::from(to), testnet.nodes.len()));
    }
    among(&testnet, to, patience)
}

/// The same, of a testnet that has such a node.
pub(crate) fn among(testnet: &Testnet, to: u16, patience: Duration) -> Result<HandedOver, Failure> {
    let wanted = testnet.nodes[usize::from(to)].node_id;
    let none = || Failure::new(Exit::NoQuorum, "no leader is known that could hand over");
    let client = Client::new(&testnet.nodes()).map_err(|_| none())?;
    let leads = client.status().ok().and_then(|status| status.leader).ok_or_else(none)?;
    if leads == wanted {
        return Ok(HandedOver::Before);
    }
    let from = testnet.nodes.iter().find(|node| node.node_id == leads).ok_or_else(none)?;
    ask(&Layout::new(from.home.clone()), wanted, patience).map(|()| HandedOver::Now)
}

/// Asks the leader, which has this home, to have another one lead, and waits until it does.
pub(crate) fn ask(leader: &Layout, to: NodeId, patience: Duration) -> Result<(), Failure> {
    let patience_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let order = admin::Order::TransferLeader { to: Some(to), patience_ms };
    let silent = |failure: Failure| Failure::new(Exit::NoQuorum, failure.sentence);
    match admin::order(leader, &order).map_err(silent)? {
        admin::Done { failure: Some((_, sentence)), .. } => {
            Err(Failure::new(Exit::NoQuorum, sentence))
        }
        admin::Done { leader, .. } if leader == Some(to) => Ok(()),
        admin::Done { .. } => {
            let sentence = format!("the leader did not hand over to node{to}");
            Err(Failure::new(Exit::NoQuorum, sentence))
        }
    }
}
