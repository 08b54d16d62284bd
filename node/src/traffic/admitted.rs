//! Who may connect: the members of the roster in force, and of the one at the tip.
//!
//! A roster is in force from its block on, committed or not, so a new member is dialled as soon as the
//! block that adds it is here. One that was removed is let go a while after: it shall still hear that its
//! removal is committed.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_chain::ids::{NodeId, RosterHash};
use quorate_chain::roster::Roster;
use tokio::time::Instant;

use crate::net::{self, Peer};

/// How long a removed member may stay connected.
const FAREWELL: Duration = Duration::from_secs(5);

/// Who may connect.
pub(super) struct Admitted {
    own: NodeId,
    /// Addresses from the settings, each with the id of its peer at the end.
    addresses: Vec<String>,
    rosters: [RosterHash; 2],
    members: Vec<Peer>,
    /// Those that have been removed, and until when they may stay.
    leaving: Vec<(Instant, Peer)>,
}

impl Admitted {
    pub(super) fn new(own: NodeId, addresses: Vec<String>, rosters: [&Roster; 2]) -> Self {
        let members = members(rosters, own, &addresses);
        let rosters = rosters.map(Roster::hash);
        Self { own, addresses, rosters, members, leaving: Vec::new() }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Peer> {
        self.members.iter().chain(self.leaving.iter().map(|(_, peer)| peer)).cloned().collect()
    }

    /// Looks at the rosters again; whether somebody came or has to go.
    pub(super) fn follow(&mut self, rosters: [&Roster; 2], now: Instant) -> bool {
        let before = self.leaving.len();
        self.leaving.retain(|(until, _)| *until > now);
        let mut changes = self.leaving.len() != before;
        if self.rosters != rosters.map(Roster::hash) {
            self.rosters = rosters.map(Roster::hash);
            let members = members(rosters, self.own, &self.addresses);
            let stays: BTreeSet<_> = members.iter().map(|peer| (peer.node, key(peer))).collect();
            let before = std::mem::replace(&mut self.members, members);
            let gone = before.into_iter().filter(|peer| !stays.contains(&(peer.node, key(peer))));
            self.leaving.extend(gone.map(|peer| (now + FAREWELL, peer)));
            // Whoever is back is no longer about to go.
            self.leaving.retain(|(_, peer)| !stays.contains(&(peer.node, key(peer))));
            changes = true;
        }
        changes
    }
}

fn key(peer: &Peer) -> [u8; 32] {
    *peer.key.as_bytes()
}

/// The members of these rosters but for the node itself. Addresses of one in the settings stand in the place
/// of those in the roster. Of a member whom both know, the later one counts.
fn members(rosters: [&Roster; 2], own: NodeId, addresses: &[String]) -> Vec<Peer> {
    let [applied, tip] = rosters;
    let ids: BTreeSet<_> = applied.ids().union(&tip.ids()).copied().collect();
    let peer = |node| {
        let member = tip.member(node).or_else(|| applied.member(node))?;
        let id = net::peer_id_text(&member.key)?;
        let of_it = addresses.iter().filter(|address| address.ends_with(&format!("/p2p/{id}")));
        let mut addresses: Vec<_> = of_it.cloned().collect();
        if addresses.is_empty() {
            addresses.clone_from(&member.p2p);
        }
        Some(Peer { node, key: member.key.clone(), addresses })
    };
    ids.into_iter().filter(|id| *id != own).filter_map(peer).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use quorate_chain::crypto::SecretKey;
    use quorate_chain::roster::{Admins, Lead, Member, Part, QuorumSize, Role};

    use super::*;

    fn key_of(id: u32) -> SecretKey {
        SecretKey::from_seed(&[u8::try_from(id).unwrap() + 1; 32])
    }

    pub(in crate::traffic) fn roster(ids: &[u32]) -> Roster {
        let member = |id: &u32| Member {
            id: NodeId::new(*id),
            name: format!("node{id}"),
            key: key_of(*id).validator_key(),
            p2p: vec![format!("/dns4/node{id}/tcp/7700")],
            api: Vec::new(),
            role: Role::Voter,
            lead: Lead::Yes,
        };
        let part = Part {
            members: ids.iter().map(member).collect(),
            next_id: NodeId::new(9),
            changes: 0,
            vote_quorum: QuorumSize::Majority,
            finality_quorum: QuorumSize::Majority,
            admins: Admins { threshold: 1, keys: vec![key_of(99).account_key()] },
        };
        Roster::single(part).unwrap()
    }

    fn nodes(admitted: &Admitted) -> Vec<u32> {
        let mut nodes: Vec<_> = admitted.all().iter().map(|peer| peer.node.get()).collect();
        nodes.sort_unstable();
        nodes
    }

    #[test]
    fn who_comes_is_let_in_at_once_and_who_goes_a_while_later() {
        let (three, four, other) = (roster(&[0, 1, 2]), roster(&[0, 1, 2, 3]), roster(&[0, 2, 3]));
        let now = Instant::now();
        let mut admitted = Admitted::new(NodeId::new(0), Vec::new(), [&three, &three]);
        assert_eq!(nodes(&admitted), [1, 2]);
        assert!(!admitted.follow([&three, &three], now));
        assert!(admitted.follow([&three, &four], now));
        assert_eq!(nodes(&admitted), [1, 2, 3], "at the tip it is a member already");
        assert!(admitted.follow([&four, &other], now));
        assert_eq!(nodes(&admitted), [1, 2, 3], "it is a member still");
        assert!(admitted.follow([&other, &other], now));
        assert_eq!(nodes(&admitted), [1, 2, 3], "it shall hear that it was removed");
        assert!(!admitted.follow([&other, &other], now + FAREWELL / 2));
        assert!(admitted.follow([&other, &other], now + FAREWELL));
        assert_eq!(nodes(&admitted), [2, 3]);
    }

    #[test]
    fn who_is_back_before_it_had_to_go_stays() {
        let (three, two) = (roster(&[0, 1, 2]), roster(&[0, 1]));
        let now = Instant::now();
        let mut admitted = Admitted::new(NodeId::new(0), Vec::new(), [&three, &three]);
        assert!(admitted.follow([&two, &two], now));
        assert!(admitted.follow([&three, &three], now));
        assert!(!admitted.follow([&three, &three], now + FAREWELL));
        assert_eq!(nodes(&admitted), [1, 2]);
    }

    #[test]
    fn addresses_of_the_settings_stand_in_the_place_of_those_of_the_roster() {
        let id = net::peer_id_text(&key_of(1).validator_key()).unwrap();
        let local = format!("/ip4/127.0.0.1/tcp/9/p2p/{id}");
        let three = roster(&[0, 1, 2]);
        let admitted = Admitted::new(NodeId::new(0), vec![local.clone()], [&three, &three]);
        let addresses: Vec<_> = admitted.all().into_iter().map(|peer| peer.addresses).collect();
        let of = |id| format!("/dns4/node{id}/tcp/7700");
        assert_eq!(addresses, [vec![local], vec![of(2)]]);
    }
}
