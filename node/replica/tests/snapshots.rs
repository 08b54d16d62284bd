//! A node that was away for longer than blocks are kept gets a snapshot, and nothing but the right one.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{Carried, Group, Key, key, limits, update};
use quorate_chain::certificate::{Certificate, Signed};
use quorate_chain::checked::Checked;
use quorate_chain::crypto::Signer as _;
use quorate_chain::ids::{Height, NodeId, TxId};
use quorate_chain::state::{StateEntry, StateKey, Value};
use quorate_consensus::message::Message;
use quorate_consensus::raft::Standing;
use quorate_consensus::time::Span;
use quorate_replica::io::Answer;
use quorate_replica::setup::Limits;
use quorate_replica::snapshot::Piece;
use quorate_replica::store::{Entries, Store, StoreReader};
use quorate_wal::{Step, Verdict};

fn often() -> Limits {
    Limits { snapshot_every: 5, checkpoint_every: 4, ..limits() }
}

/// A group whose node 2 was away while the others went on and forgot old blocks.
fn behind() -> Group {
    behind_by(often(), 1)
}

/// The same; the others applied so many blocks at once.
fn behind_by(limits: Limits, leap: u64) -> Group {
    let mut group = Group::without_2(limits);
    for nonce in 3..41 {
        for id in 0..2 {
            group.node_mut(id).hold_apply = nonce % leap != 0;
        }
        group.submit(0, update(group.chain_id, u8::try_from(nonce % 9).unwrap(), nonce));
        group.settle();
    }
    group.run(Span::millis(1_000));
    for id in 0..2 {
        let frozen = group.node(id).store.reader().frozen().unwrap();
        assert_eq!(frozen.len(), 2, "two states are kept");
        let oldest = frozen[1].applied.block.height;
        group.node_mut(id).store.prune(oldest).unwrap();
    }
    group
}

fn catch_up(group: &mut Group) {
    let top = group.applied(0);
    group.run_until("node 2 has caught up", |group| group.applied(2) >= top);
    let submission = group.submit(2, update(group.chain_id, 9, 0));
    group.run(Span::millis(2_000));
    assert!(matches!(group.answers.get(&submission), Some(Answer::Placed(_))));
    group.assert_equal();
    let leaves = |id| group.node(id).store.reader().leaves_after(None, 1_000).unwrap();
    assert_eq!(leaves(2), leaves(0));
    // It can do without the others, from its log and its store, also after a power cut.
    group.power_cut(2, |_| false);
    group.start(2).unwrap();
    assert!(group.replica(2).found.repaired.is_none());
    group.run(Span::millis(3_000));
    group.assert_equal();
}

#[test]
fn a_node_that_was_away_for_long_goes_on_from_a_snapshot() {
    let mut group = behind();
    group.start(2).unwrap();
    catch_up(&mut group);
    assert_eq!(group.installs, [(2, true)]);
}

/// The chain stands still, so that there is no newer state to freeze, and who leads has nothing but a snapshot itself.
#[test]
fn a_node_that_began_with_a_snapshot_gives_it_to_others() {
    let mut group = behind_by(Limits { snapshot_every: 20, ..often() }, 1);
    group.start(2).unwrap();
    catch_up(&mut group);
    let brought = group.node(2).store.reader().frozen().unwrap();
    assert_eq!(brought.len(), 1, "the state that it began with");
    group.elect_another_than(0);
    while group.leader() != Some(2) {
        let leader = group.leader().unwrap();
        group.elect_another_than(leader);
    }
    group.kill(1);
    let node = group.node_mut(1);
    *node.disk.lock().unwrap() = quorate_wal::Memory::new(77);
    node.store = quorate_replica::store::MemoryStore::new();
    group.start(1).unwrap();
    let top = group.applied(2);
    group.run_until("node 1 has caught up", |group| group.applied(1) >= top);
    assert_eq!(group.installs, [(2, true), (1, true)]);
    let newest = group.node(2).store.reader().frozen().unwrap();
    assert_eq!(newest.len(), 1, "no other state could be offered");
}

