//! Clients, and the oracle that remembers everything they were told.
//!
//! Each client numbers its transactions and never signs two for one number. So of each it can be said:
//! - it stands at most once, whatever was sent how often and where;
//! - if a client was told a place, the committed chain has it there;
//! - if a client was told a place before another transaction was first sent, that one stands higher
//!   (real-time order);
//! - no client is told that a number was used by somebody else, or that what it was once told is dropped.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_chain::checked::Checked;
use quorate_chain::crypto::{SecretKey, Verifier};
use quorate_chain::ids::{AccountKey, BlockRef, ChainId, Height, Nonce, TxId};
use quorate_chain::limits;
use quorate_chain::outcome::{Outcome, Status};
use quorate_chain::transaction::{Operation, SignedTransaction, Transaction};
use quorate_consensus::reads::ReadId;
use quorate_replica::io::{Answer, Dropped, Refusal, Submission};

use crate::dials::{Dials, Fault};
use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::report::Tally;
use crate::signatures::Signatures;
use crate::violation::{Check, Violation, hold};

/// Most transactions of one client that are on their way.
const OPEN: usize = 48;

/// A transaction that was sent.
#[derive(Debug)]
struct Sent {
    transaction: Option<Checked<SignedTransaction>>,
    /// The highest height that any client was told before it was first sent.
    floor: Height,
    /// Where it stands.
    place: Option<(Height, u32)>,
    /// Somebody was told that it never will.
    dropped: bool,
}

#[derive(Debug)]
struct Client {
    secret: SecretKey,
    public: AccountKey,
    sent: Vec<Option<Sent>>,
    /// The numbers of those whose place nobody was told.
    open: Vec<usize>,
}

/// A submission at a seat.
#[derive(Clone, Copy, Debug)]
struct Submitted {
    client: usize,
    nonce: usize,
    seat: usize,
    life: u32,
    id: TxId,
    answered: bool,
    /// Whether it was told where its transaction stands.
    placed: bool,
}

/// What has become of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It may still be answered.
    Open,
    /// The client was told that it stands, and this is where.
    Placed(Height),
    /// The client was told anything else, or nobody is left who could say.
    Lost,
}

/// All clients.
pub struct Clients {
    dice: Dice,
    chain_id: ChainId,
    signatures: Signatures,
    clients: Vec<Client>,
    by_key: BTreeMap<AccountKey, usize>,
    submitted: Vec<Submitted>,
    /// Reads that wait: where, and how high the answer must be at least.
    reads: BTreeMap<ReadId, ((usize, u32), Height)>,
    next_read: u64,
    /// The highest height that a client was told.
    told: Height,
    /// The height up to which outcomes have been seen.
    seen: Height,
}

impl Clients {
    /// Clients that have not sent anything.
    #[must_use]
    pub fn new(seed: u64, dials: &Dials, chain_id: ChainId) -> Self {
        let client = |number: u32| {
            let secret = SecretKey::from_seed(&[100 + number.to_le_bytes()[0]; 32]);
            let public = secret.account_key();
            Client { secret, public, sent: Vec::new(), open: Vec::new() }
        };
        let clients: Vec<_> = (0..dials.clients).map(client).collect();
        let by_key = clients.iter().enumerate().map(|(at, client)| (client.public, at)).collect();
        Self {
            dice: Dice::new(seed, 3),
            chain_id,
            signatures: dials.signatures,
            clients,
            by_key,
            submitted: Vec::new(),
            reads: BTreeMap::new(),
            next_read: 0,
            told: Height::ZERO,
            seen: Height::ZERO,
        }
    }

    /// How long a client waits before it does something again.
    pub fn pause(&mut self, dials: &Dials) -> u64 {
        1 + self.dice.below(2 * dials.client_pause)
    }

