//! What is said of a testnet in words.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use quorate_client::Testnet;

/// What so many validators of which so many make a quorum can bear.
pub(crate) fn arithmetic(voters: usize, quorum: usize) -> String {
    let spare = voters.saturating_sub(quorum);
    let bears = match spare {
        0 => "none may fail".to_owned(),
        1 => "one may fail".to_owned(),
        many => format!("{many} may fail"),
    };
    let needed = format!("a quorum is {quorum} of {voters}, so {bears}");
    let even = voters.is_multiple_of(2) && quorum == voters / 2 + 1;
    match voters {
        1 => "there is one validator: if it fails, everything stands still".to_owned(),
        2 if even => {
            format!("{needed}; one validator alone is less safe, and three bear one failure")
        }
        _ if even => {
            let fewer = voters - 1;
            format!(
                "{needed}; {fewer} would bear as many, so the last one adds a copy and no tolerance"
            )
        }
        _ => needed,
    }
}

/// How a group of which so many run stands, and so many of them see each other.
pub(crate) fn standing(voters: usize, quorum: usize, running: usize, together: usize) -> String {
    let parted = if together < running {
        format!(", no more than {together} of them see each other")
    } else {
        String::new()
    };
    let group = format!("{running} of {voters} run{parted}, {quorum} are needed");
    match together.checked_sub(quorum) {
        None if running >= quorum => format!("{group}: nothing is acknowledged until they do"),
        None => format!("{group}: nothing is acknowledged until {} more run", quorum - running),
        Some(0) => format!("{group}: none may fail now"),
        Some(1) => format!("{group}: one may fail"),
        Some(more) => format!("{group}: {more} may fail"),
    }
}

/// Names as people list them.
pub(crate) fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A short time.
pub(crate) fn short(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        return format!("{} ms", time.as_millis());
    }
    if time < Duration::from_secs(10) {
        return format!("{:.1} s", time.as_secs_f64());
    }
    format!("{} s", time.as_secs())
}

/// A chain that is no higher has just begun: with the first block of its first leader.
const NEW: u64 = 2;

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// All that can be pasted, once the testnet is ready; `elsewhere` is its directory, if commands do not look there.
pub(crate) fn banner(
    testnet: &Testnet,
    (leader, height): (Option<usize>, u64),
    (quorate, elsewhere): (&str, Option<&Path>),
    took: Duration,
    end: &str,
) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    let (count, dir) = (testnet.nodes.len(), testnet.dir.display());
    let validators = if count == 1 { "validator" } else { "validators" };
    let quorum = usize::try_from(testnet.quorum).unwrap_or(usize::MAX);
    line(format!("{count} {validators} in {dir}, ready after {:.1} s", took.as_secs_f64()));
    line(format!("  chain {}", testnet.chain_id));
    if height > NEW {
        line(format!("  it goes on at height {height}; --fresh would begin a new one"));
    }
    line(format!("  {}", arithmetic(count, quorum)));
    line(String::new());
    for (at, node) in testnet.nodes.iter().enumerate() {
        let role = if leader == Some(at) { "leads" } else { "" };
        let pid = node.pid.map_or(String::new(), |pid| pid.to_string());
        line(format!("  {:<8} {}  pid {pid:<8} {role:<5}  {}", node.name, node.api, node.p2p));
    }
    line(String::new());
    line("  keys for development; everyone may know them, so never use them for more:".to_owned());
    for (name, path) in &testnet.keys {
        line(format!("  {name:<8} {}", path.display()));
    }
    line(String::new());
    if let Some(dir) = elsewhere {
        line(format!("first: export QUORATE_TESTNET={}", quoted(dir)));
    }
    line(format!("try: {quorate} put greeting hello"));
    line(format!("     {quorate} get greeting"));
    line(format!("     {quorate} testnet kill {}", leader.unwrap_or(0)));
    line(format!("({end})"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_is_told_what_it_is_worth() {
        assert_eq!(arithmetic(5, 3), "a quorum is 3 of 5, so 2 may fail");
        assert_eq!(
            arithmetic(4, 3),
            "a quorum is 3 of 4, so one may fail; 3 would bear as many, so the last one adds a copy and no tolerance"
        );
        assert!(arithmetic(2, 2).starts_with("a quorum is 2 of 2, so none may fail"));
        assert!(arithmetic(1, 1).contains("if it fails"));
    }

    #[test]
    fn what_may_still_fail_is_counted_down() {
        assert_eq!(standing(5, 3, 5, 5), "5 of 5 run, 3 are needed: 2 may fail");
        assert_eq!(standing(5, 3, 3, 3), "3 of 5 run, 3 are needed: none may fail now");
        assert_eq!(
            standing(5, 3, 1, 1),
            "1 of 5 run, 3 are needed: nothing is acknowledged until 2 more run"
        );
        assert_eq!(
            standing(5, 3, 5, 2),
            "5 of 5 run, no more than 2 of them see each other, 3 are needed: nothing is acknowledged until they do"
        );
        assert!(standing(5, 3, 5, 3).ends_with("3 are needed: none may fail now"));
    }

    #[test]
    fn paths_are_such_as_a_shell_takes_them() {
        let quoted = |path: &str| quoted(Path::new(path));
        assert_eq!(quoted("/a/b-1.c"), "/a/b-1.c");
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }

    #[test]
    fn names_are_listed_as_people_do() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(listed(&names), "a, b and c");
        assert_eq!(listed(&names[..1]), "a");
        assert_eq!(listed(&[]), "nobody");
    }
}
