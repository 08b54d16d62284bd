//! How a node ends, and why.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

use super::Body;
use crate::exit::{Exit, Failure};

/// How a node ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was asked to stop: what is under way is finished.
    Asked,
    /// It is gone as if the process had been killed: nothing is finished.
    Killed,
    /// It cannot go on.
    Failed(Failure),
}

/// The place where the first one who ends the node says so.
#[derive(Debug)]
pub(crate) struct Ending {
    said: watch::Sender<Option<End>>,
}

impl Ending {
    /// Nobody has said anything.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { said: watch::Sender::new(None) })
    }

    /// Ends the node. The first word stands, but that of a failure also stands above a request.
    pub(crate) fn begin(&self, end: End) {
        self.said.send_if_modified(|said| {
            let graver = matches!((&*said, &end), (Some(End::Asked), End::Failed(_) | End::Killed));
            let changes = said.is_none() || graver;
            if changes {
                *said = Some(end);
            }
            changes
        });
    }

    /// What has been said.
    pub(crate) fn said(&self) -> Option<End> {
        self.said.borrow().clone()
    }

    /// Whether nothing may be finished any more.
    pub(crate) fn drops_all(&self) -> bool {
        matches!(*self.said.borrow(), Some(End::Killed | End::Failed(_)))
    }

    /// Waits until somebody says something.
    pub(crate) async fn wait(&self) -> End {
        let mut said = self.said.subscribe();
        let seen = said.wait_for(Option::is_some).await.ok().and_then(|said| said.clone());
        // The sender lives in `self`, so there always is a word to wait for.
        seen.unwrap_or(End::Killed)
    }
}

/// Reports a thread that unwinds.
struct Watch {
    name: String,
    ending: Arc<Ending>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            let why = format!("the {} thread has panicked; this is a bug", self.name);
            self.ending.begin(End::Failed(Failure::new(Exit::Bug, why)));
        }
    }
}

/// Starts a thread whose end is the node's.
pub(super) fn worker(name: &str, ending: &Arc<Ending>, body: Body) -> io::Result<JoinHandle<()>> {
    let watch = Watch { name: name.to_owned(), ending: Arc::clone(ending) };
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let ended = body();
        match ended {
            Err(failure) => watch.ending.begin(End::Failed(failure)),
            Ok(()) if watch.ending.said().is_some() => {}
            Ok(()) => {
                let why = format!("the {} thread has ended by itself; this is a bug", watch.name);
                watch.ending.begin(End::Failed(Failure::new(Exit::Bug, why)));
            }
        }
    })
}
