//! Acks, and what they prove: that a block is committed, and that it is final.
//!
//! A block is committed by a majority of acks of its own term (Raft §5.3, §5.4.2), and *final* by as many as
//! `finality_quorum` asks for. By default that is the same. A larger one means more durable copies and more
//! signers to accuse; it is not needed to go on, and it does not by itself survive liars. So the leader does
//! not wait for it: it commits, and goes on collecting acks of its own term for blocks that are committed and
//! not yet final, for at most two windows of them; an ack covers all ancestors, so nothing is lost with those
//! that are given up. What is final is a height at or below the committed one, and it never falls within a
//! life.
//!
//! A certificate with more signers takes the place of the one for the same block, and travels as that
//! one would have. If a newer block has been committed meanwhile, it travels by itself, at most once a
//! heartbeat. Whoever gets a certificate with enough signers has it from whomever it comes.
//!
//! Left out: asking for acks that were lost. Later blocks are acked too.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::ids::Height;
use quorate_chain::roster::{QuorumKind, Roster};
use quorate_chain::statement::{SignedStatement, Statement};

use crate::effect::Effect;
use crate::judge::Proven;
use crate::message::Message;
use crate::raft::Core;
use crate::role::{Role, Tally};

/// Whether those who signed a commit certificate are enough to make its block final.
pub(crate) fn makes_final(certificate: &Certificate, roster: &Roster) -> bool {
    roster.has_quorum(QuorumKind::Finality, &certificate.signers())
}

impl Core {
    /// The height up to which blocks are known to be final here.
    #[must_use]
    pub fn final_height(&self) -> Height {
        self.certified_final.min(self.log.committed().height)
    }

    /// Whether a certificate says that more is final than is known here. Its signatures are not looked at.
    pub(crate) fn is_final_news(&self, certificate: &Certificate) -> bool {
        let hash = certificate.roster_hash();
        certificate.block().height > self.certified_final
            && self.log.rosters().any(|it| it.hash() == hash && makes_final(certificate, it))
    }

    /// Learns from a good certificate what is final.
    pub(crate) fn note_final(&mut self, proven: &Proven) {
        let (certificate, height) = (&proven.certificate, proven.certificate.block().height);
        if height <= self.certified_final || !makes_final(certificate, &proven.roster) {
            return;
        }
        self.certified_final = height;
        self.commits.improve(certificate);
        if height <= self.log.committed().height {
            self.effects.push(Effect::Final(certificate.clone()));
        }
    }

    /// A follower has acked a block.
    pub(crate) fn take_ack(&mut self, ack: SignedStatement) {
        let Statement::Ack { block } = ack.statement else { return };
        let Role::Leader(leader) = &self.role else { return };
        let tally = leader.tallies.get(&block.height).filter(|tally| tally.block == block);
        let counted = tally.is_some_and(|tally| tally.acks.contains_key(&ack.signer));
        let held = self.log.anchor(block.height).filter(|held| held.block == block);
        let roster = tally.map(|tally| &tally.roster).or(held.map(|held| &held.roster));
        let Some(roster) = roster.filter(|_| block.term == self.ballot.term && !counted) else {
            return;
        };
        let roster = Arc::clone(roster);
        if let Ok(ack) = ack.verify(self.config.chain_id, &roster, &*self.verifier) {
            self.see_statement(&ack);
            self.tally(ack);
        }
    }

    /// Counts a verified ack of the own term, and commits if a quorum is reached (Raft §5.4.2).
    pub(crate) fn tally(&mut self, ack: Checked<SignedStatement>) {
        let Statement::Ack { block } = ack.statement else { return };
        let (committed, done) = (self.log.committed().height, self.final_height());
        let held = self.log.anchor(block.height).filter(|held| held.block == block);
        let roster = held.map(|held| Arc::clone(&held.roster));
        let most = 2 * self.config.window_blocks;
        let Role::Leader(leader) = &mut self.role else { return };
        while let Some((height, _)) = leader.tallies.first_key_value() {
            let surplus = leader.tallies.len() > most && *height <= committed;
            if *height > done && !surplus {
                break;
            }
            leader.tallies.pop_first();
        }
        if block.height <= done {
            return;
        }
        if let Some(roster) = roster {
            let fresh = || Tally { block, roster, acks: BTreeMap::new() };
            leader.tallies.entry(block.height).or_insert_with(fresh);
        }
        let Some(tally) = leader.tallies.get_mut(&block.height) else { return };
        let statement = ack.statement;
        tally.acks.insert(ack.signer, ack);
        let roster = Arc::clone(&tally.roster);
        let gathered = Certificate::gather(statement, &roster, tally.acks.values());
        let Some(certificate) = gathered else { return };
        if block.height > committed {
            return self.take_certificate(Proven { certificate, roster });
        }
        if makes_final(&certificate, &roster) {
            leader.late = Some(certificate.get().clone());
            self.note_final(&Proven { certificate, roster });
        }
    }

    /// Tells everybody what has become final after it was committed, if no certificate that is sent
    /// anyway says it.
    pub(crate) fn tell_final(&mut self) {
        let newest = self.commits.reached().map(|certificate| certificate.block());
        let (moment, heartbeat) = (self.now.moment, self.config.heartbeat);
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.late.as_ref().is_some_and(|late| Some(late.block()) == newest) {
            leader.late = None;
        }
        if moment < leader.late_told.after(heartbeat) {
            return;
        }
        let Some(late) = leader.late.take() else { return };
        leader.late_told = moment;
        let ids: Vec<_> = leader.others.keys().copied().collect();
        for id in ids {
            self.send(id, Message::Committed(late.clone()));
        }
    }
}
