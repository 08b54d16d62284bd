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

#[test]
fn a_group_is_led_by_a_member_in_the_newest_term_of_its_members() {
    let follows = |term| Said { term: Term::new(term), ..Said::default() };
    let leads = |term| Said { leads: Some(Term::new(term)), ..follows(term) };
    for (running, led) in [
        (vec![(true, leads(9)), (true, follows(9))], true),
        (vec![(true, leads(9)), (true, follows(8))], true),
        (vec![(true, follows(9)), (true, follows(9))], false),
        (vec![(true, leads(9)), (true, follows(10))], false),
        // A liar has shown a newer term only to whoever is no member any more.
        (vec![(true, leads(9)), (false, follows(10))], true),
        (vec![(true, follows(9)), (false, leads(9))], false),
    ] {
        assert_eq!(is_led(&running), led, "{running:?}");
    }
}

#[test]
fn a_leader_that_commits_may_have_members_ahead_of_it_for_a_while() {
    let height = Height::new;
    let follows = |term, committed| Said {
        term: Term::new(term),
        committed: height(committed),
        ..Said::default()
    };
    let leads = |committed| Said { leads: Some(Term::new(9)), ..follows(9, committed) };
    for (running, goes_on) in [
        (vec![(true, leads(6)), (true, follows(10, 5))], true),
        (vec![(true, leads(5)), (true, follows(10, 5))], false),
        (vec![(true, leads(5)), (true, follows(9, 6))], false),
        (vec![(false, leads(6)), (true, follows(10, 6))], false),
    ] {
        assert_eq!(leads_on(&running, height(5)), goes_on, "{running:?}");
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
