//! What `docs/traps.md` and `docs/paper.md` name is there: scripts, tests, files, rules of the simulator, planted bugs.
//!
//! The tables of traps have four columns: a trap, where it is known from, what shows it, what plants it. Those of the
//! papers have three: what a paper says, how it is here, what shows that; and each paper test stands in one of them. A
//! name stands between backticks, and nothing else does. That a test shows what the row says is not checked.

use crate::tree::{FILES, File, Offence, assert_none};

/// The document.
const TRAPS: &str = "docs/traps.md";

/// The list of what the papers say.
const PAPERS: &str = "docs/paper.md";

/// How the second column of that list begins.
const HERE: &[&str] = &["as there", "otherwise: ", "no counterpart"];

/// Where scripts are, which are named without their place.
const SCRIPTS: &str = "consensus/tests/scripts/";

/// Where the tests are whose files begin with `PAPER`; they are named without their place too.
const TESTS: &str = "consensus/tests/";

/// How the file of a paper test begins.
const PAPER: &str = "paper_";

/// Where the rules of the simulator are, as text in quotes.
const SIMULATOR: &str = "testnet/sim/src/";

/// How the name of such a rule begins.
const RULE: &str = "sim: ";

/// Where the planted bugs are.
const MUTANTS: &str = "testnet/mutants/";

/// How the third column begins where there is nothing to name; the reason follows.
const NOTHING: &str = "nothing yet: ";

/// The rows of all tables without their heads, and where each begins.
fn rows(text: &str) -> Vec<(usize, &str)> {
    let (mut rows, mut at, mut inside) = (Vec::new(), 0, false);
    for line in text.split_inclusive('\n') {
        let is_rule = line.starts_with("|--");
        if inside && line.starts_with('|') {
            rows.push((at, line.trim_end()));
        }
        inside = is_rule || inside && line.starts_with('|');
        at += line.len();
    }
    rows
}

/// What stands between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether the file has a test of this name, by the attribute above it.
fn has_test(file: &File, name: &str) -> bool {
    let head = format!("fn {name}(");
    file.code.match_indices(&head).any(|(at, _)| {
        let line = file.code[..at].rfind('\n').unwrap_or(0);
        file.code[..line].trim_end().lines().next_back().is_some_and(|it| it.contains("test"))
    })
}

/// What is missing of what a name stands for.
fn missing(name: &str, files: &[File]) -> Option<String> {
    let find = |path: &str| files.iter().find(|file| file.path == path);
    if let Some(rule) = name.strip_prefix(RULE) {
        let quoted = format!("\"{rule}\"");
        let has = |file: &File| file.path.starts_with(SIMULATOR) && file.text.contains(&quoted);
        return (!files.iter().any(has))
            .then(|| format!("no rule below {SIMULATOR} says `{rule}`"));
    }
    let (file, test) = name.split_once("::").map_or((name, None), |(file, it)| (file, Some(it)));
    let place = match file {
        _ if file.ends_with(".txt") => SCRIPTS,
        _ if file.starts_with(PAPER) => TESTS,
        _ => "",
    };
    let path = format!("{place}{file}");
    match (find(&path), test) {
        (None, _) => Some(format!("there is no file `{path}`")),
        (Some(file), Some(test)) if !has_test(file, test) => {
            Some(format!("`{path}` has no test `{test}`"))
        }
        (Some(_), _) => None,
    }
}

/// What is missing of what the last column names.
fn not_planted(cell: &str, files: &[File]) -> Vec<String> {
    let is_there = |number: &str| {
        let begin = format!("{MUTANTS}{number}_");
        files.iter().any(|file| file.path.starts_with(&begin))
    };
    let numbers = cell.split(',').map(str::trim).filter(|number| *number != "—");
    numbers
        .filter(|number| !is_there(number))
        .map(|number| format!("no planted bug has the number `{number}`; a dash if there is none"))
        .collect()
}

fn untrue(traps: &File, files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (at, row) in rows(&traps.text) {
        let cells = cells(row);
        let mut wrong: Vec<_> = names(row).filter_map(|name| missing(name, files)).collect();
        if let [_, _, shown, planted] = cells[..] {
            wrong.extend(not_planted(planted, files));
            if names(shown).next().is_none() && !shown.starts_with(NOTHING) {
                wrong.push(format!("it names nothing; a test, or `{NOTHING}` and why"));
            }
        } else {
            wrong.push(format!("{} columns; four", cells.len()));
        }
        offences.extend(wrong.into_iter().map(|what| traps.offence(at, what)));
    }
    offences
}

/// The cells of a row.
fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

