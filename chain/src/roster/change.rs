//! How one roster becomes the next.
//!
//! A change is a list of steps that take effect together. Admins sign it over the hash of the roster
//! that it changes, and no roster ever comes back (each counts the changes that led to it), so a change
//! can be used once and on one chain only. [`Roster::apply`] turns the roster
//! in force into the joint one, [`Roster::left`] turns that into the next. Both are pure: whoever
//! knows a roster and the blocks that change it knows every later roster.
//!
//! ```text
//! "quorate/1/change" ‖ chain id ‖ roster hash ‖ steps ‖ approvals
//! └──────────────── what every approving admin signs ┘
//! ```
//!
//! Replacing a validator is two steps in one change: promote the one, remove the other.

use crate::checked::Checked;
use crate::codec::{Decode, DecodeError, Encode, Reader, put_bytes, put_list};
use crate::crypto::{SecretKey, ValidatorKey, Verifier};
use crate::ids::{AccountKey, ChainId, NodeId, RosterHash};
use crate::limits;
use crate::roster::member::{addresses, put_addresses};
use crate::roster::{Admins, Lead, Member, Part, QuorumSize, Role, Roster, RosterError};
use crate::transaction::{Approval, decode_approvals};

/// What the bytes and the signed message of a roster change begin with.
pub const DOMAIN: &[u8] = b"quorate/1/change";

/// What is known of a member before it has an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMember {
    /// What people call it.
    pub name: String,
    /// Its key.
    pub key: ValidatorKey,
    /// Where other nodes reach it.
    pub p2p: Vec<String>,
    /// Where clients reach it.
    pub api: Vec<String>,
    /// Whether it wants to lead.
    pub lead: Lead,
    /// Whether it becomes a voter by itself once it has caught up.
    pub promote: bool,
}

/// One step of a roster change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Adds a learner; it gets the next id.
    Add(NewMember),
    /// Takes a member out.
    Remove {
        /// The member.
        id: NodeId,
    },
    /// Makes a learner a voter.
    Promote {
        /// The learner.
        id: NodeId,
    },
    /// Says anew what is known of a member, but for its key and its role.
    Update {
        /// The member.
        id: NodeId,
        /// Its name from now on.
        name: String,
        /// Where other nodes reach it from now on.
        p2p: Vec<String>,
        /// Where clients reach it from now on.
        api: Vec<String>,
        /// Whether it wants to lead from now on.
        lead: Lead,
    },
    /// Names the admins anew.
    SetAdmins(Admins),
    /// Sets the sizes of quorums.
    SetQuorums {
        /// How many voters elect a leader.
        vote: QuorumSize,
        /// How many acks make a block final.
        finality: QuorumSize,
    },
}

impl Change {
    fn apply(&self, part: &mut Part) -> Result<(), ChangeError> {
        match self {
            Self::Add(new) => {
                let id = part.next_id;
                part.next_id = id.next().ok_or(ChangeError::NoIdLeft)?;
                part.members.push(Member {
                    id,
                    name: new.name.clone(),
                    key: new.key.clone(),
                    p2p: new.p2p.clone(),
                    api: new.api.clone(),
                    role: Role::Learner { promote: new.promote },
                    lead: new.lead,
                });
            }
            Self::Remove { id } => {
                find(part, *id)?;
                part.members.retain(|member| member.id != *id);
            }
            Self::Promote { id } => {
                let member = find(part, *id)?;
                if member.is_voter() {
                    return Err(ChangeError::AlreadyVoter { id: *id });
                }
                member.role = Role::Voter;
            }
            Self::Update { id, name, p2p, api, lead } => {
                let member = find(part, *id)?;
                member.name.clone_from(name);
                member.p2p.clone_from(p2p);
                member.api.clone_from(api);
                member.lead = *lead;
            }
            Self::SetAdmins(admins) => part.admins = admins.clone(),
            Self::SetQuorums { vote, finality } => {
                part.check_size(*vote)?;
                part.check_size(*finality)?;
                part.vote_quorum = *vote;
                part.finality_quorum = *finality;
            }
        }
        Ok(())
    }
}

fn find(part: &mut Part, id: NodeId) -> Result<&mut Member, ChangeError> {
    part.members.iter_mut().find(|member| member.id == id).ok_or(ChangeError::UnknownMember { id })
}

