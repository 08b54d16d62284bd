//! What a node says of itself and of the group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quorate_chain::ids::{Height, NodeId};
use quorate_chain::roster::{Member, QuorumKind};
use quorate_client::problem::{Code, Problem};
use quorate_consensus::raft::Standing;
use quorate_consensus::reads::Unread;
use quorate_replica::io::Input;
use tokio::sync::oneshot;

use super::answers::{CatchingUp, HeightInfo, Peer, Status};
use super::ledger::{Answered, Ledger, Liveness, Neighbour, stopping, until};
use super::problem::problem;
use crate::exit::{Exit, Failure};
use crate::threads::{Request, View};

/// How soon a read is tried again when nothing has changed.
const RETRY: Duration = Duration::from_millis(50);

pub(super) const fn word(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Alive => "alive",
        Liveness::Suspect => "suspect",
        Liveness::Dead => "dead",
    }
}

/// How soon somebody is asked again to lead when nobody does.
const ASK_AGAIN: Duration = Duration::from_millis(100);

impl Ledger {
    pub(super) fn neighbours(&self) -> BTreeMap<NodeId, Neighbour> {
        let all = self.neighbourhood.neighbours().into_iter();
        all.map(|neighbour| (neighbour.node, neighbour)).collect()
    }

    /// How many voters are reachable, this one among them.
    pub(crate) fn reachable(&self, view: &View) -> usize {
        let neighbours = self.neighbours();
        let reachable = |member: &&Member| {
            let neighbour = neighbours.get(&member.id);
            member.id == self.facts.id
                || neighbour.is_some_and(|other| other.liveness == Liveness::Alive)
        };
        view.roster.current().voters().filter(reachable).count()
    }

    /// Where a node serves clients: by its own word, or else by the roster's.
    pub(crate) fn api_of(&self, view: &View, id: NodeId) -> Option<String> {
        let own = if id == self.facts.id { self.facts.api.clone() } else { None };
        let said = own.or_else(|| self.neighbours().remove(&id)?.api);
        said.or_else(|| view.roster.member(id)?.api.first().cloned())
    }

