//! The order in which what other nodes send reaches the driver.
//!
//! Messages come in over *lines*, one for each ordered stream of each node. Those of one line are checked in
//! parallel and come out in their order:
//!
//! ```text
//!   line  ┌ checked ┬ in work ┬ checked ┬ waits ┐
//!         └────┬────┴─────────┴─────────┴───────┘
//!              ▼ goes to the driver; what is behind it waits for the one in work
//! ```
//!
//! A *fence* stands on two lines at once, and comes out when it is the first on both: behind all that was there
//! before it, and before all that has come since. So the end of a link stands between its frames and those of the
//! link that replaces it, on either lane:
//!
//! ```text
//!   blocks   ┌ in work ┬ checked ┬ fence ┬ waits ┐      the fence waits for the two before it
//!            └─────────┴─────────┤   ║   ├───────┘
//!   control                      ┌ fence ┬ checked ┐    and this one waits for the fence
//!                                └───────┴─────────┘
//! ```
//!
//! No order holds between messages of two lines, unless a fence stands between them.
//!
//! Messages of a line are bounded in number and bytes, and what is too much is dropped. A fence always has room: there
//! are as many as links have begun and ended while the messages of one line were checked, and each link costs the other
//! node a handshake.

use std::collections::{BTreeMap, VecDeque};

use quorate_chain::crypto::Verifier;
use quorate_chain::ids::{ChainId, NodeId};
use quorate_replica::io::Input;

/// An ordered stream of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    /// The node.
    pub(crate) node: NodeId,
    /// Which of its streams.
    pub(crate) stream: u8,
}

/// Checks one message; `None` if it is not acceptable.
pub(crate) type Check = Box<dyn FnOnce(ChainId, &dyn Verifier) -> Option<Box<Input>> + Send>;

/// What stands on a line.
enum Cell {
    /// A message that nobody has looked at.
    Waits(Check),
    /// A message that somebody is at.
    InWork,
    /// A message that was looked at; `None` if it was not acceptable.
    Done(Option<Box<Input>>),
    /// A fence, with the other line that it is on. What it is for is on one of the two.
    Fence { other: Line, input: Option<Box<Input>> },
}

#[derive(Default)]
struct Queue {
    /// The number of the first cell.
    first: u64,
    /// With the bytes that each counts for.
    cells: VecDeque<(Cell, usize)>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, cell: Cell, bytes: usize) -> u64 {
        self.cells.push_back((cell, bytes));
        self.bytes += bytes;
        self.first + (self.cells.len() - 1) as u64
    }

    fn pop(&mut self) -> Option<Cell> {
        let (cell, bytes) = self.cells.pop_front()?;
        self.first += 1;
        self.bytes -= bytes;
        Some(cell)
    }

    fn cell(&mut self, at: u64) -> Option<&mut Cell> {
        let place = usize::try_from(at.checked_sub(self.first)?).ok()?;
        self.cells.get_mut(place).map(|(cell, _)| cell)
    }
}

/// What goes to the driver next.
#[derive(Debug)]
pub(super) enum Ready {
    /// A message: it can be sent again.
    Message(Box<Input>),
    /// What stood as a fence: nobody says it again.
    Fence(Box<Input>),
}

/// All lines.
pub(super) struct Lines {
    queues: BTreeMap<Line, Queue>,
    /// Messages that nobody has looked at, in the order in which they came.
    waiting: VecDeque<(Line, u64)>,
    most_cells: usize,
    most_bytes: usize,
}

impl Lines {
    /// Lines with room for so many messages and bytes each.
    pub(super) const fn new(most_cells: usize, most_bytes: usize) -> Self {
        Self { queues: BTreeMap::new(), waiting: VecDeque::new(), most_cells, most_bytes }
    }

    /// Whether nothing is on a line.
    pub(super) fn is_empty(&self, line: Line) -> bool {
        self.queues.get(&line).is_none_or(|queue| queue.cells.is_empty())
    }

    /// Takes a message of so many bytes; false if its line has no room. The first is taken whatever it measures.
    pub(super) fn put(&mut self, line: Line, bytes: usize, check: Check) -> bool {
        let queue = self.queues.entry(line).or_default();
        let full = queue.cells.len() >= self.most_cells
            || !queue.cells.is_empty() && queue.bytes + bytes > self.most_bytes;
        if full {
            return false;
        }
        let at = queue.push(Cell::Waits(check), bytes);
        self.waiting.push_back((line, at));
        true
    }

    /// Puts a fence on two lines; what goes to the driver by that.
    pub(super) fn fence(&mut self, [one, other]: [Line; 2], input: Box<Input>) -> Vec<Ready> {
        let mut put = |on, other, input| {
            self.queues.entry(on).or_default().push(Cell::Fence { other, input }, 0);
        };
        put(one, other, Some(input));
        put(other, one, None);
        self.ready(one)
    }

    /// The next message to look at, with its place.
    pub(super) fn next(&mut self) -> Option<(Line, u64, Check)> {
        let (line, at) = self.waiting.pop_front()?;
        let cell = self.queues.get_mut(&line).and_then(|queue| queue.cell(at));
        match cell.map(|cell| std::mem::replace(cell, Cell::InWork)) {
            Some(Cell::Waits(check)) => Some((line, at, check)),
            Some(Cell::InWork | Cell::Done(_) | Cell::Fence { .. }) | None => {
                unreachable!("a message that waits is in its line")
            }
        }
    }

