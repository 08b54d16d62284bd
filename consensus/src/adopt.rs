//! Taking blocks over: from the leader (Raft §5.3), or from anyone whose chain is worth more by the rule of
//! Raft §5.4.1. That somebody who does not lead yet takes blocks is not in Raft: see
//! [`candidate`](crate::raft).
//!
//! A tip never falls in rank. What is held is cut only for a range that ends in a block of the current term
//! sent by its leader, in a block of higher rank that was pulled, or in a certified one. A block of the current
//! term is never exchanged for another of the same term: then the leader has sealed twice (Raft §5.3: it makes
//! one entry for each index), and is not listened to any more. Nor is one that seals what must not be built
//! upon (`soundness`).
//!
//! **Certificates that contradict.** With liars enough, or a disk that forgets, a quorum may have signed a
//! block that is not on the chain here.
//! - *Above the committed tip* the certificate counts, and not what is held: a leader whose chain does not
//!   have the block leads no more, nobody acks or campaigns until it is on the chain, and the range that it
//!   ends replaces what stands there, be it of lower rank.
//! - *At or below the committed tip*, or beside another certified block, it proves that two blocks of one
//!   height are committed (against Raft §5.4.3), and nobody can say which one is the chain: the validator stops
//!   with both. The same is proven by a certified block further up from which hashes lead down to the other
//!   block, and by a certificate that comes as the proof of a term.
//!
//! Left out: a certificate for a block below those whose refs are known (see [`Log`](crate::log::Log)); and
//! one that nobody shows. A leader that is told of a committed block which is not on its chain asks for
//! it (see `leader`); who follows a leader is shown what the leader knows.

use quorate_chain::block::{Block, Header};
use quorate_chain::certificate::{Certificate, CertificateKind};
use quorate_chain::checked::Checked;
use quorate_chain::ids::{BlockRef, Height, NodeId};

use crate::codec::{BLOCKS, RANGE};
use crate::effect::{Effect, Halt};
use crate::event::Fetched;
use crate::judge::{self, Proven, Verdict};
use crate::log::{Anchor, Entry, Unfit};
use crate::message::Message;
use crate::progress::after;
use crate::raft::Core;
use crate::role::Role;
use crate::soundness::Fault;
use crate::states::Compared;

impl Core {
    /// Learns a commit certificate from whomever it comes. It may also be judged by the rosters of blocks
    /// that came with it, if those were judged on what is held: each of their rosters but the last is
    /// proven by the blocks after it, and the last is one step away.
    pub(crate) fn learn_commit(&mut self, certificate: &Certificate, with: &[Entry]) {
        let known = self.commits.knows(certificate);
        let block = certificate.block();
        let news = self.is_final_news(certificate);
        if known && !news || certificate.kind() != CertificateKind::Commit {
            return;
        }
        // What is committed here already is worth a look only if it is another block.
        let differs = self.log.at(block.height).is_some_and(|ours| ours != block);
        let committed = block.height <= self.log.committed().height;
        if committed && !differs && !news && block.term <= self.ballot.term {
            return;
        }
        let (chain_id, verifier) = (self.config.chain_id, &*self.verifier);
        let verdict = judge::judge(&self.log, with, certificate, None, chain_id, verifier);
        let Verdict::Good(proven) = verdict else { return };
        self.take_certificate(proven);
    }

    /// Takes over a commit certificate that is known to be good.
    pub(crate) fn take_certificate(&mut self, proven: Proven) {
        if proven.term() > self.ballot.term {
            self.adopt_term(proven.clone());
        } else {
            self.see_certificate(proven.certificate.get());
            self.keep_certificate(proven.certificate.clone());
        }
        self.note_final(&proven);
    }