/// Why a change cannot be applied to a roster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// It changes another roster than the one in force.
    #[error("it changes roster {found:.16}, in force is {expected:.16}")]
    OtherRoster {
        /// The roster in force.
        expected: RosterHash,
        /// The roster it names.
        found: RosterHash,
    },
    /// It is meant for another chain.
    #[error("it is meant for chain {found:.16}, this is chain {expected:.16}")]
    OtherChain {
        /// This chain.
        expected: ChainId,
        /// The chain it names.
        found: ChainId,
    },
    /// Another change is under way.
    #[error("the roster in force is joint: one change at a time")]
    UnderWay,
    /// Too few admins have signed it.
    #[error("{approvals} approvals of admins, {threshold} are needed")]
    Unapproved {
        /// How many signatures it carries.
        approvals: usize,
        /// How many admins must agree.
        threshold: u16,
    },
    /// A signature that is not that of an admin over this change.
    #[error("{admin} is no admin, or its signature does not fit")]
    BadApproval {
        /// Whose signature it should be.
        admin: AccountKey,
    },
    /// A step speaks of a member that the roster does not have.
    #[error("the roster has no member {id}")]
    UnknownMember {
        /// The member.
        id: NodeId,
    },
    /// A step promotes a voter.
    #[error("member {id} is a voter already")]
    AlreadyVoter {
        /// The member.
        id: NodeId,
    },
    /// A learner was to be promoted by the leader although nobody had asked for it.
    #[error("member {id} is no learner that awaits promotion")]
    NotAwaiting {
        /// The member.
        id: NodeId,
    },
    /// Every id, or every number of a change, has been given.
    #[error("no id is left for a new member, or no number for a change")]
    NoIdLeft,
    /// The roster after the change would not be one.
    #[error("the roster after it would not be valid: {0}")]
    Invalid(#[from] RosterError),
}

/// A roster change before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterChange {
    /// The chain it is meant for.
    pub chain_id: ChainId,
    /// The roster it changes.
    pub roster_hash: RosterHash,
    /// What it changes, in order.
    pub steps: Vec<Change>,
}

impl RosterChange {
    /// The bytes that every approving admin signs.
    #[must_use]
    pub fn message(&self) -> Vec<u8> {
        let mut out = DOMAIN.to_vec();
        self.chain_id.encode(&mut out);
        self.roster_hash.encode(&mut out);
        put_list(&mut out, &self.steps);
        out
    }

    /// An admin's approval of it.
    #[must_use]
    pub fn approve(&self, key: &SecretKey) -> Approval {
        Approval { admin: key.account_key(), signature: key.sign(&self.message()) }
    }

    /// Joins approvals to it. They are not verified here.
    #[must_use]
    pub fn assemble(self, mut approvals: Vec<Approval>) -> SignedRosterChange {
        approvals.sort_by_key(|approval| approval.admin);
        approvals.dedup_by_key(|approval| approval.admin);
        SignedRosterChange { change: self, approvals }
    }
}

/// A roster change with the approvals of admins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRosterChange {
    change: RosterChange,
    approvals: Vec<Approval>,
}

impl SignedRosterChange {
    /// The change.
    #[must_use]
    pub const fn change(&self) -> &RosterChange {
        &self.change
    }

    /// Checks that enough admins of the roster in force have signed it, for this chain.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(
        self,
        chain_id: ChainId,
        roster: &Roster,
        verifier: &dyn Verifier,
    ) -> Result<Checked<Self>, ChangeError> {
        self.check(chain_id, roster, verifier)?;
        Ok(Checked::verified(self))
    }

    /// Checks without taking it: see [`SignedRosterChange::verify`].
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(
        &self,
        chain_id: ChainId,
        roster: &Roster,
        verifier: &dyn Verifier,
    ) -> Result<(), ChangeError> {
        let found = self.change.chain_id;
        if found != chain_id {
            return Err(ChangeError::OtherChain { expected: chain_id, found });
        }
        let found = self.change.roster_hash;
        if found != roster.hash() {
            return Err(ChangeError::OtherRoster { expected: roster.hash(), found });
        }
        let admins = &roster.current().admins;
        verify_approvals(&self.change.message(), &self.approvals, admins, verifier)
    }
}

/// Checks that enough admins have signed a message, and nobody else.
///
/// # Errors
/// The first signature that does not fit, or that there are too few.
pub(crate) fn verify_approvals(
    message: &[u8],
    approvals: &[Approval],
    admins: &Admins,
    verifier: &dyn Verifier,
) -> Result<(), ChangeError> {
    for Approval { admin, signature } in approvals {
        let bad = ChangeError::BadApproval { admin: *admin };
        let key = ValidatorKey::from_bytes(admin.as_bytes()).map_err(|_| bad.clone())?;
        let known = admins.keys.binary_search(admin).is_ok();
        if !known || verifier.validator(&key, message, signature).is_err() {
            return Err(bad);
        }
    }
    if !admins.approve(approvals.iter().map(|approval| approval.admin)) {
        let (approvals, threshold) = (approvals.len(), admins.threshold);
        return Err(ChangeError::Unapproved { approvals, threshold });
    }
    Ok(())
}

