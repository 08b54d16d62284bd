//! The genesis file: what it says, what it may not say, and what it is called.
#![allow(clippy::unwrap_used)]

mod common;

use common::{account, admin, genesis};
use quorate_chain::execute::Writers;
use quorate_chain::genesis::{Genesis, GenesisError, GenesisGrant, SIZE};
use quorate_chain::ids::{AccountKey, ChainId, Height, NodeId, Term};
use quorate_chain::limits;
use quorate_chain::roster::{Lead, QuorumKind, Role};
use quorate_chain::state::{Grants, StateEntry, StateKey};
use sha2::{Digest, Sha256};

/// What is wrong with a genesis, in the words that an operator reads.
fn refused(change: impl FnOnce(&mut Genesis)) -> String {
    let mut genesis = genesis(5);
    change(&mut genesis);
    let checked = genesis.check().unwrap_err().to_string();
    let parsed = Genesis::parse(&genesis.to_file()).unwrap_err().to_string();
    assert_eq!(checked, parsed);
    checked
}

/// What is wrong with the text of a file, after something in it was replaced.
fn misspelt(from: &str, to: &str) -> String {
    let file = String::from_utf8(genesis(2).to_file()).unwrap();
    assert_eq!(file.matches(from).count(), 1, "{from} in {file}");
    let found = Genesis::parse(file.replace(from, to).as_bytes());
    assert!(matches!(found, Err(GenesisError::Json(_))), "{found:?}");
    found.unwrap_err().to_string()
}

#[test]
fn a_file_is_read_back_as_it_was_written() {
    let mut full = genesis(5);
    full.vote_quorum = Some(4);
    full.finality_quorum = Some(5);
    full.writers = Writers::Granted;
    full.validators[3].lead = Lead::No;
    full.validators[4].lead = Lead::Prefer;
    full.validators[4].p2p.clear();
    full.grants = vec![GenesisGrant { account: account(0), prefix: "ä/".to_owned() }];
    for genesis in [genesis(1), genesis(64), full] {
        let file = genesis.to_file();
        assert_eq!(Genesis::parse(&file).unwrap(), genesis);
        assert_eq!(Genesis::parse(&file).unwrap().to_file(), file);
    }
}

#[test]
fn what_may_be_left_out_has_a_default() {
    let key = common::validator(0).validator_key();
    let file = format!(
        r#"{{"version": 1, "name": "small", "time_us": 7, "writers": "anyone",
            "admins": {{"threshold": 1, "keys": ["{}"]}},
            "validators": [{{"name": "a", "key": "{key}"}}]}}"#,
        admin(0).account_key()
    );
    let genesis = Genesis::parse(file.as_bytes()).unwrap();
    assert!(!genesis.testnet);
    assert_eq!((genesis.vote_quorum, genesis.finality_quorum), (None, None));
    assert_eq!(genesis.validators[0].lead, Lead::Yes);
    assert!(genesis.state().is_empty());
}

#[test]
fn the_chain_id_is_the_hash_of_the_bytes() {
    let file = genesis(3).to_file();
    let id = Genesis::chain_id(&file);
    assert_eq!(id.as_bytes().as_slice(), Sha256::digest(&file).as_slice());
    let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Genesis::chain_id(b""), known.parse::<ChainId>().unwrap());
    // A space more is another chain with the same rules.
    let spaced = [&file[..], b" "].concat();
    assert_eq!(Genesis::parse(&spaced).unwrap(), genesis(3));
    assert_ne!(Genesis::chain_id(&spaced), id);

    let parent = id.genesis_ref();
    assert_eq!((parent.term, parent.height), (Term::ZERO, Height::ZERO));
    assert_eq!(parent.hash.as_bytes(), id.as_bytes());
}

#[test]
fn the_first_roster_has_the_validators_in_order() {
    let mut genesis = genesis(4);
    genesis.admins.keys.reverse();
    let roster = genesis.roster().unwrap();
    assert!(!roster.is_joint());
    let part = roster.current();
    assert_eq!(part.next_id, NodeId::new(4));
    for (id, (member, validator)) in (0..).zip(part.members.iter().zip(&genesis.validators)) {
        assert_eq!(member.id, NodeId::new(id));
        assert_eq!((&member.name, &member.key), (&validator.name, &validator.key));
        assert_eq!((&member.p2p, &member.api), (&validator.p2p, &validator.api));
        assert_eq!((member.role, member.lead), (Role::Voter, validator.lead));
    }
    assert!(part.admins.keys.is_sorted());
    // In whatever order the admins are written, the roster is the same.
    assert_eq!(roster.hash(), common::genesis(4).roster().unwrap().hash());
}

