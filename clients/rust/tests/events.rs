//! What becomes of a line of events that ends, or cannot be had.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{Node, Step, problem};
use quorate_chain::ids::Height;
use quorate_client::{Client, Wanted};

fn told(height: u64) -> Step {
    Step::Say(200, format!("event: block\nid: {height}\ndata: {{}}\n\n"))
}

fn busy() -> Step {
    Step::Say(503, problem(503, "rate_limited", r#""nothing_happened""#, "same_bytes"))
}

fn wanted() -> Wanted {
    Wanted { from: Some(Height::new(7)), ..Wanted::default() }
}

#[test]
fn a_line_that_ends_after_a_long_silence_is_made_anew() {
    let node = Node::start(0, [told(7), busy(), told(8)]);
    let patience = Duration::from_secs(2);
    let client = Client::new(&node.url()).unwrap().with_timeout(patience);
    let mut events = client.events(wanted()).unwrap();
    assert_eq!(events.next().unwrap().unwrap().height, Some(Height::new(7)));
    // Nothing happens for longer than anybody would be asked for a line in vain.
    thread::sleep(patience + Duration::from_millis(100));
    assert_eq!(events.next().unwrap().unwrap().height, Some(Height::new(8)));
    let asked = node.asked();
    assert!(asked[2].target.contains("from=7"), "{}", asked[2].target);
}

#[test]
fn nobody_is_asked_in_vain_without_end() {
    let node = Node::start(0, [told(7)].into_iter().chain((0..1_000).map(|_| busy())));
    let client = Client::new(&node.url()).unwrap().with_timeout(Duration::from_millis(300));
    let mut events = client.events(wanted()).unwrap();
    events.next().unwrap().unwrap();
    assert!(events.next().unwrap().is_err());
    assert!(events.next().is_none());
}

#[test]
fn who_hangs_up_at_once_is_asked_again_after_a_pause() {
    let nothing = || Step::Say(200, String::new());
    let node = Node::start(0, [nothing(), nothing(), nothing(), told(7)]);
    let client = Client::new(&node.url()).unwrap();
    let begun = Instant::now();
    let mut events = client.events(wanted()).unwrap();
    assert_eq!(events.next().unwrap().unwrap().height, Some(Height::new(7)));
    // Three pauses, however fast the machine is.
    assert!(begun.elapsed() >= Duration::from_millis(300));
}
