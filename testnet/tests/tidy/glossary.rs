//! One word for one thing, in every name that another module can say.
//!
//! Read are the names of items and fields that are `pub` (in part or in full), of variants and
//! their fields, of the methods of traits, and of files. A name is split into words, `CamelCase`
//! like `snake_case`; a phrase matches whole words, singular or plural.
//!
//! Left out, because the words have another good use: index (in trees and receipts), number, proof
//! (of a state, and of a term), config (of a node), seal and verify (both said, each for its own),
//! result, execute, log. Of these only phrases are forbidden, such as `log_index`. Left out too:
//! what only a reader can tell, such as a truncation that is no truncation of the suffix.

use std::ops::Range;

use crate::code;
use crate::tree::{File, Offence, check_all, lines};

const EVERYWHERE: &[&str] = &[""];
/// The packages between which blocks, statements and events pass.
const CORE: &[&str] = &["chain/", "consensus/", "wal/", "node/replica/"];
/// Where blocks are ordered and executed; in `wal` a word about them has another sense.
const ORDER: &[&str] = &["chain/", "consensus/", "node/replica/"];
const CONSENSUS: &[&str] = &["consensus/"];

/// `(not said, where, said instead)`.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("log_entry", EVERYWHERE, "block"),
    ("block_index", EVERYWHERE, "height"),
    ("block_number", EVERYWHERE, "height"),
    ("log_index", EVERYWHERE, "height"),
    ("sequence", EVERYWHERE, "height, or lsn in the WAL"),
    ("epoch", EVERYWHERE, "term"),
    ("view", CORE, "term"),
    ("round", EVERYWHERE, "term"),
    ("primary", EVERYWHERE, "leader"),
    ("master", EVERYWHERE, "leader"),
    ("slave", EVERYWHERE, "follower"),
    ("author", EVERYWHERE, "proposer"),
    ("miner", EVERYWHERE, "proposer"),
    ("spv", EVERYWHERE, "observer"),
    ("validator_set", EVERYWHERE, "roster"),
    ("voter_set", EVERYWHERE, "roster"),
    ("member_list", EVERYWHERE, "roster"),
    ("membership_list", EVERYWHERE, "roster"),
    ("membership_config", EVERYWHERE, "roster"),
    ("config_change", EVERYWHERE, "roster change"),
    ("conf_change", EVERYWHERE, "roster change"),
    ("conf_state", EVERYWHERE, "roster"),
    ("peer", CORE, "node, validator or sender; a peer is at the end of a connection"),
    ("previous_block", EVERYWHERE, "parent"),
    ("previous_hash", EVERYWHERE, "parent"),
    ("previous_ref", EVERYWHERE, "parent"),
    ("prev_block", EVERYWHERE, "parent"),
    ("prev_hash", EVERYWHERE, "parent"),
    ("prev_ref", EVERYWHERE, "parent"),
    ("prev_log", EVERYWHERE, "parent"),
    ("base_block", EVERYWHERE, "parent"),
    ("base_ref", EVERYWHERE, "parent"),
    ("decided", EVERYWHERE, "committed"),
    ("finalized", EVERYWHERE, "committed"),
    ("finalised", EVERYWHERE, "committed"),
    ("noop", EVERYWHERE, "opening block"),
    ("no_op", EVERYWHERE, "opening block"),
    ("hard_state", EVERYWHERE, "ballot"),
    ("append_entries", EVERYWHERE, "append"),
    ("request_vote", EVERYWHERE, "vote request"),
    ("response", CORE, "vote, ack, reject, or what else it says"),
    ("qc", EVERYWHERE, "certificate"),
    ("commit_proof", EVERYWHERE, "commit certificate"),
    ("election_proof", EVERYWHERE, "election certificate"),
    ("quorum_proof", EVERYWHERE, "certificate"),
    ("commit_seal", EVERYWHERE, "ack, or commit certificate"),
    ("input", CONSENSUS, "event"),
    ("command", ORDER, "effect, or operation"),
    ("ready", CONSENSUS, "effect"),
    ("deliver", CONSENSUS, "apply"),
    ("execute_block", EVERYWHERE, "apply"),
    ("deliver_block", EVERYWHERE, "apply"),
    ("deliver_tx", EVERYWHERE, "apply"),
    ("txn", EVERYWHERE, "transaction, tx"),
    ("trx", EVERYWHERE, "transaction, tx"),
    ("packet", EVERYWHERE, "envelope, message"),
    ("rpc", EVERYWHERE, "message, or request"),
    ("tx_result", EVERYWHERE, "receipt"),
    ("transaction_result", EVERYWHERE, "receipt"),
    ("execution_result", EVERYWHERE, "receipt"),
    ("sync", EVERYWHERE, "catch-up; sync is fsync, in the WAL"),
    ("syncing", EVERYWHERE, "catching up"),
    ("synced", EVERYWHERE, "caught up; durable"),
    ("resync", EVERYWHERE, "catch-up, repair"),
    ("compact", EVERYWHERE, "prune"),
    ("compaction", EVERYWHERE, "pruning"),
    ("gc", EVERYWHERE, "prune"),
    ("garbage", EVERYWHERE, "prune"),
    ("sign_block", EVERYWHERE, "seal"),
    ("verify_invariant", EVERYWHERE, "check"),
    ("check_signature", EVERYWHERE, "verify"),
    ("validate_signature", EVERYWHERE, "verify"),
];

