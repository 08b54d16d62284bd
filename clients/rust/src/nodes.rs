//! The nodes of a group, and which of them is asked first.
//!
//! The one that answered last is. While none has, or after it has failed, each says whether it is ready
//! before anything is asked of it: a node that hears no leader would hold a question for its whole turn,
//! and one that hangs would, too. None of it is needed for a right answer, so nothing that is heard here
//! is ever passed on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::http;

/// How long a node may take to say that it is ready.
const SOUNDING: Duration = Duration::from_millis(250);

/// The nodes of a group.
#[derive(Debug)]
pub(crate) struct Nodes {
    urls: Vec<String>,
    first: AtomicUsize,
    /// Whether the first one has answered the last question that it was asked.
    answers: AtomicBool,
}

impl Nodes {
    pub(crate) const fn new(urls: Vec<String>) -> Self {
        Self { urls, first: AtomicUsize::new(0), answers: AtomicBool::new(false) }
    }

    /// In the order in which they were named.
    pub(crate) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The place of the one that is asked first.
    pub(crate) fn first(&self) -> usize {
        self.first.load(Ordering::Relaxed) % self.urls.len()
    }

    /// All of them, by their places, in the order in which they are to be asked.
    pub(crate) fn in_turn(&self, agent: &ureq::Agent) -> impl Iterator<Item = usize> + use<> {
        let count = self.urls.len();
        if count > 1 && !self.answers.load(Ordering::Relaxed) {
            let ready = |at: &usize| {
                let url = format!("{}/readyz", self.urls[*at]);
                http::ask(agent, &url, None, SOUNDING).is_ok_and(|reply| reply.is_success())
            };
            let from = self.first();
            if let Some(at) = (0..count).map(|turn| (from + turn) % count).find(ready) {
                self.first.store(at, Ordering::Relaxed);
            }
        }
        let first = self.first();
        (0..count).map(move |turn| (first + turn) % count)
    }

    /// This one has answered.
    pub(crate) fn answered(&self, at: usize) {
        self.first.store(at, Ordering::Relaxed);
        self.answers.store(true, Ordering::Relaxed);
    }

    /// This one has not.
    pub(crate) fn failed(&self, at: usize) {
        if at == self.first() {
            self.answers.store(false, Ordering::Relaxed);
        }
    }
}
