//! Transactions on their way to the leader: a few requests at a time.
//!
//! What comes while these are under way goes together with the next. A peer takes only so many requests at once, and
//! what is above that is lost; one request for each transaction would soon be above it. What is lost with a request
//! is forwarded again in its time, by the replica.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use quorate_chain::ids::{NodeId, TxId};

use super::{kind, tagged};
use crate::net::RequestId;

/// Most requests under way.
const FLYING: usize = 4;

/// The way out: it asks a peer, if there is room for that.
type Ask = Box<dyn Fn(NodeId, Bytes) -> Option<RequestId> + Send + Sync>;

/// What is under way, and what waits.
pub(super) struct Forwards {
    ask: OnceLock<Ask>,
    queue: Mutex<Queue>,
}

impl Forwards {
    /// Nothing waits. Transactions of so many bytes may, and a request takes as many as `request`.
    pub(super) fn new(most: usize, request: usize) -> Self {
        Self { ask: OnceLock::new(), queue: Mutex::new(Queue::new(most, request)) }
    }

    /// This is the way out.
    pub(super) fn connect(
        &self,
        ask: impl Fn(NodeId, Bytes) -> Option<RequestId> + Send + Sync + 'static,
    ) {
        let first = self.ask.set(Box::new(ask)).is_ok();
        assert!(first, "a node has one network");
    }

    /// Transactions begin to wait for this leader.
    pub(super) fn put(&self, to: NodeId, transactions: impl IntoIterator<Item = (TxId, Bytes)>) {
        self.change(|queue| queue.put(to, transactions));
    }

    /// A request is over, however it ended.
    pub(super) fn over(&self, request: RequestId) {
        self.change(|queue| {
            queue.flying.remove(&request);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut queue);
        if let Some(ask) = self.ask.get() {
            queue.send(ask);
        }
    }
}

/// The same for one leader at a time.
struct Queue {
    to: Option<NodeId>,
    flying: BTreeSet<RequestId>,
    waiting: VecDeque<(TxId, Bytes)>,
    ids: BTreeSet<TxId>,
    bytes: usize,
    most: usize,
    request: usize,
}

impl Queue {
    const fn new(most: usize, request: usize) -> Self {
        Self {
            to: None,
            flying: BTreeSet::new(),
            waiting: VecDeque::new(),
            ids: BTreeSet::new(),
            bytes: 0,
            most,
            request,
        }
    }

    fn put(&mut self, to: NodeId, transactions: impl IntoIterator<Item = (TxId, Bytes)>) {
        if self.to != Some(to) {
            // What waited for another one is forwarded to the new leader as well.
            *self = Self { to: Some(to), ..Self::new(self.most, self.request) };
        }
        for (id, bytes) in transactions {
            if self.bytes + bytes.len() <= self.most && self.ids.insert(id) {
                self.bytes += bytes.len();
                self.waiting.push_back((id, bytes));
            }
        }
    }

    /// Sends what may be sent now.
    fn send(&mut self, mut ask: impl FnMut(NodeId, Bytes) -> Option<RequestId>) {
        let Some(to) = self.to else { return };
        while self.flying.len() < FLYING && !self.waiting.is_empty() {
            let bytes = self.next();
            // If there is no room for it, it is lost like one that does not arrive.
            self.flying.extend(ask(to, bytes));
        }
    }

    /// The next request: as much as it takes, one transaction at least.
    fn next(&mut self) -> Bytes {
        let (mut count, mut length) = (0, 0);
        for (_, bytes) in &self.waiting {
            if count > 0 && length + bytes.len() > self.request {
                break;
            }
            (count, length) = (count + 1, length + bytes.len());
        }
        self.bytes -= length;
        tagged(kind::FORWARD, length, |out| {
            for (id, bytes) in self.waiting.drain(..count) {
                self.ids.remove(&id);
                out.extend_from_slice(&bytes);
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: NodeId = NodeId::new(2);

    fn transactions(numbers: std::ops::Range<u8>) -> impl Iterator<Item = (TxId, Bytes)> {
        numbers.map(|number| (TxId::new([number; 32]), Bytes::from(vec![number])))
    }

    /// A network that takes everything, and what it was asked.
    #[derive(Default)]
    struct Asked(Vec<(NodeId, Vec<u8>)>);

    impl Asked {
        fn by(&mut self, queue: &mut Queue) {
            queue.send(|to, bytes| {
                assert_eq!(bytes[0], kind::FORWARD);
                self.0.push((to, bytes[1..].to_vec()));
                Some(RequestId(self.0.len() as u64))
            });
        }

        fn take(&mut self) -> Vec<Vec<u8>> {
            self.0.iter().map(|(_, bytes)| bytes.clone()).collect()
        }
    }

    #[test]
    fn what_comes_while_requests_are_under_way_goes_together() {
        let (mut queue, mut asked) = (Queue::new(100, 3), Asked::default());
        for number in 0..9 {
            queue.put(LEADER, transactions(number..number + 1));
            asked.by(&mut queue);
        }
        assert_eq!(asked.take(), [[0], [1], [2], [3]]);
        // The same once more: it waits already.
        queue.put(LEADER, transactions(4..6));
        queue.flying.remove(&RequestId(2));
        asked.by(&mut queue);
        assert_eq!(asked.take()[4..], [vec![4, 5, 6]]);
        queue.flying.clear();
        asked.by(&mut queue);
        assert_eq!(asked.take()[5..], [vec![7, 8]]);
        assert_eq!((queue.bytes, queue.ids.len(), queue.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn another_leader_gets_what_is_forwarded_to_it_and_at_once() {
        let (mut queue, mut asked) = (Queue::new(100, 1), Asked::default());
        queue.put(LEADER, transactions(0..9));
        asked.by(&mut queue);
        assert_eq!(asked.0.len(), FLYING);
        let next = NodeId::new(3);
        queue.put(next, transactions(20..21));
        asked.by(&mut queue);
        assert_eq!(asked.0[FLYING..], [(next, vec![20])]);
        // The end of a request to the one before changes nothing.
        queue.flying.remove(&RequestId(1));
        asked.by(&mut queue);
        assert_eq!(asked.0.len(), FLYING + 1);
    }

    #[test]
    fn no_more_waits_than_may_and_what_finds_no_room_holds_up_nothing() {
        let mut queue = Queue::new(5, 2);
        queue.put(LEADER, transactions(0..9));
        assert_eq!(queue.bytes, 5);
        let mut asks = 0;
        queue.send(|_, _| {
            asks += 1;
            None
        });
        assert_eq!((asks, queue.bytes, queue.flying.len()), (3, 0, 0));
        queue.put(LEADER, transactions(0..9));
        assert_eq!(queue.bytes, 5);
    }
}
