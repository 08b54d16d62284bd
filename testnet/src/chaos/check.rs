//! From a history to a verdict.
//!
//! The chain is the order in which everything happened, and each answer names its place there: a write the
//! block that holds it, a read the height that it saw. So nothing needs to be searched for. Checked is that
//!
//! - each acknowledged transaction stands where it was said to, once; nothing stands twice, and nothing
//!   that a node vouched had come to nothing stands at all;
//! - the places agree with real time: what was asked after something was answered stands above it, and
//!   a read sees it; so each key by itself, and all of them together, behave as one copy would
//!   (linearizability);
//! - each value that was read is the one that the chain gives the key at that height, and so is each outcome;
//! - no block that a node called committed is another one in the end, a term has one leader, the blocks
//!   are a chain, and all nodes hold the same ones and the same state.
//!
//! Left out: signatures and certificates, which `quorate-chain` checks, and whatever nobody was told.

use std::collections::BTreeMap;

use quorate_chain::ids::{BlockHash, Height, NodeId, Term, TxId};

use super::history::{
    Answer, Block, Entry, History, Holdings, Micros, Operation, Place, Sighting, What,
};
use super::replay::Replay;
use super::violation::Violation;

/// All that is wrong with a history.
pub(crate) fn check(history: &History) -> Vec<Violation> {
    let replay = Replay::new(&history.chain);
    let chain = Chain::new(&history.chain);
    let mut found = links(&history.chain);
    found.extend(chain.doubled());
    found.extend(history.operations.iter().filter_map(|operation| chain.contradicts(operation)));
    found.extend(outcomes(history, &replay));
    found.extend(order(&history.operations));
    found.extend(history.operations.iter().filter_map(|operation| value(operation, &replay)));
    found.extend(history.sightings.iter().filter_map(|sighting| chain.changed(sighting)));
    found.extend(leaders(history));
    for held in &history.holdings {
        found.extend(unequal(held, &history.chain));
        found.extend(state(held, &replay));
    }
    found
}

/// The chain, to look things up in.
struct Chain {
    hashes: BTreeMap<Height, BlockHash>,
    places: BTreeMap<TxId, Vec<Place>>,
}

impl Chain {
    fn new(blocks: &[Block]) -> Self {
        let hashes = blocks.iter().map(|block| (block.height, block.hash)).collect();
        let mut places: BTreeMap<TxId, Vec<Place>> = BTreeMap::new();
        for block in blocks {
            for (index, tx) in (0..).zip(&block.txs) {
                places.entry(tx.id).or_default().push(Place { height: block.height, index });
            }
        }
        Self { hashes, places }
    }

    fn doubled(&self) -> impl Iterator<Item = Violation> {
        let twice = self.places.iter().filter(|(_, places)| places.len() > 1);
        twice.map(|(tx, places)| Violation::Doubled { tx: *tx, places: places.clone() })
    }

    /// How the chain contradicts what was said of a transaction.
    fn contradicts(&self, operation: &Operation) -> Option<Violation> {
        if let Answer::Nonsense(what) = &operation.answer {
            return Some(Violation::Nonsense { at: operation.end, what: what.clone() });
        }
        let What::Write { tx, .. } = operation.what else { return None };
        let stands = self.places.get(&tx).and_then(|places| places.first()).copied();
        match (&operation.answer, stands) {
            (Answer::Ordered { place, .. }, None) => Some(Violation::Lost { tx, said: *place }),
            (Answer::Ordered { place, hash, .. }, Some(stands)) => {
                let same = *place == stands && self.hashes.get(&stands.height) == Some(hash);
                (!same).then_some(Violation::Moved { tx, said: *place, stands })
            }
            (Answer::Nothing, Some(stands)) => Some(Violation::Denied { tx, stands }),
            (Answer::Nothing | Answer::Unknown, _) => None,
            (Answer::Value { .. } | Answer::Nonsense(_), _) => None,
        }
    }

    /// What a node called committed that does not stand there.
    fn changed(&self, sighting: &Sighting) -> Option<Violation> {
        let Sighting { node, height, hash: seen, .. } = *sighting;
        let stands = *self.hashes.get(&height)?;
        (stands != seen).then_some(Violation::Changed { node, height, seen, stands })
    }
}

/// Blocks that do not stand on the one below.
fn links(chain: &[Block]) -> Vec<Violation> {
    let fits = |pair: &[Block]| {
        let [below, above] = pair else { return true };
        below.height.next() == Some(above.height)
            && above.parent == below.hash
            && above.term >= below.term
    };
    let broken = chain.windows(2).filter(|pair| !fits(pair));
    broken.map(|pair| Violation::Broken { height: pair[1].height }).collect()
}

