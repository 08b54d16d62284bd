//! Who has a say on a chain that only those may write to who were granted something.
//!
//! A filter at the door, not a rule of the chain: there, execution decides. But what execution finds not
//! permitted has taken its place in a block, and its sender's nonce a place in the state, and both stay. So
//! strangers, who have nothing to lose and keys without end, do not come that far.
//!
//! The applied state decides, and what is in flight above it, so that whoever was just granted something is
//! known wherever the block of the grant is. A node that lacks this block refuses; the same bytes are good there
//! a moment later.

use quorate_chain::execute::{Rules, Writers};
use quorate_chain::state::StateRead;
use quorate_chain::transaction::SignedTransaction;

use super::Driver;
use crate::io::Output;
use crate::store::Store;

impl<S: Store> Driver<S> {
    /// Whether the sender has been granted anything, or an admin stands behind the transaction; `None` if the
    /// store cannot be read.
    pub(super) fn has_a_say(
        &mut self,
        transaction: &SignedTransaction,
        out: &mut Vec<Output>,
    ) -> Option<bool> {
        if self.writers == Writers::Anyone {
            return Some(true);
        }
        let content = transaction.content();
        let log = self.core.log();
        let by_admin = [&log.applied().roster, &log.tip().roster].iter().any(|roster| {
            let admins = &Rules::under(roster, self.writers).admins.keys;
            admins.contains(&content.sender)
                || content.approvers.iter().any(|it| admins.contains(it))
        });
        if by_admin || self.mempool.is_being_granted(content.sender) {
            return Some(true);
        }
        let sender = content.sender;
        self.read(|reader| reader.grants(sender), out).map(|grants| !grants.0.is_empty())
    }
}