/// `(phrase, where it may stand or be part of a name, why)`.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("sync", "wal/", "fsync"),
    ("synced", "wal/", "fsync"),
    ("sync", "testnet/sim/", "the simulated disk has an fsync too"),
    ("synced", "testnet/sim/", "the simulated disk has an fsync too"),
    ("sync", "testnet/src/bad_disk.rs", "the calls that fail are fsync and its like"),
    ("sync", "testnet/src/chaos/fault.rs", "the calls that fail are fsync and its like"),
    ("round_up", "", "to a multiple"),
    ("round_down", "", "to a multiple"),
    ("round_trip", "", "there and back"),
];

/// A name and where it begins; the name may be cut from a larger text.
type Name<'a> = (usize, &'a str);

fn forbidden_words(file: &File) -> Vec<Offence> {
    let mut names = public_names(&file.code);
    if let Some(stem) = stem(file) {
        names.push((0, stem));
    }
    let mut offences = Vec::new();
    for (at, name) in names {
        let words = words(name);
        for (phrase, places, said) in WORDS {
            let forbidden = places.iter().any(|place| file.path.starts_with(place));
            if forbidden && says(&words, phrase) && !is_allowed(file, &words, phrase) {
                let what = format!("`{name}`: not {}, but {said}", phrase.replace('_', " "));
                offences.push(file.offence(at, what));
            }
        }
    }
    offences.sort_by_key(|offence| offence.line);
    offences
}

/// The name of a module's file.
fn stem(file: &File) -> Option<&str> {
    file.path.split('/').next_back()?.strip_suffix(".rs")
}

fn is_allowed(file: &File, words: &[String], phrase: &str) -> bool {
    ALLOWED.iter().any(|(allowed, place, _)| {
        let covers = says(&split(allowed), phrase);
        covers && file.path.starts_with(place) && says(words, allowed)
    })
}

fn says(words: &[String], phrase: &str) -> bool {
    let phrase = split(phrase);
    let same =
        |(word, said): (&String, &String)| word == said || word.strip_suffix('s') == Some(said);
    words.windows(phrase.len()).any(|window| window.iter().zip(&phrase).all(same))
}

fn split(phrase: &str) -> Vec<String> {
    phrase.split('_').map(str::to_owned).collect()
}

/// The words of a name, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let letters: Vec<char> = name.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let after_lower = at > 0 && !letters[at - 1].is_uppercase();
        let before_lower = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if *letter == '_' || letter.is_uppercase() && (after_lower || before_lower) {
            words.push(String::new());
        }
        if *letter != '_' {
            words.last_mut().expect("there is a first").extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn public_names(code: &str) -> Vec<Name<'_>> {
    let mut names = Vec::new();
    for at in code::find_word(code, "pub") {
        let mut at = skip_space(code, at + "pub".len());
        if code[at..].starts_with('(') {
            at = skip_space(code, code::bracketed(code, at).end);
        }
        let (kind, name) = item(code, at);
        names.push(name);
        let Some(body) = matches!(kind, "enum" | "trait").then(|| code::body(code, at)).flatten()
        else {
            continue;
        };
        let inside = body.start + 1..body.end - 1;
        if kind == "enum" {
            variants(code, inside, &mut names);
        } else {
            methods(code, inside, &mut names);
        }
    }
    names.retain(|(_, name)| !name.is_empty());
    names
}

