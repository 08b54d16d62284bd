//! The command line against a group: every command prints what the endpoint behind it says.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;

use quorate_chain::crypto::SecretKey;
use quorate_client::KeyFile;
use serde_json::{Value, json};

use crate::group::{eventually, group};
use crate::http::json as endpoint;

/// A directory for what commands read and write.
static FILES: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("outside").join("files");
    // What a run before has left.
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
});

/// The key file of someone.
fn key(seed: u8) -> PathBuf {
    let path = FILES.join(format!("{seed}.key"));
    if !path.exists() {
        KeyFile::write(&path, SecretKey::from_seed(&[seed; 32])).unwrap();
    }
    path
}

/// Runs a command for someone, against all nodes.
fn run(seed: u8, arguments: &[&str]) -> Output {
    let nodes = (0..3).map(|at| group().url(at)).collect::<Vec<_>>().join(",");
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(arguments).env_clear().env("QUORATE_NODE", nodes).env("QUORATE_KEY", key(seed));
    command.args(if arguments[0] == "config" { &[][..] } else { &["--timeout", "60s"] });
    command.output().unwrap()
}

/// What a command that must succeed prints.
fn text(seed: u8, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(seed, arguments);
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The one line that it prints in JSON.
fn line(seed: u8, arguments: &[&str]) -> Value {
    let text = text(seed, &[arguments, &["--output", "json"]].concat());
    assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true), "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The problem of a command that must fail.
fn problem(seed: u8, code: i32, arguments: &[&str]) -> Value {
    let output = run(seed, &[arguments, &["--output", "json"]].concat());
    assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{output:?}");
    serde_json::from_slice(&output.stderr).unwrap()
}

fn file(name: &str, content: &str) -> String {
    let path = FILES.join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_file_of_operations_is_done_whole_or_not_at_all() {
    let ops = file(
        "ops.json",
        r#"{"ops":[{"op":"put","key":"commands/a","value":"YQ=="},{"op":"put","key":"commands/b","value":"Yg=="}]}"#,
    );
    let outcome = line(80, &["apply", &ops]);
    assert_eq!(
        (&outcome["status"], outcome["results"].as_array().unwrap().len()),
        (&"applied".into(), 2)
    );
    assert_eq!(text(80, &["get", "commands/b"]), "b");
    let half = file(
        "half.json",
        r#"{"ops":[{"op":"update","key":"commands/a","value":"eA=="},{"op":"put","key":"commands/b","value":"eA=="}]}"#,
    );
    let failed = problem(80, 7, &["apply", &half]);
    assert_eq!((&failed["code"], &failed["status"]), (&"key_exists".into(), &409.into()));
    assert_eq!(text(80, &["get", "commands/a"]), "a");
    let nonsense = file("nonsense.json", r#"{"ops":[{"op":"drop","key":"a"}]}"#);
    assert_eq!(run(80, &["apply", &nonsense]).status.code(), Some(2));
}

#[test]
fn lists_and_histories_are_those_of_the_endpoints() {
    for (key, value) in [("x", "1"), ("y", "2"), ("z", "3")] {
        text(81, &["put", &format!("commands/list/{key}"), value]);
    }
    text(81, &["update", "commands/list/x", "one\ntwo"]);
    let scanned = text(81, &["scan", "commands/list/"]);
    assert_eq!(scanned, "commands/list/x\tone\\ntwo\ncommands/list/y\t2\ncommands/list/z\t3\n");
    let page = line(81, &["scan", "commands/list/", "--limit", "2"]);
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let rest = ["scan", "commands/list/", "--cursor", page["cursor"].as_str().unwrap()];
    assert_eq!(line(81, &rest)["items"][0]["key"], "commands/list/z");
    let history = line(81, &["history", "commands/list/x"]);
    assert_eq!(history, endpoint(group().url(0), "/v1/state/commands%2Flist%2Fx/history"));
    let told = text(81, &["history", "commands/list/x"]);
    assert!(told.lines().next().unwrap().contains("\tupdate\tone\\ntwo\t"), "{told}");
    let first = history["versions"][1]["height"].to_string();
    assert_eq!(text(81, &["get", "commands/list/x", "--at", &first]), "1");
    assert_eq!(text(81, &["get", "commands/list/y", "--local", "--node", group().url(1)]), "2");
}

#[test]
fn who_is_there_is_shown_in_rows() {
    let (validators, peers) = (text(82, &["validators"]), text(82, &["peers"]));
    assert_eq!(validators.lines().count(), 1 + 3);
    assert!(validators.starts_with("node id  name "), "{validators}");
    assert_eq!(peers.lines().count(), 1 + 2);
    assert!(peers.starts_with("node id  name "), "{peers}");
    assert_eq!(line(82, &["validators"])["validators"].as_array().unwrap().len(), 3);
    assert_eq!(line(82, &["peers"])["peers"].as_array().unwrap().len(), 2);
}

#[test]
fn events_are_printed_one_a_line_with_their_names() {
    let outcome = line(83, &["put", "commands/watch", "v"]);
    let height = outcome["height"].to_string();
    let watch = [
        "watch",
        "--topics",
        "block,state",
        "--prefix",
        "commands/watch",
        "--from",
        &height,
        "--count",
        "2",
    ];
    let lines = text(83, &[&watch[..], &["--output", "json"]].concat());
    let events: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 2);
    assert_eq!((&events[0]["event"], &events[0]["id"]), (&"block".into(), &outcome["height"]));
    assert_eq!(
        (&events[1]["event"], &events[1]["key"]),
        (&"state".into(), &"commands/watch".into())
    );
    assert!(text(83, &watch).contains(&format!("{height}\tblock\t")));
}

#[test]
fn grants_are_given_and_taken_back_by_admins() {
    let someone = SecretKey::from_seed(&[84; 32]).account_key().to_string();
    assert_eq!(problem(84, 7, &["grant", &someone, "commands/"])["code"], "not_permitted");
    text(200, &["grant", &someone, "commands/"]);
    let account = format!("/v1/accounts/{someone}");
    let are = |grants: &Value| {
        eventually("this node has it, too", || {
            endpoint(group().url(2), &account)["grants"] == *grants
        });
    };
    are(&json!(["commands/"]));
    text(200, &["revoke", &someone, "commands/"]);
    are(&json!([]));
    assert_eq!(problem(200, 7, &["revoke", &someone, "commands/"])["code"], "key_not_found");
}

#[test]
fn what_is_signed_on_one_machine_is_sent_from_another() {
    let ops = file("sign.json", r#"{"ops":[{"op":"put","key":"commands/signed","value":"dg=="}]}"#);
    let chain = group().node(0).chain_id().unwrap().to_string();
    // The machine that signs reaches nobody.
    let alone = ["--offline", "--node", "http://127.0.0.1:9", "--chain", &chain, "--nonce", "0"];
    let signed = file("signed.json", &text(85, &[&["tx", "sign", &ops], &alone[..]].concat()));
    let outcome = line(86, &["tx", "send", &signed]);
    assert_eq!((&outcome["status"], &outcome["duplicate"]), (&"applied".into(), &false.into()));
    let again = line(86, &["tx", "send", &signed]);
    assert_eq!((&again["height"], &again["duplicate"]), (&outcome["height"], &true.into()));
    let id = outcome["id"].as_str().unwrap();
    assert_eq!(line(86, &["tx", id])["height"], outcome["height"]);
    assert!(text(86, &["tx", id]).starts_with("applied height "));

    let out = FILES.join("out.json");
    let online = ["tx", "sign", &ops, "--expires", "999999", "--out", out.to_str().unwrap()];
    assert_eq!(text(85, &online), "");
    assert_eq!(problem(85, 7, &["tx", "send", out.to_str().unwrap()])["code"], "key_exists");
    assert_eq!(run(85, &["tx", "sign", &ops, "--offline"]).status.code(), Some(2));
    assert_eq!(run(85, &["tx", "send", &ops]).status.code(), Some(2));
    assert_eq!(run(85, &["tx"]).status.code(), Some(2));
}

#[test]
fn a_development_key_signs_for_testnets_only() {
    let path = FILES.join("dev.key");
    KeyFile::write_development(&path, SecretKey::from_seed(&[87; 32])).unwrap();
    assert!(KeyFile::read(&path).unwrap().is_development());
    text(80, &["put", "commands/development", "v", "--key", path.to_str().unwrap()]);
}
