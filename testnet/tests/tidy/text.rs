//! What every file owes its reader: a first sentence, finished work, no place of birth, clean ends.

use crate::code;
use crate::tree::{File, Offence, check_all, lines};

/// Where a machine keeps what is its own; spelt in two halves, so that this file passes.
const MACHINE_PATHS: &[&str] = &[
    concat!("/home", "/"),
    concat!("/root", "/"),
    concat!("/tmp", "/"),
    concat!("/work", "/"),
    concat!("/Users", "/"),
];

/// `(path, why it must name such a place)`; a trailing slash means everything below.
const MAY_NAME_A_MACHINE_PATH: &[(&str, &str)] = &[];

/// `(what stands in the code, what is right)`.
const UNFINISHED: &[(&str, &str)] = &[
    ("todo!", "write it, or leave the item out"),
    ("unimplemented!", "write it, or leave the item out"),
    ("dbg!", "take it out"),
    ("#[ignore", "a test runs, or is not there"),
];

fn undocumented(file: &File) -> Vec<Offence> {
    if !file.is_rust() || file.text.starts_with("//!") {
        return Vec::new();
    }
    vec![
        file.offence(0, "no `//!` in the first line; a file begins with what it is for".to_owned()),
    ]
}

fn unfinished(file: &File) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (mark, right) in UNFINISHED {
        for (at, _) in file.code.match_indices(mark) {
            offences.push(file.offence(at, format!("`{mark}`; {right}")));
        }
    }
    offences
}

fn machine_paths(file: &File) -> Vec<Offence> {
    if file.path == "Cargo.lock" || MAY_NAME_A_MACHINE_PATH.iter().any(|(path, _)| file.is_in(path))
    {
        return Vec::new();
    }
    let mut offences = Vec::new();
    for place in MACHINE_PATHS {
        for (at, _) in file.text.match_indices(place) {
            let before = file.text[..at].chars().next_back();
            let goes_on = |c: char| c.is_alphanumeric() || "_-.~}*>)]".contains(c);
            if !before.is_some_and(goes_on) {
                let what =
                    format!("`{place}` exists on one machine; build the path from what is given");
                offences.push(file.offence(at, what));
            }
        }
    }
    offences
}

fn untidy_ends(file: &File) -> Vec<Offence> {
    let kinds = [".rs", ".md", ".sh", ".toml", ".ci/run"];
    if !kinds.iter().any(|kind| file.path.ends_with(kind)) {
        return Vec::new();
    }
    let mut offences = Vec::new();
    let mut at = 0;
    for line in file.text.split_inclusive('\n') {
        let shown = line.strip_suffix('\n').unwrap_or(line);
        if shown.ends_with(char::is_whitespace) {
            offences.push(file.offence(at, "white space at the end of the line; none".to_owned()));
        }
        if shown == line {
            let what = "no line break at the end of the file; exactly one".to_owned();
            offences.push(file.offence(at, what));
        }
        at += line.len();
    }
    offences
}

#[test]
fn every_rust_file_begins_with_its_purpose() {
    check_all(undocumented);
}

#[test]
fn a_file_without_its_purpose_is_seen() {
    assert_eq!(lines(undocumented, "wal/src/x.rs", "// Frames.\n"), [1]);
    assert_eq!(lines(undocumented, "wal/src/x.rs", "//! Frames.\n"), [0; 0]);
}

#[test]
fn nothing_is_left_unfinished_or_ignored() {
    check_all(unfinished);
}

#[test]
fn unfinished_work_is_seen() {
    let text = "fn a() { todo!() }\n// todo!()\nfn b() { dbg!(1); }\n#[ignore]\nfn c() {}\n";
    assert_eq!(lines(unfinished, "wal/src/x.rs", text), [1, 3, 4]);
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    check_all(machine_paths);
}

#[test]
fn a_place_on_somebodys_machine_is_seen() {
    let text = ["cd ", MACHINE_PATHS[0], "me\nls target", MACHINE_PATHS[2], "x\n"].concat();
    assert_eq!(lines(machine_paths, "docs/x.md", &text), [1]);
}

#[test]
fn lines_and_files_end_cleanly() {
    check_all(untidy_ends);
}

#[test]
fn untidy_ends_are_seen() {
    assert_eq!(lines(untidy_ends, "docs/x.md", "a \nb\nc\t"), [1, 3, 3]);
    assert_eq!(lines(untidy_ends, "docs/x.md", "a\nb\n"), [0; 0]);
}

#[test]
fn a_word_is_not_found_inside_another() {
    assert_eq!(code::find_word("instant Instant InstantX", "Instant"), [8]);
}
