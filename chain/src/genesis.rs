//! The genesis file: what all who join a chain agree on before its first block.
//!
//! It is JSON, made once and never changed. The SHA-256 of its bytes is the chain id, so two files
//! that differ in a single space begin two different chains. Fields that this version does not know
//! are refused, because a node that ignored one would not agree with one that understands it.
//!
//! The genesis is height 0 and has no block: block 1 names the chain id as its parent.
//!
//! Left out: who may look at the file. There is nothing secret in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::crypto::{KeyError, ValidatorKey, check_account_key};
use crate::execute::Writers;
use crate::ids::{AccountKey, ChainId, Hash, NodeId, TimeUs};
use crate::limits;
use crate::roster::{
    Admins, Lead, Member, Part, QuorumSize, Role, Roster, RosterError, check_name,
};
use crate::state::{Changes, Grants, StateEntry, StateKey};

/// The version of the file that this program reads and writes.
pub const VERSION: u32 = 1;
/// The most bytes that a genesis file may have.
pub const SIZE: usize = 1024 * 1024;

/// What a genesis file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The version of the file, [`VERSION`].
    pub version: u32,
    /// What people call the chain.
    pub name: String,
    /// When it was made, in microseconds since 1970. No block is older.
    pub time_us: TimeUs,
    /// Whether development keys and storage in memory are allowed.
    #[serde(default)]
    pub testnet: bool,
    /// Who may write.
    pub writers: Writers,
    /// Who may change the roster and give grants.
    pub admins: GenesisAdmins,
    /// The first voters. Their ids are 0, 1, 2, … in this order.
    pub validators: Vec<GenesisValidator>,
    /// How many voters elect a leader; the strict majority if absent.
    #[serde(default)]
    pub vote_quorum: Option<u16>,
    /// How many acks make a block final; the strict majority if absent.
    #[serde(default)]
    pub finality_quorum: Option<u16>,
    /// Grants that hold from the first block on.
    #[serde(default)]
    pub grants: Vec<GenesisGrant>,
}

/// The first admins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAdmins {
    /// How many must agree.
    pub threshold: u16,
    /// Their keys.
    pub keys: Vec<AccountKey>,
}

/// One of the first voters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// What people call it.
    pub name: String,
    /// The key of its statements and blocks.
    pub key: ValidatorKey,
    /// Where other nodes reach it.
    #[serde(default)]
    pub p2p: Vec<String>,
    /// Where clients reach it.
    #[serde(default)]
    pub api: Vec<String>,
    /// Whether it wants to lead.
    #[serde(default = "willing")]
    pub lead: Lead,
}

const fn willing() -> Lead {
    Lead::Yes
}

/// A grant that holds from the first block on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisGrant {
    /// Who may write.
    pub account: AccountKey,
    /// What the keys begin with; empty for all keys.
    pub prefix: String,
}

/// Why a file is not a genesis.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenesisError {
    /// It is too large to be one.
    #[error("{found} bytes, a genesis file has at most {SIZE}")]
    TooLarge {
        /// How many bytes it has.
        found: usize,
    },
    /// It is not JSON, or not of the right shape; the message names line and column.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// Something with named fields is written without their names.
    #[error("{place}: expected an object with named fields")]
    NotAnObject {
        /// Where.
        place: &'static str,
    },
    /// Something that is one of a few words is not written as text.
    #[error("{place}: expected text")]
    NotText {
        /// Where.
        place: &'static str,
    },
    /// It is of a version that this program does not know.
    #[error("version {found}, this program reads version {VERSION}")]
    Version {
        /// Its version.
        found: u32,
    },
    /// Its validators, quorums, names or admins do not fit together.
    #[error(transparent)]
    Roster(#[from] RosterError),
    /// A grant to a key that cannot sign.
    #[error("grant to {account}: {reason}")]
    Account {
        /// The key.
        account: AccountKey,
        /// What is wrong with it.
        reason: KeyError,
    },
    /// A prefix that is too long.
    #[error("grant to {account}: a prefix of {found} bytes, at most {limit} are allowed",
        limit = limits::KEY)]
    Prefix {
        /// Who should have the grant.
        account: AccountKey,
        /// How long the prefix is.
        found: usize,
    },
    /// More grants to one account than the format allows.
    #[error("{found} grants to {account}, at most {limit} are allowed", limit = limits::GRANTS)]
    TooManyGrants {
        /// Who should have them.
        account: AccountKey,
        /// How many they are.
        found: usize,
    },
}

