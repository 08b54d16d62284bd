//! Who lied, when two blocks that exclude each other are both committed.
//!
//! A [`Branch`] is what a store has of a chain above the last block that it shares with another:
//! signed headers up to a certified one, the items of those that open a term or change the roster,
//! and the certificate. [`accuse()`] puts what was signed in two such branches side by side and returns
//! every conflict that is evidence, at most one of each sort for each validator.
//!
//! **It always finds some**, if both branches follow the rules that [`crate::proof::Audit`] checks,
//! neither certified block is an ancestor of the other, and no recovery is among the blocks. Any two
//! quorums of one part of a roster share 2q − n validators, so it suffices to find two statements of
//! quorums that no honest validator signs both.
//!
//! Let C be the last block in common, and A and B one certified block on each branch above C, the
//! lowest on each that a certificate in the branch names (its own, or that in an `Enter` or `Leave`).
//!
//! *Their rosters share a part.* A second roster block above C carries a certificate of the roster
//! that the first one brought, for a block above C. So up to A, and up to B, there is at most one
//! roster block, and every roster there is that at C or one step from it: single and joint rosters
//! take turns, and all that are one step from S have S as a part, all that are one step from (S, S′)
//! have S′. Every quorum below is one of such a roster.
//!
//! Let A be of term t and B of no lower term.
//!
//! ```text
//!  same term t                          B of a higher term
//!
//!        ┌─ … ─ A                             ┌─ … ─ A
//!  ─ C ──┤                              ─ C ──┤
//!        └─ … ─ B                             └─ … ─ P ─ O ─ … ─ B     O: the first above term t
//! ```
//!
//! 1. *Same term, and C is of it.* All blocks above C are of that term and so of one proposer: it
//!    sealed two at the height after C's (**1**).
//! 2. *Same term, and C is of a lower one.* Each branch opens the term, with votes of a quorum. If
//!    candidate or tip differ, those in both quorums voted twice (**2**). If not, one proposer opened
//!    one term twice on one tip (**1**).
//! 3. *B of a higher term.* C is no higher in term than A, so B's branch opens a higher term than t;
//!    let O be the first block that does, and P, of term t or lower, the tip that its voters named.
//!    - P ranks below A: those in both quorums acked A and voted for a lower tip later (**4**). This
//!      is always so if P is C.
//!    - P does not: then it is of term t and above C, on the other branch than A. Case 1 or 2 applies
//!      to A and P.
//!
//! Two acks at one height (**3**) are found besides, whenever A and B have one height and one term.
//!
//! In case 1, and in the second half of 2, it may be that the proposer alone can be named: two honest
//! quorums may each have believed it. So a leader that lies can fork a plain majority group alone.
//!
//! Statements carry no id, and two members added on different branches may have one id. Evidence that
//! mixes the two up does not verify. Nobody is missed for it: whoever is in both quorums by the
//! argument above was in the roster at C, and keeps id and key.
//!
//! Left out: recoveries. Whoever orders one over a tip that lacks a committed block undoes it, and
//! the order names the admins who did. Also left out is any check: what is returned accuses nobody
//! before [`Evidence::verify`] has confirmed it.

use std::collections::BTreeMap;

use crate::block::{Item, SignedHeader};
use crate::certificate::Certificate;
use crate::evidence::Evidence;
use crate::statement::{SignedStatement, Statement};

/// One of two chains, above the last block that they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// The headers above that block, up to the certified one.
    pub headers: Vec<SignedHeader>,
    /// The items of the blocks that have one.
    pub items: Vec<Item>,
    /// The commit certificate for the last of them.
    pub certificate: Certificate,
}

impl Branch {
    /// Every certificate in the branch.
    fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        let in_items = self.items.iter().filter_map(|item| match item {
            Item::Opening(certificate)
            | Item::Enter { certificate, .. }
            | Item::Leave { certificate } => Some(certificate),
            Item::Recovery(_) => None,
        });
        in_items.chain([&self.certificate])
    }
}

/// Finds what was signed in two branches and never by an honest validator: at most one piece of
/// evidence of each sort against each validator, sorted by validator.
#[must_use]
pub fn accuse(a: &Branch, b: &Branch) -> Vec<Evidence> {
    let mut found: Vec<_> = two_blocks(a, b).collect();
    let mut said: BTreeMap<_, Vec<SignedStatement>> = BTreeMap::new();
    for certificate in a.certificates().chain(b.certificates()) {
        for new in certificate.signed_statements() {
            let before = said.entry(new.signer).or_default();
            found.extend(before.iter().filter_map(|old| conflict(old, &new)));
            before.push(new);
        }
    }
    found.sort_by_key(|evidence| (evidence.accused(), evidence.sort()));
    found.dedup_by_key(|evidence| (evidence.accused(), evidence.sort()));
    found
}

/// Blocks of one proposer in one place.
fn two_blocks(a: &Branch, b: &Branch) -> impl Iterator<Item = Evidence> {
    let place = |signed: &SignedHeader| {
        let header = &signed.header;
        (header.proposer, header.term, header.height)
    };
    let first: BTreeMap<_, _> = a.headers.iter().map(|signed| (place(signed), signed)).collect();
    b.headers.iter().filter_map(move |signed| {
        let other = *first.get(&place(signed))?;
        (other.header != signed.header)
            .then(|| Evidence::TwoBlocks { a: other.clone(), b: signed.clone() })
    })
}

/// What two statements of one validator convict it of, if of anything.
fn conflict(old: &SignedStatement, new: &SignedStatement) -> Option<Evidence> {
    let (a, b) = (old.clone(), new.clone());
    let claim = match (&old.statement, &new.statement) {
        (Statement::Vote { .. }, Statement::Vote { .. }) => Evidence::TwoVotes { a, b },
        (Statement::Ack { .. }, Statement::Ack { .. }) => Evidence::TwoAcks { a, b },
        (Statement::Ack { .. }, Statement::Vote { .. }) => {
            Evidence::VoteBelowAck { ack: a, vote: b }
        }
        (Statement::Vote { .. }, Statement::Ack { .. }) => {
            Evidence::VoteBelowAck { ack: b, vote: a }
        }
        (Statement::PreVote { .. } | Statement::Handover { .. }, _)
        | (_, Statement::PreVote { .. } | Statement::Handover { .. }) => return None,
    };
    claim.is_conflict().then_some(claim)
}