    /// Keeps a good commit certificate for a block above the committed tip. If it proves that two blocks of one height
    /// are committed, the validator stops with both.
    pub(crate) fn keep_certificate(&mut self, certificate: Checked<Certificate>) {
        let block = certificate.block();
        let committed = block.height <= self.log.committed().height;
        let certified = if committed {
            self.log.at(block.height)
        } else {
            self.commits.ahead_at(block.height).map(Certificate::block)
        };
        if let Some(ours) = certified.filter(|ours| *ours != block) {
            return self.halt(Halt::Contradiction { ours, theirs: block });
        }
        if committed {
            return;
        }
        let log = &self.log;
        self.commits.keep(certificate, |block| log.contains(block));
        if matches!(self.role, Role::Leader(_)) && !self.log.contains(block) {
            // What it has sealed stands beside what a quorum has signed, and can never be committed.
            self.follow(None);
        }
    }

    /// Commits what is certified and durable (a certificate covers all ancestors: Raft §5.3).
    pub(crate) fn reach_commits(&mut self) {
        if self.is_installing() {
            return;
        }
        let log = &self.log;
        let Some(certificate) = self.commits.on_chain(|block| log.contains(block)) else { return };
        let certificate = certificate.clone();
        let height = certificate.block().height.min(self.disk.tip().height);
        let Some(block) = self.log.anchor(height).map(|anchor| anchor.block) else { return };
        if block.height <= self.log.committed().height {
            return;
        }
        if let Some(why) = self.divergence(block).or_else(|| self.contradiction(block)) {
            return self.halt(why);
        }
        self.note_named(block, certificate.term());
        self.log.commit(block);
        self.commits.reach(block.height);
        self.acks.committed(block.height);
        if let Role::Follower(follower) = &mut self.role
            && follower.confirmed.height < block.height
        {
            // Whoever leads has what is committed, wherever it came from.
            follower.confirmed = block;
        }
        self.effects.push(Effect::Commit { block, certificate });
    }

    /// The first header up to a block that names another state than the own, if there is one.
    fn divergence(&self, last: BlockRef) -> Option<Halt> {
        let headers = self.log.from(self.log.committed().height).map(|entry| entry.block.header());
        let mut headers = headers.take_while(|header| header.height <= last.height);
        headers.find_map(|header| self.differs_from(header))
    }

    /// The first committed header that names another state for a height that has just been applied, if there is one:
    /// when it was committed there was nothing to compare with.
    pub(crate) fn late_divergence(&self, applied: Height) -> Option<Halt> {
        let committed = self.log.committed().height;
        let headers = self.log.from(after(applied)).map(|entry| entry.block.header());
        let mut named = headers
            .take_while(|header| header.height <= committed)
            .filter(|header| header.executed == applied);
        named.find_map(|header| self.differs_from(header))
    }

    fn differs_from(&self, header: &Header) -> Option<Halt> {
        let Compared::Differs { ours } = self.states.compare(header) else { return None };
        let (height, theirs) = (header.executed, header.state_root);
        Some(Halt::StateDiverged { height, ours, theirs })
    }

    /// The first block up to this one beside which another is certified, if there is one.
    fn contradiction(&self, last: BlockRef) -> Option<Halt> {
        let certified = self.commits.ahead_to(last.height).map(Certificate::block);
        certified.filter(|theirs| !self.log.contains(*theirs)).find_map(|theirs| {
            let ours = self.log.at(theirs.height)?;
            Some(Halt::Contradiction { ours, theirs })
        })
    }

    /// The first block at or below the committed tip beside which this range has another, from which hashes lead
    /// to a block that is known to be certified.
    fn linked_contradiction(
        &self,
        parent: BlockRef,
        blocks: &[Checked<Block>],
        certificate: &Certificate,
    ) -> Option<Halt> {
        let certified = certificate.block();
        let last = blocks.iter().position(|block| block.block_ref() == certified)?;
        let mut chain = vec![parent];
        for block in &blocks[..=last] {
            let (below, here) = (*chain.last()?, block.block_ref());
            let linked = block.header().parent == below.hash;
            if !linked || below.height.next() != Some(here.height) {
                return None;
            }
            chain.push(here);
        }
        let committed = self.log.committed().height;
        let other = chain.into_iter().filter(|theirs| theirs.height <= committed);
        let mut other = other.filter_map(|theirs| Some((self.log.at(theirs.height)?, theirs)));
        let (ours, theirs) = other.find(|(ours, theirs)| ours.hash != theirs.hash)?;
        let known = self.commits.knows(certificate);
        known.then_some(Halt::Contradiction { ours, theirs })
    }

