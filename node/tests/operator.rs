//! What operators do, with real processes: homes that are made apart, one genesis, three nodes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so by panicking")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::process::{PATIENCE, Process};
use quorate_client::{Client, KeyFile};
use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(arguments).env_clear();
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn text(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = run(arguments);
    assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// What a command says that must fail with this code.
fn fails(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Starts a node and waits until it says where it serves.
fn start(arguments: &[&str]) -> Process {
    Process::start(&mut command(&[&["start"], arguments].concat()))
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a command that was told to print JSON says when it fails: one line, a problem.
fn problem(code: i32, arguments: &[&str]) -> Value {
    let said = fails(code, arguments);
    assert_eq!(said.lines().count(), 1, "{said}");
    serde_json::from_str(&said).unwrap()
}

#[test]
fn a_command_line_that_cannot_be_read_is_a_problem_in_json_too() {
    for json in [&["--output", "json"][..], &["--output=json"]] {
        let said = problem(2, &[&["gett", "x"][..], json].concat());
        assert!(said["detail"].as_str().unwrap().contains("unrecognized subcommand 'gett'"));
        assert_eq!(said["outcome"], "nothing_happened");
        problem(2, &[json, &["get"]].concat());
    }
    assert!(fails(2, &["gett", "x"]).contains("Usage:"));
    assert!(run(&["--help", "--output", "json"]).status.success());
}

/// Three organisations make a home each; one of them makes the genesis.
fn homes(root: &Path) -> (Vec<PathBuf>, PathBuf) {
    let ports = common::free_ports(6);
    let mut homes = Vec::new();
    for at in 0..3 {
        let home = root.join(format!("org{at}"));
        let p2p = format!("/ip4/127.0.0.1/tcp/{}", ports[at]);
        let api = format!("127.0.0.1:{}", ports[at + 3]);
        let settings =
            ["--election-timeout", "500ms", "--heartbeat", "50ms", "--wal-segment", "256KiB"];
        let own = ["init", "--home", shown(&home), "--p2p-listen", &p2p, "--api-listen", &api];
        let key = text(&[&own[..], &settings].concat());
        assert_eq!(key.trim().len(), 64);
        homes.push(home);
    }
    let admin = root.join("admin.key");
    let admin_key = text(&["key", "new", shown(&admin)]);
    let files: Vec<_> = homes.iter().map(|home| home.join("validator.json")).collect();
    let mut create =
        vec!["genesis", "create", "--name", "books", "--admin", admin_key.trim(), "--validator"];
    create.extend(files.iter().map(|file| shown(file)));
    let genesis = text(&create);
    for home in &homes {
        fs::write(home.join("genesis.json"), &genesis).unwrap();
    }
    (homes, admin)
}

#[test]
fn three_homes_made_apart_are_one_chain() {
    let root = tempfile::tempdir().unwrap();
    let (homes, admin) = homes(root.path());
    let hashes: Vec<_> = homes
        .iter()
        .map(|home| text(&["genesis", "check", shown(&home.join("genesis.json"))]))
        .collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0] && hash.trim().len() == 64));

    let mut nodes: Vec<_> = homes.iter().map(|home| start(&["--home", shown(home)])).collect();
    for node in &nodes {
        eventually("a leader is known", || node.client().status().unwrap().leader.is_some());
        assert_eq!(node.client().chain_id().unwrap().to_string(), hashes[0].trim());
    }
    let all = nodes.iter().map(|node| node.url()).collect::<Vec<_>>().join(",");
    let outcome = text(&[
        "put",
        "greeting",
        "hello",
        "--node",
        &all,
        "--key",
        shown(&admin),
        "--timeout",
        "60s",
    ]);
    assert!(outcome.starts_with("applied height "), "{outcome}");
    for node in &nodes {
        assert_eq!(node.client().get("greeting").unwrap().unwrap().value.as_ref(), b"hello");
    }

    a_home_holds_what_it_should(&homes[0]);
    development_keys_sign_nothing_here(root.path(), &admin, &all);

    // A second process in a home is told who is there.
    let pid = nodes[0].child.id().to_string();
    let said = fails(9, &["start", "--home", shown(&homes[0])]);
    assert!(said.contains(&format!("in use by process {pid}")), "{said}");

    operator_speaks(&homes, &nodes);

    damage_is_told_precisely(&homes[1], &mut nodes[1]);

    // The others go on, and the damaged one repairs itself.
    text(&["put", "later", "x", "--node", &all, "--key", shown(&admin), "--timeout", "60s"]);
    let mended = start(&["--home", shown(&homes[1])]);
    eventually("it has what the others have", || {
        let value = Client::new(&mended.url()).unwrap().body("/v1/state/later?consistency=local");
        value.is_ok()
    });
}

