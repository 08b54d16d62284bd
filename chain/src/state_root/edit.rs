//! An update in the making: it can fail and leave no trace.

use super::ahead::Ahead;
use super::nodes::{Below, Node, Nodes};
use super::undo::Change;
use super::{BUCKET, Leaf, Leaves, PathRange, StateTreeError, bit, bucket_hash};
use crate::ids::Hash;
use crate::lately::Lately;
use crate::merkle::node_hash;

/// A prefix after the update.
pub(super) enum Settled {
    /// Nothing in it has changed. If it is a bucket and was read, its leaves.
    Same(Option<Vec<Leaf>>),
    /// No more leaves than a bucket holds; the parent decides where they go.
    Few(Vec<Leaf>),
    /// More than that.
    Many(Node),
}

/// A node at its place: its slot, and its prefix.
#[derive(Clone, Copy)]
struct Place {
    slot: u32,
    depth: usize,
}

/// The nodes as they are, and what is to become of them.
pub(super) struct Edit<'a> {
    nodes: &'a Nodes,
    free: &'a [u32],
    lately: &'a Lately<u32, Box<[Leaf]>>,
    draft: Draft,
}

/// What an edit changes.
pub(super) struct Draft {
    /// How many slots there will be.
    pub(super) slots: usize,
    /// How many of the free pairs are taken, from the end.
    pub(super) reused: usize,
    /// The pairs that lose their parent.
    pub(super) freed: Vec<u32>,
    /// The nodes written, each slot once.
    pub(super) writes: Vec<(u32, Node)>,
    /// The leaves of those of them that are buckets, as far as it is worth to remember them.
    pub(super) buckets: Vec<(u32, Box<[Leaf]>)>,
    /// What stood at the paths that change, ascending.
    pub(super) before: Vec<Change>,
    /// How many leaves come and go.
    pub(super) added: u64,
    pub(super) removed: u64,
}

impl<'a> Edit<'a> {
    pub(super) fn new(
        nodes: &'a Nodes,
        free: &'a [u32],
        lately: &'a Lately<u32, Box<[Leaf]>>,
    ) -> Self {
        let draft = Draft {
            slots: nodes.slots(),
            reused: 0,
            freed: Vec::new(),
            writes: Vec::new(),
            buckets: Vec::new(),
            before: Vec::new(),
            added: 0,
            removed: 0,
        };
        Self { nodes, free, lately, draft }
    }

    /// Makes these changes, which ascend by path.
    pub(super) fn change<L: Leaves>(
        mut self,
        changes: &[Change],
        before: &L,
    ) -> Result<Draft, StateTreeError<L::Error>> {
        self.nodes.warm(changes.iter().map(|(path, _)| path));
        let top = self.settle(Place { slot: 0, depth: 0 }, changes, before)?;
        self.place(0, top);
        Ok(self.draft)
    }

    /// Puts these leaves where there are none.
    pub(super) fn fill<E>(
        mut self,
        leaves: impl Iterator<Item = Result<Leaf, E>>,
    ) -> Result<Draft, StateTreeError<E>> {
        let mut ahead = Ahead::new(leaves);
        let top = self.grow(&mut ahead, PathRange::ALL, 0)?;
        self.place(0, Settled::Many(top));
        self.draft.added = ahead.taken();
        Ok(self.draft)
    }

    /// What becomes of a node that all of the changes are below.
    fn settle<L: Leaves>(
        &mut self,
        at: Place,
        changes: &[Change],
        before: &L,
    ) -> Result<Settled, StateTreeError<L::Error>> {
        let Some((path, _)) = changes.first() else { return Ok(Settled::Same(None)) };
        let Below::Pair(pair) = self.nodes.below(at.slot) else {
            return self.settle_bucket(at, changes, before);
        };
        let middle = changes.partition_point(|(path, _)| !bit(path, at.depth));
        let (left, right) = changes.split_at(middle);
        let depth = at.depth + 1;
        let left = self.settle(Place { slot: pair, depth }, left, before)?;
        let right = self.settle(Place { slot: pair + 1, depth }, right, before)?;
        if matches!((&left, &right), (Settled::Same(_), Settled::Same(_))) {
            return Ok(Settled::Same(None));
        }
        if self.size(pair, &left) + self.size(pair + 1, &right) <= BUCKET {
            let range = PathRange::around(path, at.depth);
            let mut leaves = self.take(pair, left, range.half(at.depth, false), before)?;
            leaves.extend(self.take(pair + 1, right, range.half(at.depth, true), before)?);
            self.draft.freed.push(pair);
            return Ok(Settled::Few(leaves));
        }
        let hash = node_hash(&self.place(pair, left), &self.place(pair + 1, right));
        Ok(Settled::Many(Node { hash, below: Below::Pair(pair) }))
    }

    fn settle_bucket<L: Leaves>(
        &mut self,
        at: Place,
        changes: &[Change],
        before: &L,
    ) -> Result<Settled, StateTreeError<L::Error>> {
        let range = PathRange::around(&changes[0].0, at.depth);
        let old = self.read(at.slot, range, before)?;
        let Some(new) = self.draft.merge(&old, changes) else {
            return Ok(Settled::Same(Some(old)));
        };
        if new.len() <= BUCKET {
            return Ok(Settled::Few(new));
        }
        let mut new = Ahead::new(new.into_iter().map(Ok));
        self.grow(&mut new, range, at.depth).map(Settled::Many)
    }

