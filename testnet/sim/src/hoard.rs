//! What a liar gets out of an election of others: whoever has voted hears no leader yet, and pre-votes for the next term
//! when it is asked to. The certificates are genuine, and are of use later if anybody lets them be.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_chain::certificate::{Certificate, Signed};
use quorate_chain::ids::NodeId;
use quorate_chain::roster::{QuorumKind, Roster};
use quorate_chain::statement::{SignedStatement, Statement};
use quorate_consensus::message::Proof;

use crate::dice::Dice;

/// Most certificates that it keeps.
const MOST: usize = 16;

/// Pre-votes that a liar collects, and has collected.
#[derive(Default)]
pub(crate) struct Hoard {
    asked: Option<Asked>,
    whole: Vec<Proof>,
}

struct Asked {
    statement: Statement,
    roster: Arc<Roster>,
    said: BTreeMap<NodeId, SignedStatement>,
}

impl Hoard {
    /// It asks for this pre-vote, and gives its own.
    pub(crate) fn ask(&mut self, own: SignedStatement, roster: &Arc<Roster>) {
        let (statement, roster) = (own.statement, Arc::clone(roster));
        let said = BTreeMap::from([(own.signer, own)]);
        self.asked = Some(Asked { statement, roster, said });
    }

    /// Somebody answers.
    pub(crate) fn hear(&mut self, said: &SignedStatement) {
        let Some(asked) = &mut self.asked else { return };
        if said.statement != asked.statement || said.roster_hash != asked.roster.hash() {
            return;
        }
        asked.said.insert(said.signer, said.clone());
        if !asked.roster.has_quorum(QuorumKind::Election, &asked.said.keys().copied().collect()) {
            return;
        }
        let Some(Asked { statement, roster, said }) = self.asked.take() else { return };
        let signed =
            said.into_values().map(|it| Signed { signer: it.signer, signature: it.signature });
        let certificate = Certificate::assemble(statement, roster.hash(), signed.collect());
        if self.whole.len() == MOST {
            self.whole.remove(0);
        }
        self.whole.push(Proof { certificate, roster });
    }

    /// One of those that it has.
    pub(crate) fn pick(&self, dice: &mut Dice) -> Option<Proof> {
        self.whole.get(dice.index(self.whole.len())).cloned()
    }
}