fn unshown(papers: &File, files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (at, row) in rows(&papers.text) {
        let mut wrong: Vec<_> = names(row).filter_map(|name| missing(name, files)).collect();
        if let [_, here, shown] = cells(row)[..] {
            if !HERE.iter().any(|begin| here.starts_with(begin)) {
                wrong.push(format!("`{here}`; it begins with one of: {}", HERE.join(", ")));
            }
            if names(shown).next().is_none() {
                wrong.push(
                    "it names nothing; the test of the rule, or of what is in its place".into(),
                );
            }
        } else {
            wrong.push(format!("{} columns; three", cells(row).len()));
        }
        offences.extend(wrong.into_iter().map(|what| papers.offence(at, what)));
    }
    offences
}

/// The paper tests that no row names.
fn unlisted(papers: &File, files: &[File]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in files {
        let Some(name) = file.path.strip_prefix(TESTS).filter(|it| it.starts_with(PAPER)) else {
            continue;
        };
        for (at, _) in file.code.match_indices("#[test]") {
            let head = file.code[at..].split_once("fn ").and_then(|(_, it)| it.split_once('('));
            let test = head.map_or("", |(test, _)| test);
            if !papers.text.contains(&format!("`{name}::{test}`")) {
                offences.push(file.offence(at, format!("`{test}` has no row in {PAPERS}")));
            }
        }
    }
    offences
}

#[test]
fn what_the_papers_say_is_shown_and_each_paper_test_is_listed() {
    let papers = FILES.iter().find(|file| file.path == PAPERS).expect("the document is there");
    assert!(rows(&papers.text).len() > 150, "the tables are read");
    let mut offences = unshown(papers, &FILES);
    offences.extend(unlisted(papers, &FILES));
    assert_none(&offences);
}

#[test]
fn a_row_that_shows_nothing_and_a_paper_test_without_a_row_are_seen() {
    let tests = "#[test]\nfn b() {}\n\n#[test]\nfn c() {}\n";
    let files = [
        File::new("consensus/tests/scripts/a.txt", "# A fact.\n"),
        File::new("consensus/tests/paper_x.rs", tests),
        File::new("consensus/tests/x.rs", tests),
    ];
    let list = |rows: &str| File::new(PAPERS, &format!("| a | b | c |\n|---|---|---|\n{rows}"));
    let good = "| x | as there | `a.txt`, `paper_x.rs::b` |\n\
                | y | no counterpart: why | `paper_x.rs::c` |\n";
    assert!(unshown(&list(good), &files).is_empty() && unlisted(&list(good), &files).is_empty());
    let lines = |found: Vec<Offence>| -> Vec<usize> { found.iter().map(|it| it.line).collect() };
    for row in
        ["x | as there | somehow", "x | so | `a.txt`", "x | as there", "x | as there | `b.txt`"]
    {
        assert_eq!(lines(unshown(&list(&format!("| {row} |\n")), &files)), [3], "{row}");
    }
    assert_eq!(lines(unlisted(&list("| x | as there | `paper_x.rs::b` |\n"), &files)), [4]);
}

#[test]
fn what_holds_a_trap_is_there() {
    let traps = FILES.iter().find(|file| file.path == TRAPS).expect("the document is there");
    assert!(rows(&traps.text).len() > 50, "the tables are read");
    assert_none(&untrue(traps, &FILES));
}

#[test]
fn a_name_that_stands_for_nothing_is_seen() {
    let files = [
        File::new("consensus/tests/scripts/a.txt", "# A fact.\n"),
        File::new("consensus/tests/paper_x.rs", "/// Says.\n#[test]\nfn b() {}\n\nfn c() {}\n"),
        File::new("wal/tests/x.rs", "#[tokio::test]\nasync fn d() {}\n"),
        File::new("testnet/sim/src/x.rs", "hold(fine, \"all is well\", || told);\n"),
        File::new("testnet/mutants/07_x.patch", "A bug.\n"),
    ];
    let lines = |rows: &str| -> Vec<usize> {
        let text = format!("| a | b | c | d |\n|---|---|---|---|\n{rows}\n| no | row |\n");
        untrue(&File::new(TRAPS, &text), &files).into_iter().map(|it| it.line).collect()
    };
    let good = "| x | — | `a.txt`, `paper_x.rs::b`, `wal/tests/x.rs::d`, `sim: all is well` | 07 |\n\
                | `a.txt` | y | nothing yet: because | — |\n";
    assert_eq!(lines(good), [0; 0]);
    for name in ["b.txt", "paper_x.rs::c", "paper_y.rs::b", "wal/tests/x.rs::b", "sim: all", "x.sh"]
    {
        assert_eq!(lines(&format!("| x | y | `{name}` | — |\n")), [3], "{name}");
    }
    assert_eq!(lines("| x | y | `a.txt` | 07, 08 |\n| `b.txt` | y | `a.txt` | 7 |\n"), [3, 4, 4]);
    assert_eq!(lines("| x | y | somehow | — |\n| x | `a.txt` | — |\n"), [3, 4]);
}