    /// How many leaves a child has; if they are too many for a bucket, just some such number.
    fn size(&self, slot: u32, child: &Settled) -> usize {
        match child {
            Settled::Few(leaves) => leaves.len(),
            Settled::Many(_) => BUCKET + 1,
            Settled::Same(_) => match self.nodes.below(slot) {
                Below::Bucket(leaves) => leaves as usize,
                Below::Pair(_) => BUCKET + 1,
            },
        }
    }

    /// The leaves of a child that is a bucket.
    fn take<L: Leaves>(
        &self,
        slot: u32,
        child: Settled,
        range: PathRange,
        before: &L,
    ) -> Result<Vec<Leaf>, StateTreeError<L::Error>> {
        match child {
            Settled::Few(leaves) | Settled::Same(Some(leaves)) => Ok(leaves),
            // An empty bucket is not worth a look: a chain of them may end here.
            Settled::Same(None) if self.size(slot, &child) == 0 => Ok(Vec::new()),
            Settled::Same(None) => self.read(slot, range, before),
            Settled::Many(_) => unreachable!("a child with more leaves than a bucket is not taken"),
        }
    }

    /// Writes a child if it has changed, and gives its hash.
    fn place(&mut self, slot: u32, child: Settled) -> Hash {
        let node = match child {
            Settled::Same(_) => return *self.nodes.hash(slot),
            Settled::Few(leaves) => {
                let node = Node::bucket(&leaves);
                self.draft.buckets.push((slot, leaves.into_boxed_slice()));
                node
            }
            Settled::Many(node) => node,
        };
        self.draft.writes.push((slot, node));
        node.hash
    }

    /// The leaves of a bucket, from memory if they are there.
    fn read<L: Leaves>(
        &self,
        slot: u32,
        range: PathRange,
        before: &L,
    ) -> Result<Vec<Leaf>, StateTreeError<L::Error>> {
        match self.lately.get(&slot) {
            Some(leaves) => Ok(leaves.to_vec()),
            None => read(self.nodes.get(slot), range, before),
        }
    }

    /// A node for the range of a prefix of `depth` bits, with all that is below it.
    fn grow<E>(
        &mut self,
        from: &mut Ahead<impl Iterator<Item = Result<Leaf, E>>>,
        range: PathRange,
        depth: usize,
    ) -> Result<Node, StateTreeError<E>> {
        if !from.nth(BUCKET)?.is_some_and(|leaf| range.contains(&leaf.path)) {
            return Ok(Node::bucket(&from.take_within(range)?));
        }
        let pair = self.take_pair();
        let left = self.grow(from, range.half(depth, false), depth + 1)?;
        let right = self.grow(from, range.half(depth, true), depth + 1)?;
        self.draft.writes.extend([(pair, left), (pair + 1, right)]);
        Ok(Node { hash: node_hash(&left.hash, &right.hash), below: Below::Pair(pair) })
    }

    fn take_pair(&mut self) -> u32 {
        if let Some(pair) = self.free.iter().rev().nth(self.draft.reused) {
            self.draft.reused += 1;
            return *pair;
        }
        let pair = u32::try_from(self.draft.slots).expect("memory ends before 2^32 nodes");
        self.draft.slots += 2;
        pair
    }
}

impl Draft {
    /// The leaves of a bucket with the changes made; `None` if they change nothing.
    fn merge(&mut self, old: &[Leaf], changes: &[Change]) -> Option<Vec<Leaf>> {
        let unchanged = self.before.len();
        let mut new = Vec::with_capacity(old.len() + changes.len());
        let mut rest = old.iter().copied().peekable();
        for &(path, digest) in changes {
            while let Some(leaf) = rest.next_if(|leaf| leaf.path < path) {
                new.push(leaf);
            }
            let was = rest.next_if(|leaf| leaf.path == path).map(|leaf| leaf.digest);
            if was != digest {
                self.before.push((path, was));
                self.added += u64::from(was.is_none());
                self.removed += u64::from(digest.is_none());
            }
            new.extend(digest.map(|digest| Leaf { path, digest }));
        }
        new.extend(rest);
        (self.before.len() > unchanged).then_some(new)
    }
}

/// The leaves of a bucket.
pub(super) fn read<L: Leaves>(
    node: Node,
    range: PathRange,
    from: &L,
) -> Result<Vec<Leaf>, StateTreeError<L::Error>> {
    let leaves = from.within(range).map_err(StateTreeError::Leaves)?;
    check(node, &leaves, range)?;
    Ok(leaves)
}

/// Refuses leaves that are not those the node has the hash of.
pub(super) fn check<E>(
    node: Node,
    leaves: &[Leaf],
    range: PathRange,
) -> Result<(), StateTreeError<E>> {
    let same = match node.below {
        Below::Bucket(count) => count as usize == leaves.len() && node.hash == bucket_hash(leaves),
        Below::Pair(_) => false,
    };
    if same { Ok(()) } else { Err(StateTreeError::Mismatch { range }) }
}