    /// What a client sends now.
    pub fn next(
        &mut self,
        client: usize,
        dials: &Dials,
        tally: &mut Tally,
    ) -> Checked<SignedTransaction> {
        let open = &self.clients[client].open;
        let often = 150_000 + 150_000 * dials.strength(Fault::Retry);
        if open.len() >= OPEN || !open.is_empty() && self.dice.chance(often) {
            let nonce = open[self.dice.index(open.len())];
            let sent = self.clients[client].sent[nonce].as_ref();
            if let Some(again) = sent.and_then(|sent| sent.transaction.clone()) {
                tally.fault(Fault::Retry);
                return again;
            }
        }
        self.fresh(client, dials, tally, |_| {})
    }

    /// A transaction with a number that was not used, which never expires.
    pub fn lasting(
        &mut self,
        client: usize,
        dials: &Dials,
        tally: &mut Tally,
    ) -> Checked<SignedTransaction> {
        self.fresh(client, dials, tally, |content| content.expires = None)
    }

    /// A transaction with a number that was not used, after a change.
    fn fresh(
        &mut self,
        client: usize,
        dials: &Dials,
        tally: &mut Tally,
        change: impl Fn(&mut Transaction),
    ) -> Checked<SignedTransaction> {
        let sent = &mut self.clients[client].sent;
        let recent = sent.len().saturating_sub(2 * OPEN);
        let gap = (recent..sent.len()).find(|nonce| sent[*nonce].is_none());
        let skip = dials.has(Fault::NonceOrder) && self.dice.chance(200_000);
        let nonce = match gap {
            Some(gap) if !skip || gap + OPEN < sent.len() => gap,
            _ if skip => {
                tally.fault(Fault::NonceOrder);
                sent.len() + self.dice.index(3)
            }
            _ => sent.len(),
        };
        if sent.len() <= nonce {
            sent.resize_with(nonce + 1, || None);
        }
        let mut content = self.content(client, nonce, dials);
        change(&mut content);
        let transaction = Checked::vouch(self.sign(client, &content));
        let entry = Sent {
            transaction: Some(transaction.clone()),
            floor: self.told,
            place: None,
            dropped: false,
        };
        let client = &mut self.clients[client];
        client.sent[nonce] = Some(entry);
        client.open.push(nonce);
        transaction
    }

    fn content(&mut self, client: usize, nonce: usize, dials: &Dials) -> Transaction {
        let dice = &mut self.dice;
        let owner = if dice.chance(200_000) { 0 } else { client };
        let key = Bytes::from(format!("client{owner}/{}", dice.below(8)));
        let length = if dials.long_values && dice.chance(50_000) { dice.index(4_000) } else { 8 };
        let mut value = format!("{client}:{nonce}").into_bytes();
        value.resize(value.len().max(length), b'.');
        let value = Bytes::from(value);
        let operation = match dice.below(8) {
            0 => Operation::Put { key, value },
            1 => Operation::Remove { key },
            _ => Operation::Update { key, value },
        };
        let expires =
            dice.chance(50_000).then(|| Height::new(self.seen.get() + 1 + dice.below(50)));
        Transaction {
            chain_id: self.chain_id,
            sender: self.clients[client].public,
            nonce: Nonce::new(nonce as u64),
            expires,
            approvers: Vec::new(),
            operations: vec![operation],
        }
    }

    fn sign(&self, client: usize, content: &Transaction) -> SignedTransaction {
        let Client { secret, public, .. } = &self.clients[client];
        let signature = self.signatures.sign(secret, public.as_bytes(), &content.message());
        content.assemble(signature, &[]).expect("the format allows what clients send")
    }

    /// A client sends what no node may take.
    ///
    /// # Errors
    /// If the edge of a node takes it.
    pub fn bad(&mut self, client: usize, dials: &Dials, verifier: &dyn Verifier) -> Check {
        let mut content = self.content(client, 0, dials);
        if self.dice.flip() {
            let value = Bytes::from(vec![0; limits::TRANSACTION]);
            content.operations = vec![Operation::Update { key: Bytes::from("long"), value }];
            let taken = content.assemble(quorate_chain::ids::Signature::new([0; 64]), &[]);
            return hold(taken.is_err(), "what is too long is refused", || format!("{taken:?}"));
        }
        let good = self.sign(client, &content);
        let other = Transaction { nonce: Nonce::new(1), ..content };
        let signature = <[u8; 64]>::try_from(good.signature_bytes()).unwrap_or([0; 64]);
        let signature = quorate_chain::ids::Signature::new(signature);
        let Ok(forged) = other.assemble(signature, &[]) else { return Ok(()) };
        let taken = forged.verify(self.chain_id, verifier);
        hold(taken.is_err(), "what is badly signed is refused", || format!("{taken:?}"))
    }

