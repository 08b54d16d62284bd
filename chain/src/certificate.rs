//! What a quorum of validators has said.
//!
//! A certificate is one statement with the signatures of a quorum of the roster it names. Three
//! kinds of statements make certificates: pre-votes (a quorum would follow this candidate), votes
//! (this candidate leads the term) and acks (this block and all its ancestors are committed).
//!
//! A certificate for a block covers its ancestors. [`CertificatePath`] carries the headers from a
//! covered block up to the certified one.
//!
//! Left out: which roster a verifier should trust. The caller brings it; [`crate::proof`] follows
//! rosters through a chain.

use std::collections::BTreeSet;

use crate::block::Header;
use crate::checked::Checked;
use crate::codec::{Decode, DecodeError, Encode, Reader, put_list};
use crate::crypto::Verifier;
use crate::ids::{BlockHash, BlockRef, ChainId, Height, NodeId, RosterHash, Signature, Term};
use crate::limits;
use crate::roster::{QuorumKind, Roster};
use crate::statement::{SignedStatement, Statement};

/// A validator's signature under the statement of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Who signed.
    pub signer: NodeId,
    /// The signature.
    pub signature: Signature,
}

impl Encode for Signed {
    fn encode(&self, out: &mut Vec<u8>) {
        self.signer.encode(out);
        self.signature.encode(out);
    }
}

impl Decode for Signed {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { signer: NodeId::decode(from)?, signature: Signature::decode(from)? })
    }
}

/// What a certificate certifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateKind {
    /// A quorum heard no leader and would vote for the candidate.
    PreVote,
    /// A quorum voted for the candidate.
    Election,
    /// A quorum has the block on disk, in the block's own term.
    Commit,
}

/// A statement signed by a quorum.
///
/// Invariant of the bytes: signatures are sorted by signer, each signer once, and the statement is no
/// handover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    statement: Statement,
    roster_hash: RosterHash,
    signatures: Vec<Signed>,
}

impl Certificate {
    /// Puts signatures under a statement. They are not verified here.
    ///
    /// # Panics
    /// If the statement is a handover, which one validator makes alone.
    #[must_use]
    pub fn assemble(
        statement: Statement,
        roster_hash: RosterHash,
        mut signatures: Vec<Signed>,
    ) -> Self {
        assert!(kind_of(&statement).is_some(), "a handover has no certificate");
        signatures.sort_by_key(|signed| signed.signer);
        signatures.dedup_by_key(|signed| signed.signer);
        Self { statement, roster_hash, signatures }
    }

    /// Makes a certificate of statements that were verified one by one, if those who made them are a
    /// quorum of the roster. Statements that say something else are left out.
    #[must_use]
    pub fn gather<'a>(
        statement: Statement,
        roster: &Roster,
        said: impl IntoIterator<Item = &'a Checked<SignedStatement>>,
    ) -> Option<Checked<Self>> {
        let quorum = quorum_for(kind_of(&statement)?);
        let fits = |one: &&Checked<SignedStatement>| {
            one.statement == statement
                && one.roster_hash == roster.hash()
                && roster.is_voter(one.signer)
        };
        let signed = |one: &Checked<SignedStatement>| Signed {
            signer: one.signer,
            signature: one.signature,
        };
        let signatures = said.into_iter().filter(fits).map(signed).collect();
        let certificate = Self::assemble(statement, roster.hash(), signatures);
        let enough = roster.has_quorum(quorum, &certificate.signers());
        enough.then(|| Checked::verified(certificate))
    }

    /// What it certifies.
    #[must_use]
    pub fn kind(&self) -> CertificateKind {
        kind_of(&self.statement).expect("no certificate is made or decoded of a handover")
    }

    /// The statement that the quorum signed.
    #[must_use]
    pub const fn statement(&self) -> &Statement {
        &self.statement
    }

    /// The term of the statement.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.statement.term()
    }

    /// The block that it commits, or the tip that its candidate has.
    #[must_use]
    pub const fn block(&self) -> BlockRef {
        self.statement.block()
    }

    /// The roster whose quorum signed.
    #[must_use]
    pub const fn roster_hash(&self) -> RosterHash {
        self.roster_hash
    }

    /// The signatures, sorted by signer.
    #[must_use]
    pub fn signatures(&self) -> &[Signed] {
        &self.signatures
    }

    /// The signers.
    #[must_use]
    pub fn signers(&self) -> BTreeSet<NodeId> {
        self.signatures.iter().map(|signed| signed.signer).collect()
    }

    /// What each signer has said, as a statement by itself.
    pub fn signed_statements(&self) -> impl Iterator<Item = SignedStatement> {
        self.signatures.iter().map(|signed| SignedStatement {
            statement: self.statement,
            roster_hash: self.roster_hash,
            signer: signed.signer,
            signature: signed.signature,
        })
    }

    /// Checks that its signers are a quorum of this roster and that every signature is good.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(
        self,
        chain_id: ChainId,
        roster: &Roster,
        verifier: &dyn Verifier,
    ) -> Result<Checked<Self>, CertificateError> {
        self.check(chain_id, roster, verifier)?;
        Ok(Checked::verified(self))
    }

    /// Checks without taking it: see [`Certificate::verify`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(
        &self,
        chain_id: ChainId,
        roster: &Roster,
        verifier: &dyn Verifier,
    ) -> Result<(), CertificateError> {
        if self.roster_hash != roster.hash() {
            let (expected, found) = (roster.hash(), self.roster_hash);
            return Err(CertificateError::OtherRoster { expected, found });
        }
        let voter = |signed: &&Signed| !roster.is_voter(signed.signer);
        if let Some(stranger) = self.signatures.iter().find(voter) {
            return Err(CertificateError::NotVoter { signer: stranger.signer });
        }
        if !roster.has_quorum(quorum_for(self.kind()), &self.signers()) {
            return Err(CertificateError::NoQuorum { signers: self.signatures.len() });
        }
        let message = self.statement.message(chain_id, self.roster_hash);
        for Signed { signer, signature } in &self.signatures {
            let bad = CertificateError::BadSignature { signer: *signer };
            let member = roster.member(*signer).ok_or(bad.clone())?;
            verifier.validator(&member.key, &message, signature).map_err(|_| bad)?;
        }
        Ok(())
    }
}

