//! What a package may lean on: the core on a written list, and on nothing with a runtime, a socket,
//! a database or a clock, however far below.
//!
//! `Cargo.lock` lists a package of the workspace together with its tests' dependencies, so for those
//! the manifest says which are meant. For every other package it lists what any platform or feature
//! in use may bring: that is more than is compiled in one place, never less.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use toml::{Table, Value};

use crate::tree::{FILES, File, Offence, assert_none};

/// `(manifest, what its package may depend on; tests are free)`.
const CORE: &[(&str, &[&str])] = &[
    (
        "chain/Cargo.toml",
        &[
            "bytes",
            "data-encoding",
            "ed25519-dalek",
            "ed25519-zebra",
            "rand_core",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "zeroize",
        ],
    ),
    ("consensus/Cargo.toml", &["quorate-chain", "bytes", "thiserror"]),
    ("wal/Cargo.toml", &["crc-fast", "getrandom", "thiserror"]),
    (
        "node/replica/Cargo.toml",
        &["quorate-chain", "quorate-consensus", "quorate-wal", "bytes", "thiserror"],
    ),
];

/// What the core never leans on, at any depth; a name that goes on with `-` counts too.
const OUTSIDE: &[(&str, &str)] = &[
    ("tokio", "a runtime"),
    ("async-std", "a runtime"),
    ("smol", "a runtime"),
    ("mio", "sockets"),
    ("socket2", "sockets"),
    ("hyper", "sockets"),
    ("libp2p", "sockets"),
    ("axum", "sockets"),
    ("tonic", "sockets"),
    ("rusqlite", "a database"),
    ("libsqlite3-sys", "a database"),
    ("chrono", "a clock"),
    ("time", "a clock"),
    ("jiff", "a clock"),
    ("quanta", "a clock"),
    ("coarsetime", "a clock"),
    ("instant", "a clock"),
    ("web-time", "a clock"),
];

/// `(library, manifests that may ask for it, manifests whose tests may)`. The benchmark asks for SQLite to measure what
/// a store costs by itself.
const HOMES: &[(&str, &[&str], &[&str])] = &[
    ("libp2p", &["Cargo.toml", "node/Cargo.toml"], &["testnet/Cargo.toml"]),
    (
        "rusqlite",
        &["Cargo.toml", "node/store/Cargo.toml", "bench/Cargo.toml"],
        &["testnet/Cargo.toml"],
    ),
    ("axum", &["Cargo.toml", "node/Cargo.toml"], &[]),
    ("tonic", &["Cargo.toml", "node/Cargo.toml"], &[]),
];

/// One line of a dependency table.
struct Dependency {
    /// The package, whatever the manifest calls it.
    package: String,
    /// Whether only tests, examples and benchmarks have it.
    for_tests: bool,
    /// Where the manifest says so.
    offset: usize,
}

/// Every dependency of a manifest, on every target.
fn dependencies(manifest: &File, root: &Table) -> Vec<Dependency> {
    let table: Table = manifest.text.parse().expect("cargo reads this manifest too");
    let targets = table.get("target").and_then(Value::as_table);
    let mut holders = vec![&table];
    holders.extend(table.get("workspace").and_then(Value::as_table));
    holders.extend(targets.into_iter().flat_map(Table::values).filter_map(Value::as_table));
    let mut found = Vec::new();
    for holder in holders {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            let entries = holder.get(section).and_then(Value::as_table);
            for (name, entry) in entries.into_iter().flatten() {
                found.push(Dependency {
                    package: package_of(name, entry, root),
                    for_tests: section == "dev-dependencies",
                    offset: offset_of(&manifest.text, section, name),
                });
            }
        }
    }
    found
}

fn package_of(name: &str, entry: &Value, root: &Table) -> String {
    let inherited = entry.get("workspace").and_then(Value::as_bool) == Some(true);
    let shared =
        root.get("workspace").and_then(|workspace| workspace.get("dependencies")?.get(name));
    let says = if inherited { shared.unwrap_or(entry) } else { entry };
    says.get("package").and_then(Value::as_str).unwrap_or(name).to_owned()
}