/// Transactions of which a node says something else than the rules.
fn outcomes(history: &History, replay: &Replay) -> Vec<Violation> {
    let effects: BTreeMap<Place, (TxId, bool)> =
        replay.effects().iter().map(|(at, tx, applied)| (*at, (*tx, *applied))).collect();
    let differs = |at: Place, said: bool| {
        let (tx, applied) = *effects.get(&at)?;
        (applied != said).then_some(Violation::Outcome { tx, at, applied, said })
    };
    let in_chain = history.chain.iter().flat_map(|block| {
        let place = |index| Place { height: block.height, index };
        // What others do to keys of their own is not known here.
        let ours = (0..).zip(&block.txs).filter(|(_, tx)| !tx.changes.is_empty());
        ours.map(move |(index, tx)| (place(index), tx.applied))
    });
    let told = history.operations.iter().filter_map(|operation| match operation.answer {
        Answer::Ordered { place, applied, .. } => Some((place, applied)),
        Answer::Value { .. } | Answer::Nothing | Answer::Unknown | Answer::Nonsense(_) => None,
    });
    in_chain.chain(told).filter_map(|(at, said)| differs(at, said)).collect()
}

/// What an answer says of the chain to whoever gets it: that it reaches as far as this.
fn known(operation: &Operation) -> Option<Place> {
    match (&operation.what, &operation.answer) {
        (What::Write { .. }, Answer::Ordered { place, .. }) => Some(*place),
        (What::Read { .. }, Answer::Value { read_height, .. }) => Some(Place::end_of(*read_height)),
        (What::Write { .. } | What::Read { .. }, _) => None,
    }
}

/// Answers that contradict real time. At each moment only the highest place that is known counts.
fn order(operations: &[Operation]) -> Vec<Violation> {
    // At one moment, what begins does so before anything ends: then they overlap.
    let mut moments: Vec<(Micros, bool, usize, Place)> = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        if let Some(place) = known(operation) {
            moments.push((operation.begin, false, at, place));
            moments.push((operation.end, true, at, place));
        }
    }
    moments.sort_unstable();
    let (mut highest, mut found) = (None, Vec::new());
    for (asked, ends, at, place) in moments {
        if ends {
            highest = highest.max(Some(place));
            continue;
        }
        let Some(earlier) = highest else { continue };
        match &operations[at].what {
            What::Write { again: false, .. } if place <= earlier => {
                found.push(Violation::Order { asked, later: place, earlier });
            }
            What::Read { key, local: false } if place < earlier => {
                let read_height = place.height;
                found.push(Violation::Stale { key: key.clone(), asked, read_height, earlier });
            }
            What::Write { .. } | What::Read { .. } => {}
        }
    }
    found
}

/// A value that was read and was none.
fn value(operation: &Operation, replay: &Replay) -> Option<Violation> {
    let What::Read { key, .. } = &operation.what else { return None };
    let Answer::Value { entry, read_height } = &operation.answer else { return None };
    let expected = replay.at(key, *read_height).cloned();
    (expected != *entry).then(|| Violation::Value {
        key: key.clone(),
        height: *read_height,
        expected,
        said: entry.clone(),
    })
}

/// Terms with two leaders, by what nodes have said and by who has sealed blocks.
fn leaders(history: &History) -> Vec<Violation> {
    let said = history.sightings.iter().filter_map(|seen| Some((seen.term, seen.leader?)));
    let sealed = history.chain.iter().map(|block| (block.term, block.proposer));
    let (mut led, mut found): (BTreeMap<Term, NodeId>, _) = (BTreeMap::new(), Vec::new());
    for (term, other) in said.chain(sealed) {
        let one = *led.entry(term).or_insert(other);
        let known = |it: &Violation| matches!(it, Violation::TwoLeaders { term: known, .. } if *known == term);
        if one != other && !found.iter().any(known) {
            found.push(Violation::TwoLeaders { term, one, other });
        }
    }
    found
}

/// The lowest height at which a node does not have the chain's block.
fn unequal(held: &Holdings, chain: &[Block]) -> Option<Violation> {
    let own: BTreeMap<_, _> = held.blocks.iter().copied().collect();
    let other = chain.iter().find(|block| own.get(&block.height) != Some(&block.hash))?;
    Some(Violation::Unequal { node: held.node, height: other.height })
}

/// Keys of a node that are not what the chain makes of them.
fn state(held: &Holdings, replay: &Replay) -> Vec<Violation> {
    let expected: BTreeMap<&str, &Entry> = replay.entries(held.as_of).into_iter().collect();
    let said: BTreeMap<&str, &Entry> =
        held.entries.iter().map(|(key, entry)| (key.as_str(), entry)).collect();
    let keys = expected.keys().chain(said.keys().filter(|key| !expected.contains_key(*key)));
    let differ = keys.filter(|key| expected.get(*key) != said.get(*key));
    let violation = |key: &&str| Violation::State {
        node: held.node,
        height: held.as_of,
        key: (*key).to_owned(),
        expected: expected.get(key).map(|entry| (*entry).clone()),
        said: said.get(key).map(|entry| (*entry).clone()),
    };
    differ.map(violation).collect()
}

#[cfg(test)]
mod tests;
