//! Validators come and go while the group runs, over the real network.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::validators::{Group, equal, one_leader};
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::NodeId;
use quorate_chain::roster::{Change, Lead, NewMember, RosterChange};
use quorate_client::answer::Status;

fn new_member(at: u8, port: u16) -> Change {
    Change::Add(NewMember {
        name: format!("node{at}"),
        key: SecretKey::from_seed(&common::seed(at)).validator_key(),
        p2p: vec![common::address(port)],
        api: Vec::new(),
        promote: true,
        lead: Lead::Yes,
    })
}

/// Has the leader change the roster, and waits until all are under the new one.
async fn change(group: &Group, step: Change) {
    loop {
        let told = group.wait("one leader", one_leader).await;
        let leader = told[0].leader.expect("there is one").get() as usize;
        let change = RosterChange {
            chain_id: told[0].chain_id,
            roster_hash: told[0].roster_hash,
            steps: vec![step.clone()],
        };
        let approval = change.approve(&SecretKey::from_seed(&[200; 32]));
        let signed = change.assemble(vec![approval]);
        let node = group.nodes[leader].as_ref().expect("it runs");
        match node.change(signed).await {
            Ok(_) => return,
            // Nothing of this term is committed yet, or another one leads by now.
            Err(why) => eprintln!("again: {why}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn knows(one: &Status) -> BTreeSet<NodeId> {
    one.peers.iter().map(|peer| peer.node_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_is_added_is_dialled_and_one_that_is_removed_is_let_go() {
    let mut group = Group::start(3, common::config()).await;
    group.put("before").await;
    let port = common::free_ports(1)[0];
    change(&group, new_member(3, port)).await;
    group.add(port).await;
    let whole = |told: &[Status]| {
        told.len() == 4 && told.iter().all(|one| one.voters == 4 && one.live_peers.len() == 3)
    };
    group.wait("four voters that hear each other", |told| whole(told) && equal(told)).await;
    group.put("of four").await;

    // It is dialled after a restart as well, and finds the others by its own roster.
    group.nodes[3].take().expect("it runs").kill().await;
    group.revive(3).await;
    group.wait("four again", |told| whole(told) && equal(told)).await;

    let told = group.wait("one leader", one_leader).await;
    let leader = told[0].leader.expect("there is one").get();
    let gone = (0..3).find(|at| *at != leader).expect("two do not lead");
    change(&group, Change::Remove { id: NodeId::new(gone) }).await;
    let others = |told: &[Status]| -> Vec<Status> {
        told.iter().filter(|one| one.node_id.get() != gone).cloned().collect()
    };
    let without = group.wait("three that have let it go", |told| {
        others(told).iter().all(|one| one.voters == 3 && !knows(one).contains(&NodeId::new(gone)))
    });
    let told = without.await;
    let removed = &told[gone as usize];
    assert_eq!(removed.voters, 3, "it has heard that it was removed");
    group.put("of three").await;
    group.wait("three that are equal", |told| equal(&others(told))).await;
}