#[test]
fn a_crash_before_the_certified_block_is_applied_does_not_forget_its_certificate() {
    let mut group = behind_by(Limits { message_bytes: 300, ..often() }, 4);
    group.start(2).unwrap();
    let certified = |group: &Group| {
        let standing = group.node(2).store.reader().standing().unwrap().unwrap();
        standing.certificate.unwrap().block().height
    };
    for _ in 0..20_000 {
        if group.installs == [(2, true)] {
            break;
        }
        group.turn();
    }
    assert_eq!(group.installs, [(2, true)]);
    let (anchor, brought) = (group.applied(2), certified(&group));
    // What is applied next is proven by a certificate of its own, and the certified block is lost on its way.
    let is_it = |carried: &Carried| {
        let Carried::Message(Message::Append(append)) = carried else { return false };
        append.blocks.iter().any(|block| block.block_ref().height >= brought)
    };
    for _ in 0..20_000 {
        group.wire.retain(|(_, to, carried)| *to != 2 || !is_it(carried));
        if group.applied(2) > anchor && certified(&group) < brought {
            break;
        }
        group.turn();
    }
    let half_way = group.replica(2).driver.status().tip.height;
    assert!(half_way > anchor && half_way < brought, "{anchor} < {half_way} < {brought}");
    group.kill(2);
    group.start(2).unwrap();
    // It hears what others know of it, and then nothing more. It lacks a certified block: it may not lead.
    for _ in 0..2_000 {
        group.wire.retain(|(from, to, carried)| {
            let greets = |message: &Message| {
                matches!(message, Message::Greet(_) | Message::Known(_) | Message::Pull { .. })
            };
            let greets = matches!(carried, Carried::Message(message) if greets(message));
            greets || *from != 2 && *to != 2
        });
        group.turn();
        let status = group.replica(2).driver.status();
        assert_ne!(status.standing, Standing::Candidate);
    }
    assert!(group.replica(2).driver.core().may_sign(), "that is not what it waits for");
    catch_up(&mut group);
    assert_eq!(group.installs, [(2, true)]);
}

#[test]
fn a_snapshot_that_lacks_an_entry_is_refused_and_another_source_is_asked() {
    let mut group = behind();
    group.start(2).unwrap();
    let mut taken_out = false;
    for _ in 0..20_000 {
        if !group.installs.is_empty() {
            break;
        }
        for (_, to, carried) in &mut group.wire {
            if let (2, Carried::Piece(Piece::Entries(entries))) = (*to, carried)
                && !taken_out
                && entries.len() > 1
            {
                entries.remove(0);
                taken_out = true;
            }
        }
        group.turn();
    }
    assert_eq!(group.installs, [(2, true)], "what is refused is not even tried");
    assert!(taken_out && said(&group, "Count { "), "{:?}", group.notices);
    catch_up(&mut group);
}

/// Whether node 2 has said that it takes a snapshot no further, and why.
fn said(group: &Group, why: &str) -> bool {
    group.notices.iter().any(|(id, notice)| {
        *id == 2 && notice.starts_with("SnapshotFailed") && notice.contains(why)
    })
}

/// Node 2 gets a snapshot, and the source that it asks first brings what a lie makes of its pieces. Returns who
/// that is.
fn lied_to(lie: impl Fn(&mut Group, u32)) -> Group {
    let mut group = behind();
    group.start(2).unwrap();
    let mut liar = None;
    for _ in 0..60_000 {
        if group.installs.last() == Some(&(2, true)) {
            break;
        }
        let asked = group
            .wire
            .iter()
            .find(|(from, _, carried)| *from == 2 && matches!(carried, Carried::Ask(_)));
        liar = liar.or(asked.map(|(_, to, _)| *to));
        if let Some(liar) = liar {
            lie(&mut group, liar);
        }
        group.turn();
    }
    assert_eq!(group.installs.last(), Some(&(2, true)), "{:?}", group.notices);
    catch_up(&mut group);
    group
}

/// The entries on their way from the liar to node 2.
fn entries_of(group: &mut Group, liar: u32) -> impl Iterator<Item = &mut Entries> {
    group.wire.iter_mut().filter_map(move |(from, _, carried)| {
        let (true, Carried::Piece(Piece::Entries(entries))) = (*from == liar, carried) else {
            return None;
        };
        Some(entries)
    })
}

/// Entries that there are not, ascending by path.
fn made_up() -> Entries {
    let value = Value { height: Height::new(1), tx: TxId::ZERO, bytes: Bytes::new() };
    let key = |number: u32| StateKey::Value(number.to_string().into());
    let mut entries: Entries =
        (0..5_000).map(|number| (key(number), StateEntry::Value(value.clone()))).collect();
    entries.sort_by_key(|(key, _)| key.path());
    entries
}

