//! Leaders that there must not be are seen, with a liar in the world too.

use quorate_chain::certificate::{Certificate, Signed};
use quorate_chain::ids::{Height, NodeId, RosterHash, Signature, Term};
use quorate_chain::statement::Statement;
use quorate_sim::ledger::{Ledger, Signers, bit};
use quorate_sim::violation::Check;

use crate::planted::{commits, genesis_ref, ledger, sealed, seen, store};

const TWO: &str = "at most one leader a term";
const LACKS: &str = "a leader has all that is committed";

/// The roster of all blocks here.
fn roster() -> RosterHash {
    sealed(genesis_ref(), 1, 0).header().roster_hash
}

/// A node leads a term, by the votes of these under a roster.
fn leads_under(
    ledger: &mut Ledger,
    roster: RosterHash,
    node: u32,
    term: u64,
    voters: &[u32],
) -> Check {
    let (candidate, term) = (NodeId::new(node), Term::new(term));
    let vote = Statement::Vote { term, candidate, tip: genesis_ref() };
    let signature = Signature::new([0; 64]);
    let signed = voters.iter().map(|id| Signed { signer: NodeId::new(*id), signature });
    let election = Certificate::assemble(vote, roster, signed.collect());
    ledger.leads(candidate, term, Signers::of(&election))
}

fn leads(ledger: &mut Ledger, node: u32, term: u64, voters: &[u32]) -> Check {
    leads_under(ledger, roster(), node, term, voters)
}

/// A leader that has none of what is committed.
fn lacks_all(ledger: &mut Ledger, node: u32, term: u64) -> Check {
    ledger.is_complete(NodeId::new(node), Term::new(term), Height::ZERO, |_| false)
}

/// Node 0 has sealed a block that these have certified, and node `liar` may lie.
fn with_a_block(signers: &[u32], liar: Option<u32>) -> Ledger {
    let (mut ledger, one) = (ledger(), sealed(genesis_ref(), 1, 0));
    ledger.suspects = liar.map_or(0, |liar| bit(NodeId::new(liar)));
    store(&mut ledger, &one, signers);
    commits(&mut ledger, &[&one], signers).unwrap();
    ledger
}

#[test]
fn two_leaders_of_a_term_are_seen() {
    let mut ledger = ledger();
    leads(&mut ledger, 0, 1, &[0, 1]).unwrap();
    leads(&mut ledger, 0, 1, &[0, 1]).unwrap();
    leads(&mut ledger, 1, 2, &[1, 2]).unwrap();
    seen(leads(&mut ledger, 1, 1, &[1, 2]), TWO);
}

#[test]
fn a_second_leader_needs_the_liar_in_both_elections() {
    for (liar, first, second, fine) in [
        (1, &[0, 1], &[1, 2], true),
        (0, &[0, 1], &[1, 2], false),
        (2, &[0, 1], &[1, 2], false),
        (3, &[0, 1], &[1, 2], false),
    ] {
        let mut ledger = ledger();
        ledger.suspects = bit(NodeId::new(liar));
        leads(&mut ledger, 0, 1, first).unwrap();
        let check = leads(&mut ledger, 2, 1, second);
        if fine {
            check.unwrap();
            assert!(ledger.doubted);
            // The liar has voted for those two, and not for this one.
            seen(leads(&mut ledger, 4, 1, &[0, 2, 4]), TWO);
        } else {
            seen(check, TWO);
        }
    }
}

#[test]
fn elections_under_two_rosters_need_the_liar_in_one() {
    let other = RosterHash::new([7; 32]);
    let mut ledger = ledger();
    ledger.suspects = bit(NodeId::new(1));
    leads(&mut ledger, 0, 1, &[0, 1]).unwrap();
    leads_under(&mut ledger, other, 2, 1, &[2, 3]).unwrap();
    leads(&mut ledger, 0, 2, &[0, 2]).unwrap();
    ledger.doubted = false;
    seen(leads_under(&mut ledger, other, 2, 2, &[2, 3]), TWO);
}

#[test]
fn a_leader_that_lacks_what_is_committed_is_seen() {
    let mut ledger = with_a_block(&[0, 1], None);
    leads(&mut ledger, 1, 5, &[1, 2]).unwrap();
    seen(lacks_all(&mut ledger, 1, 5), LACKS);
    // In the term of the certificate it may come later.
    lacks_all(&mut ledger, 1, 1).unwrap();
}

#[test]
fn a_leader_may_lack_only_what_the_liar_has_acked_or_sealed() {
    for (liar, signers, voters, fine) in [
        (1, &[0, 1], &[1, 2], true),
        // It has not voted; it has not acked.
        (1, &[0, 1], &[0, 2], false),
        (2, &[0, 1], &[1, 2], false),
        // It has sealed the block, and perhaps another.
        (0, &[0, 1], &[1, 2], true),
    ] {
        let mut ledger = with_a_block(signers, Some(liar));
        leads(&mut ledger, 1, 5, voters).unwrap();
        let check = lacks_all(&mut ledger, 1, 5);
        if fine {
            check.unwrap();
            // What such a leader does may make others lack things.
            lacks_all(&mut ledger, 2, 6).unwrap();
        } else {
            seen(check, LACKS);
        }
    }
}
