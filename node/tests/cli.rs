//! The command line against a node: what is printed where, and how commands end.

#![allow(clippy::unwrap_used, reason = "a test says so by panicking")]

mod common;

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::process::Process;
use quorate_client::{KeyFile, Testnet};
use serde_json::Value;

/// A node of a group of one in a process of its own, and a key.
struct Place {
    // It ends before its directory is gone.
    _node: Process,
    _root: tempfile::TempDir,
    url: String,
    key: PathBuf,
    root: PathBuf,
}

/// What a command has printed and how it has ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
}

impl Ended {
    fn text(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{self:?}");
        std::str::from_utf8(&self.out).unwrap()
    }

    /// The one line that a command that succeeded has printed.
    fn json(&self) -> Value {
        let text = self.text();
        assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true), "{text}");
        serde_json::from_str(text).unwrap()
    }

    /// The one line that a command that failed with this code has printed.
    fn problem(&self, code: i32) -> Value {
        assert_eq!((self.code, self.out.len()), (Some(code), 0), "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        serde_json::from_str(&self.err).unwrap()
    }

    /// What a command that failed with this code has said.
    fn sentence(&self, code: i32) -> &str {
        assert_eq!((self.code, self.out.len()), (Some(code), 0), "{self:?}");
        &self.err
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let err = String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), out: output.stdout, err }
    }
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home");
        common::home(&home, 0, &common::genesis(1), &common::config());
        let node = Process::of_home(&home);
        let url = node.url();
        let key = root.path().join("keys/carol.key");
        KeyFile::generate(&key).unwrap();
        let path = root.path().to_owned();
        Self { _node: node, _root: root, url, key, root: path }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(arguments).env_clear();
        command.env("QUORATE_NODE", &self.url).env("QUORATE_KEY", &self.key);
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().unwrap().into()
    }

    fn json(&self, arguments: &[&str]) -> Ended {
        self.run(&[arguments, &["--output", "json"]].concat())
    }
}

#[test]
fn what_is_put_can_be_got_and_asked_about() {
    let place = Place::new();
    let put = place.run(&["put", "greeting", "hello"]);
    let words: Vec<_> = put.text().split_whitespace().collect();
    assert_eq!((words.len(), words[0], words[1], words[3]), (5, "applied", "height", "tx"));
    let (height, tx) = (words[2], words[4]);

    assert_eq!(place.run(&["get", "greeting"]).out, b"hello");
    let entry = place.json(&["get", "greeting"]).json();
    assert_eq!((&entry["value"], entry["height"].to_string()), (&"aGVsbG8=".into(), height.into()));
    assert_eq!(place.run(&["tx", tx]).out, put.out);
    assert_eq!(place.json(&["tx", tx]).json()["status"], "applied");
    let block = place.json(&["block", height]).json();
    assert_eq!(block["txs"], serde_json::json!([tx]));
    let hash = block["hash"].as_str().unwrap();
    assert!(place.run(&["block", hash, "--full"]).text().contains("greeting"));
    let now: u64 = place.run(&["height"]).text().trim().parse().unwrap();
    assert!(now >= height.parse().unwrap());
    assert!(place.json(&["height"]).json()["height"].as_u64().unwrap() >= now);
    assert!(place.json(&["block", "latest"]).json()["height"].as_u64().unwrap() >= now);
    assert!(place.run(&["status", "--check"]).text().contains("leader      node 0"));
    assert_eq!(place.json(&["status"]).json()["node_id"], 0);
}

