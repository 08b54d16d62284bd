//! A node that was away while the roster changed again and again gets a snapshot, and the steps that lead to it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Carried, Group, StandIn, limits, renamed, update, without};
use quorate_chain::block::Item;
use quorate_chain::ids::Height;
use quorate_chain::proof::{RosterStep, Trust};
use quorate_consensus::event::ChangeId;
use quorate_consensus::time::Span;
use quorate_replica::io::{Answer, Input};
use quorate_replica::setup::Limits;
use quorate_replica::snapshot::Piece;
use quorate_replica::store::{Store, StoreReader};

/// A group whose node `away` was away while the roster changed so often and old blocks were forgotten.
fn behind_by(changes: usize) -> Group {
    let mut group = Group::with(
        3,
        Limits { keep_blocks: 1, snapshot_every: 5, checkpoint_every: 4, ..limits() },
    );
    group.elect_another_than(2);
    group.submit(0, update(group.chain_id, 0, 0));
    group.run(Span::millis(500));
    group.kill(2);
    go_on(&mut group, changes, 0);
    group
}

/// The others go on for long enough to forget old blocks, with so many changes of the roster.
fn go_on(group: &mut Group, changes: usize, client: u8) {
    let from = group.applied(group.leader().unwrap());
    for change in 0..changes {
        let leader = group.leader().unwrap();
        group.change_roster(leader, &format!("name-{client}-{change}"));
    }
    for nonce in 1..40 {
        let leader = group.leader().unwrap();
        group.submit(leader, update(group.chain_id, client, nonce));
        group.settle();
    }
    group.run(Span::millis(1_000));
    for id in group.ids() {
        let oldest = group.node(id).store.reader().oldest().unwrap();
        assert!(group.node(id).replica.is_none() || oldest.unwrap() > from, "blocks are forgotten");
    }
}

fn catch_up(group: &mut Group, id: u32, client: u8) {
    let top = group.applied(group.leader().unwrap());
    group.run_until("it has caught up", |group| group.applied(id) >= top);
    let submission = group.submit(id, update(group.chain_id, client, 0));
    group.run(Span::millis(2_000));
    assert!(matches!(group.answers.get(&submission), Some(Answer::Placed(_))));
    group.assert_equal();
}

#[test]
fn a_node_that_was_away_for_many_rosters_follows_them_to_a_snapshot() {
    for changes in 0..5 {
        let mut group = behind_by(changes);
        group.start(2).unwrap();
        catch_up(&mut group, 2, 9);
        assert_eq!(group.installs, [(2, true)], "{changes} changes");
    }
}

/// All steps that a node keeps.
fn steps(group: &Group, id: u32) -> Vec<RosterStep> {
    group.node(id).store.reader().roster_steps(Height::ZERO, usize::MAX).unwrap()
}

/// Checks that a node's steps lead from the genesis to the roster of now.
fn assert_chain(group: &Group, id: u32) {
    let roster = group.node(id).setup.genesis.roster().unwrap();
    let mut trust = Trust::new(group.chain_id, roster, group.chain_id.genesis_ref());
    for step in steps(group, id) {
        trust.cross(&step, &StandIn).unwrap();
    }
    let standing = group.node(id).store.reader().standing().unwrap().unwrap();
    assert_eq!(trust.roster().hash(), standing.applied.roster.hash(), "node {id}");
}

#[test]
fn who_was_led_to_a_roster_can_lead_others() {
    let mut group = behind_by(3);
    group.start(2).unwrap();
    catch_up(&mut group, 2, 9);
    let away = 1 - group.leader().unwrap().min(1);
    group.kill(away);
    go_on(&mut group, 3, 8);
    group.start(away).unwrap();
    catch_up(&mut group, away, 7);
    assert_eq!(group.installs, [(2, true), (away, true)]);
    for id in group.ids() {
        assert_eq!(steps(&group, id).len(), 6);
        assert_chain(&group, id);
    }
}

#[test]
fn steps_survive_a_crash_at_any_moment_of_a_change() {
    for turns in 0..120 {
        let mut group = Group::with(3, limits());
        let leader = group.elect();
        group.submit(0, update(group.chain_id, 0, 0));
        group.run(Span::millis(500));
        let roster = group.replica(leader).driver.status().roster;
        let change = Box::new(renamed(group.chain_id, &roster, "other"));
        group.give(leader, Input::Change { id: ChangeId(0), change });
        for _ in 0..turns {
            group.turn();
        }
        for id in group.ids() {
            group.power_cut(id, |_| false);
            group.start(id).unwrap();
        }
        group.run_until("somebody leads again", |group| group.leader().is_some());
        group.run(Span::millis(3_000));
        if group.replica(leader).driver.status().roster.hash() == roster.hash() {
            let leader = group.leader().unwrap();
            group.change_roster(leader, "other");
        }
        group.submit(0, update(group.chain_id, 0, 1));
        group.run(Span::millis(3_000));
        for id in group.ids() {
            assert_eq!(steps(&group, id).len(), 1, "node {id} after {turns} turns");
            assert_chain(&group, id);
        }
    }
}

