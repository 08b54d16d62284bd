//! What a client does with every kind of answer to a transaction, and with none.

mod common;

use std::time::Duration;

use common::{Node, Step, nobody, outcome, problem};
use quorate_chain::crypto::SecretKey;
use quorate_client::answer::TxStatus;
use quorate_client::problem::Code;
use quorate_client::{Account, Client, Error, Level, Wait};

const NOTHING: &str = r#""nothing_happened""#;
const UNKNOWN: &str = r#""unknown""#;

fn account(nodes: &[&str]) -> Account {
    let wait = Wait { level: Level::Applied, timeout: Duration::from_secs(20) };
    Client::new(&nodes.join(","))
        .expect("addresses")
        .account(SecretKey::from_seed(&[1; 32]))
        .waiting(wait)
}

fn impatient(account: Account) -> Account {
    account.waiting(Wait { level: Level::Applied, timeout: Duration::from_millis(300) })
}

fn applied() -> Step {
    Step::Say(201, outcome("applied", 7))
}

#[test]
fn the_next_node_is_asked_when_one_is_not_there() {
    let node = Node::start(0, [applied()]);
    let outcome = account(&[&nobody(), &node.url()]).put("k", "v").unwrap();
    assert_eq!(outcome.status, TxStatus::Applied);
    assert_eq!(outcome.height.unwrap().get(), 7);
    assert!(node.asked()[0].target.starts_with("/v1/txs?wait=applied&timeout="));
}

#[test]
fn after_no_answer_the_same_bytes_go_to_the_next_node() {
    let first = Node::start(0, [Step::HangUp]);
    let second = Node::start(0, [applied()]);
    account(&[&first.url(), &second.url()]).put("k", "v").unwrap();
    assert_eq!(first.asked()[0].body, second.asked()[0].body);
}

#[test]
fn a_node_that_hangs_does_not_hold_up_the_others() {
    let first = Node::start(0, [Step::BeSilent]);
    let second = Node::start(0, [applied()]);
    account(&[&first.url(), &second.url()]).put("k", "v").unwrap();
    assert_eq!(first.asked()[0].body, second.asked()[0].body);
}

#[test]
fn who_is_not_ready_is_asked_last() {
    let no = Step::Say(503, problem(503, "no_quorum", NOTHING, "same_bytes"));
    let first = Node::unready([no.clone(), no]);
    let second = Node::start(0, [applied(), Step::HangUp, applied()]);
    let account = account(&[&first.url(), &second.url()]);
    account.put("k", "v").unwrap();
    assert_eq!(first.asked().len(), 0);
    // When the second one fails, it is still asked; and then the second one again.
    account.put("k", "v").unwrap();
    assert_eq!((first.asked().len(), second.asked().len()), (1, 3));
}

