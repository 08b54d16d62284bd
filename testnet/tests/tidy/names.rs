//! Which names may be written where: the core has no outside, and each library has one home.

use crate::code;
use crate::tree::{File, Offence, check_all, lines};

/// The packages that know no network, no clock and no thread; of these `wal` alone knows files.
const CORE: &[&str] = &["chain/src/", "consensus/src/", "wal/src/", "node/replica/src/"];

/// `(the end of a path or a part of it, where in the core it may stand, what is right)`.
const OUTSIDE: &[(&[&str], &[&str], &str)] = &[
    (&["Instant"], &[], "time is an argument"),
    (&["SystemTime"], &[], "time is an argument"),
    (&["std", "net"], &[], "the network belongs to node/src/net"),
    (&["thread", "spawn"], &[], "threads belong to the node"),
    (&["thread", "scope"], &[], "threads belong to the node"),
    (&["thread", "Builder"], &[], "threads belong to the node"),
    (&["tokio"], &[], "tokio serves node/src/net and node/src/api"),
    (&["std", "fs"], &["wal/src/disk.rs", "wal/src/disk/"], "files enter by wal::Disk"),
];

/// `(crate, where its name may stand)`; a crate whose name goes on with `_` is the same library. The ceiling is what
/// SQLite by itself leaves room for.
const HOMES: &[(&str, &[&str])] = &[
    ("libp2p", &["node/src/net/", "node/src/net.rs", "node/tests/net_half.rs", "testnet/tests/"]),
    ("rusqlite", &["node/store/", "testnet/", "bench/src/ceiling/"]),
    ("axum", &["node/src/api/", "node/src/api.rs"]),
    ("tonic", &["node/src/api/", "node/src/api.rs"]),
];

/// Where something unverified may be called verified: where that is defined, where a node takes
/// its own statements, where it reads back what it verified before it stored it, and where the cheap
/// signatures of the simulator live.
const MAY_VOUCH: &[&str] =
    &["chain/src/checked.rs", "node/replica/src/", "node/store/src/", "testnet/sim/"];

fn outside_names(file: &File) -> Vec<Offence> {
    let mut offences = Vec::new();
    if !file.is_in_any(CORE) {
        return offences;
    }
    for (at, path) in code::paths(&file.code) {
        for (part, allowed, right) in OUTSIDE {
            let named = path.windows(part.len()).any(|window| window == *part);
            if named && !file.is_in_any(allowed) {
                offences
                    .push(file.offence(at, format!("`{}` in the core; {right}", path.join("::"))));
            }
        }
    }
    offences
}

fn strayed_libraries(file: &File) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (library, homes) in HOMES {
        if file.is_in_any(homes) {
            continue;
        }
        for (at, _) in file.code.match_indices(library) {
            let word = code::word_at(&file.code, at);
            let begins = code::find_word(&file.code, word).contains(&at);
            if begins && (word == *library || word.starts_with(&format!("{library}_"))) {
                let what =
                    format!("`{word}` away from home; only {} may name it", homes.join(", "));
                offences.push(file.offence(at, what));
            }
        }
    }
    offences
}

fn vouching(file: &File) -> Vec<Offence> {
    if file.is_in_any(MAY_VOUCH) || file.path.contains("tests/") || file.path.ends_with("/tests.rs")
    {
        return Vec::new();
    }
    let tests = code::test_modules(&file.code);
    code::find_word(&file.code, "vouch")
        .into_iter()
        .filter(|at| !tests.iter().any(|module| module.contains(at)))
        .map(|at| {
            let places = MAY_VOUCH.join(", ");
            let what = format!("`vouch` skips verification; only {places} and tests may: verify");
            file.offence(at, what)
        })
        .collect()
}

#[test]
fn the_core_names_no_clock_network_thread_or_file() {
    check_all(outside_names);
}

#[test]
fn a_clock_a_socket_a_thread_and_a_file_in_the_core_are_seen() {
    let text = "use std::{time::{Duration, Instant},\n    net};\nfn f() {\n    std::thread::spawn(g);\n    \
                std::fs::read(p);\n    tokio::spawn(g);\n}\n// SystemTime\n";
    assert_eq!(lines(outside_names, "node/replica/src/x.rs", text), [1, 2, 4, 5, 6]);
    assert_eq!(lines(outside_names, "wal/src/disk/file.rs", text), [1, 2, 4, 6]);
    assert_eq!(lines(outside_names, "node/src/x.rs", text), [0; 0]);
}

#[test]
fn each_library_is_named_in_its_home_only() {
    check_all(strayed_libraries);
}

#[test]
fn a_library_away_from_home_is_seen() {
    let text =
        "use libp2p_stream::Control;\nuse rusqlite::Row;\nuse tonic::Status;\nlet my_axum = 1;\n";
    assert_eq!(lines(strayed_libraries, "node/src/start.rs", text), [1, 2, 3]);
    assert_eq!(lines(strayed_libraries, "node/src/net/x.rs", text), [2, 3]);
    assert_eq!(lines(strayed_libraries, "testnet/src/x.rs", text), [1, 3]);
}

#[test]
fn only_the_audited_places_vouch_for_what_they_did_not_verify() {
    check_all(vouching);
}

#[test]
fn vouching_elsewhere_is_seen() {
    let text = "fn f() { Checked::<Tx>::vouch(tx); }\n#[cfg(test)]\nmod tests {\n    fn g() { Checked::vouch(tx); }\n}\n";
    assert_eq!(lines(vouching, "node/src/net/x.rs", text), [1]);
    assert_eq!(lines(vouching, "chain/src/checked.rs", text), [0; 0]);
    assert_eq!(lines(vouching, "consensus/tests/x.rs", text), [0; 0]);
}