/// The log of a running node can be looked at, and that of a dead one, damaged, precisely.
fn damage_is_told_precisely(home: &Path, node: &mut Process) {
    assert!(text(&["wal", "inspect", "--home", shown(home), "--records"]).contains(" branch "));
    node.kill();
    let place = home.join("wal");
    let found = text(&["wal", "inspect", shown(&place), "--records", "--output", "json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found["damages"].as_array().unwrap().len(), 0);
    let segment = &found["segments"][0];
    let record = segment["records"].as_array().unwrap().iter().find(|one| one["kind"] == "branch");
    let (file, offset) =
        (place.join(segment["file"].as_str().unwrap()), record.unwrap()["offset"].as_u64());
    let mut bytes = fs::read(&file).unwrap();
    let at = usize::try_from(offset.unwrap()).unwrap() + 60;
    bytes[at] ^= 0xff;
    fs::write(&file, &bytes).unwrap();
    let damaged = run(&["wal", "inspect", shown(&place)]);
    assert_eq!(damaged.status.code(), Some(9));
    let said = String::from_utf8(damaged.stdout).unwrap();
    let name = segment["file"].as_str().unwrap();
    assert!(said.contains(&format!("damage: {name} at offset {}", offset.unwrap())), "{said}");
}

/// The files of a home whose node runs: those of the surface, `validator.json`, and what SQLite keeps beside its database.
fn a_home_holds_what_it_should(home: &Path) {
    let names = |place: &Path| {
        let entries = fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort_unstable();
        names
    };
    let expected = [
        "FORMAT",
        "LOCK",
        "admin.sock",
        "chain.db",
        "chain.db-shm",
        "chain.db-wal",
        "config.toml",
        "genesis.json",
        "keys",
        "snapshots",
        "validator.json",
        "wal",
    ];
    assert_eq!(names(home), expected);
    assert_eq!(names(&home.join("keys")), ["validator.key"]);
}

/// A key that others may know signs nothing for a chain that counts.
fn development_keys_sign_nothing_here(root: &Path, key: &Path, node: &str) {
    let (known, operations) = (root.join("known.key"), root.join("operations.json"));
    fs::copy(key, &known).unwrap();
    fs::write(&known, fs::read_to_string(key).unwrap() + "development = \"yes\"\n").unwrap();
    fs::write(&operations, r#"{"ops":[{"op":"put","key":"k","value":"dg=="}]}"#).unwrap();
    let with = ["--key", shown(&known), "--node", node];
    for command in [&["put", "k", "v"][..], &["tx", "sign", shown(&operations)]] {
        let said = fails(3, &[command, &with].concat());
        assert!(said.contains("development key"), "{said}");
    }
    let usual = ["--key", shown(key), "--node", node];
    text(&[&["tx", "sign", shown(&operations)][..], &usual].concat());
}

/// The sockets of running nodes: leadership goes where the operator says, and only the leader gives it.
fn operator_speaks(homes: &[PathBuf], nodes: &[Process]) {
    use std::os::unix::fs::PermissionsExt as _;
    for home in homes {
        let mode = fs::metadata(home.join("admin.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let all = nodes.iter().map(|node| node.url()).collect::<Vec<_>>().join(",");
    let leader: usize = text(&["leader", "show", "--node", &all]).trim().parse().unwrap();
    let next = ((leader + 1) % 3).to_string();
    let said = fails(6, &["leader", "transfer", "--home", shown(&homes[(leader + 1) % 3])]);
    assert!(said.contains(&format!("node {leader} does")), "{said}");
    fails(2, &["leader", "transfer", "--to", "9", "--home", shown(&homes[leader])]);
    let transfer =
        ["leader", "transfer", "--to", &next, "--home", shown(&homes[leader]), "--patience", "30s"];
    assert_eq!(text(&transfer), format!("node {next} leads\n"));
    eventually("all see it", || {
        nodes.iter().all(|node| {
            let told = node.client().status().unwrap().leader;
            told.is_some_and(|told| told.to_string() == next)
        })
    });
    text(&["leader", "want", "no", "--home", shown(&homes[leader])]);
    let status: Value =
        serde_json::from_str(&nodes[leader].client().body("/v1/status").unwrap()).unwrap();
    assert_eq!(status["lead"], "no");
    text(&["leader", "want", "yes", "--home", shown(&homes[leader])]);
    text(&["log", "debug", "--home", shown(&homes[leader])]);
    fails(2, &["log", "loud", "--home", shown(&homes[leader])]);
    fails(4, &["log", "debug", "--home", shown(homes[0].parent().unwrap())]);
    // Whoever opens it and says nonsense, or nothing, does no harm.
    let mut stream = std::os::unix::net::UnixStream::connect(homes[0].join("admin.sock")).unwrap();
    std::io::Write::write_all(&mut stream, b"{\"order\":\"explode\"}\n").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert!(answer.contains("unknown variant"), "{answer}");
}

#[test]
fn what_is_told_can_be_read_by_programs() {
    let arguments = ["start", "--dev", "--api-listen", "127.0.0.1:0", "--log-format", "json"];
    let mut child = command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    for line in lines.map(Result::unwrap) {
        let line: Value = serde_json::from_str(&line).unwrap();
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        seen.push(line["message"].as_str().unwrap().to_owned());
        if line["message"] == "a leader is known" {
            assert_eq!((&line["leader"], line["term"].as_u64() > Some(0)), (&0.into(), true));
            assert!(line["height"].is_u64(), "{line}");
            break;
        }
    }
    assert!(seen.iter().any(|message| message == "started"), "{seen:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_home_without_its_papers_does_not_start() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("node");
    text(&["init", "--home", shown(&home), "--name", "alpha", "--api", "https://a.example.org"]);
    let validator: Value =
        serde_json::from_slice(&fs::read(home.join("validator.json")).unwrap()).unwrap();
    assert_eq!(
        (&validator["name"], &validator["api"][0]),
        (&"alpha".into(), &"https://a.example.org".into())
    );
    let config = fs::read_to_string(home.join("config.toml")).unwrap();
    assert!(config.contains("# where clients reach this node"), "{config}");
    assert!(fails(3, &["start", "--home", shown(&home)]).contains("genesis create"));
    assert!(fails(3, &["init", "--home", shown(&home)]).contains("is a home already"));
    assert!(fails(3, &["start", "--home", shown(root.path())]).contains("no home of a node"));
    fails(2, &["start"]);

    // A key that others may know is refused where it would count, and so is one that others may read.
    let key = home.join("keys/validator.key");
    let admin = validator["key"].as_str().unwrap().to_owned();
    let create = |more: &[&str]| {
        let file = home.join("validator.json");
        let usual =
            ["genesis", "create", "--name", "n", "--admin", &admin, "--validator", shown(&file)];
        fs::write(home.join("genesis.json"), text(&[&usual[..], more].concat())).unwrap();
    };
    create(&[]);
    let marked = fs::read_to_string(&key).unwrap() + "development = \"yes\"\n";
    fs::write(&key, marked).unwrap();
    assert!(fails(3, &["start", "--home", shown(&home)]).contains("development key"));
    assert!(
        fails(3, &["start", "--home", shown(&home), "--heartbeat", "900ms"]).contains("2700ms")
    );
    create(&["--testnet"]);
    let free = ["--api-listen", "127.0.0.1:0", "--p2p-listen", "/ip4/127.0.0.1/tcp/0"];
    let mut node = start(&[&["--home", shown(&home), "--storage", "memory"], &free[..]].concat());
    node.kill();
    assert!(
        fs::read_dir(home.join("wal")).unwrap().next().is_none(),
        "in memory there are no files"
    );
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(fails(3, &["start", "--home", shown(&home)]).contains("chmod 600"));
}

/// Who is looked for at an address is said by its end: without that the address would be of no use, and nobody told.
#[test]
fn a_peer_without_its_id_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("node");
    text(&["init", "--home", shown(&home)]);
    let id = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let good = format!("/ip4/127.0.0.1/tcp/7700/p2p/{id}");
    for bad in ["/ip4/127.0.0.1/tcp/7700", "http://127.0.0.1:7600", "/teapot", "/p2p/12D3KooW"] {
        for peers in [bad.to_owned(), format!("{good},{bad}")] {
            let said = fails(3, &["start", "--home", shown(&home), "--peers", &peers]);
            let should = "each with /p2p/ and the peer id at its end: /ip4/";
            assert!(said.contains(&peers) && said.contains(should), "{said}");
        }
    }
    fails(3, &["config", "check", "--p2p-peers", &format!("/p2p/{id}")]);
    fails(3, &["config", "check", "--p2p-listen", "/teapot"]);
    text(&["config", "check", "--p2p-peers", &format!("{good},/dns4/example.org/tcp/1/p2p/{id}")]);
}

#[test]
fn storage_in_memory_is_for_testnets() {
    let root = tempfile::tempdir().unwrap();
    let (homes, _) = homes(root.path());
    let said = fails(3, &["start", "--home", shown(&homes[0]), "--storage", "memory"]);
    assert!(said.contains("genesis says testnet"), "{said}");
}

#[test]
fn one_validator_alone_is_there_at_once_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    // Wherever a program might leave something: where it is called, where its user lives, where there is room for a while.
    let places = ["here", "home", "room"].map(|name| root.path().join(name));
    places.iter().for_each(|place| fs::create_dir(place).unwrap());
    let are_empty = || places.iter().all(|place| fs::read_dir(place).unwrap().next().is_none());
    let mut start = command(&["start", "--dev", "--api-listen", "127.0.0.1:0"]);
    start.current_dir(&places[0]).env("HOME", &places[1]).env("TMPDIR", &places[2]);
    let mut node = Process::start(&mut start);
    eventually("it is ready", || node.client().body("/readyz").is_ok());
    let account = node
        .client()
        .account(KeyFile::generate(&root.path().join("me.key")).unwrap().into_secret());
    account.put("k", "v").unwrap();
    assert_eq!(node.client().get("k").unwrap().unwrap().value.as_ref(), b"v");
    assert!(are_empty(), "while it runs");
    node.kill();
    assert!(are_empty(), "when it has ended");
}

#[test]
fn settings_are_shown_with_their_origins() {
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("node");
    text(&["init", "--home", shown(&home), "--heartbeat", "50ms"]);
    let show =
        ["config", "show", "--home", shown(&home), "--window-blocks", "7", "--output", "json"];
    let output = command(&show).env("QUORATE_LOG", "debug").output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let setting = |name: &str| {
        let all = told["settings"].as_array().unwrap();
        let found = all.iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["origin"].as_str().unwrap().to_owned())
    };
    let expected = [
        ("heartbeat", "50ms", "file"),
        ("log", "debug", "environment"),
        ("window.blocks", "7", "flag"),
        ("election_timeout", "1s", "default"),
    ];
    for (name, value, origin) in expected {
        assert_eq!(setting(name), (value.to_owned(), origin.to_owned()), "{name}");
    }
    assert!(text(&["config", "show", "--home", shown(&home)]).contains("heartbeat"));
    text(&["config", "check", "--home", shown(&home)]);
    let unknown = command(&["config", "check"]).env("QUORATE_HEARTBEET", "1s").output().unwrap();
    assert_eq!(unknown.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("is `QUORATE_HEARTBEAT` meant?"));
    // What is no text is said to be none; what is not ours may be anything.
    let no_text = OsStr::from_bytes(b"\xff");
    let garbled = command(&["config", "check"]).env("QUORATE_LOG", no_text).output().unwrap();
    assert_eq!(garbled.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&garbled.stderr).contains("QUORATE_LOG is no text"));
    assert!(command(&["config", "check"]).env("OTHER", no_text).output().unwrap().status.success());
    fails(3, &["config", "check", "--election-timeout", "100ms"]);
}
