//! The state roots of the heights applied here, to compare with those that headers name.

use std::collections::BTreeMap;

use quorate_chain::block::Header;
use quorate_chain::ids::{Height, StateRoot};

/// Most roots remembered. Headers name heights near the tip; one further below is not compared.
const REMEMBERED: usize = 4_096;

/// What comparing a header with the own state says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// The same, or too far below to be known.
    Fits,
    /// That height is not applied here yet.
    Later,
    /// Another state.
    Differs {
        /// The own root at that height.
        ours: StateRoot,
    },
}

/// The state roots of the heights applied here.
#[derive(Clone, Debug)]
pub struct States {
    roots: BTreeMap<Height, StateRoot>,
    applied: Height,
}

impl States {
    /// Begins at an applied height.
    #[must_use]
    pub fn new(applied: Height, root: StateRoot) -> Self {
        Self { roots: BTreeMap::from([(applied, root)]), applied }
    }

    /// The next height has been applied.
    ///
    /// # Panics
    /// If it is not the next one.
    pub fn applied(&mut self, height: Height, root: StateRoot) {
        assert!(Some(height) == self.applied.next(), "heights are applied one after the other");
        self.applied = height;
        self.roots.insert(height, root);
        if self.roots.len() > REMEMBERED {
            self.roots.pop_first();
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
        self.roots.get(&height).copied()
    }

    /// The lowest height from this one on whose root is remembered, or the applied one, and its root.
    #[must_use]
    pub fn first_from(&self, height: Height) -> (Height, StateRoot) {
        let first = self.roots.range(height..).next().or_else(|| self.roots.last_key_value());
        first.map_or((self.applied, StateRoot::ZERO), |(height, root)| (*height, *root))
    }

    /// Compares what a header says of the state with the own state.
    #[must_use]
    pub fn compare(&self, header: &Header) -> Compared {
        if header.executed > self.applied {
            return Compared::Later;
        }
        match self.root(header.executed) {
            Some(ours) if ours != header.state_root => Compared::Differs { ours },
            Some(_) | None => Compared::Fits,
        }
    }
}
