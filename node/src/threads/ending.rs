//! How a node ends, and why.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

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

/// Reports a thread or a task that unwinds.
struct Watch {
    name: String,
    ending: Arc<Ending>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            let why = format!("the {} has panicked; this is a bug", self.name);
            self.ending.begin(End::Failed(Failure::new(Exit::Bug, why)));
        }
    }
}

/// Starts a thread whose end is the node's. It works with `owned`, where its ends of queues are: they go only when
/// it has been said why the thread ends, since a queue whose other end is gone is a reason for others to end.
pub(super) fn worker<O: Send + 'static>(
    name: &str,
    ending: &Arc<Ending>,
    owned: O,
    body: impl FnOnce(&mut O) -> Result<(), Failure> + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (name, ending) = (name.to_owned(), Arc::clone(ending));
    thread::Builder::new().name(name.clone()).spawn(move || {
        // What is declared last goes first, also when the thread unwinds.
        let mut owned = owned;
        let watch = Watch { name: format!("{name} thread"), ending };
        match body(&mut owned) {
            Err(failure) => watch.ending.begin(End::Failed(failure)),
            Ok(()) if watch.ending.said().is_some() => {}
            Ok(()) => {
                let why = format!("the {} has ended by itself; this is a bug", watch.name);
                watch.ending.begin(End::Failed(Failure::new(Exit::Bug, why)));
            }
        }
    })
}

/// Starts a task without which the node is not whole: if it panics, the node ends.
pub(crate) fn task<T: Send + 'static>(
    name: &str,
    ending: &Arc<Ending>,
    body: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let watch = Watch { name: name.to_owned(), ending: Arc::clone(ending) };
    tokio::spawn(async move {
        let _watch = watch;
        body.await
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Sender};

    use super::*;

    /// The end of a queue: when it goes, it says what had been said by then.
    struct QueueEnd(Arc<Ending>, Sender<Option<End>>);

    impl Drop for QueueEnd {
        fn drop(&mut self) {
            self.1.send(self.0.said()).unwrap();
        }
    }

    /// What others could know when they saw that a thread had gone that ended so.
    fn seen(how: impl FnOnce() -> Result<(), Failure> + Send + 'static) -> Option<End> {
        let (ending, (say, heard)) = (Ending::new(), mpsc::channel());
        let queue = QueueEnd(Arc::clone(&ending), say);
        let thread = worker("tested", &ending, queue, move |_| how()).unwrap();
        drop(thread.join());
        heard.recv().unwrap()
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_the_node_and_one_that_returns_or_is_aborted_does_not() {
        let ending = Ending::new();
        task("good", &ending, async {}).await.unwrap();
        let aborted = task("waiting", &ending, std::future::pending::<()>());
        aborted.abort();
        assert!(aborted.await.unwrap_err().is_cancelled());
        assert_eq!(ending.said(), None);
        let panics = task("tested task", &ending, async { panic!("we are wrong") });
        assert!(panics.await.unwrap_err().is_panic());
        let why = "the tested task has panicked; this is a bug";
        assert_eq!(ending.said(), Some(End::Failed(Failure::new(Exit::Bug, why))));
    }

    #[test]
    fn why_a_thread_ends_is_said_before_others_see_that_it_has_gone() {
        let disk = Failure::new(Exit::Storage, "the disk says no");
        let said = disk.clone();
        assert_eq!(seen(move || Err(said)), Some(End::Failed(disk)));
        let bug = |why| Some(End::Failed(Failure::new(Exit::Bug, why)));
        let own = "the tested thread has ended by itself; this is a bug";
        assert_eq!(seen(|| Ok(())), bug(own));
        let panicked = "the tested thread has panicked; this is a bug";
        assert_eq!(seen(|| panic!("we are wrong")), bug(panicked));
    }
}
