//! How a core begins: from what a disk and a store have kept.
//!
//! **The ballot** is that of the log, but a store may have been faster: what was applied may have been
//! committed by a certificate of a later term. Then the ballot is raised by it, as when it was heard, and whoever
//! puts the node together writes it before anything of this life is said ([`Core::ballot`]). If the certificate
//! is by a roster that has not come here, it is as if it had not been heard.
//!
//! Candidacy and leadership are not durable (Raft §5.2), and a restarted validator never leads its old term again.
//! Nothing is said by a core before its first event: so no effect is lost while a node is put together.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_chain::block::Block;
use quorate_chain::certificate::Certificate;
use quorate_chain::checked::Checked;
use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{BlockRef, ChainId, Height, StateRoot, Term};
use quorate_chain::roster::{Lead, Roster};

use crate::acks::Acks;
use crate::amnesia::{Lives, Memory};
use crate::ballot::Ballot;
use crate::commits::Commits;
use crate::config::Config;
use crate::durability::Durability;
use crate::evidence::Witness;
use crate::finality::makes_final;
use crate::jitter::Jitter;
use crate::judge::Proven;
use crate::log::{Anchor, Log, Unfit};
use crate::raft::Core;
use crate::reads::Reads;
use crate::role::{Follower, Role};
use crate::snapshots::Install;
use crate::states::States;
use crate::time::Now;

/// What a core begins with: what a disk and a store have kept.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The ballot. It says that the validator is recovering if its log was made for a key that has been
    /// used before, or restored from a backup: see [`crate::amnesia`].
    pub ballot: Ballot,
    /// The applied tip.
    pub applied: Anchor,
    /// The state there.
    pub state_root: StateRoot,
    /// The states at heights below, as far as the store has them: as many as are
    /// [remembered](crate::states::remembered).
    pub earlier: Vec<(Height, StateRoot)>,
    /// The height that the header of the applied block names.
    pub executed: Height,
    /// Rosters that were left before it, oldest first. The newest [`LEFT`](crate::log::LEFT) are of use.
    pub left: Vec<Arc<Roster>>,
    /// The commit certificates that the store has: the newest one, and the one that came with a snapshot until
    /// its block is applied (see [`crate::snapshots`](crate::raft)).
    pub certificates: Vec<Checked<Certificate>>,
    /// The commit certificates in the log. Those for blocks above the applied tip are of use.
    pub logged: Vec<Checked<Certificate>>,
    /// The blocks above the applied tip, as the disk has them.
    pub blocks: Vec<Checked<Block>>,
    /// In which term the log has had two blocks at one height, one in the place of the other, and the highest
    /// block of that term which was there before: it, and all below, may have been acked.
    pub replaced: (Term, Height),
    /// The highest rank of the blocks that the log has had, also of those that others have taken the place of: it may
    /// have been acked.
    pub highest: (Term, Height),
}

/// Why what was kept is not the chain of a validator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A block cannot stand where the disk has it.
    #[error("block {block} of the log: {why}")]
    Unfit {
        /// The block.
        block: BlockRef,
        /// Why it cannot stand there.
        why: Box<Unfit>,
    },
    /// The ballot is older than the chain.
    #[error("the ballot is of term {ballot}, the log has come to term {log}")]
    BallotBehind {
        /// The ballot's term.
        ballot: Term,
        /// The term of the tip, or of a certificate.
        log: Term,
    },
}