/// Where a dependency stands; the parser does not say.
fn offset_of(text: &str, section: &str, name: &str) -> usize {
    let mut inside = false;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            inside = line.trim_end().ends_with(&format!("{section}]"));
        }
        let own_table = line.contains(&format!("{section}.{name}]"));
        let key = line.split(['.', '=', ' ']).next().unwrap_or_default();
        if own_table || inside && key.trim_matches('"') == name {
            return at;
        }
        at += line.len();
    }
    0
}

fn unlisted(manifest: &File, root: &Table) -> Vec<Offence> {
    let Some((_, allowed)) = CORE.iter().find(|(path, _)| *path == manifest.path) else {
        return Vec::new();
    };
    dependencies(manifest, root)
        .into_iter()
        .filter(|found| !found.for_tests && !allowed.contains(&found.package.as_str()))
        .map(|found| {
            let (package, list) = (&found.package, allowed.join(", "));
            let what = format!("`{package}` is not on this package's list: {list}");
            manifest.offence(found.offset, what)
        })
        .collect()
}

/// Whether a package is this library, or one of its parts.
fn is(package: &str, library: &str) -> bool {
    package.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn strayed(manifest: &File, root: &Table) -> Vec<Offence> {
    let mut offences = Vec::new();
    for found in dependencies(manifest, root) {
        for (library, homes, test_homes) in HOMES {
            let at_home = manifest.is_in_any(homes);
            let in_tests = found.for_tests && manifest.is_in_any(test_homes);
            if is(&found.package, library) && !at_home && !in_tests {
                let what = format!("`{}`; only {} may ask for it", found.package, homes.join(", "));
                offences.push(manifest.offence(found.offset, what));
            }
        }
    }
    offences
}

/// A package in the lock: its name and version.
type Key = (String, String);

/// Who depends on whom, by `Cargo.lock`.
fn lock_graph(lock: &str) -> BTreeMap<Key, Vec<Key>> {
    let lock: Table = lock.parse().expect("cargo reads this lock too");
    let packages = lock["package"].as_array().expect("the lock lists packages");
    let text = |package: &Value, field: &str| {
        package[field].as_str().expect("names and versions are text").to_owned()
    };
    let keys: Vec<Key> =
        packages.iter().map(|package| (text(package, "name"), text(package, "version"))).collect();
    let resolve = |wanted: &Value| {
        // "name", or "name version" where the lock holds several, or with the source behind it.
        let mut words = wanted.as_str().expect("a dependency is text").split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next());
        let fits = |key: &&Key| key.0 == name && version.is_none_or(|version| key.1 == version);
        keys.iter().find(fits).expect("the lock lists what it refers to").clone()
    };
    let targets = packages.iter().map(|package| {
        let wanted = package.get("dependencies").and_then(Value::as_array);
        wanted.into_iter().flatten().map(resolve).collect()
    });
    keys.iter().cloned().zip(targets).collect()
}

/// Walks from each package of the core to whatever it brings along.
fn outside_below(lock: &File, manifests: &[&File], root: &Table) -> Vec<Offence> {
    let mut graph = lock_graph(&lock.text);
    let mut starts = Vec::new();
    for manifest in manifests {
        let table: Table = manifest.text.parse().expect("cargo reads this manifest too");
        let Some(name) = table.get("package").and_then(|package| package.get("name")?.as_str())
        else {
            continue;
        };
        let found = dependencies(manifest, root);
        let normal: BTreeSet<_> =
            found.into_iter().filter(|found| !found.for_tests).map(|found| found.package).collect();
        for (key, below) in &mut graph {
            if key.0 == name {
                below.retain(|(package, _)| normal.contains(package));
                if CORE.iter().any(|(path, _)| *path == manifest.path) {
                    starts.push(key.clone());
                }
            }
        }
    }
    starts.iter().flat_map(|start| walk(&graph, start, lock)).collect()
}

