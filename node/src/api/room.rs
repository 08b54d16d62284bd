//! How much of what clients have sent may be in memory at a time.
//!
//! A little of each request always finds room: as many can be under way as there may be connections, so that is bounded
//! too. So whoever fills the rest keeps no small transaction out.

use std::sync::Arc;

use quorate_client::problem::{Code, Effect, EffectWord};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ledger::Answered;
use super::problem::problem;

/// So many bytes of a request are taken whatever the others have.
const ALWAYS: usize = 32 << 10;

/// The same for all requests that are under way together.
#[derive(Debug)]
pub(crate) struct Requests(Arc<Semaphore>);

impl Requests {
    /// About so many bytes at a time.
    pub(crate) fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// A request begins, and has nothing yet.
    pub(super) fn begin(&self) -> Room {
        Room { all: Arc::clone(&self.0), always: ALWAYS, held: None }
    }
}

/// What one request takes, until it is answered.
#[derive(Debug)]
pub(super) struct Room {
    all: Arc<Semaphore>,
    /// What is left of what it always may have.
    always: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Takes more.
    ///
    /// # Errors
    /// If there is not so much. What the request has by then it keeps until it is dropped.
    pub(super) fn grow(&mut self, bytes: usize) -> Answered<()> {
        let free = self.always.min(bytes);
        self.always -= free;
        let more = u32::try_from(bytes - free).ok();
        let more = more.and_then(|more| Arc::clone(&self.all).try_acquire_many_owned(more).ok());
        let full = || {
            let mut full =
                problem(Code::RateLimited, "too much that clients have sent is under way");
            // It was not read, and what it holds may have been sent before.
            full.outcome = Effect::Word(EffectWord::Unknown);
            full
        };
        let more = more.ok_or_else(full)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_requests_together_have_one_bound_and_give_back_what_they_took() {
        let requests = Requests::of(100);
        let (mut one, mut other) = (requests.begin(), requests.begin());
        one.grow(ALWAYS + 30).unwrap();
        one.grow(30).unwrap();
        other.grow(ALWAYS).unwrap();
        other.grow(40).unwrap();
        let full = other.grow(1).unwrap_err();
        assert_eq!(full.code, Code::RateLimited);
        assert_eq!(full.outcome, Effect::Word(EffectWord::Unknown));
        // There is always room for little.
        requests.begin().grow(ALWAYS).unwrap();
        drop(one);
        other.grow(60).unwrap();
        assert!(other.grow(1).is_err());
        drop(other);
        assert!(requests.begin().grow(ALWAYS + 100).is_ok());
    }
}