    /// Takes blocks of the own term's leader. What differs from them goes (Raft §5.3). Returns whether they are
    /// part of the chain now.
    pub(crate) fn take_from_leader(
        &mut self,
        parent: BlockRef,
        blocks: Vec<Checked<Block>>,
        certificate: Option<&Certificate>,
    ) -> bool {
        let Some((parent, new)) = self.judge_new(parent, blocks) else { return false };
        if let Some(certificate) = certificate {
            self.learn_commit(certificate, &new);
        }
        let Some(last) = new.last().map(|entry| entry.anchor.block) else { return true };
        // Nobody leads beyond its term, and leads this one.
        let beyond = last.term > self.ballot.term;
        let fault = self.first_fault(&parent, &new).map(|(_, fault)| fault);
        if beyond || self.cuts_own_term(parent.block) || fault == Some(Fault::Wrong) {
            self.ignore_leader();
            return false;
        }
        if fault == Some(Fault::Uncovered) {
            return false;
        }
        let extends = self.log.tip().block == parent.block;
        if extends && self.has_enough_to_do() {
            return false;
        }
        let outranks = extends || last.term == self.ballot.term;
        if !self.is_certified(&new) && (!outranks || self.overflows(parent.block.height, &new)) {
            return false;
        }
        self.adopt(parent.block, new);
        true
    }

    /// Whether a block of the own term stands above this one.
    fn cuts_own_term(&self, above: BlockRef) -> bool {
        let mut cut = self.log.from(after(above.height));
        cut.any(|entry| entry.anchor.block.term == self.ballot.term)
    }

    /// Whether two windows are held and some of it waits to be written or to be applied: then nothing more is
    /// taken on top, certified or not, until disk and store have caught up. Otherwise a slow one would fill
    /// the memory. What is durable and not committed does not count: perhaps only the block that is refused
    /// would commit it.
    fn has_enough_to_do(&self) -> bool {
        let applies = self.log.committed().height > self.log.applied().block.height;
        let writes = self.disk.tip() != self.log.tip().block;
        let held = self.log.len() >= 2 * self.config.window_blocks
            || self.log.bytes() >= 2 * self.config.window_bytes;
        (applies || writes) && held
    }

    /// Whether the leader of the own term would have filled more than two windows above the applied tip.
    /// What earlier terms have left does not count: each of their leaders had a window of its own, and
    /// after a power cut the store may be as far behind the log as it is between two checkpoints.
    fn overflows(&self, above: Height, new: &[Entry]) -> bool {
        let term = self.ballot.term;
        let counts = |entry: &&Entry| entry.anchor.block.term == term && entry.opening.is_none();
        let held = self.log.plain_since(term, above) + new.iter().filter(counts).count();
        held > 2 * self.config.window_blocks || self.overflows_in_bytes(above, new)
    }

    /// The same in bytes. What a leader sends beyond its window is what does not fit a message.
    fn overflows_in_bytes(&self, above: Height, new: &[Entry]) -> bool {
        let most = 2 * self.config.window_bytes + self.config.message_bytes;
        let term = self.ballot.term;
        let of_term = new.iter().filter(|entry| entry.anchor.block.term == term);
        let come: usize = of_term.map(|entry| entry.block.bytes().len()).sum();
        // Most of the time all that is held is less than that.
        self.log.bytes() + come > most && self.log.bytes_since(term, above) + come > most
    }

    /// Whether a kept certificate is for one of these blocks.
    fn is_certified(&self, new: &[Entry]) -> bool {
        self.certified_part(new) > 0
    }

