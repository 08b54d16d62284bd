//! What will happen, in the order in which it will.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A number that no two events share, so that those of one moment have an order too.
type Number = u64;

/// Events to come. Time is in microseconds.
///
/// The heap holds only moments and places; the events themselves lie still beside it.
#[derive(Debug)]
pub struct Schedule<E> {
    heap: BinaryHeap<Reverse<(u64, Number, usize)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
    next: Number,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), next: 0 }
    }
}

impl<E> Schedule<E> {
    /// Something will happen at a moment, after what was planned for it before.
    pub fn at(&mut self, moment: u64, event: E) {
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.heap.push(Reverse((moment, self.next, place)));
        self.next += 1;
    }

    /// What happens next, and when.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((moment, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.events[place].take().map(|event| (moment, event))
    }

    /// How much is planned.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is planned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_happen_by_moment_and_then_as_planned() {
        let mut schedule = Schedule::default();
        for (moment, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            schedule.at(moment, event);
        }
        let order: Vec<_> = std::iter::from_fn(|| schedule.pop()).collect();
        assert_eq!(order, [(1, 'a'), (2, 'b'), (5, 'c'), (5, 'd')]);
    }
}
