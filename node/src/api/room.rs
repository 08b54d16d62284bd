//! How much of what clients have sent may be in memory at a time.

use std::sync::Arc;

use quorate_client::problem::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ledger::Answered;
use super::problem::problem;

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
        Room { all: Arc::clone(&self.0), held: None }
    }
}

/// What one request takes, until it is answered.
#[derive(Debug)]
pub(super) struct Room {
    all: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// Takes more.
    ///
    /// # Errors
    /// If there is not so much. What the request has by then it keeps until it is dropped.
    pub(super) fn grow(&mut self, bytes: usize) -> Answered<()> {
        let more = u32::try_from(bytes).ok();
        let more = more.and_then(|more| Arc::clone(&self.all).try_acquire_many_owned(more).ok());
        let full = || problem(Code::RateLimited, "too much that clients have sent is under way");
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
        one.grow(30).unwrap();
        one.grow(30).unwrap();
        other.grow(40).unwrap();
        assert_eq!(other.grow(1).unwrap_err().code, Code::RateLimited);
        drop(one);
        other.grow(60).unwrap();
        assert!(other.grow(1).is_err());
        drop(other);
        assert!(requests.begin().grow(100).is_ok());
    }
}