    /// A transaction is submitted at a seat.
    pub fn submit(
        &mut self,
        client: usize,
        transaction: &SignedTransaction,
        seat: usize,
        life: u32,
    ) -> Submission {
        let nonce = index(transaction.content().nonce);
        self.submitted.push(Submitted {
            client,
            nonce,
            seat,
            life,
            id: transaction.id(),
            answered: false,
            placed: false,
        });
        Submission(self.submitted.len() as u64 - 1)
    }

    /// Which transaction a submission was of.
    #[must_use]
    pub fn submitted(&self, submission: Submission) -> Option<TxId> {
        let number = usize::try_from(submission.0).unwrap_or(usize::MAX);
        self.submitted.get(number).map(|submitted| submitted.id)
    }

    /// Somebody has applied a block.
    ///
    /// # Errors
    /// If it has a transaction that stands elsewhere already, or stands where it may not.
    pub fn applied(&mut self, block: BlockRef, outcomes: &[Outcome], ledger: &Ledger) -> Check {
        if block.height <= self.seen {
            return Ok(());
        }
        self.seen = block.height;
        let Some(content) = ledger.block(block.height) else { return Ok(()) };
        for (at, (transaction, outcome)) in
            (0_u32..).zip(content.body().transactions.iter().zip(outcomes))
        {
            if matches!(outcome.status, Status::Void(_)) {
                continue;
            }
            let content = transaction.content();
            let Some(client) = self.by_key.get(&content.sender) else { continue };
            let sent = self.clients[*client].sent.get_mut(index(content.nonce));
            let Some(Some(sent)) = sent else {
                return hold(false, "what stands was sent", || format!("{transaction:?}"));
            };
            let here = (block.height, at);
            hold(sent.place.is_none(), "a transaction stands once", || {
                format!("{}: {:?} and {here:?}", outcome.tx, sent.place)
            })?;
            hold(!sent.dropped, "what was dropped never stands", || format!("{transaction:?}"))?;
            hold(block.height > sent.floor, "real-time order", || {
                format!(
                    "{} stands at {here:?}, before it was sent {} was told",
                    outcome.tx, sent.floor
                )
            })?;
            sent.place = Some(here);
        }
        Ok(())
    }

    /// A node has answered.
    ///
    /// # Errors
    /// If the answer is not true.
    pub fn answered(
        &mut self,
        submission: Submission,
        answer: &Answer,
        base: Height,
        ledger: &Ledger,
        tally: &mut Tally,
    ) -> Check {
        let number = usize::try_from(submission.0).unwrap_or(usize::MAX);
        let Some(submitted) = self.submitted.get_mut(number) else {
            return hold(false, "only what was asked is answered", || format!("{submission:?}"));
        };
        let before = std::mem::replace(&mut submitted.answered, true);
        submitted.placed = matches!(answer, Answer::Placed(_));
        hold(!before, "each submission is answered once", || {
            format!("{submission:?}: {answer:?}")
        })?;
        let (client, nonce) = (submitted.client, submitted.nonce);
        let client = &mut self.clients[client];
        let newest = client.sent.len();
        let Some(Some(sent)) = client.sent.get_mut(nonce) else { return Ok(()) };
        match answer {
            Answer::Placed(placed) => {
                let found = sent.place == Some((placed.block.height, placed.index));
                let block = ledger.block(placed.block.height).map(|block| block.block_ref());
                hold(found && block == Some(placed.block), "what was told stands there", || {
                    format!("told {placed:?}, stands at {:?}", sent.place)
                })?;
                tally.acknowledged += 1;
                self.told = self.told.max(placed.block.height);
                sent.transaction = None;
                client.open.retain(|open| *open != nonce);
            }
            // Whoever took a snapshot does not know what stands below it.
            Answer::Refused(Refusal::NonceUsed | Refusal::Expired) | Answer::Dropped(_)
                if sent.place.is_some_and(|(height, _)| height <= base) => {}
            Answer::Dropped(Dropped::Expired) | Answer::Refused(Refusal::Expired) => {
                let stands = sent.place.is_some();
                hold(!stands, "what stands is not called expired", || format!("{sent:?}"))?;
                sent.dropped = true;
                client.open.retain(|open| *open != nonce);
            }
            Answer::Dropped(Dropped::NonceUsed)
            | Answer::Refused(Refusal::NonceUsed | Refusal::NonceTaken) => {
                let rule = "nobody else uses a client's number";
                // A number that all others have left behind counts as used.
                let passed = newest > nonce + 1_024;
                sent.dropped |= passed && sent.place.is_none();
                hold(sent.dropped, rule, || {
                    format!("{answer:?} for {nonce}, it stands at {:?}", sent.place)
                })?;
            }
            Answer::Refused(
                Refusal::Full
                | Refusal::SenderFull
                | Refusal::WaitersFull
                | Refusal::NonceTooFar
                | Refusal::NotPermitted
                | Refusal::DiskLow
                | Refusal::Stopping,
            )
            | Answer::Unknown => {}
        }
        Ok(())
    }