fn walk(graph: &BTreeMap<Key, Vec<Key>>, start: &Key, lock: &File) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut seen = BTreeSet::from([start]);
    let mut queue = VecDeque::from([(start, start.0.clone())]);
    while let Some((key, way)) = queue.pop_front() {
        if let Some((_, kind)) = OUTSIDE.iter().find(|(library, _)| is(&key.0, library)) {
            let stands = lock.text.find(&format!("name = \"{}\"", key.0)).unwrap_or_default();
            let what = format!("{way} brings {kind} into the core; do without");
            offences.push(lock.offence(stands, what));
            continue;
        }
        for below in graph.get(key).into_iter().flatten() {
            if seen.insert(below) {
                queue.push_back((below, format!("{way} > {}", below.0)));
            }
        }
    }
    offences
}

fn manifests() -> Vec<&'static File> {
    FILES.iter().filter(|file| file.path.split('/').next_back() == Some("Cargo.toml")).collect()
}

fn file(path: &str) -> &'static File {
    FILES.iter().find(|file| file.path == path).expect("the file is in the repository")
}

fn root_table() -> Table {
    file("Cargo.toml").text.parse().expect("cargo reads this manifest too")
}

#[test]
fn the_core_depends_on_its_list_and_on_nothing_else() {
    let root = root_table();
    for (path, _) in CORE {
        assert_none(&unlisted(file(path), &root));
    }
}

#[test]
fn a_dependency_off_the_list_is_seen() {
    let root = "[workspace.dependencies]\nio = { package = \"tokio\" }\n".parse().unwrap();
    let text = "[dependencies]\nbytes.workspace = true\nio.workspace = true\n\
                [target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n[dev-dependencies]\ntokio = \"1\"\n";
    let offences = unlisted(&File::new("consensus/Cargo.toml", text), &root);
    let lines: Vec<_> = offences.iter().map(|offence| offence.line).collect();
    assert_eq!(lines, [3, 5]);
}

#[test]
fn the_core_has_no_runtime_socket_database_or_clock_below_it() {
    assert_none(&outside_below(file("Cargo.lock"), &manifests(), &root_table()));
}

#[test]
fn a_runtime_two_steps_below_the_core_is_seen() {
    let entry = |name: &str, below: &str| {
        format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\ndependencies = [{below}]\n")
    };
    let lock = [
        entry("quorate-wal", "\"tempfile\", \"thiserror\""),
        entry("tempfile", "\"rusqlite\""),
        entry("thiserror", "\"tokio-util 1.0.0\""),
        entry("tokio-util", ""),
        entry("rusqlite", ""),
    ];
    let lock = File::new("Cargo.lock", &lock.concat());
    let manifest = "[package]\nname = \"quorate-wal\"\n[dependencies]\nthiserror = \"1\"\n\
                    [dev-dependencies]\ntempfile = \"1\"\n";
    let manifest = File::new("wal/Cargo.toml", manifest);
    let offences = outside_below(&lock, &[&manifest], &Table::new());
    assert_eq!(offences.len(), 1, "{offences:?}");
    assert_eq!(offences[0].line, 14);
    assert!(offences[0].what.starts_with("quorate-wal > thiserror > tokio-util brings a runtime"));
}

#[test]
fn each_library_is_asked_for_by_its_home_only() {
    let root = root_table();
    let offences: Vec<_> =
        manifests().into_iter().flat_map(|manifest| strayed(manifest, &root)).collect();
    assert_none(&offences);
}

#[test]
fn a_library_asked_for_elsewhere_is_seen() {
    let text = "[dependencies]\nrusqlite = \"1\"\nlibp2p-stream = \"1\"\n[dev-dependencies]\nlibp2p = \"1\"\n";
    let offences = |path| strayed(&File::new(path, text), &Table::new()).len();
    assert_eq!((offences("clients/rust/Cargo.toml"), offences("testnet/Cargo.toml")), (3, 2));
    assert_eq!((offences("node/Cargo.toml"), offences("node/store/Cargo.toml")), (1, 2));
}
