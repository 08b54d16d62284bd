//! The rosters a verifier has come to trust, and what they prove.

use crate::block::{BlockKind, Header, Item};
use crate::certificate::{CertificateError, CertificatePath};
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::crypto::Verifier;
use crate::ids::{BlockRef, ChainId, Height, RosterHash};
use crate::roster::Roster;
use crate::well_formed::{self, Malformed, Parent};

/// A roster, and where it begins.
#[derive(Clone, Debug)]
struct Reign {
    /// The first height at which certificates by it count.
    from: Height,
    roster: Roster,
}

/// What a verifier knows of a chain.
///
/// Invariant: `reigns` is not empty, and sorted by height. A certificate by a roster counts from its
/// first height to the height at which the next one begins.
#[derive(Clone, Debug)]
pub struct Trust {
    chain_id: ChainId,
    reigns: Vec<Reign>,
    newest: BlockRef,
}

/// What carries trust from one roster to the next: the block that entered the change, its parent, and
/// a proof that it was committed.
///
/// The next roster is believed from this block's height on, together with the joint one: which of the
/// two a block above is under depends on where the change was left, which the step does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterStep {
    /// The parent of the block.
    pub parent: Header,
    /// The block: one that enters a change, or a recovery.
    pub header: Header,
    /// What it says. It is the whole body of such a block.
    pub item: Item,
    /// Proof that it is committed, by the roster that it brings.
    pub path: CertificatePath,
}

impl Trust {
    /// Begins at a roster that the caller trusts, in force at a block that it trusts. At the genesis
    /// that is [`ChainId::genesis_ref`].
    #[must_use]
    pub fn new(chain_id: ChainId, roster: Roster, at: BlockRef) -> Self {
        let mut trust = Self { chain_id, reigns: Vec::new(), newest: at };
        trust.believe(roster, at.height);
        trust
    }

    /// Believes a roster from a height on, and with a joint one the roster that it turns into.
    fn believe(&mut self, roster: Roster, from: Height) {
        let after = roster.left();
        self.reigns.push(Reign { from, roster });
        self.reigns.extend(after.map(|roster| Reign { from, roster }));
    }

    /// The chain.
    #[must_use]
    pub const fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// The newest roster it trusts.
    ///
    /// # Panics
    /// Never: there is always one.
    #[must_use]
    pub fn roster(&self) -> &Roster {
        &self.reigns.last().expect("a trust begins with a roster and never loses one").roster
    }

    /// The certified block of the greatest height that it has seen; of two at one height the first.
    ///
    /// The height counts and not the rank: keys of a roster that was left still certify blocks below
    /// the height at which it was, in whatever term they like.
    #[must_use]
    pub const fn newest(&self) -> BlockRef {
        self.newest
    }

    fn see(&mut self, certified: BlockRef) {
        if certified.height > self.newest.height {
            self.newest = certified;
        }
    }

    /// Checks that a block is committed.
    ///
    /// # Errors
    /// Why the path does not prove it.
    pub fn check_path(
        &mut self,
        covered: BlockRef,
        path: &CertificatePath,
        verifier: &dyn Verifier,
    ) -> Result<(), TrustError> {
        let certified = path.certificate.block();
        let roster = self.believed(path.certificate.roster_hash(), certified.height)?;
        path.check(covered, self.chain_id, roster, verifier)?;
        self.see(certified);
        Ok(())
    }

    /// The roster with this hash, if a certificate by it counts at this height.
    fn believed(&self, hash: RosterHash, height: Height) -> Result<&Roster, TrustError> {
        let known = self.reigns.iter().rfind(|reign| reign.roster.hash() == hash);
        let reign = known.ok_or(TrustError::UnknownRoster { hash })?;
        // A joint roster and the one after it are entered together; what ends both is the step after.
        let until = self
            .reigns
            .iter()
            .map(|next| next.from)
            .find(|from| *from > reign.from)
            .unwrap_or(Height::new(u64::MAX));
        if height < reign.from || height >= until {
            return Err(TrustError::NotInForce { hash, from: reign.from, until, height });
        }
        Ok(&reign.roster)
    }

    /// Crosses a roster change: checks it and trusts the roster that it leads to.
    ///
    /// The parent must not be below [`Trust::newest`], nor another block at its height: no honest
    /// quorum enters a change there. Admins may order a recovery there, over a tip that lacks what
    /// others have seen certified. To follow them in that is for people: they begin with a new trust.
    /// That a parent above the newest block descends from it, a step does not show.
    ///
    /// # Errors
    /// Why it does not lead there. Trust is as before then.
    pub fn cross(&mut self, step: &RosterStep, verifier: &dyn Verifier) -> Result<(), TrustError> {
        let height = step.header.height;
        if !matches!(step.header.kind, BlockKind::Enter | BlockKind::Recovery) {
            return Err(TrustError::NoChange { height });
        }
        if step.header.body_root.as_bytes() != step.item.leaf().as_bytes() {
            return Err(TrustError::Item { height });
        }
        let roster = self.believed(step.parent.roster_hash, step.parent.height)?;
        let parent = Parent::of(&step.parent, roster);
        let item = Some(&step.item);
        let brought = well_formed::check(&parent, &step.header, item, self.chain_id, verifier)?;
        let brought = brought.ok_or(TrustError::NoChange { height })?;
        if height <= self.reigns.last().map_or(Height::ZERO, |reign| reign.from) {
            return Err(TrustError::NoChange { height });
        }
        let (parent, newest) = (parent.block, self.newest);
        if parent.height < newest.height || parent.height == newest.height && parent != newest {
            return Err(TrustError::Undoes { parent, newest });
        }
        step.path.check(step.header.block_ref(), self.chain_id, &brought, verifier)?;
        self.see(step.path.certificate.block());
        self.believe(brought, height);
        Ok(())
    }
}

/// Why something is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// It rests on a roster that nothing has led to.
    #[error("nothing that I trust has led to roster {hash:.16}")]
    UnknownRoster {
        /// Its hash.
        hash: RosterHash,
    },
    /// It rests on a roster that is not in force there.
    #[error("roster {hash:.16} counts from height {from} to below {until}, not at {height}")]
    NotInForce {
        /// Its hash.
        hash: RosterHash,
        /// Where it begins.
        from: Height,
        /// Where the next one begins.
        until: Height,
        /// Where it was needed.
        height: Height,
    },
    /// The certificate or its path proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The block with the change may not stand on its parent.
    #[error("block with the roster change: {0}")]
    Malformed(#[from] Malformed),
    /// The item shown is not the body of the block.
    #[error("the item is not the body of the block at height {height}")]
    Item {
        /// The block's height.
        height: Height,
    },
    /// It would undo a block that was certified.
    #[error("the roster change stands on {parent}, I have seen {newest} certified")]
    Undoes {
        /// The block on which the change was entered.
        parent: BlockRef,
        /// The newest certified block seen.
        newest: BlockRef,
    },
    /// The block does not change the roster that is trusted.
    #[error("the block at height {height} enters no change of the roster that I trust")]
    NoChange {
        /// The block's height.
        height: Height,
    },
}

impl Encode for RosterStep {
    fn encode(&self, out: &mut Vec<u8>) {
        self.parent.encode(out);
        self.header.encode(out);
        self.item.encode(out);
        self.path.encode(out);
    }
}

impl Decode for RosterStep {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            parent: Header::decode(from)?,
            header: Header::decode(from)?,
            item: Item::decode(from)?,
            path: CertificatePath::decode(from)?,
        })
    }
}
