//! The largest things the format allows. Every node refuses what exceeds them, so they are part of
//! the rules of a chain and never a setting.

/// Bytes of a key or a prefix. A key has at least one.
pub const KEY: usize = 1_024;
/// Bytes of a value.
pub const VALUE: usize = 256 * 1_024;
/// Operations in a transaction. It has at least one.
pub const OPERATIONS: usize = 128;
/// Bytes of a transaction, signatures included.
pub const TRANSACTION: usize = 512 * 1_024;
/// Admins of a chain, and so approvals of a transaction or a roster change.
pub const ADMINS: usize = 16;
/// Prefixes granted to one account.
pub const GRANTS: usize = 64;
/// Transactions in a block.
pub const TRANSACTIONS: usize = 10_000;
/// Bytes of a block's body.
pub const BODY: usize = 4 * 1_024 * 1_024;
/// Validators and learners in a roster, each half of a joint one counted alone.
pub const MEMBERS: usize = 64;
/// Changes in one roster change.
pub const CHANGES: usize = 16;
/// Bytes of a member's name.
pub const NAME: usize = 64;
/// Addresses of a member.
pub const ADDRESSES: usize = 8;
/// Bytes of an address.
pub const ADDRESS: usize = 256;
/// How far above the highest nonce seen the next one may be, and how far below it one may still
/// come late.
pub const NONCE_WINDOW: u64 = 1_024;
/// Headers in a certificate path.
pub const PATH: usize = 4_096;