#[test]
fn quorums_are_majorities_unless_the_file_says_more() {
    for (voters, majority) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (64, 33)] {
        let mut genesis = genesis(voters);
        let all = u16::try_from(voters).unwrap();
        let size = |genesis: &Genesis, kind| genesis.roster().unwrap().current().quorum(kind);
        for kind in [QuorumKind::Election, QuorumKind::Commit, QuorumKind::Finality] {
            assert_eq!(size(&genesis, kind), majority, "{kind:?} of {voters}");
        }
        genesis.vote_quorum = Some(u16::try_from(majority).unwrap());
        genesis.finality_quorum = Some(all);
        assert_eq!(size(&genesis, QuorumKind::Election), majority);
        assert_eq!(size(&genesis, QuorumKind::Commit), majority);
        assert_eq!(size(&genesis, QuorumKind::Finality), usize::from(all));
        for bad in [0, u16::try_from(majority).unwrap() - 1, all + 1] {
            genesis.vote_quorum = Some(bad);
            let message = genesis.check().unwrap_err().to_string();
            let expected = format!(
                "a quorum of {bad} of {voters} voters: it takes from {majority} to {voters}"
            );
            assert_eq!(message, expected);
            (genesis.vote_quorum, genesis.finality_quorum) = (None, Some(bad));
            assert_eq!(genesis.check().unwrap_err().to_string(), expected);
            genesis.finality_quorum = None;
        }
    }
}