fn skip_space(code: &str, at: usize) -> usize {
    code.len() - code[at..].trim_start().len()
}

/// The keyword and the name of the item that begins here; of a field, no keyword.
fn item(code: &str, mut at: usize) -> (&str, Name<'_>) {
    let mut kind = "";
    loop {
        let word = code::word_at(code, at);
        let next = skip_space(code, at + word.len());
        match word {
            "const" | "static" | "unsafe" | "async" | "extern" | "mut" | "fn" | "struct"
            | "enum" | "union" | "trait" | "type" | "mod" => kind = word,
            "use" => return (word, (at, "")),
            name => return (kind, (at, name)),
        }
        at = next;
    }
}

/// The variants in the body of an enum, and their named fields.
fn variants<'a>(code: &'a str, inside: Range<usize>, names: &mut Vec<Name<'a>>) {
    for at in list_items(code, inside) {
        let name = code::word_at(code, at);
        names.push((at, name));
        let next = skip_space(code, at + name.len());
        if code[next..].starts_with('{') {
            let fields = code::bracketed(code, next);
            for field in list_items(code, fields.start + 1..fields.end - 1) {
                names.push((field, code::word_at(code, field)));
            }
        }
    }
}

/// Where the items of a comma-separated list begin, behind their attributes.
fn list_items(code: &str, inside: Range<usize>) -> Vec<usize> {
    let mut begins = Vec::new();
    let mut begin = true;
    let mut at = inside.start;
    while at < inside.end {
        match code.as_bytes()[at] {
            b'#' if begin => at = code::bracketed(code, skip_space(code, at + 1)).end,
            b'(' | b'[' | b'{' => at = code::bracketed(code, at).end,
            b',' => {
                begin = true;
                at += 1;
            }
            byte if begin && !byte.is_ascii_whitespace() => {
                begins.push(at);
                begin = false;
            }
            _ => at += 1,
        }
    }
    begins
}

fn methods<'a>(code: &'a str, inside: Range<usize>, names: &mut Vec<Name<'a>>) {
    for at in code::find_word(&code[inside.clone()], "fn") {
        let at = skip_space(code, inside.start + at + "fn".len());
        names.push((at, code::word_at(code, at)));
    }
}

#[test]
fn every_thing_goes_by_its_one_name() {
    check_all(forbidden_words);
}

#[test]
fn a_second_name_for_a_thing_is_seen() {
    let text = "pub struct Epochs;\nfn view() {}\npub(crate) const fn validator_set() {}\npub struct A {\n    \
                pub prev_hash: Hash,\n    #[serde(skip)]\n    pub next: u8,\n}\npub enum E {\n    #[error(\"x\")]\n    \
                Decided { #[from] packet: B },\n    GRpc(u8),\n}\npub trait T {\n    fn gc(&self);\n}\n\
                pub const VIEW_LIMIT: u8 = 1;\npub mod viewer;\n";
    assert_eq!(lines(forbidden_words, "consensus/src/x.rs", text), [1, 3, 5, 11, 11, 12, 15, 17]);
    assert_eq!(lines(forbidden_words, "node/src/epoch.rs", ""), [1]);
    let text = "pub fn sync() {}\npub fn round_up() {}\npub fn rounds() {}\n";
    assert_eq!(lines(forbidden_words, "wal/src/x.rs", text), [3]);
    assert_eq!(lines(forbidden_words, "node/src/x.rs", text), [1, 3]);
}

#[test]
fn a_name_is_split_into_its_words() {
    for (name, expected) in [
        ("HTTPServerError", "http server error"),
        ("as_bytes", "as bytes"),
        ("MAX_TX_BYTES", "max tx bytes"),
        ("P2pAddress", "p2p address"),
        ("BlockRef", "block ref"),
    ] {
        assert_eq!(words(name).join(" "), expected);
    }
}
