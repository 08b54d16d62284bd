//! What a block does to the state: outcomes, nonces, expiry, grants, and what is committed to.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use bytes::Bytes;
use common::bench::{
    Bench, CHAIN, admins, by, by_admin, bytes, cas, failed, grant, put, remove, revoke, until,
    update,
};
use common::{Replica, account, admin, approved, client, height};
use quorate_chain::commitment::EntryProofError;
use quorate_chain::crypto::SecretKey;
use quorate_chain::execute::{Rules, Writers, execute};
use quorate_chain::genesis::GenesisGrant;
use quorate_chain::ids::{AccountKey, Hash, Nonce, StateRoot, TxId};
use quorate_chain::limits;
use quorate_chain::outcome::{Failure, Status, Void};
use quorate_chain::state::{Grants, NonceError, Nonces, StateEntry, StateKey, StateRead, Value};

#[test]
fn each_operation_succeeds_or_fails_as_its_name_says() {
    let mut bench = Bench::new(Writers::Anyone);
    let script = [
        (put("a", "1"), Status::Applied, Some("1")),
        (put("a", "2"), failed(0, Failure::KeyExists), Some("1")),
        (update("a", "2"), Status::Applied, Some("2")),
        (cas("a", Some("1"), "3"), failed(0, Failure::Mismatch), Some("2")),
        (cas("a", None, "3"), failed(0, Failure::Mismatch), Some("2")),
        (cas("a", Some("2"), "3"), Status::Applied, Some("3")),
        (remove("a"), Status::Applied, None),
        (remove("a"), failed(0, Failure::KeyNotFound), None),
        (cas("a", Some("3"), "4"), failed(0, Failure::Mismatch), None),
        (cas("a", None, ""), Status::Applied, Some("")),
        (cas("a", None, "4"), failed(0, Failure::Mismatch), Some("")),
        (put("a", "4"), failed(0, Failure::KeyExists), Some("")),
        (cas("a", Some(""), "4"), Status::Applied, Some("4")),
        (grant(1, "x"), failed(0, Failure::NotPermitted), Some("4")),
        (revoke(1, "x"), failed(0, Failure::NotPermitted), Some("4")),
    ];
    for (nonce, (operation, status, value)) in (0..).zip(script) {
        assert_eq!(bench.one(&by(0, nonce, vec![operation.clone()])), status, "{operation:?}");
        assert_eq!(bench.text("a").as_deref(), value, "after {operation:?}");
    }
    assert_eq!(bench.one(&by_admin(0, 0, vec![revoke(1, "x")])), failed(0, Failure::KeyNotFound));
    assert_eq!(bench.one(&by_admin(0, 1, vec![grant(1, "x")])), Status::Applied);
    assert_eq!(bench.one(&by_admin(0, 2, vec![grant(1, "x")])), Status::Applied);
    assert_eq!(bench.one(&by_admin(0, 3, vec![revoke(1, "x")])), Status::Applied);
}

#[test]
fn a_failed_transaction_is_undone_but_for_its_nonce() {
    let mut bench = Bench::new(Writers::Anyone);
    bench.block(&[by(0, 0, vec![update("old", "1")])]);
    let before = bench.replica.state.clone();

    let operations =
        vec![update("old", "2"), put("new", "1"), remove("old"), put("x", ""), remove("missing")];
    let done = bench.execute(&[by(0, 1, operations)]);
    assert_eq!(done.outcomes[0].status, failed(4, Failure::KeyNotFound));
    assert_eq!(done.writes, []);
    assert_eq!(done.changes.keys().collect::<Vec<_>>(), [&StateKey::Nonces(account(0))]);
    assert_eq!(bench.next_nonce(&client(0)), 2);
    let values = |replica: &Replica| {
        let all = replica.state.entries().clone().into_iter();
        all.filter(|(key, _)| matches!(key, StateKey::Value(_))).collect::<Vec<_>>()
    };
    let Replica { leaves, commitment, .. } = bench.replica.clone();
    assert_eq!(values(&bench.replica), values(&Replica { state: before, leaves, commitment }));

    // What failed once is used: the same bytes do nothing any more.
    assert_eq!(bench.one(&by(0, 1, vec![put("x", "")])), Status::Void(Void::NonceUsed));
}