#[test]
fn each_mistake_has_its_sentence() {
    assert_eq!(refused(|g| g.version = 2), "version 2, this program reads version 1");
    let name = r#""Test" is no name: 1 to 64 of a-z, 0-9, '-', '.'"#;
    assert_eq!(refused(|g| g.name = "Test".to_owned()), name);
    assert!(refused(|g| g.name.clear()).starts_with("\"\" is no name"));
    assert!(refused(|g| g.validators[0].name = "x".repeat(65)).contains("is no name"));
    assert_eq!(refused(|g| g.validators.clear()), "a roster needs at least one voter");
    let many = refused(|g| *g = genesis(65));
    assert_eq!(many, "65 members, at most 64 are allowed");
    let twice = refused(|g| g.validators[4].name = "node1".to_owned());
    assert_eq!(twice, "two members are called node1");
    let key = refused(|g| g.validators[4].key = g.validators[2].key.clone());
    assert_eq!(key, "node 4 has the key of another member");
    let address = refused(|g| g.validators[1].api = vec!["http://a b".to_owned()]);
    assert_eq!(address, r#"node 1: "http://a b" is no address"#);
    let empty = refused(|g| g.validators[1].p2p = vec![String::new()]);
    assert_eq!(empty, r#"node 1: "" is no address"#);
    let nine = refused(|g| g.validators[1].p2p = vec!["a".to_owned(); 9]);
    assert_eq!(nine, "node 1 has more than 8 addresses");
}

#[test]
fn each_mistake_about_admins_and_grants_has_its_sentence() {
    let threshold = |threshold, admins| {
        format!("{threshold} of {admins} admins: it takes at least 1, at most all, of 1 to 16")
    };
    assert_eq!(refused(|g| g.admins.threshold = 0), threshold(0, 2));
    assert_eq!(refused(|g| g.admins.threshold = 3), threshold(3, 2));
    assert_eq!(refused(|g| g.admins.keys.clear()), threshold(1, 0));
    let seventeen = (0..17).map(|id| admin(id).account_key()).collect();
    assert_eq!(refused(|g| g.admins.keys = seventeen), threshold(1, 17));
    let twice = refused(|g| g.admins.keys[1] = g.admins.keys[0]);
    assert_eq!(twice, "members are sorted by id and admins by key, each once");
    let zero = refused(|g| g.admins.keys[1] = AccountKey::ZERO);
    assert_eq!(zero, format!("admin {} is not a usable key", AccountKey::ZERO));

    let grant = |account, prefix: &str| GenesisGrant { account, prefix: prefix.to_owned() };
    let small = refused(|g| g.grants = vec![grant(AccountKey::ZERO, "")]);
    let expected =
        format!("grant to {}: a point of small order is no public key", AccountKey::ZERO);
    assert_eq!(small, expected);
    let long = "x".repeat(limits::KEY + 1);
    let expected =
        format!("grant to {}: a prefix of 1025 bytes, at most 1024 are allowed", account(0));
    assert_eq!(refused(|g| g.grants = vec![grant(account(0), &long)]), expected);
    let many = (0..=limits::GRANTS).map(|n| grant(account(0), &n.to_string())).collect();
    let expected = format!("65 grants to {}, at most 64 are allowed", account(0));
    assert_eq!(refused(|g| g.grants = many), expected);
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let mut file = genesis(1).to_file();
    file.resize(SIZE, b' ');
    assert!(Genesis::parse(&file).is_ok());
    file.push(b' ');
    let message = Genesis::parse(&file).unwrap_err().to_string();
    assert_eq!(message, "1048577 bytes, a genesis file has at most 1048576");
}

#[test]
fn unknown_fields_are_refused_wherever_they_stand() {
    for from in [r#""testnet""#, r#""threshold""#, r#""name": "node0""#] {
        let message = misspelt(from, &format!(r#""colour": 1, {from}"#));
        assert!(message.starts_with("unknown field `colour`, expected "), "{message}");
        assert!(message.contains(" at line "), "{message}");
    }
    let mut genesis = genesis(1);
    genesis.grants = vec![GenesisGrant { account: account(0), prefix: "p".to_owned() }];
    let file = String::from_utf8(genesis.to_file()).unwrap();
    let file = file.replace(r#""prefix""#, r#""colour": 1, "prefix""#);
    let message = Genesis::parse(file.as_bytes()).unwrap_err().to_string();
    assert!(message.starts_with("unknown field `colour`"), "{message}");
}

#[test]
fn duplicate_fields_are_refused() {
    for field in ["writers", "testnet", "vote_quorum", "threshold", "grants"] {
        let from = format!(r#""{field}""#);
        let value = match field {
            "writers" => r#""anyone""#,
            "testnet" => "true",
            "threshold" => "1",
            "grants" => "[]",
            _ => "null",
        };
        let message = misspelt(&from, &format!("{from}: {value}, {from}"));
        assert!(message.starts_with(&format!("duplicate field `{field}`")), "{message}");
    }
}

#[test]
fn what_is_missing_or_of_another_shape_is_refused() {
    assert!(misspelt(r#""name": "test","#, "").starts_with("missing field `name`"));
    assert!(misspelt(r#""writers": "anyone","#, "").starts_with("missing field `writers`"));
    assert!(misspelt("\"anyone\"", "\"nobody\"").starts_with("unknown variant `nobody`"));
    assert!(misspelt("\"version\": 1", "\"version\": -1").starts_with("invalid value"));
    assert!(misspelt("\"threshold\": 1", "\"threshold\": 65536").starts_with("invalid value"));
    let key = common::validator(0).validator_key().to_string();
    assert!(misspelt(&key, &key.to_uppercase()).contains("hex"));
    assert!(misspelt(&key, &key[1..]).contains("64 characters"));
    assert!(misspelt(&key, &"0".repeat(64)).contains("small order"));
    for broken in [&b""[..], b"{", b"[]", b"null", b"\xff", b"{} {}"] {
        assert!(matches!(Genesis::parse(broken), Err(GenesisError::Json(_))));
    }
    let mut trailing = genesis(1).to_file();
    trailing.extend(b"{}");
    assert!(matches!(Genesis::parse(&trailing), Err(GenesisError::Json(_))));
}

#[test]
fn grants_are_in_the_state_by_account() {
    let mut genesis = genesis(1);
    let grant = |id, prefix: &str| GenesisGrant { account: account(id), prefix: prefix.to_owned() };
    genesis.grants = vec![grant(1, "b"), grant(0, ""), grant(1, "a"), grant(1, "b")];
    let entry = |id, prefixes: &[&'static str]| {
        let prefixes = prefixes.iter().map(|prefix| prefix.as_bytes().into()).collect();
        (StateKey::Grants(account(id)), Some(StateEntry::Grants(Grants(prefixes))))
    };
    assert_eq!(genesis.state(), [entry(0, &[""]), entry(1, &["a", "b"])].into());
}

#[test]
fn what_has_named_fields_is_written_with_their_names() {
    let value: serde_json::Value = serde_json::from_slice(&genesis(2).to_file()).unwrap();
    let bare = |value: &serde_json::Value| {
        serde_json::Value::Array(value.as_object().unwrap().values().cloned().collect())
    };
    for place in ["admins", "validators"] {
        let mut file = value.clone();
        let part = &mut file[place];
        let part = if place == "validators" { &mut part[0] } else { part };
        *part = bare(part);
        assert!(Genesis::parse(file.to_string().as_bytes()).is_err(), "{place}");
    }
    assert!(Genesis::parse(bare(&value).to_string().as_bytes()).is_err());
}

#[test]
fn a_word_is_written_as_text() {
    let value: serde_json::Value = serde_json::from_slice(&genesis(2).to_file()).unwrap();
    let mut file = value.clone();
    file["writers"] = serde_json::json!({ "anyone": null });
    let told = Genesis::parse(file.to_string().as_bytes()).unwrap_err();
    assert_eq!(told.to_string(), "writers: expected text");
    let mut file = value;
    file["validators"][1]["lead"] = serde_json::json!({ "yes": null });
    let told = Genesis::parse(file.to_string().as_bytes()).unwrap_err();
    assert_eq!(told.to_string(), "lead: expected text");
}