impl Core {
    /// A core that goes on from what has been kept, as a follower: candidacy and leadership are not
    /// durable, and a restarted validator never leads its old term again.
    ///
    /// # Errors
    /// If what has been kept does not fit together.
    pub fn new(
        config: Config,
        verifier: Arc<dyn Verifier>,
        restored: Restored,
        now: Now,
    ) -> Result<Self, RestoreError> {
        let mut jitter = Jitter::new(config.seed);
        let questions = Jitter::new(config.life.life.nonce.0);
        let window = config.window_blocks;
        let applied = restored.applied.block.height;
        let mut log = Log::new(restored.applied, restored.left);
        refill(&mut log, restored.blocks, config.chain_id, &*verifier)?;
        let ballot = raised(&log, restored.ballot, &restored.certificates);
        let tip = log.tip().block;
        let highest = restored.highest.max(tip.rank());
        let logged = restored.logged.iter();
        let newest = logged.map(|it| it.term()).fold(tip.term, Term::max);
        if ballot.term < newest {
            return Err(RestoreError::BallotBehind { ballot: ballot.term, log: newest });
        }
        let certified = restored.certificates.iter().map(|it| it.block().height).max();
        let replaced = replaced_in(ballot.term, tip, highest, restored.replaced);
        let certified_final = final_height(&log, &restored.certificates);
        let known = |it: &Checked<Certificate>| it.term() <= ballot.term;
        let kept: Vec<_> = restored.certificates.into_iter().filter(known).collect();
        let covered = restored.logged.iter().map(|it| it.block().height).max();
        let member = log.tip().roster.member(config.id).map(|member| member.lead);
        let lead = config.lead.or(member).unwrap_or(Lead::Yes);
        let timeout = jitter.election_timeout(config.election_timeout, lead);
        let deadline = now.moment.after(timeout);
        let follower = Follower::new(None, now.moment, deadline, tip);
        let mut core = Self {
            config,
            verifier,
            jitter,
            questions,
            now,
            ballot,
            disk: Durability::new(tip, covered.unwrap_or_default()),
            certified_final,
            commits: Commits::restored(kept.into_iter().chain(restored.logged), applied, |block| {
                log.contains(block)
            }),
            states: States::new(applied, restored.state_root, window)
                .with_earlier(restored.earlier),
            floor: restored.executed,
            acks: Acks::restored(certified.unwrap_or(applied).max(applied), replaced, highest),
            named: Height::ZERO,
            install: Install::default(),
            log,
            role: Role::Follower(follower),
            willing: None,
            handed: None,
            reads: Reads::default(),
            memory: Memory::at_start(now.moment),
            lives: Lives::default(),
            renewed: None,
            witness: Witness::default(),
            unsigned: Vec::new(),
            owed: None,
            reading: BTreeSet::new(),
            effects: Vec::new(),
            halted: false,
        };
        core.see_own_certificates();
        Ok(core)
    }
}

/// Puts the blocks back that the disk has above the applied one.
fn refill(
    log: &mut Log,
    blocks: Vec<Checked<Block>>,
    chain_id: ChainId,
    verifier: &dyn Verifier,
) -> Result<(), RestoreError> {
    for block in blocks {
        let (below, here) = (log.tip().clone(), block.block_ref());
        let judged = log.judge(&below, &[], block, chain_id, verifier);
        let entry =
            judged.map_err(|why| RestoreError::Unfit { block: here, why: Box::new(why) })?;
        log.branch(below.block, vec![entry]);
    }
    Ok(())
}

/// The highest block of this term that was in the log and has been replaced. What it has had above its tip is not there
/// any more.
fn replaced_in(
    term: Term,
    tip: BlockRef,
    highest: (Term, Height),
    replaced: (Term, Height),
) -> Option<(Term, Height)> {
    let gone = Some(highest).filter(|highest| *highest > tip.rank());
    gone.into_iter().chain([replaced]).filter(|(of, _)| *of == term).max()
}

/// The ballot, raised by the newest certificate of a later term by which what is applied was committed.
fn raised(log: &Log, ballot: Ballot, certificates: &[Checked<Certificate>]) -> Ballot {
    let later = certificates.iter().filter(|it| it.term() > ballot.term);
    let proofs = later.filter_map(|certificate| {
        let hash = certificate.roster_hash();
        let roster = log.rosters().find(|roster| roster.hash() == hash)?.clone();
        Some(Proven { certificate: certificate.clone(), roster })
    });
    let newest = proofs.max_by_key(Proven::term);
    newest.map_or_else(|| ballot.clone(), |proof| ballot.raised(proof))
}

/// The height of the highest block that a certificate makes final, as far as the rosters known can say.
fn final_height(log: &Log, certificates: &[Checked<Certificate>]) -> Height {
    let makes = |certificate: &&Checked<Certificate>| {
        let hash = certificate.roster_hash();
        log.rosters().any(|roster| roster.hash() == hash && makes_final(certificate, roster))
    };
    let certified = certificates.iter().filter(makes).map(|it| it.block().height);
    certified.max().unwrap_or_default()
}