#[test]
fn a_source_that_brings_entries_without_end_is_given_up() {
    let more = made_up();
    let group = lied_to(|group, liar| {
        for entries in entries_of(group, liar) {
            // There is always one more.
            let Some((first, _)) = entries.first().cloned() else { continue };
            let above = more.iter().filter(|(key, _)| key.path() >= first.path());
            *entries = above.take(10).cloned().collect();
        }
    });
    assert!(said(&group, "Count { "), "{:?}", group.notices);
    assert_eq!(group.installs, [(2, true)]);
}

#[test]
fn a_source_that_claims_another_number_of_entries_is_given_up() {
    let group = lied_to(|group, liar| {
        for (from, _, carried) in &mut group.wire {
            if let (true, Carried::Piece(Piece::Head(head))) = (*from == liar, carried) {
                head.size.count += 1;
            }
        }
    });
    assert!(said(&group, "Unproven"), "{:?}", group.notices);
    assert_eq!(group.installs, [(2, true)]);
}

#[test]
fn a_certificate_that_more_have_signed_since_it_was_offered_is_as_good() {
    let mut group = behind();
    group.start(2).unwrap();
    let mut fuller = None;
    for _ in 0..20_000 {
        if !group.installs.is_empty() {
            break;
        }
        let chain_id = group.chain_id;
        for (_, to, carried) in &mut group.wire {
            if let (2, Carried::Piece(Piece::Head(head))) = (*to, carried) {
                let offered = &head.path.certificate;
                let (statement, roster) = (*offered.statement(), offered.roster_hash());
                let own = Signed {
                    signer: NodeId::new(2),
                    signature: Key(key(2)).sign(&statement.message(chain_id, roster)),
                };
                let signatures = offered.signatures().iter().cloned().chain([own]).collect();
                head.path.certificate = Certificate::assemble(statement, roster, signatures);
                fuller = Some(head.path.certificate.clone());
            }
        }
        group.turn();
    }
    assert_eq!(group.installs, [(2, true)]);
    assert!(!said(&group, ""), "no source is given up");
    let standing = group.node(2).store.reader().standing().unwrap().unwrap();
    assert_eq!(standing.certificate.map(Checked::into_inner), fuller, "what was checked is kept");
    catch_up(&mut group);
}

#[test]
fn a_source_that_brings_another_state_is_given_up() {
    let group = lied_to(|group, liar| {
        for (_, entry) in entries_of(group, liar).flatten() {
            if let StateEntry::Value(value) = entry {
                value.bytes = Bytes::from_static(b"a lie");
            }
        }
    });
    assert_eq!(group.installs, [(2, false), (2, true)]);
    assert!(said(&group, "Root"), "{:?}", group.notices);
}

#[test]
fn a_source_that_brings_one_entry_after_the_other_as_late_as_it_may_is_given_up() {
    let asked = std::cell::Cell::new(0);
    let group = lied_to(|group, liar| {
        entries_of(group, liar).for_each(|entries| entries.truncate(1));
        // Each comes when it has been asked for the last time.
        let is_it = |carried: &Carried| matches!(carried, Carried::Piece(_));
        if group.wire.front().is_some_and(|(from, _, it)| *from == liar && is_it(it)) {
            asked.set(asked.get() + 1);
            if asked.get() % 5 != 0 {
                group.wire.pop_front();
            }
        }
    });
    assert!(said(&group, "Slow { "), "{:?}", group.notices);
    assert_eq!(group.installs, [(2, true)]);
}

#[test]
fn pieces_that_are_lost_are_asked_for_again() {
    let mut lost = 0;
    let mut group = behind();
    group.start(2).unwrap();
    for _ in 0..20_000 {
        if group.installs == [(2, true)] {
            break;
        }
        let piece = |carried: &Carried| matches!(carried, Carried::Piece(_));
        if group.wire.front().is_some_and(|(_, _, carried)| piece(carried)) {
            lost += 1;
            if lost % 2 == 1 {
                group.wire.pop_front();
                continue;
            }
        }
        group.turn();
    }
    assert!(lost > 3, "{lost} pieces");
    catch_up(&mut group);
}