#[test]
fn without_a_quorum_the_same_bytes_are_sent_again() {
    let wait = Step::Say(503, problem(503, "no_quorum", NOTHING, "same_bytes"));
    let node = Node::start(0, [wait.clone(), wait, applied()]);
    account(&[&node.url()]).put("k", "v").unwrap();
    let bodies: Vec<_> = node.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

#[test]
fn a_refusal_is_final() {
    let node = Node::start(0, [Step::Say(422, problem(422, "not_permitted", NOTHING, "never"))]);
    let error = account(&[&node.url()]).put("k", "v").unwrap_err();
    assert_eq!(error.problem().unwrap().code, Code::NotPermitted);
    assert_eq!(node.asked().len(), 1);
}

#[test]
fn a_failed_transaction_is_an_error_with_its_outcome() {
    let failed = outcome("failed", 9)
        .replace(r#""error":null"#, r#""error":{"code":"key_exists","detail":"k has a value"}"#);
    let fresh = Step::Say(409, problem(409, "key_exists", &failed, "never"));
    let known = Step::Say(200, failed.replace(r#""duplicate":false"#, r#""duplicate":true"#));
    for step in [fresh, known] {
        let node = Node::start(0, [step]);
        let Err(Error::Refused { problem, .. }) = account(&[&node.url()]).put("k", "v") else {
            panic!("it should be refused");
        };
        assert_eq!((problem.code, problem.status), (Code::KeyExists, 409));
        assert!(!problem.nothing_happened());
    }
}

#[test]
fn a_nonce_that_is_taken_is_replaced_by_another() {
    let taken = Step::Say(422, problem(422, "nonce_used", NOTHING, "never"));
    let node = Node::start(5, [taken, applied()]);
    account(&[&node.url()]).put("k", "v").unwrap();
    let nonces: Vec<_> =
        node.asked().iter().map(|asked| asked.transaction().content().nonce.get()).collect();
    assert_eq!(nonces[0], 5);
    assert!(nonces[1] > 5, "{nonces:?}");
}

#[test]
fn a_nonce_is_not_replaced_while_the_bytes_may_be_under_way() {
    let taken = Step::Say(422, problem(422, "nonce_used", NOTHING, "never"));
    let node = Node::start(5, [Step::HangUp, taken, applied()]);
    let error = account(&[&node.url()]).put("k", "v").unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
    assert_eq!(node.asked().len(), 2);
}

#[test]
fn what_a_node_says_that_may_be_behind_does_not_settle_what_another_was_sent() {
    for code in ["nonce_used", "nonce_too_far", "not_permitted", "expired"] {
        let no = Step::Say(422, problem(422, code, NOTHING, "after_fix"));
        let (first, second) = (Node::start(0, [Step::HangUp]), Node::start(0, [no]));
        let error = account(&[&first.url(), &second.url()]).put("k", "v").unwrap_err();
        assert!(matches!(error, Error::Unknown { .. }), "{code}: {error:?}");
    }
    // What is wrong with the bytes is.
    let no = Step::Say(422, problem(422, "bad_signature", NOTHING, "never"));
    let (first, second) = (Node::start(0, [Step::HangUp]), Node::start(0, [no]));
    let error = account(&[&first.url(), &second.url()]).put("k", "v").unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
}

#[test]
fn transactions_of_one_account_have_their_own_nonces() {
    let node = Node::start(5, [applied(), applied(), applied()]);
    let account = account(&[&node.url()]);
    for _ in 0..3 {
        account.clone().update("k", "v").unwrap();
    }
    let nonces = node.asked();
    let nonces = nonces.iter().map(|asked| asked.transaction().content().nonce.get());
    assert_eq!(nonces.collect::<Vec<_>>(), [5, 6, 7]);
}

#[test]
fn nobody_there_means_that_nothing_has_happened() {
    let error = account(&[&nobody(), &nobody()]).put("k", "v").unwrap_err();
    assert!(matches!(error, Error::NoNode { failures } if failures.len() == 2));
}

#[test]
fn silence_after_sending_is_said_to_be_unknown() {
    for step in [
        Step::HangUp,
        Step::BeSilent,
        Step::Say(504, problem(504, "outcome_unknown", UNKNOWN, "same_bytes")),
    ] {
        let node = Node::start(0, vec![step; 50]);
        let error = impatient(account(&[&node.url()])).put("k", "v").unwrap_err();
        assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
    }
}

#[test]
fn no_quorum_until_the_end_means_that_nothing_has_happened() {
    let wait = Step::Say(503, problem(503, "no_quorum", NOTHING, "same_bytes"));
    let node = Node::start(0, vec![wait; 50]);
    let error = impatient(account(&[&node.url()])).put("k", "v").unwrap_err();
    assert!(matches!(&error, Error::Refused { problem, .. } if problem.nothing_happened()));
}

#[test]
fn what_a_node_has_said_is_told_when_the_time_is_over_in_the_middle_of_the_next_try() {
    let no = Step::Say(503, problem(503, "no_quorum", NOTHING, "same_bytes"));
    let node = Node::start(0, [no, Step::BeSilent]);
    let client = Client::new(&node.url()).unwrap().with_timeout(Duration::from_millis(500));
    let error = client.get("k").unwrap_err();
    assert_eq!(error.problem().map(|problem| problem.code), Some(Code::NoQuorum), "{error:?}");
    assert_eq!(node.asked().len(), 2);
}

#[test]
fn an_answer_that_is_none_is_said_so() {
    let node = Node::start(0, [Step::Say(502, "<html>".to_owned())]);
    let error = account(&[&node.url()]).put("k", "v").unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
    assert_eq!(node.asked().len(), 1);
    let client = Client::new(&Node::start(0, [Step::Say(200, "<html>".to_owned())]).url()).unwrap();
    assert!(matches!(client.height(), Err(Error::Nonsense { .. })));
}

#[test]
fn an_address_is_checked_before_anything_is_sent() {
    for (nodes, good) in [
        ("http://127.0.0.1:7600", true),
        ("http://a:1/, http://b:2", true),
        ("127.0.0.1:7600", false),
        ("http://", false),
        ("", false),
    ] {
        assert_eq!(Client::new(nodes).is_ok(), good, "{nodes}");
    }
}

#[test]
fn every_code_reads_back() {
    for code in Code::ALL {
        assert_eq!(Code::from_name(code.name()), Some(*code));
    }
    assert_eq!(Code::ALL.len(), 25);
}

#[test]
fn a_long_wait_is_asked_of_a_node_in_turns_that_it_allows() {
    let node = Node::start(0, [applied()]);
    let wait = Wait { level: Level::Applied, timeout: Duration::from_secs(600) };
    account(&[&node.url()]).waiting(wait).put("k", "v").unwrap();
    let target = node.asked()[0].target.clone();
    let timeout = target.split("timeout=").nth(1).unwrap().trim_end_matches("ms");
    assert_eq!(timeout, "60000", "{target}");
}
