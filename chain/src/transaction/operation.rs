//! What a transaction can do to the state.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, put_bytes};
use crate::ids::AccountKey;
use crate::limits;

/// One change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets a key that has no value; fails if it has one.
    Put {
        /// The key.
        key: Bytes,
        /// Its value from now on.
        value: Bytes,
    },
    /// Sets a key, whether or not it has a value.
    Update {
        /// The key.
        key: Bytes,
        /// Its value from now on.
        value: Bytes,
    },
    /// Takes a key's value away; fails if it has none.
    Remove {
        /// The key.
        key: Bytes,
    },
    /// Sets a key if its value is as expected; fails otherwise.
    Cas {
        /// The key.
        key: Bytes,
        /// The value it must have; `None` if it must have none.
        expected: Option<Bytes>,
        /// Its value from now on.
        value: Bytes,
    },
    /// Lets an account write the keys that begin with a prefix. For admins.
    Grant {
        /// Who may write.
        account: AccountKey,
        /// What the keys begin with; empty for all keys.
        prefix: Bytes,
    },
    /// Takes a grant back; fails if there is no such grant. For admins.
    Revoke {
        /// Whose grant it is.
        account: AccountKey,
        /// The prefix as it was granted.
        prefix: Bytes,
    },
}

impl Operation {
    /// The name that clients see.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Update { .. } => "update",
            Self::Remove { .. } => "remove",
            Self::Cas { .. } => "cas",
            Self::Grant { .. } => "grant",
            Self::Revoke { .. } => "revoke",
        }
    }

    /// The key it writes; for a grant, the prefix it speaks of.
    #[must_use]
    pub const fn key(&self) -> &Bytes {
        match self {
            Self::Put { key, .. }
            | Self::Update { key, .. }
            | Self::Remove { key }
            | Self::Cas { key, .. } => key,
            Self::Grant { prefix, .. } | Self::Revoke { prefix, .. } => prefix,
        }
    }
}

impl Encode for Operation {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put { key, value } => {
                out.push(1);
                put_bytes(out, key);
                put_bytes(out, value);
            }
            Self::Update { key, value } => {
                out.push(2);
                put_bytes(out, key);
                put_bytes(out, value);
            }
            Self::Remove { key } => {
                out.push(3);
                put_bytes(out, key);
            }
            Self::Cas { key, expected, value } => {
                out.push(4);
                put_bytes(out, key);
                out.push(u8::from(expected.is_some()));
                if let Some(expected) = expected {
                    put_bytes(out, expected);
                }
                put_bytes(out, value);
            }
            Self::Grant { account, prefix } => {
                out.push(5);
                account.encode(out);
                put_bytes(out, prefix);
            }
            Self::Revoke { account, prefix } => {
                out.push(6);
                account.encode(out);
                put_bytes(out, prefix);
            }
        }
    }
}

impl Decode for Operation {
    fn decode(from: &mut Reader) -> Result<Self, DecodeError> {
        let offset = from.offset();
        match from.u8("operation")? {
            1 => {
                Ok(Self::Put { key: decode_key(from)?, value: from.bytes("value", limits::VALUE)? })
            }
            2 => Ok(Self::Update {
                key: decode_key(from)?,
                value: from.bytes("value", limits::VALUE)?,
            }),
            3 => Ok(Self::Remove { key: decode_key(from)? }),
            4 => Ok(Self::Cas {
                key: decode_key(from)?,
                expected: match from.bool("expected")? {
                    true => Some(from.bytes("expected", limits::VALUE)?),
                    false => None,
                },
                value: from.bytes("value", limits::VALUE)?,
            }),
            5 => Ok(Self::Grant {
                account: AccountKey::decode(from)?,
                prefix: from.bytes("prefix", limits::KEY)?,
            }),
            6 => Ok(Self::Revoke {
                account: AccountKey::decode(from)?,
                prefix: from.bytes("prefix", limits::KEY)?,
            }),
            found => Err(DecodeError::UnknownTag { field: "operation", offset, found }),
        }
    }
}

/// Reads a key, which is never empty.
pub(crate) fn decode_key(from: &mut Reader) -> Result<Bytes, DecodeError> {
    let offset = from.offset();
    let key = from.bytes("key", limits::KEY)?;
    Reader::require(!key.is_empty(), "key", offset, "a key has at least one byte")?;
    Ok(key)
}
