//! Requests with their answers, and gossip.
#![allow(clippy::unwrap_used)]

mod group;

use bytes::Bytes;
use group::{Group, Told, config, node};
use quorate_node::net::Topic;

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn a_request_is_answered_by_the_one_who_was_asked() {
    let mut group = Group::new(3, &config());
    let id = group.nodes[0].handle.request(node(2), text("how high?")).unwrap();
    let asked = Told::Request { from: node(0), bytes: text("how high?") };
    group.wait("it is asked", |group| group.nodes[2].has(&asked));
    assert_eq!(group.nodes[1].count(|told| matches!(told, Told::Request { .. })), 0);
    let large = Bytes::from(vec![5; 3 << 20]);
    group.nodes[2].replies.pop().unwrap().answer(large.clone());
    let answer = Told::Answer { id, from: node(2), bytes: large };
    group.wait("the answer", |group| group.nodes[0].has(&answer));
}

#[test]
fn every_request_ends_with_an_answer_or_without_one() {
    let mut group = Group::new(3, &config());
    // Nobody answers.
    let dropped = group.nodes[0].handle.request(node(1), text("silence")).unwrap();
    group.wait("it is asked", |group| {
        group.nodes[1].take();
        group.nodes[1].replies.pop().is_some()
    });
    // The peer dies with the question.
    let died = group.nodes[0].handle.request(node(2), text("still there?")).unwrap();
    group.wait("it is asked", |group| {
        group.nodes[2].take();
        !group.nodes[2].replies.is_empty()
    });
    group.nodes[2].kill();
    // There is no such peer, and too much is asked.
    let nobody = group.nodes[0].handle.request(node(9), text("who?")).unwrap();
    let large = Bytes::from(vec![6; 2 << 20]);
    let oversized = group.nodes[0].handle.request(node(1), large).unwrap();
    for (id, to) in [(dropped, 1), (died, 2), (nobody, 9), (oversized, 1)] {
        let unanswered = Told::Unanswered { id, to: node(to) };
        group.wait("no answer", |group| group.nodes[0].has(&unanswered));
    }
    assert_eq!(group.nodes[0].handle.counts().unsent, 2);
}

#[test]
fn gossip_reaches_each_once_and_straight_from_its_source() {
    let mut group = Group::new(3, &config());
    for topic in Topic::ALL {
        let told = |bytes| Told::Gossip { from: node(1), topic, bytes };
        // Who is interested is learned a moment after the link is up; what came before that is lost.
        group.wait("gossip has set in", |group| {
            group.nodes[1].handle.publish(topic, unique());
            [0, 2].iter().all(|id| {
                group.nodes[*id]
                    .count(|told| matches!(told, Told::Gossip { topic: of, .. } if *of == topic))
                    > 0
            })
        });
        assert!(group.nodes[1].handle.publish(topic, text("I am")));
        group.wait("it is heard", |group| {
            [0, 2].iter().all(|id| group.nodes[*id].has(&told(text("I am"))))
        });
    }
    for id in [0, 2] {
        let heard = |told: &Told| matches!(told, Told::Gossip { bytes, .. } if bytes == "I am");
        assert_eq!(group.nodes[id].count(heard), 2);
        let elsewhere = |told: &Told| matches!(told, Told::Gossip { from, .. } if *from != node(1));
        assert_eq!(group.nodes[id].count(elsewhere), 0);
    }
    assert_eq!(group.nodes[1].count(|told| matches!(told, Told::Gossip { .. })), 0);
}

/// Bytes that were not gossiped before: those would be taken for the same.
fn unique() -> Bytes {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    Bytes::from(NEXT.fetch_add(1, Relaxed).to_be_bytes().to_vec())
}