#[test]
fn a_failed_grant_is_undone_with_the_rest() {
    let mut bench = Bench::new(Writers::Granted);
    let operations = vec![grant(1, "a"), revoke(2, "a")];
    assert_eq!(bench.one(&by_admin(0, 0, operations)), failed(1, Failure::KeyNotFound));
    assert_eq!(bench.one(&by(1, 0, vec![put("a", "")])), failed(0, Failure::NotPermitted));
}

#[test]
fn operations_see_what_was_done_before_them_in_transaction_and_block() {
    let mut bench = Bench::new(Writers::Anyone);
    let statuses = bench.block(&[
        by(0, 0, vec![put("a", "1"), cas("a", Some("1"), "2"), remove("a"), put("a", "3")]),
        by(1, 0, vec![put("a", "4")]),
        by(1, 1, vec![cas("a", Some("3"), "5")]),
        by(0, 1, vec![remove("a")]),
        by(0, 2, vec![remove("a")]),
        by(1, 2, vec![put("a", "6")]),
    ]);
    let expected = [
        Status::Applied,
        failed(0, Failure::KeyExists),
        Status::Applied,
        Status::Applied,
        failed(0, Failure::KeyNotFound),
        Status::Applied,
    ];
    assert_eq!(statuses, expected);
    assert_eq!(bench.text("a").as_deref(), Some("6"));
}

#[test]
fn every_value_written_is_listed_with_its_place() {
    let mut bench = Bench::new(Writers::Anyone);
    let done = bench.execute(&[
        by(0, 0, vec![remove("a")]),
        by(0, 1, vec![put("a", "1"), update("a", "2"), remove("a")]),
        by(0, 1, vec![put("b", "void")]),
        by_admin(0, 0, vec![grant(0, "x"), put("c", "3")]),
    ]);
    let listed: Vec<_> = done
        .writes
        .iter()
        .map(|write| (write.index, write.operation, write.key.clone(), write.value.clone()))
        .collect();
    let expected = [
        (1, 0, bytes("a"), Some(bytes("1"))),
        (1, 1, bytes("a"), Some(bytes("2"))),
        (1, 2, bytes("a"), None),
        (3, 1, bytes("c"), Some(bytes("3"))),
    ];
    assert_eq!(listed, expected);
}

#[test]
fn a_value_names_the_height_and_the_transaction_that_wrote_it() {
    let mut bench = Bench::new(Writers::Anyone);
    bench.block(&[]);
    let first = by(0, 0, vec![put("a", "1"), put("b", "1")]);
    let second = by(1, 0, vec![update("a", "2")]);
    let third = by(1, 1, vec![cas("a", Some("9"), "2")]);
    bench.block(&[first.clone(), second.clone(), third]);
    let value = |at, tx: TxId, text| Some(Value { height: height(at), tx, bytes: bytes(text) });
    assert_eq!(bench.value("a"), value(2, second.id(), "2"));
    assert_eq!(bench.value("b"), value(2, first.id(), "1"));
    // The same content by another transaction is another entry.
    let again = by(1, 2, vec![cas("a", Some("2"), "2")]);
    bench.block(std::slice::from_ref(&again));
    assert_eq!(bench.value("a"), value(3, again.id(), "2"));
}

#[test]
fn a_nonce_is_used_once_whatever_the_order() {
    let mut bench = Bench::new(Writers::Anyone);
    let at = |nonce| by(0, nonce, vec![update("n", &nonce.to_string())]);
    let used = Status::Void(Void::NonceUsed);
    let far = Status::Void(Void::NonceTooFar);
    let window = limits::NONCE_WINDOW;

    // The same bytes, twice in one block and again in the next.
    assert_eq!(bench.block(&[at(0), at(0)]), [Status::Applied, used]);
    assert_eq!(bench.one(&at(0)), used);
    // Out of order, each once.
    let statuses = bench.block(&[at(3), at(1), at(3), at(2), at(1)]);
    assert_eq!(statuses, [Status::Applied, Status::Applied, used, Status::Applied, used]);
    // As far ahead as it may be, and one more.
    assert_eq!(bench.one(&at(4 + window)), far);
    assert_eq!(bench.one(&at(3 + window)), Status::Applied);
    assert_eq!(bench.text("n").unwrap(), (3 + window).to_string());
    // Those that were skipped may come late, down to the base of the window.
    assert_eq!(bench.next_nonce(&client(0)), 4 + window);
    assert_eq!(bench.block(&[at(4), at(3), at(5)]), [Status::Applied, used, Status::Applied]);
    assert_eq!(bench.one(&at(4 + window)), Status::Applied);
    assert_eq!(bench.block(&[at(5), at(6), at(7)]), [used, Status::Applied, Status::Applied]);
    assert_eq!(bench.one(&at(10 + window)), Status::Applied);
    let statuses = bench.block(&[at(8), at(9), at(10), at(11)]);
    assert_eq!(statuses, [used, used, used, Status::Applied]);
    // Another sender has nonces of its own.
    assert_eq!(bench.one(&by(1, 0, vec![update("n", "")])), Status::Applied);
    assert_eq!(bench.one(&by(1, u64::MAX, vec![update("n", "")])), far);
}