#[test]
fn old_blocks_are_forgotten_once_a_state_above_them_can_be_offered() {
    // Fewer than lie between two states, and more.
    forgets(2);
    forgets(12);
}

fn forgets(keep_blocks: u64) {
    let mut group = Group::without_2(Limits { keep_blocks, ..often() });
    for nonce in 3..60 {
        group.submit(0, update(group.chain_id, 0, nonce));
        group.settle();
        for id in 0..2 {
            let (reader, top) = (group.node(id).store.reader(), group.applied(id));
            let Some(oldest) = reader.oldest().unwrap() else { continue };
            if oldest.get() > 1 {
                let frozen = reader.frozen().unwrap();
                let anchor = frozen.last().unwrap().applied.block.height;
                assert!(oldest <= anchor, "what leads to the older state is there");
                assert!(top.get() - oldest.get() >= keep_blocks, "as many are kept as shall be");
            }
        }
    }
    group.run(Span::millis(500));
    for id in 0..2 {
        let oldest = group.node(id).store.reader().oldest().unwrap().unwrap();
        assert!(group.applied(id).get() - oldest.get() < keep_blocks + 3 * 5, "and not many more");
    }
    // Whoever was away gets a state, and the blocks above it.
    group.start(2).unwrap();
    catch_up(&mut group);
    assert_eq!(group.installs, [(2, true)]);
}

#[test]
fn a_state_that_can_be_offered_does_not_go_for_one_that_cannot_yet() {
    let mut group = Group::without_2(Limits { keep_blocks: 1, ..often() });
    for nonce in 3..30 {
        group.submit(0, update(group.chain_id, 0, nonce));
        group.settle();
    }
    // From now on the leader alone applies, so headers go on to name what the other has applied.
    let leader = group.leader().unwrap();
    group.node_mut(1 - leader).hold_apply = true;
    for nonce in 30..60 {
        group.submit(leader, update(group.chain_id, 0, nonce));
        group.settle();
    }
    group.start(2).unwrap();
    group.run(Span::millis(5_000));
    assert_eq!(group.installs, [(2, true)]);
}

#[test]
fn a_state_that_can_be_offered_does_not_go_for_one_that_headers_have_passed_over() {
    for leap in 6..18 {
        let mut group = Group::without_2(Limits { keep_blocks: 1, ..often() });
        let leader = group.leader().unwrap();
        let mut nonces = 3..;
        let mut submit = |group: &mut Group, count| {
            for nonce in nonces.by_ref().take(count) {
                group.submit(leader, update(group.chain_id, 0, nonce));
                group.settle();
            }
        };
        submit(&mut group, 20);
        // The other one applies in leaps, so of the heights between two leaps headers name only the highest.
        for _ in 0..5 {
            group.node_mut(1 - leader).hold_apply = true;
            submit(&mut group, leap);
            group.node_mut(1 - leader).hold_apply = false;
            group.settle();
        }
        group.node_mut(1 - leader).hold_apply = true;
        submit(&mut group, 1);
        group.start(2).unwrap();
        group.run(Span::millis(5_000));
        assert_eq!(group.installs, [(2, true)], "{leap} heights at once");
    }
}

#[test]
fn a_power_cut_while_a_snapshot_is_installed_is_no_damage() {
    let all = {
        let mut group = behind();
        let before = group.node(2).disk.lock().unwrap().operations();
        group.start(2).unwrap();
        catch_up(&mut group);
        group.node(2).disk.lock().unwrap().operations() - before
    };
    for operation in 0..all.min(80) {
        for batches in [0, usize::MAX] {
            let mut group = behind();
            let at = group.node(2).disk.lock().unwrap().operations() + operation;
            group.node(2).disk.lock().unwrap().set_hook(Some(Arc::new(Mutex::new(
                move |step: &Step<'_>| {
                    if step.index >= at { Verdict::Crash } else { Verdict::Proceed }
                },
            ))));
            let _ = group.start(2);
            group.run(Span::millis(1_000));
            group.kill(2);
            let node = group.node_mut(2);
            node.disk.lock().unwrap().set_hook(None);
            node.disk.lock().unwrap().crash(|_| false);
            let at_risk = node.store.at_risk();
            node.store.power_cut(batches.min(at_risk));
            group.start(2).unwrap();
            assert!(group.replica(2).found.repaired.is_none(), "after {operation} operations");
            catch_up(&mut group);
        }
    }
}