/// The quorum that a certificate of this kind takes.
const fn quorum_for(kind: CertificateKind) -> QuorumKind {
    match kind {
        CertificateKind::PreVote | CertificateKind::Election => QuorumKind::Election,
        CertificateKind::Commit => QuorumKind::Commit,
    }
}

fn kind_of(statement: &Statement) -> Option<CertificateKind> {
    match statement {
        Statement::PreVote { .. } => Some(CertificateKind::PreVote),
        Statement::Vote { .. } => Some(CertificateKind::Election),
        Statement::Ack { .. } => Some(CertificateKind::Commit),
        Statement::Handover { .. } => None,
    }
}

impl Encode for Certificate {
    fn encode(&self, out: &mut Vec<u8>) {
        self.statement.encode(out);
        self.roster_hash.encode(out);
        put_list(out, &self.signatures);
    }
}

impl Decode for Certificate {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let statement = Statement::decode(from)?;
        let quorum = kind_of(&statement).is_some();
        Reader::require(quorum, "certificate", offset, "a handover has no certificate")?;
        let roster_hash = RosterHash::decode(from)?;
        let offset = from.offset();
        // Both halves of a joint roster may sign.
        let signatures: Vec<Signed> = from.list("signatures", 2 * limits::MEMBERS)?;
        let sorted = signatures.is_sorted_by(|a, b| a.signer < b.signer);
        Reader::require(sorted, "signatures", offset, "they are sorted by signer, each once")?;
        Ok(Self { statement, roster_hash, signatures })
    }
}

/// Why a certificate proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It names another roster than the one it is judged by.
    #[error("it is by roster {found:.16}, not {expected:.16}")]
    OtherRoster {
        /// The roster it is judged by.
        expected: RosterHash,
        /// The roster it names.
        found: RosterHash,
    },
    /// It is a certificate of another kind than the one needed.
    #[error("it is a certificate of kind {found:?}, needed is {expected:?}")]
    OtherKind {
        /// The kind needed.
        expected: CertificateKind,
        /// Its kind.
        found: CertificateKind,
    },
    /// Someone signed who does not vote in that roster.
    #[error("signer {signer} is no voter of that roster")]
    NotVoter {
        /// The signer.
        signer: NodeId,
    },
    /// The signers are no quorum.
    #[error("{signers} signers are no quorum of that roster")]
    NoQuorum {
        /// How many signed.
        signers: usize,
    },
    /// A signature does not fit.
    #[error("the signature of {signer} does not fit")]
    BadSignature {
        /// Whose signature it should be.
        signer: NodeId,
    },
    /// The headers do not lead from the covered block to the certified one.
    #[error("the path breaks at height {at}: the parent named there is not the block before it")]
    BrokenPath {
        /// The height of the header that does not continue the path.
        at: Height,
    },
    /// The certified block is not where the path ends.
    #[error("the path ends at {found}, certified is {certified}")]
    PathEnd {
        /// The block the certificate names.
        certified: BlockRef,
        /// The block the path ends at.
        found: BlockRef,
    },
}

/// A commit certificate with the headers that lead to it from a block it covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePath {
    /// The headers above the covered block, up to and with the certified one. Empty if the covered
    /// block is the certified one.
    pub headers: Vec<Header>,
    /// The certificate for the last of them.
    pub certificate: Certificate,
}

impl CertificatePath {
    /// Checks that a block is committed: the headers lead from it to the certified block, and the
    /// certificate is good under this roster.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(
        &self,
        covered: BlockRef,
        chain_id: ChainId,
        roster: &Roster,
        verifier: &dyn Verifier,
    ) -> Result<(), CertificateError> {
        let found = self.certificate.kind();
        if found != CertificateKind::Commit {
            return Err(CertificateError::OtherKind { expected: CertificateKind::Commit, found });
        }
        let end = follow(covered, &self.headers)?;
        if end != self.certificate.block() {
            let certified = self.certificate.block();
            return Err(CertificateError::PathEnd { certified, found: end });
        }
        self.certificate.check(chain_id, roster, verifier)
    }
}

/// Follows headers by parent hash and height from `start`; the last block's ref.
pub(crate) fn follow(start: BlockRef, headers: &[Header]) -> Result<BlockRef, CertificateError> {
    headers.iter().try_fold(start, |below, header| {
        let follows: (Option<Height>, BlockHash) = (below.height.next(), below.hash);
        if (Some(header.height), header.parent) == follows {
            Ok(header.block_ref())
        } else {
            Err(CertificateError::BrokenPath { at: header.height })
        }
    })
}

impl Encode for CertificatePath {
    fn encode(&self, out: &mut Vec<u8>) {
        put_list(out, &self.headers);
        self.certificate.encode(out);
    }
}

impl Decode for CertificatePath {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            headers: from.list("path", limits::PATH)?,
            certificate: Certificate::decode(from)?,
        })
    }
}
