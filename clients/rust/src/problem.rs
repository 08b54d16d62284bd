//! What a node says when the answer is no (RFC 9457).
//!
//! A problem tells three things beside what went wrong: whether anything has happened, whether the
//! same bytes may be sent again, and what is to be repaired first. A client decides by these and by
//! the code, never by the words.

use quorate_chain::ids::{Height, TxId};
use serde::{Deserialize, Serialize};

use crate::answer::Outcome;

/// Defines the closed list of codes, each with the one sentence that explains it.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $title:literal,)*) => {
        /// What went wrong: one of a closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// How it is written.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    Malformed "malformed" "What was sent cannot be read.",
    TooLarge "too_large" "What was sent, or would result, is larger than the format allows.",
    BadSignature "bad_signature" "A signature does not fit its key and the message.",
    WrongChain "wrong_chain" "The transaction is meant for another chain.",
    Expired "expired" "The transaction was not ordered before its last height.",
    NonceUsed "nonce_used" "Another transaction of the sender has used this nonce.",
    NonceTooFar "nonce_too_far" "The nonce is too far above the highest that the sender has used.",
    NotPermitted "not_permitted" "The sender may not write this key, or too few admins approve.",
    KeyExists "key_exists" "The key has a value already.",
    KeyNotFound "key_not_found" "The key has no value.",
    Mismatch "mismatch" "The key has another value than expected.",
    MempoolFull "mempool_full" "The node holds as many waiting transactions as it may.",
    RateLimited "rate_limited" "This client asks too often.",
    NoLeader "no_leader" "The node knows of no leader.",
    NoQuorum "no_quorum" "Too few validators are reachable to order anything.",
    OutcomeUnknown "outcome_unknown" "Nobody can say yet whether the transaction will be ordered.",
    BlockNotFound "block_not_found" "There is no such block on this node.",
    Pruned "pruned" "The node has pruned what was asked for.",
    ProofUnavailable "proof_unavailable" "The node cannot prove this at that height.",
    ReceiptNotYet "receipt_not_yet" "The transaction is not committed, so there is no receipt.",
    ChangeInProgress "change_in_progress" "Another change of the roster is under way.",
    UnsafeChange "unsafe_change" "The group that would result could not go on.",
    CatchingUp "catching_up" "The node is catching up and does not answer for the chain yet.",
    DiskLow "disk_low" "The node's disk is nearly full.",
    Stopping "stopping" "The node is about to stop.",
}

impl Code {
    /// The code that is written like this.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// The `type` of its problems.
    #[must_use]
    pub fn uri(self) -> String {
        format!("https://quorate.invalid/errors/{}", self.name())
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(from)?;
        Self::from_name(&name)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown code `{name}`")))
    }
}

/// Whether anything has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Effect {
    /// One word says it.
    Word(EffectWord),
    /// The transaction has been ordered and has failed, as this outcome says.
    Ordered(Box<Outcome>),
}

/// Whether anything has happened, as far as one word can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectWord {
    /// Nothing, and what was sent is not under way.
    NothingHappened,
    /// Nobody knows yet.
    Unknown,
    /// It stands in the chain.
    Committed,
}

/// Whether trying again makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Yes, with the same bytes.
    SameBytes,
    /// Yes, once what is wrong with the request is repaired.
    AfterFix,
    /// No.
    Never,
}

/// Why a node refused, or cannot say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The address of the code's explanation.
    #[serde(rename = "type")]
    pub uri: String,
    /// What the code means, in one sentence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong.
    pub code: Code,
    /// The facts of this case.
    pub detail: String,
    /// Whether anything has happened.
    pub outcome: Effect,
    /// Whether trying again makes sense.
    pub retry: Retry,
    /// The transaction that this is about.
    #[serde(default)]
    pub tx: Option<TxId>,
    /// How many validators the node reaches, itself counted.
    #[serde(default)]
    pub reachable: Option<u32>,
    /// How many it needs.
    #[serde(default)]
    pub needed: Option<u32>,
    /// Where the leader serves clients, if that would help.
    #[serde(default)]
    pub leader_api: Option<String>,
    /// The height at which a key was found to have no value; in no other problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_height: Option<Height>,
}

impl Problem {
    /// Whether the node vouches that nothing has happened.
    #[must_use]
    pub fn nothing_happened(&self) -> bool {
        self.outcome == Effect::Word(EffectWord::NothingHappened)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.detail.is_empty() {
            return write!(f, "{}: {}", self.code, self.title);
        }
        write!(f, "{}: {}", self.code, self.detail)
    }
}
