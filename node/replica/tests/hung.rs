//! A disk that does not answer while the others go from term to term: what waits for it is bounded.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Group, limits, update};
use quorate_chain::ids::NodeId;
use quorate_consensus::time::Span;
use quorate_replica::io::{Answer, Input};
use quorate_replica::setup::Limits;

/// So many more than the bound may come with the last message that is taken.
const ONE_MESSAGE: usize = 16;

#[test]
fn what_waits_for_a_hung_disk_is_bounded_however_many_terms_go_by() {
    let limits = Limits { election_timeout: Span::millis(1_000), ..limits() };
    let most = limits.most_records();
    let mut group = Group::with(3, limits);
    group.elect_another_than(2);
    group.node_mut(2).hold_disk = true;
    let term = |group: &Group| group.replica(0).driver.status().term.get();
    let first = term(&group);
    let mut longest = 0;
    while term(&group) < first + most as u64 {
        let leader = group.leader().unwrap();
        assert_ne!(leader, 2, "it signs nothing that is not durable");
        let to = Some(NodeId::new(1 - leader));
        group.give(leader, Input::Transfer { to });
        group.run_until("the other one leads", |group| group.leader() == Some(1 - leader));
        let waiting = group.node(2).jobs.len();
        assert_eq!(waiting, group.replica(2).driver.on_its_way());
        assert!(waiting <= most + ONE_MESSAGE, "{waiting} records wait");
        longest = longest.max(waiting);
    }
    assert!(longest >= most, "only {longest} records ever waited");
    group.node_mut(2).hold_disk = false;
    group.run(Span::millis(5_000));
    assert_eq!(group.replica(2).driver.on_its_way(), 0);
    let submission = group.submit(2, update(group.chain_id, 0, 0));
    group.run(Span::millis(5_000));
    assert!(matches!(group.answers[&submission], Answer::Placed(_)));
    group.assert_equal();
}

#[test]
fn a_disk_that_hangs_for_a_minute_stops_the_node_with_a_sentence() {
    let mut group = Group::with(3, limits());
    group.elect_another_than(2);
    group.node_mut(2).may_stop = true;
    group.node_mut(2).hold_disk = true;
    let submission = group.submit(0, update(group.chain_id, 0, 0));
    group.run(Span::millis(50_000));
    assert!(matches!(group.answers[&submission], Answer::Placed(_)));
    assert!(group.replica(2).driver.on_its_way() > 0);
    assert!(group.node(2).stop.is_none());
    group.run(Span::millis(30_000));
    let stop = group.node(2).stop.clone().expect("it has stopped");
    assert!(stop.contains("nothing durable for 60 seconds"), "{stop}");
}
