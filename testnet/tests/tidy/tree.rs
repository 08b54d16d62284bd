//! The files of the repository, and how an offence is told.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::code;

/// Directories that a walk without git leaves out: what `.gitignore` leaves out, and git's own.
const NOT_OURS: &[&str] = &[".git", "target", "fuzz-target"];

/// A text file of the repository.
pub(crate) struct File {
    /// Its path below the root, with `/` on every platform.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
    /// For Rust, the text with comments and literals blanked; else empty.
    pub(crate) code: String,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { code::blank(text) } else { String::new() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether the file stands at `place`, or below it if `place` ends with a slash.
    pub(crate) fn is_in(&self, place: &str) -> bool {
        if place.ends_with('/') { self.path.starts_with(place) } else { self.path == place }
    }

    /// Whether the file stands in one of the places.
    pub(crate) fn is_in_any(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.is_in(place))
    }

    /// The offence that begins at this byte of the file.
    pub(crate) fn offence(&self, offset: usize, what: String) -> Offence {
        Offence { path: self.path.clone(), line: code::line_of(&self.text, offset), what }
    }
}

/// One place where a rule is broken.
#[derive(Debug)]
pub(crate) struct Offence {
    /// The file.
    pub(crate) path: String,
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// What is wrong and what is right.
    pub(crate) what: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Fails with the whole list, unless it is empty.
pub(crate) fn assert_none(offences: &[Offence]) {
    let mut list = String::new();
    for offence in offences {
        writeln!(list, "{offence}").expect("a string takes all that is written to it");
    }
    assert!(offences.is_empty(), "{} offences:\n{list}", offences.len());
}

/// Runs a rule for single files over every file of the repository.
pub(crate) fn check_all(rule: impl Fn(&File) -> Vec<Offence>) {
    let offences: Vec<_> = FILES.iter().flat_map(rule).collect();
    assert_none(&offences);
}

/// Runs a rule over a made-up file and returns the lines that it names.
pub(crate) fn lines(rule: impl Fn(&File) -> Vec<Offence>, path: &str, text: &str) -> Vec<usize> {
    rule(&File::new(path, text)).into_iter().map(|offence| offence.line).collect()
}

/// Every text file that git tracks or would track, by path.
pub(crate) static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let root = root();
    let mut paths = by_git(&root).unwrap_or_else(|| {
        let mut found = Vec::new();
        walk(&root, "", &mut found);
        found
    });
    paths.sort();
    paths.dedup();
    paths
        .iter()
        .filter_map(|path| Some(File::new(path, &fs::read_to_string(root.join(path)).ok()?)))
        .collect()
});

fn root() -> PathBuf {
    let testnet = Path::new(env!("CARGO_MANIFEST_DIR"));
    testnet.parent().expect("the package stands in the root of the repository").to_path_buf()
}

/// `None` without git, and in a copy of the tree that git knows nothing of.
fn by_git(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let paths: Vec<_> =
        String::from_utf8(output.stdout).ok()?.split_terminator('\0').map(str::to_owned).collect();
    paths.iter().any(|path| path == "Cargo.toml").then_some(paths)
}

fn walk(root: &Path, below: &str, found: &mut Vec<String>) {
    let listing =
        fs::read_dir(root.join(below)).expect("a directory of the repository is readable");
    for entry in listing {
        let entry = entry.expect("a directory of the repository is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if entry.path().is_symlink() || NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        if entry.path().is_dir() {
            walk(root, &path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn the_walk_finds_what_git_lists() {
    let mut walked = Vec::new();
    walk(&root(), "", &mut walked);
    for path in ["Cargo.toml", "chain/src/lib.rs", "testnet/tests/tidy/tree.rs"] {
        assert!(FILES.iter().any(|file| file.path == path), "{path} is not listed");
        assert!(walked.iter().any(|walked| walked == path), "{path} is not walked");
    }
}