    /// `GET /v1/status`.
    pub(crate) fn status(&self) -> Status {
        let view = self.view.borrow().clone();
        let (status, facts) = (&view.status, &self.facts);
        let current = view.roster.current();
        let neighbours = self.neighbours();
        let (reachable, needed) = (self.reachable(&view), current.quorum(QuorumKind::Commit));
        let voters = current.voters().count();
        let is_alive =
            |id: &NodeId| neighbours.get(id).is_some_and(|other| other.liveness == Liveness::Alive);
        let ids = view.roster.ids();
        let live_peers = ids.iter().copied().filter(is_alive).collect();
        let peers = ids.iter().filter(|id| **id != facts.id);
        let peers = peers.filter_map(|id| Some(peer(view.roster.member(*id)?, neighbours.get(id))));
        let is_majority = current.quorum(QuorumKind::Finality) <= needed;
        let committed = status.committed.height;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            chain_id: facts.chain_id,
            chain_name: facts.chain_name.clone(),
            node_id: facts.id,
            name: facts.name.clone(),
            mode: "validator",
            role: match status.standing {
                _ if !view.roster.is_voter(facts.id) => "learner",
                Standing::Follower => "follower",
                Standing::Candidate => "candidate",
                Standing::Leader => "leader",
            },
            incarnation: format!("{:016x}", facts.incarnation.0),
            term: status.term,
            leader: status.leader,
            leader_api: status.leader.and_then(|leader| self.api_of(&view, leader)),
            height: committed,
            committed,
            applied: status.applied.height,
            is_final: is_majority.then_some(committed),
            tip: status.tip.height,
            last_block_hash: status.committed.hash,
            quorum: needed,
            voters,
            reachable,
            live_peers,
            peers: peers.collect(),
            roster_hash: view.roster.hash(),
            lead: self.lead(),
            catching_up: self.catching_up(&view),
            reason: status
                .leader
                .is_none()
                .then(|| format!("no leader: {reachable} of {voters} reachable, {needed} needed")),
            started_ms: facts.started_ms,
        }
    }

    /// How far behind a node is: by the word of its leader or of two others, more than what is in flight anyway.
    fn catching_up(&self, view: &View) -> Option<CatchingUp> {
        let applied = view.status.applied.height;
        let said = self.neighbours();
        let alive = || said.values().filter(|other| other.liveness == Liveness::Alive);
        let leader = alive().find(|other| Some(other.node) == view.status.leader);
        let to = said_by_two(leader.and_then(|leader| leader.committed), alive())?;
        let behind = to.get().saturating_sub(applied.get());
        let blocks_per_second = self.pace.per_second(applied.get());
        (behind > self.facts.window_blocks as u64).then_some(CatchingUp {
            from: applied,
            to,
            blocks_per_second,
        })
    }

    /// `GET /v1/height`.
    pub(crate) fn height(&self) -> HeightInfo {
        let status = &self.view.borrow().status;
        let committed = status.committed;
        HeightInfo {
            height: committed.height,
            applied: status.applied.height,
            hash: committed.hash,
            term: committed.term,
        }
    }

    /// Why the node cannot serve as it should; nothing if it can.
    pub(crate) fn not_ready(&self) -> Vec<&'static str> {
        let view = self.view.borrow().clone();
        let mut reasons = Vec::new();
        if self.ending.said().is_some() || self.is_leaving() {
            reasons.push("stopping");
        }
        if view.status.leader.is_none() {
            reasons.push("no_leader");
        }
        if self.catching_up(&view).is_some() {
            reasons.push("catching_up");
        }
        if view.status.space > quorate_wal::Space::Ok {
            reasons.push("disk_low");
        }
        reasons
    }

    /// Asks another voter to lead, if this node leads, and waits until another one does. Nobody may be fit to at
    /// first, or too slow, so it is asked for again.
    pub(crate) async fn hand_over(&self, patience: Duration) {
        let (mut view, own) = (self.view.clone(), self.facts.id);
        let deadline = Instant::now() + patience;
        let leads = |view: &View| view.status.standing == Standing::Leader;
        {
            // Borrowed once: a second time would wait for who waits to write, and that for the first one.
            let view = view.borrow_and_update();
            if !leads(&view) || view.roster.current().voters().count() == 1 {
                return;
            }
        }
        while Instant::now() < deadline {
            if leads(&view.borrow()) {
                self.inbox.complete(Input::Transfer { to: None });
            }
            let other =
                view.wait_for(|view| view.status.leader.is_some_and(|leader| leader != own));
            let pause = (Instant::now() + ASK_AGAIN).min(deadline);
            if until(pause, other).await.is_some() {
                return;
            }
        }
    }

    /// Hands leadership over, to this node if one is named, and waits until another one leads.
    pub(crate) async fn transfer(
        &self,
        to: Option<NodeId>,
        patience: Duration,
    ) -> Result<(), Failure> {
        let refused = |why: String| Err(Failure::new(Exit::NoQuorum, why));
        let (own, deadline) = (self.facts.id, Instant::now() + patience);
        let mut view = self.view.clone();
        {
            let view = view.borrow_and_update();
            match view.status.leader {
                Some(leader) if leader != own => {
                    return refused(format!("node {own} does not lead: node {leader} does"));
                }
                None => return refused(format!("node {own} does not lead, and nobody else")),
                Some(_) => {}
            }
            match to {
                Some(to) if to == own => return Ok(()),
                Some(to) if !view.roster.is_voter(to) => {
                    return Err(Failure::new(Exit::Usage, format!("there is no voter {to}")));
                }
                _ if view.roster.current().voters().count() == 1 => {
                    return refused("there is no other voter".to_owned());
                }
                Some(_) | None => {}
            }
        }
        self.inbox.complete(Input::Transfer { to });
        loop {
            let leader = view.borrow_and_update().status.leader;
            match leader.filter(|leader| *leader != own) {
                Some(leader) if to.is_none_or(|to| to == leader) => return Ok(()),
                Some(leader) => return refused(format!("node {leader} leads now")),
                None => {}
            }
            if !matches!(until(deadline, view.changed()).await, Some(Ok(()))) {
                return refused(format!("node {own} has not handed leadership over"));
            }
        }
    }

    /// Waits until everything that was acknowledged so far, anywhere, is applied here.
    pub(crate) async fn fresh(&self, timeout: Duration) -> Answered<()> {
        let deadline = Instant::now() + timeout;
        // Somebody who is cut off is not waited for longer than an election takes: whoever asks can ask another node.
        let hopeless = Instant::now() + timeout.min(2 * self.facts.election_timeout);
        loop {
            let (reply, found) = oneshot::channel();
            if self.inbox.request(Request::Read { reply }).is_err() {
                return Err(problem(Code::RateLimited, "too many requests are waiting"));
            }
            let first = if Instant::now() < hopeless { hopeless } else { deadline };
            let why = match until(first, found).await {
                Some(Ok(Ok(_))) => return Ok(()),
                Some(Ok(Err(why))) => why,
                Some(Err(_)) => return Err(stopping()),
                None => Unread::TooLate,
            };
            match why {
                Unread::TooMany => return Err(problem(Code::RateLimited, why.to_string())),
                // There is no time left in which another try could be answered.
                _ if self.is_leaving() => return Err(stopping()),
                _ if Instant::now() + RETRY >= deadline => return Err(self.unread(why)),
                _ if Instant::now() >= hopeless && self.is_cut_off() => {
                    return Err(self.unread(why));
                }
                Unread::NoLeader | Unread::LeaderChanges | Unread::TooLate => {
                    let mut view = self.view.clone();
                    view.mark_unchanged();
                    // Whatever changes, and if nothing does, another try.
                    until(Instant::now() + RETRY, view.changed()).await;
                }
            }
        }
    }

    /// Whether it knows of no leader, and of too few voters to elect one.
    fn is_cut_off(&self) -> bool {
        let view = self.view.borrow();
        let needed = view.roster.current().quorum(QuorumKind::Commit);
        view.status.leader.is_none() && self.reachable(&view) < needed
    }

    fn unread(&self, why: Unread) -> Box<Problem> {
        let view = self.view.borrow().clone();
        let reachable = self.reachable(&view);
        let needed = view.roster.current().quorum(QuorumKind::Commit);
        let mut problem = if reachable < needed {
            let count = format!("{reachable} voters are reachable, {needed} are needed");
            problem(Code::NoQuorum, format!("{why}: {count}"))
        } else {
            problem(Code::NoLeader, why.to_string())
        };
        problem.reachable = u32::try_from(reachable).ok();
        problem.needed = u32::try_from(needed).ok();
        problem
    }
}