#[test]
fn a_nonce_used_earlier_in_the_block_is_used() {
    let mut bench = Bench::new(Writers::Anyone);
    let statuses = bench.block(&[
        by(0, 0, vec![remove("missing")]),
        by(0, 0, vec![put("a", "1")]),
        by(0, 1_025, vec![put("a", "2")]),
        by(0, 1_024, vec![put("a", "3")]),
        by(0, 1_025, vec![update("a", "4")]),
    ]);
    let expected = [
        failed(0, Failure::KeyNotFound),
        Status::Void(Void::NonceUsed),
        Status::Void(Void::NonceTooFar),
        Status::Applied,
        Status::Applied,
    ];
    assert_eq!(statuses, expected);
    let Ok(nonces) = bench.replica.state.nonces(account(0));
    assert_eq!(nonces.check(Nonce::new(1)), Err(NonceError::Used));
    assert_eq!(nonces.check(Nonce::new(2)), Ok(()));
}

#[test]
fn a_void_transaction_changes_nothing() {
    let mut bench = Bench::new(Writers::Anyone);
    bench.block(&[by(0, 0, vec![put("a", "1")])]);
    let before = bench.replica.state.clone();
    let done = bench.execute(&[
        by(0, 0, vec![update("a", "2")]),
        by(0, 5_000, vec![update("a", "2")]),
        until(1, 1, vec![update("a", "2")]),
    ]);
    let voids = [Void::NonceUsed, Void::NonceTooFar, Void::Expired].map(Status::Void);
    assert_eq!(done.outcomes.iter().map(|o| o.status).collect::<Vec<_>>(), voids);
    assert!(done.changes.is_empty() && done.writes.is_empty());
    assert_eq!(bench.replica.state, before);
}

#[test]
fn a_transaction_expires_above_its_last_height() {
    for (last, expected) in [
        (4, Status::Void(Void::Expired)),
        (5, Status::Applied),
        (6, Status::Applied),
        (0, Status::Void(Void::Expired)),
        (u64::MAX, Status::Applied),
    ] {
        let mut bench = Bench::new(Writers::Anyone);
        bench.height = 4;
        assert_eq!(bench.one(&until(last, 0, vec![put("a", "")])), expected, "until {last} at 5");
        // An expired one leaves its nonce to another.
        let other = bench.one(&by(0, 0, vec![put("b", "")]));
        assert_eq!(other == Status::Applied, expected != Status::Applied);
    }
    // Expiry is said first, also of a nonce that is used.
    let mut bench = Bench::new(Writers::Anyone);
    bench.block(&[by(0, 0, vec![put("a", "")])]);
    assert_eq!(bench.one(&until(1, 0, vec![put("a", "")])), Status::Void(Void::Expired));
}

