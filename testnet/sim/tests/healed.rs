//! What counts as well, and what does not.

use quorate_chain::block::{Block, Body, Draft};
use quorate_chain::ids::{Height, NodeId, Term};
use quorate_chain::outcome::{Outcome, Status};
use quorate_replica::io::{Answer, Placed, Refusal};
use quorate_sim::checks::{may_follow_from_amnesia, remembers, waits};
use quorate_sim::clients::{Clients, Fate};
use quorate_sim::dials::Dials;
use quorate_sim::genesis::{found, node_key};
use quorate_sim::healing::{is_led, leads_on};
use quorate_sim::ledger::Ledger;
use quorate_sim::report::Tally;
use quorate_sim::seat::Said;
use quorate_sim::signatures::Signatures;

use crate::planted::{anchor, certificate, genesis_ref, sealed};

#[test]
fn who_recovers_with_a_whole_disk_is_seen() {
    let node = NodeId::new(1);
    for (recovering, excused) in [(false, false), (false, true), (true, true)] {
        remembers(node, recovering, excused).unwrap();
    }
    let wrong = remembers(node, true, false).unwrap_err();
    assert_eq!(wrong.rule, "a validator with a whole disk has forgotten nothing");
}

#[test]
fn who_signs_at_once_after_a_start_is_seen() {
    let node = NodeId::new(1);
    for (waited, heard_all) in [(1_000_000, false), (0, true)] {
        waits(node, waited, heard_all).unwrap();
    }
    let hasty = waits(node, 999_999, false).unwrap_err();
    assert_eq!(hasty.rule, "who starts waits for those who are not needed");
    assert!(!may_follow_from_amnesia(hasty.rule), "nothing that was forgotten excuses it");
    assert!(may_follow_from_amnesia("a vote never changes"));
}

/// What nodes say of themselves: who, in which term, and whether it leads that. Members are 0 to 4.
fn said(all: &[(u32, u64, bool)]) -> Vec<(NodeId, Said)> {
    let one = |(node, term, leads): &(u32, u64, bool)| {
        let term = Term::new(*term);
        (NodeId::new(*node), Said { term, leads: leads.then_some(term), ..Said::default() })
    };
    all.iter().map(one).collect()
}

#[test]
fn a_group_is_led_by_a_member_in_the_newest_term_of_its_members() {
    let roster = found(&Dials::calm(5)).genesis.roster().unwrap();
    for (running, led) in [
        (vec![(0, 9, true), (1, 9, false)], true),
        (vec![(0, 9, true), (1, 8, false)], true),
        (vec![(0, 9, false), (1, 9, false)], false),
        (vec![(0, 9, true), (1, 10, false)], false),
        // A liar has shown a newer term only to whoever is no member any more.
        (vec![(0, 9, true), (7, 10, false)], true),
        (vec![(0, 9, false), (7, 9, true)], false),
    ] {
        assert_eq!(is_led(&roster, &said(&running)), led, "{running:?}");
    }
}

#[test]
fn a_leader_that_a_quorum_follows_may_have_members_ahead_of_it_for_a_while() {
    let roster = found(&Dials::calm(5)).genesis.roster().unwrap();
    let ahead = [(3, 10, false), (4, 10, false)];
    for (running, leads) in [
        ([(0, 9, true), (1, 9, false), (2, 9, false)], true),
        ([(0, 9, true), (1, 9, false), (2, 8, false)], false),
        ([(0, 9, false), (1, 9, false), (2, 9, false)], false),
        ([(7, 9, true), (1, 9, false), (2, 9, false)], false),
        // Two processes with one key are one.
        ([(0, 9, true), (1, 9, false), (1, 9, false)], false),
    ] {
        let running = [&running[..], &ahead].concat();
        assert_eq!(leads_on(&roster, &said(&running)), leads, "{running:?}");
    }
}

#[test]
fn a_fresh_transaction_is_well_only_where_it_was_placed() {
    let dials = Dials::calm(3);
    let founding = found(&dials);
    let mut ledger = Ledger::new(&founding.genesis, founding.chain_id, false);
    let mut tally = Tally::default();
    let mut clients = Clients::new(1, &dials, founding.chain_id);
    let old = clients.next(0, &dials, &mut tally);
    let fresh = clients.lasting(0, &dials, &mut tally);
    assert_ne!(old.id(), fresh.id(), "it has a new number, whatever waits");
    let refused = [Answer::Unknown, Answer::Refused(Refusal::Full)].map(|other| {
        let asked = clients.submit(0, &fresh, 0, 1);
        assert_eq!(clients.fate(asked, |_, _| true), Fate::Open);
        assert_eq!(clients.fate(asked, |_, _| false), Fate::Lost, "nobody is left to answer");
        clients.answered(asked, &other, Height::ZERO, &ledger, &mut tally).unwrap();
        asked
    });

    let empty = sealed(genesis_ref(), 1, 0);
    let header = empty.header().clone();
    let draft = Draft {
        chain_id: header.chain_id,
        roster_hash: header.roster_hash,
        kind: header.kind,
        parent: genesis_ref(),
        term: header.term,
        proposer: header.proposer,
        time: header.time,
        executed: header.executed,
        state_root: header.state_root,
        body: Body { item: None, transactions: vec![fresh.get().clone()] },
    };
    let carries =
        Block::seal(draft, &*Signatures::StandIn.signer(node_key(header.proposer))).unwrap();
    let block = carries.block_ref();
    ledger.seen(&carries).unwrap();
    let signers = [0, 1];
    signers.iter().for_each(|id| ledger.durable(NodeId::new(*id), block).unwrap());
    let decided = [(carries.clone(), anchor(&carries))];
    ledger.committed(NodeId::new(0), &decided, &certificate(&carries, &signers)).unwrap();
    let outcome = Outcome { tx: fresh.id(), status: Status::Applied };
    clients.applied(block, &[outcome], &ledger).unwrap();

    for asked in refused {
        assert_eq!(clients.fate(asked, |_, _| true), Fate::Lost, "any answer but a place");
    }
    let asked = clients.submit(0, &fresh, 0, 1);
    let placed = Placed { block, index: 0, status: Status::Applied, duplicate: false };
    let answer = Answer::Placed(placed);
    clients.answered(asked, &answer, Height::ZERO, &ledger, &mut tally).unwrap();
    assert_eq!(clients.fate(asked, |_, _| false), Fate::Placed(block.height));
}