    /// How many of these blocks are known to be certified, each by itself or by one above it.
    pub(crate) fn certified_part(&self, new: &[Entry]) -> usize {
        let among = |block| new.iter().any(|entry| entry.anchor.block == block);
        let highest = self.commits.on_chain(among).map(|certificate| certificate.block());
        let at = new.iter().position(|entry| Some(entry.anchor.block) == highest);
        at.map_or(0, |last| last + 1)
    }

    /// Somebody brings a part of its chain.
    pub(crate) fn pulled(
        &mut self,
        parent: BlockRef,
        blocks: Vec<Checked<Block>>,
        certificate: Option<Certificate>,
    ) {
        if let Some(certificate) = &certificate {
            self.learn_commit(certificate, &[]);
        }
        if let Some(certificate) = &certificate
            && let Some(why) = self.linked_contradiction(parent, &blocks, certificate)
        {
            return self.halt(why);
        }
        if self.is_installing() {
            return;
        }
        let Some((parent, mut new)) = self.judge_new(parent, blocks) else { return };
        if let Some(certificate) = &certificate {
            self.learn_commit(certificate, &new);
        }
        if matches!(self.role, Role::Leader(_)) {
            return;
        }
        if let Some((at, _)) = self.first_fault(&parent, &new) {
            new.truncate(at);
        }
        let Some(last) = new.last().map(|entry| entry.anchor.block) else { return };
        if parent.block == self.log.tip().block && self.has_enough_to_do() {
            return;
        }
        let higher = last.rank() > self.log.tip().block.rank();
        let twice = last.term == self.ballot.term && self.cuts_own_term(parent.block);
        let unwanted = !higher || twice || self.overflows(parent.block.height, &new);
        if unwanted && !self.is_certified(&new) {
            return;
        }
        // The opening blocks in it prove their terms. That of a recovery is proven by a certificate for its
        // block, which came before, or by an opening block above it.
        let openings = new.iter().filter_map(|entry| entry.opening.clone());
        let newest = openings.clone().last().map_or(self.ballot.term, |proven| proven.term());
        if last.term > newest.max(self.ballot.term) {
            return;
        }
        if let Some(newest) = openings.last().filter(|proven| proven.term() > self.ballot.term) {
            self.set_ballot(self.ballot.raised(newest));
            self.follow(None);
        }
        if twice {
            let last = self.log.tip().block.height;
            self.acks.replace(parent.block.height, self.ballot.term, last);
        }
        self.adopt(parent.block, new);
    }

    /// Judges a range on what is held, and leaves out what is held already (Raft §5.5). Returns the block that the
    /// rest stands on, and the rest.
    fn judge_new(
        &mut self,
        parent: BlockRef,
        blocks: Vec<Checked<Block>>,
    ) -> Option<(Anchor, Vec<Entry>)> {
        let committed = self.log.committed().height;
        let mut at: Option<Anchor> = None;
        if parent.height > committed || self.log.contains(parent) {
            at = self.log.anchor(parent.height).cloned();
        }
        let mut new: Vec<Entry> = Vec::new();
        for block in blocks {
            let here = block.block_ref();
            if new.is_empty() && (here.height <= committed || self.log.contains(here)) {
                // Below the committed tip it is the same block, or a lie about one.
                at = self.log.anchor(here.height).cloned();
                continue;
            }
            let last = new.last();
            let below = last.map(|entry| &entry.anchor).or(at.as_ref())?;
            let (chain_id, verifier) = (self.config.chain_id, &*self.verifier);
            match self.log.weigh(below, &new, &block, chain_id, verifier) {
                Ok((anchor, opening)) => {
                    self.see_block(&block, opening.as_ref());
                    new.push(Entry { block, anchor, opening });
                }
                Err(Unfit::Malformed(_)) => {
                    self.see_malformed(below, last.map(|entry| entry.block.header()), &block);
                    return None;
                }
                Err(Unfit::Unsigned { .. } | Unfit::NoAncestor { .. }) => return None,
            }
        }
        match at {
            Some(anchor) if anchor.block.height >= committed => Some((anchor, new)),
            Some(_) | None if new.is_empty() => Some((self.log.tip().clone(), new)),
            Some(_) | None => None,
        }
    }

