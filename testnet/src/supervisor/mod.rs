//! The process that holds a testnet together.
//!
//! It starts the nodes, knows at once when one ends or is stopped, whoever did it, and takes orders
//! through a socket. Each node is its own process group, so that Ctrl-C reaches the supervisor
//! alone, which then ends the nodes in order.

pub(crate) mod control;
mod group;
mod handover;
mod ready;
mod trouble;

use std::fs;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use quorate_client::Testnet;
use quorate_node::exit::{Exit, Failure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::directory::Directory;
use group::Group;

pub(crate) use group::{Tell, program};
pub(crate) use handover::{HandedOver, ask, hand_over};
pub(crate) use ready::{all, leader, statuses};

/// How nodes are started.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The node that leads first; any if none is named.
    pub(crate) first: Option<u16>,
    /// How long the nodes may take until all are ready.
    pub(crate) timeout: Duration,
}

/// Whether a testnet is being ended.
pub(crate) type Ending = Box<dyn Fn() -> bool + Send>;

/// Runs a testnet until it is told to end. `ready` is called once, when every node is; if it fails,
/// nobody waits for this testnet any more and it ends. Events go to `tell`.
pub(crate) fn run(
    directory: &Directory,
    start: &Start,
    ready: impl FnOnce(&Testnet, Ending) -> std::io::Result<()>,
    tell: Tell,
) -> Result<(), Failure> {
    let listener = listen(directory)?;
    let group = Arc::new(Group::new(directory.clone(), tell)?);
    let done = until_told(&group, listener, start, ready);
    group.end();
    let _ = fs::remove_file(directory.testnet_file());
    let _ = fs::remove_file(directory.socket());
    done
}

fn until_told(
    group: &Arc<Group>,
    listener: UnixListener,
    start: &Start,
    ready: impl FnOnce(&Testnet, Ending) -> std::io::Result<()>,
) -> Result<(), Failure> {
    end_on_signals(group)?;
    let ear = Arc::clone(group);
    thread::spawn(move || control::listen(&ear, &listener));
    group.start_all(start.first)?;
    ready::wait(group, start)?;
    if group.is_ending() {
        return Ok(());
    }
    let testnet = group.publish()?;
    let ending = Arc::clone(group);
    if ready(&testnet, Box::new(move || ending.is_ending())).is_err() {
        return Err(Failure::new(Exit::Bug, "whoever started this testnet is gone"));
    }
    group.wait_until_ending();
    Ok(())
}

fn end_on_signals(group: &Arc<Group>) -> Result<(), Failure> {
    let bug = |error: std::io::Error| Failure::new(Exit::Bug, error);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(bug)?;
    let group = Arc::clone(group);
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            group.begin_ending();
        }
    });
    Ok(())
}

/// Takes the place of the supervisor; refuses if there is one. Whoever has started this one has locked the directory.
fn listen(directory: &Directory) -> Result<UnixListener, Failure> {
    let path = directory.socket();
    if control::is_running(directory) {
        return Err(control::runs(directory));
    }
    // Left by a supervisor that was killed.
    let _ = fs::remove_file(&path);
    UnixListener::bind(&path)
        .map_err(|error| Failure::new(Exit::Storage, format!("{}: {error}", path.display())))
}