#[test]
fn a_grant_covers_what_begins_with_its_prefix() {
    let mut bench = Bench::new(Writers::Granted);
    let not = failed(0, Failure::NotPermitted);
    // Given and used in one block; not before it was given.
    let statuses = bench.block(&[
        by(0, 0, vec![put("car/1", "")]),
        by_admin(0, 0, vec![grant(0, "car/"), grant(1, "")]),
        by(0, 1, vec![put("car/1", "")]),
        by(0, 2, vec![put("car", "")]),
        by(0, 3, vec![put("car0", "")]),
        by(0, 4, vec![put("cas/", "")]),
        by(0, 5, vec![put("car/", "")]),
        by(1, 0, vec![put("anything", ""), remove("car/1")]),
        by_admin(0, 1, vec![put("car/2", "")]),
    ]);
    let yes = Status::Applied;
    assert_eq!(statuses, [not, yes, yes, not, not, not, yes, yes, not]);
    // Every operation that writes is asked for it, and one stranger key undoes all.
    for (nonce, operation) in
        (6..).zip([put("x", ""), update("x", ""), remove("anything"), cas("x", None, "")])
    {
        let both = vec![update("car/3", ""), operation];
        assert_eq!(bench.one(&by(0, nonce, both)), failed(1, Failure::NotPermitted));
    }
    assert_eq!(bench.value("car/3"), None);
    // Without permission nothing is learned of the key.
    assert_eq!(bench.one(&by(2, 0, vec![put("anything", "")])), not);
    assert_eq!(bench.one(&by(2, 1, vec![remove("nothing")])), not);
}

#[test]
fn a_revoked_grant_counts_no_more() {
    let mut bench = Bench::new(Writers::Granted);
    let statuses = bench.block(&[
        by_admin(0, 0, vec![grant(0, "a"), grant(0, "ab")]),
        by_admin(1, 0, vec![revoke(0, "a")]),
        by(0, 0, vec![put("ax", "")]),
        by(0, 1, vec![put("abx", "")]),
        by_admin(1, 1, vec![revoke(0, "abx")]),
        by_admin(1, 2, vec![revoke(0, "ab"), grant(0, "c"), revoke(0, "c")]),
        by(0, 2, vec![put("aby", "")]),
        by_admin(1, 3, vec![revoke(0, "ab")]),
    ]);
    let yes = Status::Applied;
    let not = failed(0, Failure::NotPermitted);
    let missing = failed(0, Failure::KeyNotFound);
    assert_eq!(statuses, [yes, yes, not, yes, missing, yes, not, missing]);
    // The last grant takes the entry with it.
    let key = StateKey::Grants(account(0));
    assert!(!bench.replica.state.entries().contains_key(&key));
    bench.replica.prove(&key).check(bench.replica.commitment.root(), &key, None).unwrap();
}

#[test]
fn grants_take_as_many_admins_as_the_threshold_says() {
    let mut bench = Bench::new(Writers::Granted);
    bench.admins = admins(2, 3);
    let not = failed(0, Failure::NotPermitted);
    let ask = |sender: &SecretKey, nonce, by: &[SecretKey]| {
        approved(CHAIN, sender, nonce, vec![grant(0, "a")], by)
    };
    // The sender counts as one if it is an admin, and nobody else does.
    assert_eq!(bench.one(&ask(&admin(0), 0, &[])), not);
    assert_eq!(bench.one(&ask(&admin(0), 1, &[client(5)])), not);
    assert_eq!(bench.one(&ask(&admin(0), 2, &[admin(3)])), not);
    assert_eq!(bench.one(&ask(&admin(0), 3, &[admin(1)])), Status::Applied);
    assert_eq!(bench.one(&ask(&client(1), 0, &[admin(1)])), not);
    assert_eq!(bench.one(&ask(&client(1), 1, &[admin(1), admin(2)])), Status::Applied);
    assert_eq!(bench.one(&ask(&client(1), 2, &[admin(0), admin(1), admin(2)])), Status::Applied);
    // After the admins have changed the new ones decide, by the new threshold.
    bench.admins = admins(1, 1);
    assert_eq!(bench.one(&ask(&admin(0), 4, &[])), Status::Applied);
    assert_eq!(bench.one(&ask(&admin(1), 0, &[])), not);
    assert_eq!(bench.one(&ask(&admin(1), 1, &[admin(2)])), not);
}