#[test]
fn a_write_that_fails_is_rejected_with_its_reason() {
    let place = Place::new();
    place.run(&["put", "k", "1"]).text();
    let twice = place.json(&["put", "k", "2"]).problem(7);
    assert_eq!((&twice["code"], &twice["status"]), (&"key_exists".into(), &409.into()));
    assert_eq!(twice["outcome"]["status"], "failed");
    assert!(place.run(&["put", "k", "2"]).sentence(7).starts_with("quorate: key_exists: "));
    place.run(&["update", "k", "2"]).text();
    place.run(&["cas", "k", "--expect", "2", "3"]).text();
    // A negative number is no flag.
    place.run(&["put", "n", "-5"]).text();
    place.run(&["cas", "n", "--expect", "-5", "-0.5"]).text();
    assert_eq!(place.run(&["get", "n"]).out, b"-0.5");
    assert_eq!(place.json(&["cas", "k", "--absent", "4"]).problem(7)["code"], "mismatch");
    assert_eq!(place.run(&["get", "k"]).out, b"3");
    place.run(&["remove", "k"]).text();
    assert_eq!(place.json(&["remove", "k"]).problem(7)["code"], "key_not_found");
    assert_eq!(place.json(&["get", "k"]).problem(5)["code"], "key_not_found");
    assert_eq!(place.json(&["block", "999999"]).problem(5)["code"], "block_not_found");
    let long = "k".repeat(1_025);
    assert_eq!(place.json(&["put", &long, "v"]).problem(7)["code"], "too_large");
    let unknown = "0".repeat(64);
    assert_eq!(place.json(&["tx", &unknown]).json()["status"], "unknown");
}

