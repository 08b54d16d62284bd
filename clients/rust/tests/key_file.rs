//! What a key file keeps, and when it is refused.

use std::fs;

use quorate_client::{KeyFile, KeyFileError, Passphrase};

#[test]
fn a_key_reads_back_and_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys/alice.key");
    let made = KeyFile::generate(&path).unwrap();
    let read = KeyFile::read(&path).unwrap();
    assert_eq!(read.public(), made.public());
    assert_eq!(read.into_secret().account_key(), made.public());
    assert!(matches!(KeyFile::generate(&path), Err(KeyFileError::Io { .. })));
    assert_eq!(KeyFile::read(&path).unwrap().public(), made.public());
}

#[test]
fn a_key_under_a_passphrase_needs_it_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alice.key");
    let right = Passphrase::new("correct horse");
    let made = KeyFile::generate_under(&path, &right).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("secret = "), "{text}");
    assert_eq!(KeyFile::public_of(&path).unwrap(), made.public());
    assert!(matches!(KeyFile::read(&path), Err(KeyFileError::Sealed { .. })));
    let wrong = KeyFile::read_with(&path, Some(&Passphrase::new("correct house")));
    assert!(matches!(wrong, Err(KeyFileError::Passphrase { .. })));
    let read = KeyFile::read_with(&path, Some(&right)).unwrap();
    assert_eq!(read.into_secret().account_key(), made.public());
    // A passphrase that is not needed is no harm.
    let plain = dir.path().join("bob.key");
    KeyFile::generate(&plain).unwrap();
    KeyFile::read_with(&plain, Some(&right)).unwrap();
    // Other bytes in the file open nothing.
    let digit = text.find("sealed = \"").unwrap() + 10;
    let flipped = if text.as_bytes()[digit] == b'0' { "1" } else { "0" };
    let mut other = text.clone();
    other.replace_range(digit..=digit, flipped);
    fs::write(&path, other).unwrap();
    let refused = KeyFile::read_with(&path, Some(&right));
    assert!(matches!(refused, Err(KeyFileError::Passphrase { .. })));
    fs::write(&path, text.replace("salt", "salz")).unwrap();
    let refused = KeyFile::read_with(&path, Some(&right));
    assert!(matches!(refused, Err(KeyFileError::Malformed { .. })));
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alice.key");
    KeyFile::generate(&path).unwrap();
    for (mode, good) in [(0o640, false), (0o604, false), (0o600, true), (0o400, true)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let exposed = matches!(KeyFile::read(&path), Err(KeyFileError::Exposed { .. }));
        assert_eq!(!exposed, good, "{mode:o}");
    }
}

#[test]
fn what_is_no_key_of_an_account_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alice.key");
    KeyFile::generate(&path).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let other = dir.path().join("bob.key");
    let public = KeyFile::generate(&other).unwrap().public().to_string();
    let alice = KeyFile::read(&path).unwrap().public().to_string();
    for wrong in [
        text.clone() + "log = \"0000000000000001\"\nsigned = \"no\"\n",
        text.replace("quorate-key = \"1\"", "quorate-key = \"2\""),
        text.replace(&alice, &public),
        text.replace("secret =", "secrets ="),
        text.replace("secret = \"", "secret = \"0"),
        text.clone() + &text,
        "{}".to_owned(),
        String::new(),
    ] {
        fs::write(&path, wrong).unwrap();
        let refused = KeyFile::read(&path).map(|_| ());
        assert!(matches!(refused, Err(KeyFileError::Malformed { .. })), "{refused:?}");
    }
}