#[test]
fn an_admin_counts_once() {
    let key = admin(0).account_key();
    assert!(!admins(2, 3).approve([key, key, key]));
    assert!(admins(2, 3).approve([key, key, admin(1).account_key()]));
    // The sender is no approver, and nobody is one twice; whoever is one must have signed.
    let plain = approved(CHAIN, &admin(0), 0, vec![grant(0, "a")], &[]).content().clone();
    let with = |approvers: &[u8], approvals: &[u8]| {
        let mut content = plain.clone();
        content.approvers = approvers.iter().map(|id| admin(*id).account_key()).collect();
        content.approvers.sort();
        let approvals: Vec<_> = approvals.iter().map(|id| content.approve(&admin(*id))).collect();
        content.assemble(admin(0).sign(&content.message()), &approvals)
    };
    assert!(with(&[1], &[1]).is_ok());
    assert!(with(&[0], &[0]).is_err());
    assert!(with(&[1, 1], &[1, 1]).is_err());
    assert!(with(&[1], &[]).is_err());
    assert!(with(&[], &[1]).is_err());
    assert!(with(&[1], &[2]).is_err());
}

#[test]
fn an_account_has_at_most_as_many_grants_as_the_format_allows() {
    let mut bench = Bench::new(Writers::Granted);
    let many: Vec<_> = (0..limits::GRANTS).map(|n| grant(0, &format!("p{n}"))).collect();
    assert_eq!(bench.one(&by_admin(0, 0, many)), Status::Applied);
    assert_eq!(
        bench.one(&by_admin(0, 1, vec![grant(0, "more")])),
        failed(0, Failure::TooManyGrants)
    );
    // One that is there already takes no room; room can be made in one transaction.
    assert_eq!(bench.one(&by_admin(0, 2, vec![grant(0, "p7")])), Status::Applied);
    let swap = vec![revoke(0, "p7"), grant(0, "more")];
    assert_eq!(bench.one(&by_admin(0, 3, swap)), Status::Applied);
    let Ok(grants) = bench.replica.state.grants(account(0));
    assert_eq!(grants.0.len(), limits::GRANTS);
}

#[test]
fn grants_of_the_genesis_hold_from_the_first_block() {
    let mut genesis = common::genesis(1);
    genesis.grants = vec![GenesisGrant { account: account(0), prefix: "a/".to_owned() }];
    let mut bench = Bench::new(Writers::Granted);
    bench.replica = Replica::new(&genesis);
    assert_eq!(bench.one(&by(0, 0, vec![put("a/1", "")])), Status::Applied);
    assert_eq!(bench.one(&by(0, 1, vec![put("b/1", "")])), failed(0, Failure::NotPermitted));
    assert_eq!(bench.one(&by_admin(0, 0, vec![revoke(0, "a/")])), Status::Applied);
    assert_eq!(bench.one(&by(0, 2, vec![put("a/2", "")])), failed(0, Failure::NotPermitted));
}

#[test]
fn execution_itself_changes_nothing() {
    let bench = Bench::new(Writers::Anyone);
    let before = bench.replica.state.clone();
    let rules = Rules { writers: Writers::Anyone, admins: &bench.admins };
    let block = [by(0, 0, vec![put("a", "1")])];
    let Ok(first) = execute(&bench.replica.state, &rules, height(1), &block);
    let Ok(second) = execute(&bench.replica.state, &rules, height(1), &block);
    assert_eq!(first, second);
    assert_eq!(bench.replica.state, before);
}

#[test]
fn the_state_root_covers_entries_and_outcomes() {
    let mut one = Bench::new(Writers::Anyone);
    let mut two = Bench::new(Writers::Anyone);
    let mut roots = BTreeSet::from([one.replica.commitment.root()]);
    for nonce in 0..20 {
        let block = [by(0, nonce, vec![put(&format!("k{}", nonce % 15), "")])];
        one.block(&block);
        two.block(&block);
        assert_eq!(one.replica.commitment.root(), two.replica.commitment.root());
        assert!(roots.insert(one.replica.commitment.root()), "a root came back");
    }
    // An empty block has outcomes too: none.
    one.block(&[]);
    assert!(roots.insert(one.replica.commitment.root()));
    two.block(&[]);

    // The same entries with another outcome are another state.
    let rules = Rules { writers: Writers::Anyone, admins: &one.admins };
    let block = [by(0, 20, vec![remove("missing")])];
    let Ok(done) = execute(&one.replica.state, &rules, height(22), &block);
    let mut lie = done.clone();
    lie.outcomes[0].status = failed(0, Failure::Mismatch);
    one.replica.commitment.advance(&done, &one.replica.leaves).unwrap();
    two.replica.commitment.advance(&lie, &two.replica.leaves).unwrap();
    let entries = |bench: &Bench| bench.replica.commitment.entries().root();
    assert_eq!(entries(&one), entries(&two));
    assert_ne!(one.replica.commitment.root(), two.replica.commitment.root());
}