#[test]
fn values_come_from_arguments_files_and_standard_input() {
    let place = Place::new();
    let file = place.root.join("value");
    fs::write(&file, [0, 255, 10]).unwrap();
    place.run(&["put", "a", &format!("@{}", file.display())]).text();
    assert_eq!(place.run(&["get", "a"]).out, [0, 255, 10]);
    let mut put = place
        .command(&["put", "b", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    put.stdin.take().unwrap().write_all(b"from a pipe").unwrap();
    assert!(put.wait().unwrap().success());
    assert_eq!(place.run(&["get", "b"]).out, b"from a pipe");
    assert!(place.run(&["put", "c", "@nothing-here"]).sentence(2).contains("nothing-here"));
    for key in ["a/b?c=%41#d", "..", "ä ö"] {
        place.run(&["put", key, "odd"]).text();
        assert_eq!(place.run(&["get", key]).out, b"odd");
    }
}

#[test]
fn writers_who_share_a_key_do_not_get_in_each_others_way() {
    let place = Place::new();
    let children: Vec<_> = (0..8)
        .map(|at| {
            let mut put = place.command(&["put", &format!("key{at}"), "v", "--timeout", "60s"]);
            put.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        Ended::from(child.wait_with_output().unwrap()).text();
    }
}

#[test]
fn nodes_are_found_by_flag_variable_and_testnet() {
    let place = Place::new();
    let nobody = "http://127.0.0.1:9";
    let refused = place.json(&["height", "--node", nobody]).problem(4);
    assert_eq!((&refused["code"], &refused["outcome"]), (&Value::Null, &"nothing_happened".into()));
    place.run(&["height", "--node", &format!("{nobody},{}", place.url)]).text();
    assert!(place.run(&["height", "--node", "here"]).sentence(2).contains("`here` is not"));

    let testnet = format!(
        r#"{{"dir":"{0}","chain_id":"{1}","genesis":"","supervisor_pid":1,"quorum":1,"keys":{{}},
        "nodes":[{{"node_id":0,"name":"node0","mode":"validator","state":"running","pid":1,"api":"{2}","p2p":"",
        "home":"","log":""}}]}}"#,
        place.root.display(),
        "0".repeat(64),
        place.url
    );
    fs::write(place.root.join(Testnet::FILE), testnet).unwrap();
    fs::rename(&place.key, place.root.join("keys/alice.key")).unwrap();
    let mut put = place.command(&["put", "k", "v"]);
    put.env_remove("QUORATE_NODE").env_remove("QUORATE_KEY").env("QUORATE_TESTNET", &place.root);
    Ended::from(put.output().unwrap()).text();
    let mut put = place.command(&["put", "l", "v", "--key", "alice"]);
    put.env_remove("QUORATE_KEY").env("QUORATE_TESTNET", &place.root);
    Ended::from(put.output().unwrap()).text();
    // The variable says more than a testnet that runs, and the flag more than the variable.
    for (arguments, code) in [(&["height"][..], 4), (&["height", "--node", &place.url], 0)] {
        let mut height = place.command(arguments);
        height.env("QUORATE_NODE", nobody).env("QUORATE_TESTNET", &place.root);
        assert_eq!(height.output().unwrap().status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn keys_are_made_once_and_shown_without_their_secret() {
    let place = Place::new();
    let path = place.root.join("dave.key");
    let path = path.to_str().unwrap();
    let made = place.json(&["key", "new", path]).json();
    assert_eq!(place.run(&["key", "show", path]).text().trim(), made["public_key"]);
    assert!(place.run(&["key", "new", path]).sentence(3).contains("dave.key"));
    let home = place.root.join("home");
    place.run(&["key", "new", "frank", "--home", home.to_str().unwrap()]).text();
    assert!(home.join("keys/frank.key").is_file());
    for arguments in [&["key", "new", "grace"][..], &["put", "k", "v", "--key", "grace"]] {
        let mut command = place.command(arguments);
        Ended::from(command.env("QUORATE_HOME", &home).output().unwrap()).text();
    }
    assert!(home.join("keys/grace.key").is_file());
    let sealed = place.root.join("erin.key");
    let sealed = sealed.to_str().unwrap();
    assert!(
        place.run(&["key", "new", sealed, "--passphrase"]).sentence(2).contains("which passphrase")
    );
    let with = |arguments: &[&str], words: &str| -> Ended {
        place.command(arguments).env("QUORATE_PASSPHRASE", words).output().unwrap().into()
    };
    let made = with(&["key", "new", sealed, "--passphrase"], "open sesame");
    assert_eq!(place.run(&["key", "show", sealed]).text(), made.text());
    assert!(place.run(&["put", "sealed", "v", "--key", sealed]).sentence(3).contains("passphrase"));
    with(&["put", "sealed", "v", "--key", sealed], "close sesame").sentence(3);
    with(&["put", "sealed", "v", "--key", sealed], "open sesame").text();
    let validator = place.root.join("home/keys/validator.key");
    let shown = place.json(&["key", "show", validator.to_str().unwrap()]).json();
    assert_eq!(shown["kind"], "validator");
    assert!(place.run(&["put", "a", "b", "--key", "nobody"]).sentence(3).contains("`nobody`"));
    let sentence = place.run(&["put", "a", "b", "--key", validator.to_str().unwrap()]);
    assert!(sentence.sentence(3).contains("key of a validator"));
}

#[test]
fn a_genesis_is_made_and_checked() {
    let place = Place::new();
    let key = KeyFile::read(&place.key).unwrap().public();
    let validator = format!("node0,{key},/ip4/127.0.0.1/tcp/7700,http://127.0.0.1:7600");
    let admin = key.to_string();
    let made = place.run(&[
        "genesis",
        "create",
        "--name",
        "books",
        "--validator",
        &validator,
        "--admin",
        &admin,
    ]);
    let path = place.root.join("genesis.json");
    fs::write(&path, made.text()).unwrap();
    let checked = place.json(&["genesis", "check", path.to_str().unwrap()]).json();
    assert_eq!((&checked["name"], &checked["validators"]), (&"books".into(), &1.into()));
    fs::write(&path, made.text().replace("books", "")).unwrap();
    assert!(place.run(&["genesis", "check", path.to_str().unwrap()]).sentence(3).contains("name"));
}

#[test]
fn testnet_hears_what_is_to_be_printed_wherever_that_is_said() {
    let place = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/echo", place.path().join("quorate-testnet")).unwrap();
    let json = ["--output", "json"];
    for (arguments, heard) in [
        ([&json[..], &["testnet", "status"]].concat(), "status --output json\n"),
        ([&["testnet", "status"], &json[..]].concat(), "status --output json\n"),
        ([&json[..], &["testnet", "status"], &json].concat(), "status --output json\n"),
        (vec!["--output", "text", "testnet", "status"], "status\n"),
        (vec!["testnet", "kill", "1", "2"], "kill 1 2\n"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(&arguments).env_clear().env("QUORATE_BIN_DIR", place.path());
        assert_eq!(Ended::from(command.output().unwrap()).text(), heard, "{arguments:?}");
    }
}

#[test]
fn a_command_ends_as_it_should_when_nobody_can_hear_why() {
    let place = Place::new();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for output in ["text", "json"] {
        let arguments = ["get", "nothing", "--output", output];
        let status = place.command(&arguments).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(5), "{output}");
        let start = ["start", "--home", "/nowhere", "--output", output];
        let status = place.command(&start).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(3), "{output}");
    }
}