    /// A client asks for a read at a process.
    pub fn read(&mut self, place: (usize, u32)) -> ReadId {
        let read = ReadId(self.next_read);
        self.next_read += 1;
        self.reads.insert(read, (place, self.told));
        read
    }

    /// A process serves a read from the state at a height.
    ///
    /// # Errors
    /// If all are honest and the state is older than what a client was told before the read was asked for.
    pub fn served(
        &mut self,
        place: (usize, u32),
        read: ReadId,
        height: Height,
        honest: bool,
    ) -> Check {
        let asked = self.reads.remove(&read);
        let rule = "a read is answered once, by who was asked";
        hold(asked.is_some_and(|asked| asked.0 == place), rule, || format!("{read:?}"))?;
        let least = asked.map_or(Height::ZERO, |asked| asked.1);
        hold(height >= least || !honest, "reads are fresh", || {
            format!("{read:?} at {place:?} is served at {height}, {least} was told before")
        })
    }

    /// A process refuses a read.
    ///
    /// # Errors
    /// If nobody has asked.
    pub fn refused(&mut self, place: (usize, u32), read: ReadId) -> Check {
        let asked = self.reads.remove(&read);
        let rule = "a read is answered once, by who was asked";
        hold(asked.is_some_and(|asked| asked.0 == place), rule, || format!("{read:?}"))
    }

    /// Whether a living process still owes an answer to a read.
    #[must_use]
    pub fn owes_read(&self, alive: impl Fn(usize, u32) -> bool) -> bool {
        self.reads.values().any(|((seat, life), _)| alive(*seat, *life))
    }

    /// A submission that a living process should have answered and has not.
    #[must_use]
    pub fn unanswered(&self, alive: impl Fn(usize, u32) -> bool) -> Option<Violation> {
        let open = |one: &&Submitted| !one.answered && alive(one.seat, one.life);
        let late = self.submitted.iter().find(open)?;
        let sent = self.clients[late.client].sent[late.nonce].as_ref();
        let found = format!("{late:?}: {sent:?}");
        Some(Violation { rule: "every submission is answered", found })
    }

    /// What has become of a submission.
    #[must_use]
    pub fn fate(&self, submission: Submission, alive: impl Fn(usize, u32) -> bool) -> Fate {
        let number = usize::try_from(submission.0).unwrap_or(usize::MAX);
        let Some(one) = self.submitted.get(number) else { return Fate::Lost };
        let sent = self.clients[one.client].sent[one.nonce].as_ref();
        match sent.and_then(|sent| sent.place) {
            Some((height, _)) if one.placed => Fate::Placed(height),
            _ if !one.answered && alive(one.seat, one.life) => Fate::Open,
            _ => Fate::Lost,
        }
    }
}

fn index(nonce: Nonce) -> usize {
    usize::try_from(nonce.get()).unwrap_or(usize::MAX)
}
