//! Why a snapshot that was offered is not taken.

use quorate_chain::ids::{Height, RosterHash};
use quorate_chain::proof::TrustError;
use quorate_consensus::time::Span;

/// Why a snapshot that was offered is not taken. Another source is tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What it takes to believe it does not fit what was offered, or itself.
    #[error("what it comes with does not prove what was offered")]
    Unproven,
    /// A step of the chain of rosters does not stand on what is trusted here.
    #[error(
        "the roster change at height {height} does not follow from roster {known:.16}, which is in force here \
         at height {applied}: {why}"
    )]
    Step {
        /// The applied height here.
        applied: Height,
        /// The roster in force there.
        known: RosterHash,
        /// The height of the change.
        height: Height,
        /// Why it is not believed.
        why: Box<TrustError>,
    },
    /// The steps that the source has do not lead to the roster by which the snapshot is certified.
    #[error(
        "it is certified by roster {needed:.16}, to which nothing leads from roster {known:.16}, in force here at \
         height {applied}: the source has {steps} roster changes above that. A node that has all of them can help, \
         or a backup"
    )]
    Rosters {
        /// The applied height here.
        applied: Height,
        /// The roster in force there.
        known: RosterHash,
        /// The roster by which the snapshot is certified.
        needed: RosterHash,
        /// How many steps the source has brought.
        steps: usize,
    },
    /// There are more changes of the roster between here and there than a node follows.
    #[error(
        "more than {most} roster changes lie between the height {applied}, applied here, and it"
    )]
    TooManySteps {
        /// The applied height here.
        applied: Height,
        /// How many are followed.
        most: usize,
    },
    /// The source does not keep it any more.
    #[error("the source does not keep it any more")]
    Gone,
    /// The source did not bring a piece, however often it was asked.
    #[error("the source did not bring a piece that it was asked for {tries} times")]
    Silent {
        /// How often it was asked.
        tries: u32,
    },
    /// It has brought another number of entries than the state has.
    #[error("it has {count} entries, the source has brought {found}")]
    Count {
        /// How many there are.
        count: u64,
        /// How many have come.
        found: u64,
    },
    /// It has not come in time.
    #[error("it has not come in {} s: {found} of {count} entries have", limit.as_micros() / 1_000_000)]
    Slow {
        /// How many entries it has.
        count: u64,
        /// How many have come.
        found: u64,
        /// In what time all should have.
        limit: Span,
    },
    /// What it brought is not the state that it claimed to be.
    #[error("its entries do not make the state root that is certified")]
    Root,
    /// The store here takes no snapshots.
    #[error("the store of this node takes no snapshots")]
    NotTaken,
}
