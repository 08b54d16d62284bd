//! The thread that reads pieces of snapshots for nodes that get one.
//!
//! It is apart from those that read blocks, so that whoever lacks blocks never waits behind whoever lacks
//! a state. Of each node one question waits at most: who asks again has given up the one before.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use quorate_chain::ids::NodeId;
use quorate_chain::state::StateRead;
use quorate_replica::snapshot::{Ask, Demand, Piece, piece};
use quorate_replica::store::StoreReader;

use crate::exit::{Exit, Failure};

/// About how many bytes a piece has: small beside what a link carries in a heartbeat, so that blocks on
/// the same link are not kept waiting.
const PIECE: usize = 256 << 10;

/// How a piece gets to who asked for it.
pub(crate) type Answer = Box<dyn FnOnce(&Piece) + Send>;

struct Question {
    from: NodeId,
    ask: Ask,
    answer: Answer,
}

#[derive(Default)]
struct Waiting {
    questions: VecDeque<Question>,
    closed: bool,
}

/// The questions that wait.
#[derive(Default)]
pub(crate) struct Questions {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl Questions {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody asks for a piece.
    pub(crate) fn put(&self, from: NodeId, ask: Ask, answer: Answer) {
        let mut waiting = self.waiting();
        if waiting.closed {
            return;
        }
        let question = Question { from, ask, answer };
        match waiting.questions.iter_mut().find(|before| before.from == from) {
            Some(before) => *before = question,
            None => waiting.questions.push_back(question),
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// Nothing is taken any more, and the thread returns.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.questions.clear();
        drop(waiting);
        self.wake.notify_all();
    }

    /// The next question; `None` when closed.
    fn take(&self) -> Option<Question> {
        let mut waiting = self.waiting();
        loop {
            if waiting.closed {
                return None;
            }
            if let Some(question) = waiting.questions.pop_front() {
                return Some(question);
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Works until the questions are closed.
pub(super) fn run<R: StoreReader>(
    reader: &R,
    demand: &Demand,
    questions: &Questions,
) -> Result<(), Failure>
where
    <R as StateRead>::Error: std::fmt::Display,
{
    while let Some(Question { from: _, ask, answer }) = questions.take() {
        let found = piece(reader, demand, ask, PIECE).map_err(|error| {
            Failure::new(Exit::Storage, format!("cannot read the store: {error}"))
        })?;
        answer(&found);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use quorate_chain::ids::ChainId;
    use quorate_replica::snapshot::Wanted;
    use quorate_replica::store::{MemoryStore, Store as _};

    use super::*;

    fn ask() -> Ask {
        Ask { block: ChainId::ZERO.genesis_ref(), what: Wanted::Head }
    }

    #[test]
    fn of_each_node_the_newest_question_is_answered_and_none_after_the_end() {
        let questions = Questions::default();
        let (told, heard) = mpsc::channel();
        for (from, name) in [(1, "first"), (2, "other"), (1, "again")] {
            let told = told.clone();
            let answer = move |piece: &Piece| told.send((name, piece.clone())).unwrap();
            questions.put(NodeId::new(from), ask(), Box::new(answer));
        }
        let reader = MemoryStore::new().reader();
        std::thread::scope(|scope| {
            scope.spawn(|| run(&reader, &Demand::default(), &questions).unwrap());
            let said: Vec<_> = heard.iter().take(2).collect();
            assert_eq!(said, [("again", Piece::Gone), ("other", Piece::Gone)]);
            questions.close();
        });
        questions.put(NodeId::new(1), ask(), Box::new(|_| unreachable!("it is over")));
        assert!(questions.take().is_none());
    }
}
