//! Every planted bug can still be planted, and says what it is; other patches can still be applied.
//!
//! A mutant is a unified diff below a few lines of text. It is planted by what it changes and not by
//! line numbers, so here too: the old lines of each hunk stand exactly once in the file that it names.

use crate::tree::{FILES, File, Offence, assert_none};

/// Where the mutants are.
const FOLDER: &str = "testnet/mutants/";

/// The packages that a mutant may name as those whose tests have to look.
const PACKAGES: &[&str] =
    &["chain", "consensus", "wal", "replica", "store", "node", "sim", "testnet"];

/// One hunk: where it begins in the patch, the file, and the lines before the change.
struct Hunk {
    offset: usize,
    path: String,
    old: String,
}

fn hunks(patch: &str) -> Vec<Hunk> {
    let mut hunks: Vec<Hunk> = Vec::new();
    let (mut path, mut at, mut inside) = (String::new(), 0, false);
    for line in patch.split_inclusive('\n') {
        if let Some(file) = line.strip_prefix("--- a/") {
            (path, inside) = (file.trim_end().to_owned(), false);
        } else if line.starts_with("@@ ") {
            hunks.push(Hunk { offset: at, path: path.clone(), old: String::new() });
            inside = true;
        } else if line.starts_with("diff ") {
            inside = false;
        } else if let (true, Some(hunk)) = (inside, hunks.last_mut()) {
            match line.split_at(1) {
                (" " | "-", rest) => hunk.old.push_str(rest),
                // An editor may have taken the blank that stands for an empty line.
                ("\n", _) => hunk.old.push('\n'),
                _ => {}
            }
        }
        at += line.len();
    }
    hunks
}

fn is_mutant(file: &File) -> bool {
    file.path.starts_with(FOLDER) && file.path.ends_with(".patch")
}

fn unplantable(patch: &File, files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    let hunks = hunks(&patch.text);
    if hunks.is_empty() {
        offences.push(patch.offence(0, "no diff in it".to_owned()));
    }
    for hunk in hunks {
        let target = files.iter().find(|file| file.path == hunk.path);
        let found = target.map_or(0, |file| file.text.matches(&hunk.old).count());
        if found != 1 {
            let what = format!("the old lines stand {found} times in {}; exactly once", hunk.path);
            offences.push(patch.offence(hunk.offset, what));
        }
    }
    offences
}

fn unnamed(patch: &File) -> Vec<Offence> {
    let mut offences = Vec::new();
    let head = patch.text.split("\ndiff ").next().unwrap_or_default();
    let tests = head.lines().find_map(|line| line.strip_prefix("Tests:")).unwrap_or_default();
    let known = tests.split_whitespace().all(|package| PACKAGES.contains(&package));
    if tests.trim().is_empty() || !known {
        let what =
            format!("`Tests:` names the packages that look: some of {}", PACKAGES.join(", "));
        offences.push(patch.offence(0, what));
    }
    let name = patch.path.strip_prefix(FOLDER).unwrap_or_default();
    let number = name.split_once('_').map_or("", |(number, _)| number);
    if number.len() < 2 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        let what = "its name begins with a number of two digits or more and `_`";
        offences.push(patch.offence(0, what.to_owned()));
    }
    offences
}

#[test]
fn every_mutant_can_be_planted_and_says_who_has_to_look() {
    let mut offences = Vec::new();
    for patch in FILES.iter().filter(|file| is_mutant(file)) {
        offences.extend(unnamed(patch));
        offences.extend(unplantable(patch, &FILES));
    }
    assert_none(&offences);
}

#[test]
fn every_other_patch_can_be_applied() {
    let others = FILES.iter().filter(|file| file.path.ends_with(".patch") && !is_mutant(file));
    assert_none(&others.flat_map(|patch| unplantable(patch, &FILES)).collect::<Vec<_>>());
}

#[test]
fn a_mutant_that_no_longer_fits_is_seen() {
    let target = [File::new("wal/src/x.rs", "fn f() {\n    one();\n\n    two();\n}\n")];
    let patch = |old: &str| {
        let text = format!(
            "A bug.\nTests: wal\n\ndiff --git a/wal/src/x.rs b/wal/src/x.rs\n--- a/wal/src/x.rs\n\
             +++ b/wal/src/x.rs\n@@ -1,3 +1,3 @@ fn f() {{\n     one();\n\n-    {old}();\n+    bad();\n"
        );
        File::new("testnet/mutants/01_x.patch", &text)
    };
    assert!(unplantable(&patch("two"), &target).is_empty());
    assert_eq!(unplantable(&patch("three"), &target).len(), 1);
    assert!(unnamed(&patch("two")).is_empty());
    assert_eq!(unnamed(&File::new("testnet/mutants/x.patch", "A bug.\nTests: moon\n")).len(), 2);
}
