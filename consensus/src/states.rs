//! The state roots of the heights applied here, to compare with those that headers name.
//!
//! Headers name heights near the tip: no leader is further behind than what it may hold, and it names no
//! height below one that was named in a committed block. So a header that names a height which has been
//! dropped here was sealed by a leader that lies, for nobody could compare what it says. Only below the height
//! at which a store began, at a snapshot, is that no lie, and not compared.

use std::collections::VecDeque;

use quorate_chain::block::Header;
use quorate_chain::ids::{Height, StateRoot};

/// Fewest roots remembered, as far as there are any.
pub const REMEMBERED: usize = 4_096;
/// How many windows are remembered, if that is more.
const WINDOWS: usize = 8;

/// How many roots are remembered with a window of so many blocks.
#[must_use]
pub const fn remembered(window: usize) -> usize {
    let windows = window.saturating_mul(WINDOWS);
    if windows > REMEMBERED { windows } else { REMEMBERED }
}

/// What comparing a header with the own state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same, or below the height at which the store began.
    Fits,
    /// That height is not applied here yet.
    Later,
    /// That height is so far below that its root has been dropped.
    Dropped,
    /// Another state.
    Differs {
        /// The own root at that height.
        ours: StateRoot,
    },
}

/// The state roots of the heights applied here.
#[derive(Clone, Debug)]
pub struct States {
    /// The roots of consecutive heights, the newest that of the applied one.
    roots: VecDeque<StateRoot>,
    applied: Height,
    /// Most roots remembered.
    most: usize,
}

impl States {
    /// Begins at an applied height, with a window of so many blocks.
    #[must_use]
    pub fn new(applied: Height, root: StateRoot, window: usize) -> Self {
        let roots = VecDeque::from([root]);
        Self { roots, applied, most: remembered(window) }
    }

    /// Takes over the roots of heights below the applied one, newest first, up to the first gap.
    #[must_use]
    pub fn with_earlier(mut self, earlier: impl IntoIterator<Item = (Height, StateRoot)>) -> Self {
        for (height, root) in earlier {
            if self.roots.len() >= self.most || height.next() != Some(self.first()) {
                break;
            }
            self.roots.push_front(root);
        }
        self
    }

    /// The lowest height whose root is remembered.
    fn first(&self) -> Height {
        Height::new(self.applied.get() - (self.roots.len() as u64 - 1))
    }

    /// The next height has been applied.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn applied(&mut self, height: Height, root: StateRoot) {
        assert!(Some(height) == self.applied.next(), "heights are applied one after the other");
        self.applied = height;
        self.roots.push_back(root);
        if self.roots.len() > self.most {
            self.roots.pop_front();
        }
    }

    /// The applied height.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.applied
    }

    /// The root at a height.
    #[must_use]
    pub fn root(&self, height: Height) -> Option<StateRoot> {
        let place = height.get().checked_sub(self.first().get())?;
        self.roots.get(usize::try_from(place).ok()?).copied()
    }

    /// The lowest height from this one on whose root is remembered, or the applied one, and its root.
    #[must_use]
    pub fn first_from(&self, height: Height) -> (Height, StateRoot) {
        let height = height.clamp(self.first(), self.applied);
        (height, self.root(height).unwrap_or(StateRoot::ZERO))
    }

    /// Compares what a header says of the state with the own state.
    #[must_use]
    pub fn compare(&self, header: &Header) -> Compared {
        if header.executed > self.applied {
            return Compared::Later;
        }
        match self.root(header.executed) {
            Some(ours) if ours != header.state_root => Compared::Differs { ours },
            None if self.roots.len() >= self.most => Compared::Dropped,
            Some(_) | None => Compared::Fits,
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_chain::block::BlockKind;
    use quorate_chain::ids::{BlockHash, BodyRoot, ChainId, NodeId, RosterHash, Term, TimeUs};

    use super::*;

    fn root(height: u64) -> StateRoot {
        StateRoot::new([u8::try_from(height % 251).unwrap_or_default(); 32])
    }

    fn naming(executed: u64, state_root: StateRoot) -> Header {
        Header {
            chain_id: ChainId::new([0; 32]),
            roster_hash: RosterHash::new([0; 32]),
            kind: BlockKind::Transactions,
            height: Height::new(executed + 1),
            parent: BlockHash::new([0; 32]),
            term: Term::new(1),
            proposer: NodeId::new(0),
            time: TimeUs::ZERO,
            transactions: 0,
            body_size: 0,
            body_root: BodyRoot::new([0; 32]),
            executed: Height::new(executed),
            state_root,
        }
    }

    #[test]
    fn a_restarted_node_compares_what_it_had_applied_before() {
        let earlier = (3..9).rev().map(|height| (Height::new(height), root(height)));
        let states = States::new(Height::new(9), root(9), 64).with_earlier(earlier);
        assert_eq!(states.compare(&naming(4, root(4))), Compared::Fits);
        assert_eq!(states.compare(&naming(4, root(5))), Compared::Differs { ours: root(4) });
        assert_eq!(states.compare(&naming(10, root(10))), Compared::Later);
        // Below the snapshot that it began with there is nothing to compare with.
        assert_eq!(states.compare(&naming(2, root(5))), Compared::Fits);
    }

    #[test]
    fn a_height_whose_root_was_dropped_fits_nothing() {
        let most = u64::try_from(remembered(64)).unwrap_or_default();
        let mut states = States::new(Height::ZERO, root(0), 64);
        for height in 1..=most {
            states.applied(Height::new(height), root(height));
        }
        assert_eq!(states.compare(&naming(1, root(1))), Compared::Fits);
        assert_eq!(states.compare(&naming(0, root(0))), Compared::Dropped);
    }
}
