//! The home of a node: made once, used by one, readable by its owner alone.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use quorate_node::Node;
use quorate_node::config::Config;
use quorate_node::exit::Exit;
use quorate_node::home::{Home, HomeError, Layout, NewHome};
use quorate_node::keys::KeyFile;

fn create(root: &Path) -> Result<Layout, HomeError> {
    let config = Config::default();
    let (config, genesis) = (&config, Some(&b"{}\n"[..]));
    let seed = &[7; 32];
    Home::create(root, &NewHome { config, genesis, seed, validator: None, development: false })
}

#[test]
fn a_new_home_has_all_that_a_node_begins_with() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("node0");
    let layout = create(&root).unwrap();
    assert_eq!(fs::read(layout.genesis()).unwrap(), b"{}\n");
    let config = fs::read_to_string(layout.config()).unwrap();
    assert_eq!(Config::load(&config, [], []).unwrap(), Config::default());
    let key = KeyFile::read(&layout.validator_key()).unwrap();
    assert!(!key.log.unwrap().signed);
    let mode = fs::metadata(layout.validator_key()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(matches!(create(&root).unwrap_err(), HomeError::Exists { .. }));
}

#[test]
fn a_home_half_made_is_no_home_and_can_be_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let layout = create(directory.path()).unwrap();
    fs::remove_file(directory.path().join("FORMAT")).unwrap();
    let error = Home::open(directory.path()).unwrap_err();
    assert!(matches!(error, HomeError::Missing { .. }), "{error}");
    fs::write(layout.genesis(), b"half").unwrap();
    create(directory.path()).unwrap();
    assert_eq!(fs::read(layout.genesis()).unwrap(), b"{}\n");
    Home::open(directory.path()).unwrap();
}

#[test]
fn a_home_of_another_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path()).unwrap();
    fs::write(directory.path().join("FORMAT"), "quorate-home 2\n").unwrap();
    let error = Home::open(directory.path()).unwrap_err();
    assert!(error.to_string().contains("quorate-home 2"), "{error}");
    assert_eq!(error.failure().exit, Exit::Configuration);
}

#[test]
fn the_second_user_of_a_home_is_told_the_first_ones_process() {
    let directory = tempfile::tempdir().unwrap();
    create(directory.path()).unwrap();
    let first = Home::open(directory.path()).unwrap();
    let error = Home::open(directory.path()).unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert_eq!(error.failure().exit, Exit::Storage);
    drop(first);
    Home::open(directory.path()).unwrap();
}

#[test]
fn a_file_that_the_disk_does_not_give_is_not_the_operators_fault() {
    use std::os::unix::fs::symlink;

    // At its beginning there is no memory: the operating system reads it with an I/O error.
    let broken = Path::new("/proc/self/mem");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for which in [Layout::genesis, Layout::validator_key] {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("home");
        common::home(&root, 0, &common::genesis(1), &common::config());
        let home = Home::open(&root).unwrap();
        let file = which(home.layout());
        fs::remove_file(&file).unwrap();
        symlink(broken, &file).unwrap();
        let failure = runtime.block_on(Node::start(home, common::config())).err().unwrap();
        assert_eq!(failure.exit, Exit::Storage, "{failure}");
        fs::remove_file(&file).unwrap();
        let home = Home::open(&root).unwrap();
        let failure = runtime.block_on(Node::start(home, common::config())).err().unwrap();
        assert_eq!(failure.exit, Exit::Configuration, "{failure}");
    }
}