impl Roster {
    /// The joint roster that a change leads to. The approvals are not looked at here.
    ///
    /// # Errors
    /// If the change does not fit this roster, or would break it.
    pub fn apply(&self, change: &RosterChange) -> Result<Self, ChangeError> {
        if change.roster_hash != self.hash() {
            let (expected, found) = (self.hash(), change.roster_hash);
            return Err(ChangeError::OtherRoster { expected, found });
        }
        self.apply_steps(&change.steps)
    }

    /// The joint roster in which a learner that was added to be promoted becomes a voter. The leader
    /// does this by itself.
    ///
    /// # Errors
    /// If the member does not await promotion.
    pub fn promote(&self, id: NodeId) -> Result<Self, ChangeError> {
        match self.current().member(id).map(|member| member.role) {
            Some(Role::Learner { promote: true }) => self.apply_steps(&[Change::Promote { id }]),
            Some(Role::Voter | Role::Learner { promote: false }) | None => {
                Err(ChangeError::NotAwaiting { id })
            }
        }
    }

    fn apply_steps(&self, steps: &[Change]) -> Result<Self, ChangeError> {
        if self.is_joint() {
            return Err(ChangeError::UnderWay);
        }
        let mut part = self.current().clone();
        part.changes = part.changes.checked_add(1).ok_or(ChangeError::NoIdLeft)?;
        for step in steps {
            step.apply(&mut part)?;
        }
        Ok(Self::joint(self.current().clone(), part)?)
    }
}

impl Encode for NewMember {
    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, self.name.as_bytes());
        self.key.encode(out);
        put_addresses(out, &self.p2p);
        put_addresses(out, &self.api);
        self.lead.encode(out);
        out.push(u8::from(self.promote));
    }
}

impl Decode for NewMember {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self {
            name: from.text("name", limits::NAME)?,
            key: ValidatorKey::decode(from)?,
            p2p: addresses(from, "p2p addresses")?,
            api: addresses(from, "api addresses")?,
            lead: Lead::decode(from)?,
            promote: from.bool("promote")?,
        })
    }
}

impl Encode for Change {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Add(new) => {
                out.push(1);
                new.encode(out);
            }
            Self::Remove { id } => {
                out.push(2);
                id.encode(out);
            }
            Self::Promote { id } => {
                out.push(3);
                id.encode(out);
            }
            Self::Update { id, name, p2p, api, lead } => {
                out.push(4);
                id.encode(out);
                put_bytes(out, name.as_bytes());
                put_addresses(out, p2p);
                put_addresses(out, api);
                lead.encode(out);
            }
            Self::SetAdmins(admins) => {
                out.push(5);
                admins.encode(out);
            }
            Self::SetQuorums { vote, finality } => {
                out.push(6);
                vote.encode(out);
                finality.encode(out);
            }
        }
    }
}

impl Decode for Change {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("change")? {
            1 => Ok(Self::Add(NewMember::decode(from)?)),
            2 => Ok(Self::Remove { id: NodeId::decode(from)? }),
            3 => Ok(Self::Promote { id: NodeId::decode(from)? }),
            4 => Ok(Self::Update {
                id: NodeId::decode(from)?,
                name: from.text("name", limits::NAME)?,
                p2p: addresses(from, "p2p addresses")?,
                api: addresses(from, "api addresses")?,
                lead: Lead::decode(from)?,
            }),
            5 => Ok(Self::SetAdmins(Admins::decode(from)?)),
            6 => Ok(Self::SetQuorums {
                vote: QuorumSize::decode(from)?,
                finality: QuorumSize::decode(from)?,
            }),
            found => Err(DecodeError::UnknownTag { field: "change", offset, found }),
        }
    }
}

impl Encode for SignedRosterChange {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.change.message());
        put_list(out, &self.approvals);
    }
}

impl Decode for SignedRosterChange {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        let domain = from.array::<{ DOMAIN.len() }>("roster change")?;
        let rule = "it begins with quorate/1/change";
        Reader::require(domain == DOMAIN, "roster change", offset, rule)?;
        let chain_id = ChainId::decode(from)?;
        let roster_hash = RosterHash::decode(from)?;
        let offset = from.offset();
        let steps: Vec<_> = from.list("steps", limits::CHANGES)?;
        Reader::require(!steps.is_empty(), "steps", offset, "a change has at least one step")?;
        let approvals = decode_approvals(from)?;
        Ok(Self { change: RosterChange { chain_id, roster_hash, steps }, approvals })
    }
}