/// The highest height that the leader, or two others, say is committed. What one node says that does not lead may be
/// a lie, by which it would take all others out of service.
fn said_by_two<'a>(
    leader: Option<Height>,
    others: impl Iterator<Item = &'a Neighbour>,
) -> Option<Height> {
    let mut said: Vec<_> = others.filter_map(|other| other.committed).collect();
    said.sort_unstable();
    let second = said.iter().rev().nth(1).copied();
    leader.max(second)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn peer(member: &Member, neighbour: Option<&Neighbour>) -> Peer {
    let seen = neighbour.and_then(|other| other.last_seen);
    Peer {
        node_id: member.id,
        name: member.name.clone(),
        voter: member.is_voter(),
        state: word(neighbour.map_or(Liveness::Dead, |other| other.liveness)),
        last_seen_ms: seen.map(millis),
        height: neighbour.and_then(|other| other.committed),
        term: neighbour.and_then(|other| other.term),
        api: neighbour.and_then(|other| other.api.clone()).or_else(|| member.api.first().cloned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(heights: &[u64]) -> impl Iterator<Item = Neighbour> {
        (0..).zip(heights).map(|(node, height)| Neighbour {
            node: NodeId::new(node),
            liveness: Liveness::Alive,
            last_seen: None,
            round_trip: None,
            dialled: None,
            committed: Some(Height::new(*height)),
            term: None,
            api: None,
        })
    }

    fn believed(leader: Option<u64>, others: &[u64]) -> Option<u64> {
        let others: Vec<_> = said(others).collect();
        said_by_two(leader.map(Height::new), others.iter()).map(Height::get)
    }

    #[test]
    fn one_that_does_not_lead_is_not_believed_alone() {
        assert_eq!(believed(Some(7), &[7, 6, 1_000_000]), Some(7));
        assert_eq!(believed(None, &[1_000_000]), None);
        assert_eq!(believed(None, &[1_000_000, 8, 3]), Some(8));
        // The others may be as far behind.
        assert_eq!(believed(Some(900), &[900]), Some(900));
        assert_eq!(believed(Some(900), &[900, 4]), Some(900));
    }
}