/// Checks that what has named fields is written with their names and that words are written as text:
/// the JSON library would also take a bare list of the values, and an object for a word.
fn check_shape(file: &serde_json::Value) -> Result<(), GenesisError> {
    let items = |list: &'static str| {
        let values = file.get(list).and_then(|list| list.as_array()).into_iter().flatten();
        values.map(move |value| (list, value))
    };
    let admins = file.get("admins").into_iter().map(|value| ("admins", value));
    let all = std::iter::once(("the file", file)).chain(admins);
    let mut all = all.chain(items("validators")).chain(items("grants"));
    if let Some((place, _)) = all.find(|(_, value)| !value.is_object()) {
        return Err(GenesisError::NotAnObject { place });
    }
    let leads = items("validators").filter_map(|(_, value)| Some(("lead", value.get("lead")?)));
    let mut words = file.get("writers").into_iter().map(|value| ("writers", value)).chain(leads);
    match words.find(|(_, value)| !value.is_string()) {
        None => Ok(()),
        Some((place, _)) => Err(GenesisError::NotText { place }),
    }
}

impl Genesis {
    /// Reads a file and checks all of it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(file: &[u8]) -> Result<Self, GenesisError> {
        if file.len() > SIZE {
            return Err(GenesisError::TooLarge { found: file.len() });
        }
        let genesis: Self = serde_json::from_slice(file)?;
        check_shape(&serde_json::from_slice(file)?)?;
        genesis.check()?;
        Ok(genesis)
    }

    /// Checks that a chain can begin with it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.version != VERSION {
            return Err(GenesisError::Version { found: self.version });
        }
        check_name(&self.name)?;
        let roster = self.roster()?;
        roster.current().check_size(roster.current().vote_quorum)?;
        roster.current().check_size(roster.current().finality_quorum)?;
        for GenesisGrant { account, prefix } in &self.grants {
            let account = *account;
            check_account_key(&account)
                .map_err(|reason| GenesisError::Account { account, reason })?;
            if prefix.len() > limits::KEY {
                return Err(GenesisError::Prefix { account, found: prefix.len() });
            }
        }
        match self.grants_by_account().into_iter().find(|(_, g)| g.0.len() > limits::GRANTS) {
            None => Ok(()),
            Some((account, grants)) => {
                Err(GenesisError::TooManyGrants { account, found: grants.0.len() })
            }
        }
    }

    /// The file, as this program writes one.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut file = serde_json::to_vec_pretty(self).expect("every field has a JSON form");
        file.push(b'\n');
        file
    }

    /// The chain that a file begins.
    #[must_use]
    pub fn chain_id(file: &[u8]) -> ChainId {
        ChainId::new(*Hash::of(&[file]).as_bytes())
    }

    /// The first roster.
    ///
    /// # Errors
    /// If validators, quorums and admins do not fit together.
    pub fn roster(&self) -> Result<Roster, RosterError> {
        let mut next_id = NodeId::ZERO;
        let mut members = Vec::with_capacity(self.validators.len());
        for validator in &self.validators {
            members.push(Member {
                id: next_id,
                name: validator.name.clone(),
                key: validator.key.clone(),
                p2p: validator.p2p.clone(),
                api: validator.api.clone(),
                role: Role::Voter,
                lead: validator.lead,
            });
            let found = self.validators.len();
            next_id = next_id.next().ok_or(RosterError::TooManyMembers { found })?;
        }
        let mut keys = self.admins.keys.clone();
        keys.sort();
        Roster::single(Part {
            members,
            next_id,
            changes: 0,
            vote_quorum: self.quorum(self.vote_quorum)?,
            finality_quorum: self.quorum(self.finality_quorum)?,
            admins: Admins { threshold: self.admins.threshold, keys },
        })
    }

    /// Zero is how the bytes of a roster say "majority"; in the file it is a mistake.
    fn quorum(&self, number: Option<u16>) -> Result<QuorumSize, RosterError> {
        match number {
            None => Ok(QuorumSize::Majority),
            Some(0) => Err(RosterError::Quorum { found: 0, voters: self.validators.len() }),
            Some(number) => Ok(QuorumSize::Voters(number)),
        }
    }

    /// The state at height 0.
    #[must_use]
    pub fn state(&self) -> Changes {
        self.grants_by_account()
            .into_iter()
            .map(|(account, grants)| (StateKey::Grants(account), Some(StateEntry::Grants(grants))))
            .collect()
    }

    fn grants_by_account(&self) -> BTreeMap<AccountKey, Grants> {
        let mut accounts: BTreeMap<_, Grants> = BTreeMap::new();
        for GenesisGrant { account, prefix } in &self.grants {
            let grants = accounts.entry(*account).or_default();
            grants.0.insert(Bytes::copy_from_slice(prefix.as_bytes()));
        }
        accounts
    }
}
