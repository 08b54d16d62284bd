//! What `docs/traps.md` names is there: scripts, tests, files, rules of the simulator, planted bugs.
//!
//! Each of its tables has four columns: a trap, where it is known from, what shows it, what plants it. A name
//! stands between backticks, and nothing else does. That a test shows what the row says is not checked.

use crate::tree::{FILES, File, Offence, assert_none};

/// The document.
const TRAPS: &str = "docs/traps.md";

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
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
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
