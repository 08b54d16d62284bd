//! Every encoded type of the crate, byte for byte.
//!
//! The fixtures stand in `chain/tests/golden`, a file for each type; how they are written is said in
//! `tests/fixtures`. They are the format: a change of one of them is a change of the format, and an
//! implementation in another language can be tested with them. What the fields mean is in
//! `docs/format.md`.
//!
//! After a change that is meant, write them anew and look at what it did to them:
//!
//! ```text
//! QUORATE_BLESS=1 cargo test -p quorate-chain --test golden && git diff chain/tests/golden
//! ```
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../fixtures/mod.rs"]
mod fixtures;
mod layout;
mod proofs;
#[path = "../story/mod.rs"]
mod story;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{env, fs};

use bytes::Bytes;
use fixtures::{Fixture, codec_of, folder};
use layout::{Layout, Sheet};
use quorate_chain::codec::Encode;
use quorate_chain::genesis::Genesis;
use story::Story;

/// A fixture as this program makes it.
struct Made {
    kind: &'static str,
    name: String,
    about: String,
    bytes: Bytes,
    layout: Layout,
    /// What follows from it.
    derived: Vec<(&'static str, Vec<u8>)>,
}

impl Made {
    fn new(kind: &'static str, name: &str, layout: Layout, value: &impl Encode) -> Self {
        Self::of_bytes(kind, name, layout, value.to_bytes())
    }

    fn of_bytes(kind: &'static str, name: &str, layout: Layout, bytes: Bytes) -> Self {
        let (name, about, derived) = (name.to_owned(), String::new(), Vec::new());
        Self { kind, name, about, bytes, layout, derived }
    }

    /// Says what is special about it.
    fn about(mut self, about: &str) -> Self {
        self.about = about.to_owned();
        self
    }

    fn derive(mut self, name: &'static str, bytes: &[u8]) -> Self {
        self.derived.push((name, bytes.to_vec()));
        self
    }

    fn text(&self) -> String {
        let mut text = format!("[{}]\n", self.name);
        if !self.about.is_empty() {
            writeln!(text, "# {}", self.about).unwrap();
        }
        text += &Sheet::write(&self.bytes, self.layout);
        for (name, bytes) in &self.derived {
            let mut sheet = Sheet::write(&[], |_| {});
            for (row, part) in bytes.chunks(32).enumerate() {
                let label = format!("= {}", if row == 0 { name } else { "" });
                writeln!(sheet, "{label:<25} {}", fixtures::hex(part)).unwrap();
            }
            text += &sheet;
        }
        text
    }
}

fn all() -> Vec<Made> {
    let story = Story::new();
    let mut all = values::all(&story);
    all.extend(proofs::all(&story));
    all
}

/// What the files should say, by type.
fn files(all: &[Made]) -> BTreeMap<&'static str, String> {
    let mut files: BTreeMap<_, String> = BTreeMap::new();
    for made in all {
        let file = files.entry(made.kind).or_insert_with(|| format!("# {}\n", made.kind));
        write!(file, "\n{}", made.text()).unwrap();
    }
    files
}

/// The lines in which two texts differ, from the first to the last of them.
fn difference(name: &str, stored: &str, made: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (stored.lines().collect(), made.lines().collect());
    let front = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[front..], &new[front..]);
    let back = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let mut text = format!("{name}, line {front}\n");
    for line in &old[..old.len() - back] {
        writeln!(text, "  - {line}").unwrap();
    }
    for line in &new[..new.len() - back] {
        writeln!(text, "  + {line}").unwrap();
    }
    text
}

#[test]
fn every_type_is_encoded_as_it_was() {
    let all = all();
    let file = Story::new().world.file;
    if env::var_os("QUORATE_BLESS").is_some() {
        for (kind, text) in files(&all) {
            fs::write(folder().join(kind).with_extension("hex"), text).unwrap();
        }
        fs::write(folder().join("genesis.json"), file).unwrap();
        return;
    }
    let mut differences = String::new();
    for (kind, text) in files(&all) {
        let stored = fixtures::read(kind);
        let find = |name: &str| stored.iter().find(|fixture| fixture.name == name);
        let of_kind = || all.iter().filter(|made| made.kind == kind);
        for made in of_kind() {
            let stored = find(&made.name).map_or("", |fixture| &fixture.text);
            if stored != made.text() {
                differences += &difference(&format!("{kind} {}", made.name), stored, &made.text());
            }
        }
        let gone = |fixture: &&Fixture| of_kind().all(|made| made.name != fixture.name);
        for fixture in stored.iter().filter(gone) {
            differences += &difference(&format!("{kind} {}", fixture.name), &fixture.text, "");
        }
        let path = folder().join(kind).with_extension("hex");
        if differences.is_empty() && fs::read_to_string(path).unwrap() != text {
            writeln!(differences, "{kind}: the order of the fixtures, or a comment").unwrap();
        }
    }
    let stored = fs::read_to_string(folder().join("genesis.json")).unwrap_or_default();
    if stored.as_bytes() != file {
        differences += &difference("genesis.json", &stored, &String::from_utf8_lossy(&file));
    }
    assert!(differences.is_empty(), "the format has changed (- stored, + now):\n{differences}");
}

#[test]
fn every_fixture_decodes_and_encodes_to_itself() {
    let mut count = 0;
    for fixture in fixtures::read_all() {
        let codec = codec_of(&fixture.kind).unwrap();
        let again = codec(&fixture.bytes);
        assert_eq!(again, Ok(fixture.bytes), "{} {}", fixture.kind, fixture.name);
        count += 1;
    }
    assert!(count > 70, "only {count} fixtures can be decoded");
}

#[test]
fn every_type_that_decodes_has_a_fixture_and_no_file_is_left_over() {
    let all = all();
    let kinds: Vec<_> = files(&all).into_keys().collect();
    for (kind, _) in fixtures::CODECS {
        assert!(kinds.contains(kind), "{kind} has no fixture");
    }
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let known = path.extension().is_none_or(|kind| kind != "hex");
        assert!(known || kinds.contains(&name.as_str()), "nothing makes {name}.hex");
    }
}

#[test]
fn the_genesis_file_reads_back() {
    let file = fs::read(folder().join("genesis.json")).unwrap();
    let genesis = Genesis::parse(&file).unwrap();
    assert_eq!(genesis, story::genesis());
    assert_eq!(genesis.to_file(), file);
}

/// The hex in front of each line of the example in the document.
fn example(document: &str) -> String {
    let (_, from) = document.split_once("### Example").unwrap();
    let block = from.split("```").nth(1).unwrap();
    let is_hex = |word: &&str| word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    block.lines().skip(1).flat_map(|line| line.split_whitespace().take_while(is_hex)).collect()
}

#[test]
fn the_example_in_the_document_is_the_fixture() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/format.md");
    let document = fs::read_to_string(path).unwrap();
    let transactions = fixtures::read("transaction");
    let plain = transactions.iter().find(|fixture| fixture.name == "plain").unwrap();
    assert_eq!(example(&document), fixtures::hex(&plain.bytes));
    let id = all().into_iter().find(|made| (made.kind, &*made.name) == ("transaction", "plain"));
    assert!(document.contains(&fixtures::hex(&id.unwrap().derived[0].1)));
}

#[test]
fn a_difference_names_the_fixture_and_the_lines() {
    let told = difference("statement ack", "a\nb\nc\nd\n", "a\nx\nc2\nd\n");
    assert_eq!(told, "statement ack, line 1\n  - b\n  - c\n  + x\n  + c2\n");
}