    fn adopt(&mut self, above: BlockRef, new: Vec<Entry>) {
        let blocks = new.iter().map(|entry| entry.block.clone()).collect();
        self.log.branch(above, new);
        self.acks.again_above(self.acks.asked.min(above.height));
        self.confirmed_at_most(above);
        self.write_branch(above, blocks);
    }

    /// Somebody wants the chain above what it has committed.
    pub(crate) fn pulled_from(&mut self, from: NodeId, committed: BlockRef) {
        if !self.log.contains(committed) {
            if committed.height < self.log.applied().block.height {
                self.read_for(from, after(committed.height));
            }
            return;
        }
        let blocks = self.blocks_from(after(committed.height), |_| false);
        if blocks.is_empty() {
            return;
        }
        let last = blocks.last().map_or(committed, |block| block.block_ref());
        let certificate = self.certificate_up_to(last.height);
        self.send(from, Message::Pulled { parent: committed, blocks, certificate });
    }

    /// Asks the store for blocks for a peer, unless it has been asked for some and has not answered: whoever asks
    /// again and again waits for himself. Returns whether it has.
    pub(crate) fn read_for(&mut self, node: NodeId, from: Height) -> bool {
        let asked = self.reading.insert(node);
        if asked {
            let bytes = self.config.message_bytes;
            self.effects.push(Effect::Fetch { node, from, bytes });
        }
        asked
    }

    /// The blocks held from a height on: as many as fit in a message, at least one. Who must cut a
    /// suffix for them takes no range that ends below it in rank, so it ends in a block for which
    /// `enough` holds, or with a certificate for one of them, or at the tip, even if it does not fit; but there are never
    /// more than a message can have.
    pub(crate) fn blocks_from(
        &self,
        from: Height,
        enough: impl Fn(BlockRef) -> bool,
    ) -> Vec<Checked<Block>> {
        let mut room = self.config.message_bytes;
        let mut blocks: Vec<Checked<Block>> = Vec::new();
        for entry in self.log.from(from) {
            let size = entry.block.bytes().len();
            let full = size > room || blocks.len() >= RANGE;
            let last = blocks.last().map(|block| block.block_ref()).filter(|_| full);
            if blocks.len() == BLOCKS
                || last.is_some_and(|last| enough(last) || self.is_certified_within(from, last))
            {
                break;
            }
            room = room.saturating_sub(size);
            blocks.push(entry.block.clone());
        }
        blocks
    }

    fn is_certified_within(&self, from: Height, last: BlockRef) -> bool {
        let newest = self.certificate_up_to(last.height).map(|certificate| certificate.block());
        newest.is_some_and(|block| block.height >= from && block.height <= last.height)
    }

    /// The newest certificate for a block of this chain at or below a height. If there is none, the
    /// newest reached: it proves the term, and what is committed.
    pub(crate) fn certificate_up_to(&self, height: Height) -> Option<Certificate> {
        let newest = self.commits.up_to(height, |block| self.log.contains(block));
        newest.map(|certificate| certificate.get().clone())
    }

    /// The store has been asked for blocks for a peer.
    pub(crate) fn fetched(&mut self, node: NodeId, found: Fetched) {
        self.reading.remove(&node);
        let (parent, blocks, certificate) = match found {
            Fetched::Blocks { parent, blocks, certificate } => (parent, blocks, certificate),
            Fetched::Pruned { snapshot } => return self.offer_snapshot(node, snapshot),
        };
        // Who is no member any more, and pulls, is answered by the leader as by anybody else.
        if matches!(&self.role, Role::Leader(leader) if leader.others.contains_key(&node)) {
            self.fetched_for_follower(node, parent, blocks, certificate);
        } else if !blocks.is_empty() {
            self.send(node, Message::Pulled { parent, blocks, certificate });
        }
    }
}