    /// A message was looked at; what goes to the driver by that.
    pub(super) fn done(&mut self, line: Line, at: u64, input: Option<Box<Input>>) -> Vec<Ready> {
        let cell = self.queues.get_mut(&line).and_then(|queue| queue.cell(at));
        *cell.expect("a message in work is in its line") = Cell::Done(input);
        self.ready(line)
    }

    /// Takes off what goes to the driver, after a change on a line. What is behind a fence on the other one may
    /// have waited for that.
    fn ready(&mut self, changed: Line) -> Vec<Ready> {
        let (mut ready, mut lines) = (Vec::new(), vec![changed]);
        while let Some(line) = lines.last().copied() {
            match self.first(line) {
                Some(Cell::Done(_)) => {
                    if let Some(Cell::Done(Some(input))) = self.pop(line) {
                        ready.push(Ready::Message(input));
                    }
                }
                Some(&Cell::Fence { other, .. }) if self.meets(other, line) => {
                    for line in [line, other] {
                        if let Some(Cell::Fence { input: Some(input), .. }) = self.pop(line) {
                            ready.push(Ready::Fence(input));
                        }
                    }
                    lines.push(other);
                }
                Some(Cell::Waits(_) | Cell::InWork | Cell::Fence { .. }) | None => {
                    lines.pop();
                }
            }
        }
        ready
    }

    fn first(&self, line: Line) -> Option<&Cell> {
        self.queues.get(&line)?.cells.front().map(|(cell, _)| cell)
    }

    fn pop(&mut self, line: Line) -> Option<Cell> {
        self.queues.get_mut(&line)?.pop()
    }

    /// Whether the first on a line is a fence that another line has, too. Fences are on both in the same order, so
    /// if it is the first on either it is the same.
    fn meets(&self, line: Line, with: Line) -> bool {
        matches!(self.first(line), Some(Cell::Fence { other, .. }) if *other == with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(node: u32) -> [Line; 2] {
        [0, 1].map(|stream| Line { node: NodeId::new(node), stream })
    }

    fn input(number: u32) -> Box<Input> {
        Box::new(Input::LinkLost { node: NodeId::new(number) })
    }

    /// Puts a message that nobody has looked at.
    fn put(lines: &mut Lines, line: Line) -> bool {
        lines.put(line, 10, Box::new(|_, _| None))
    }

    fn told(ready: Vec<Ready>) -> Vec<u32> {
        let number = |ready| {
            let (Ready::Message(input) | Ready::Fence(input)) = ready;
            let Input::LinkLost { node } = *input else { panic!("{input:?}") };
            node.get()
        };
        ready.into_iter().map(number).collect()
    }

    #[test]
    fn a_fence_comes_behind_all_that_was_there_and_before_all_that_follows() {
        // Whichever line is done first, and in whichever order its messages are.
        for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 3, 0, 5, 1, 4]] {
            let mut lines = Lines::new(8, 1_000);
            let [control, blocks] = lanes(1);
            for line in [blocks, control, blocks] {
                assert!(put(&mut lines, line));
            }
            assert!(told(lines.fence([control, blocks], input(100))).is_empty());
            assert!(told(lines.fence([control, blocks], input(101))).is_empty());
            for line in [control, blocks] {
                assert!(put(&mut lines, line));
            }
            assert!(told(lines.fence([control, blocks], input(102))).is_empty());
            assert!(put(&mut lines, control));
            let mut work: Vec<_> = std::iter::from_fn(|| lines.next()).map(Some).collect();
            let mut all = Vec::new();
            for number in order {
                let (line, at, _) = work[number as usize].take().unwrap();
                all.extend(told(lines.done(line, at, Some(input(number)))));
            }
            let at = |number| all.iter().position(|it| *it == number).unwrap();
            assert_eq!(all.len(), 9, "{all:?}");
            assert!(at(0) < at(2), "the order of a line: {all:?}");
            let stages = [&[0, 1, 2][..], &[100], &[101], &[3, 4], &[102], &[5]];
            for pair in stages.windows(2) {
                let before = pair[0].iter().map(|it| at(*it)).max();
                assert!(before < pair[1].iter().map(|it| at(*it)).min(), "{order:?}: {all:?}");
            }
            assert!(lines.is_empty(control) && lines.is_empty(blocks));
        }
    }

    #[test]
    fn a_fence_with_nothing_before_it_goes_at_once_and_no_other_node_waits_for_one() {
        let mut lines = Lines::new(8, 1_000);
        assert_eq!(told(lines.fence(lanes(1), input(7))), [7]);
        assert!(put(&mut lines, lanes(1)[1]));
        assert!(told(lines.fence(lanes(1), input(8))).is_empty());
        assert!(!lines.is_empty(lanes(1)[0]), "what comes now stands behind it");
        assert_eq!(told(lines.fence(lanes(2), input(9))), [9]);
        let (line, at, _) = lines.next().unwrap();
        assert_eq!(told(lines.done(line, at, None)), [8], "also behind one that is not acceptable");
    }

    #[test]
    fn a_fence_has_room_where_no_message_has() {
        let mut lines = Lines::new(1, 1_000);
        let [control, blocks] = lanes(1);
        assert!(put(&mut lines, blocks));
        assert!(!put(&mut lines, blocks));
        assert!(told(lines.fence([control, blocks], input(7))).is_empty());
        let (line, at, _) = lines.next().unwrap();
        let ready = lines.done(line, at, Some(input(1)));
        assert!(matches!(ready[..], [Ready::Message(_), Ready::Fence(_)]), "{ready:?}");
        assert!(put(&mut lines, blocks), "nothing of it stays behind");
    }
}