/// Lets node 2 ask for a snapshot, of which others bring the steps that `show` makes of those that they keep.
fn shown(changes: usize, show: impl Fn(&mut Vec<RosterStep>)) -> Group {
    let mut group = behind_by(changes);
    group.start(2).unwrap();
    for _ in 0..3_000 {
        for (_, to, carried) in &mut group.wire {
            if let (2, Carried::Piece(Piece::Steps(steps))) = (*to, carried) {
                show(steps);
            }
        }
        group.turn();
    }
    group
}

/// Whether node 2 has said that it takes no snapshot, and why.
fn said(group: &Group, why: &str) -> bool {
    group.notices.iter().any(|(id, notice)| {
        *id == 2 && notice.starts_with("SnapshotFailed") && notice.contains(why)
    })
}

#[test]
fn where_steps_are_missing_the_node_says_so_and_takes_another_source() {
    let all = steps(&behind_by(5), 0);
    let none = |page: &mut Vec<RosterStep>| page.clear();
    let last = |page: &mut Vec<RosterStep>| page.retain(|step| *step != all[4]);
    let gap = |page: &mut Vec<RosterStep>| {
        page.iter_mut().filter(|step| **step == all[1]).for_each(|step| *step = all[2].clone());
    };
    type Hole<'a> = &'a dyn Fn(&mut Vec<RosterStep>);
    let holes: [(&str, Hole<'_>); 3] =
        [("Rosters { ", &none), ("Rosters { ", &last), ("Step { ", &gap)];
    for (why, hole) in holes {
        let mut group = shown(5, hole);
        assert!(said(&group, why), "{why}: {:?}", group.notices);
        assert_eq!(group.installs, []);
        // One that has them comes.
        catch_up(&mut group, 2, 9);
        assert_eq!(group.installs, [(2, true)]);
    }
}

#[test]
fn a_step_that_proves_nothing_is_refused() {
    type Lie = fn(&mut RosterStep);
    let lies: [Lie; 4] = [
        |step| step.header.height = Height::new(step.header.height.get() + 1),
        |step| step.parent.height = Height::new(1),
        |step| step.item = Item::Leave { certificate: step.path.certificate.clone() },
        |step| step.path.headers.push(step.header.clone()),
    ];
    for lie in lies {
        let group = shown(3, |steps| steps.iter_mut().for_each(lie));
        assert!(said(&group, "Step { "), "{:?}", group.notices);
        assert_eq!(group.installs, []);
    }
}

/// Who leads leaves with the last block of the change that removes it. A state at that block would be proven to nobody: the
/// roster there does not have the key under its header any more.
#[test]
fn who_was_away_while_the_leader_was_removed_gets_a_state_that_can_be_proven() {
    let mut unproven = 0;
    for earlier in 0..5 {
        let limits = Limits { keep_blocks: 1, snapshot_every: 5, checkpoint_every: 4, ..limits() };
        let mut group = Group::with(4, limits);
        group.elect_another_than(3);
        group.run(Span::millis(500));
        group.kill(3);
        let leader = group.leader().unwrap();
        for nonce in 0..20 + earlier {
            group.submit(leader, update(group.chain_id, 0, nonce));
            group.settle();
        }
        let roster = group.replica(leader).driver.status().roster;
        let change = Box::new(without(group.chain_id, &roster, leader));
        group.give(leader, Input::Change { id: ChangeId(0), change });
        group.run_until("another one leads", |group| group.leader().is_some_and(|it| it != leader));
        group.run(Span::millis(2_000));
        group.kill(leader);
        let leads = group.leader().unwrap();
        let reader = group.node(leads).store.reader();
        assert!(reader.oldest().unwrap().unwrap() > group.applied(3), "blocks are forgotten");
        let newest = &reader.frozen().unwrap()[0].applied;
        let (proposer, _) = newest.leader.clone().unwrap();
        unproven += u32::from(newest.roster.member(proposer).is_none());
        // The chain stands still: there will be no other state.
        group.start(3).unwrap();
        let top = group.applied(leads);
        group.run_until("node 3 has caught up", |group| group.applied(3) >= top);
        assert_eq!(group.installs, [(3, true)], "{:?}", group.notices);
        assert!(!group.notices.iter().any(|(_, notice)| notice.starts_with("SnapshotFailed")));
    }
    assert_eq!(unproven, 1, "one of five changes ends where a state is frozen");
}