#[test]
fn entries_that_come_and_go_within_a_block_leave_the_tree_as_it_was() {
    let mut bench = Bench::new(Writers::Granted);
    bench.block(&[by_admin(0, 0, vec![grant(0, "")]), by(0, 0, vec![put("stays", "")])]);
    let count = bench.replica.commitment.entries().count();
    bench.block(&[
        by(0, 1, vec![put("a", ""), remove("a")]),
        by_admin(0, 1, vec![grant(5, "x"), revoke(5, "x")]),
        by(0, 2, vec![remove("stays"), put("stays", "")]),
    ]);
    assert_eq!(bench.replica.commitment.entries().count(), count);
}

#[test]
fn entries_and_their_absence_are_proven_against_the_root() {
    let mut bench = Bench::new(Writers::Anyone);
    for nonce in 0..40 {
        bench.block(&[by(0, nonce, vec![put(&format!("k{nonce}"), "v")])]);
    }
    bench.block(&[by_admin(0, 0, vec![grant(3, "p")]), by(0, 40, vec![remove("k3")])]);
    let root = bench.replica.commitment.root();
    let keys = (0..40).map(|n| StateKey::Value(bytes(&format!("k{n}"))));
    let accounts = [account(0), account(3), AccountKey::new([9; 32])];
    let of_accounts = accounts.into_iter();
    let keys = keys
        .chain(of_accounts.clone().map(StateKey::Nonces))
        .chain(of_accounts.map(StateKey::Grants));
    let (mut present, mut absent) = (0, 0);
    for key in keys {
        let entry = bench.replica.state.entries().get(&key);
        let proof = bench.replica.prove(&key);
        proof.check(root, &key, entry).unwrap();
        let other = StateEntry::Grants(Grants([bytes("lie")].into()));
        let found = proof.check(root, &key, Some(&other));
        assert_eq!(found, Err(EntryProofError::OtherEntry { present: entry.is_some() }));
        if entry.is_some() {
            present += 1;
            let found = proof.check(root, &key, None);
            assert_eq!(found, Err(EntryProofError::OtherEntry { present: true }));
        } else {
            absent += 1;
        }
        let elsewhere = proof.check(StateRoot::new([1; 32]), &key, entry);
        assert!(matches!(elsewhere, Err(EntryProofError::Root { .. })));
        let mut tampered = proof.clone();
        tampered.outcomes = Hash::ZERO;
        assert!(matches!(tampered.check(root, &key, entry), Err(EntryProofError::Root { .. })));
        let mut tampered = proof;
        tampered.place.count += 1;
        assert!(matches!(tampered.check(root, &key, entry), Err(EntryProofError::Place(_))));
    }
    assert_eq!((present, absent), (39 + 1 + 1, 1 + 2 + 2));
}

/// A state without entries that counts how often grants are read.
struct Counting(std::cell::Cell<u32>);

impl StateRead for Counting {
    type Error = std::convert::Infallible;

    fn value(&self, _: &Bytes) -> Result<Option<Value>, Self::Error> {
        Ok(None)
    }

    fn nonces(&self, _: AccountKey) -> Result<Nonces, Self::Error> {
        Ok(Nonces::default())
    }

    fn grants(&self, _: AccountKey) -> Result<Grants, Self::Error> {
        self.0.set(self.0.get() + 1);
        Ok(Grants([Bytes::new()].into()))
    }
}

#[test]
fn the_grants_of_an_account_are_read_once_in_a_block() {
    let state = Counting(std::cell::Cell::new(0));
    let keys = admins(1, 1);
    let rules = Rules { writers: Writers::Granted, admins: &keys };
    let writes = |from: usize| (from..from + 100).map(|id| update(&id.to_string(), "v")).collect();
    let block = [by(0, 0, writes(0)), by(0, 1, writes(50)), by(1, 0, writes(0))];
    let done = execute(&state, &rules, common::height(1), &block).unwrap();
    assert!(done.outcomes.iter().all(|outcome| outcome.status == Status::Applied));
    assert_eq!(state.0.get(), 2);
}
