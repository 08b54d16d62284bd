//! A state proof shows what stands at a path, or that nothing does, and cannot be bent.

use bytes::Bytes;
use quorate_chain::codec::{Decode, Encode};
use quorate_chain::ids::Hash;
use quorate_chain::state_root::{
    Changes, Leaf, MemoryLeaves, StateProof, StateProofError, StateTree, Undo,
};

fn hash(n: u64, version: u64) -> Hash {
    Hash::of(&[&n.to_be_bytes(), &version.to_be_bytes()])
}

fn ledger(keys: u64) -> (StateTree, MemoryLeaves) {
    let (mut tree, mut leaves) = (StateTree::new(), MemoryLeaves::new());
    let changes = (0..keys).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect();
    tree.update(&changes, &leaves).expect("memory can be read");
    leaves.apply(&changes);
    (tree, leaves)
}

fn flipped(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 0x80 >> (bit % 8);
    Hash::new(bytes)
}

#[test]
fn every_key_is_proven_present_and_every_other_absent() {
    for keys in [0, 1, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64, 65, 257, 1_000] {
        let (tree, leaves) = ledger(keys);
        for n in 0..keys + 100 {
            let proof = tree.prove(hash(n, 0), &[], &leaves).unwrap();
            assert_eq!(StateProof::from_bytes(&proof.to_bytes()).as_ref(), Ok(&proof));
            let stands = (n < keys).then(|| hash(n, 1));
            assert_eq!(proof.verify(tree.root(), hash(n, 0)), Ok(stands), "{n} of {keys}");
            assert_eq!(proof.count, keys);
        }
    }
}

#[test]
fn the_last_eight_roots_are_proven_against_the_newest_leaves() {
    let (mut tree, mut leaves) = ledger(300);
    let mut undos: Vec<Undo> = Vec::new();
    let mut states = vec![(tree.root(), leaves.clone())];
    for block in 1..40_u64 {
        // Grows, shrinks to almost nothing and grows again, so that slots change hands.
        let (first, last) = [(0, 700), (200, 900), (5, 1_000), (0, 40)][block as usize % 4];
        let digest = (block % 4 != 2).then(|| hash(block, 2));
        let changes: Changes =
            (first..last).step_by(1 + block as usize % 3).map(|n| (hash(n, 0), digest)).collect();
        undos.insert(0, tree.update(&changes, &leaves).unwrap());
        leaves.apply(&changes);
        states.insert(0, (tree.root(), leaves.clone()));
        undos.truncate(8);
        for (age, (root, then)) in states.iter().enumerate().take(undos.len() + 1) {
            let newer: Vec<&Undo> = undos[..age].iter().collect();
            assert!(newer.last().is_none_or(|undo| undo.root() == *root));
            for n in (0..1_100).step_by(37) {
                let proof = tree.prove(hash(n, 0), &newer, &leaves).unwrap();
                let stands = then.iter().find(|leaf| leaf.path == hash(n, 0));
                let stands = stands.map(|leaf| leaf.digest);
                assert_eq!(proof.verify(*root, hash(n, 0)), Ok(stands), "{n}, {age} blocks ago");
            }
        }
    }
}

#[test]
fn an_update_that_fails_does_not_harm_older_proofs() {
    let (mut tree, leaves) = ledger(300);
    let root = tree.root();
    let grow = (300..900).map(|n| (hash(n, 0), Some(hash(n, 1)))).collect();
    assert!(tree.update(&grow, &MemoryLeaves::new()).is_err());
    let proof = tree.prove(hash(77, 0), &[], &leaves).unwrap();
    assert_eq!(proof.verify(root, hash(77, 0)), Ok(Some(hash(77, 1))));
}

#[test]
fn no_flipped_bit_makes_another_claim() {
    let (tree, leaves) = ledger(60);
    for n in [3, 59, 60, 61] {
        let bytes = tree.prove(hash(n, 0), &[], &leaves).unwrap().to_bytes();
        for bit in 0..8 * bytes.len() {
            let mut bent = bytes.to_vec();
            bent[bit / 8] ^= 0x80 >> (bit % 8);
            let Ok(bent) = StateProof::from_bytes(&Bytes::from(bent)) else {
                continue;
            };
            bent.verify(tree.root(), hash(n, 0)).unwrap_err();
        }
    }
}

#[test]
fn a_proof_is_for_its_own_bucket_and_root() {
    let (tree, leaves) = ledger(200);
    let (root, path) = (tree.root(), hash(3, 0));
    let proof = tree.prove(path, &[], &leaves).unwrap();
    let depth = proof.siblings.len();
    for bit in 0..256 {
        let answer = proof.verify(root, flipped(path, bit));
        if bit < depth {
            let first = proof.bucket[0].path;
            assert_eq!(answer, Err(StateProofError::Outside { path: first, depth }));
        } else {
            assert_eq!(answer, Ok(None));
        }
        assert!(proof.verify(flipped(root, bit), path).is_err());
    }
}

#[test]
fn a_bucket_with_leaves_left_out_added_or_changed_is_refused() {
    let (tree, leaves) = ledger(200);
    let (root, path) = (tree.root(), hash(3, 0));
    let proof = tree.prove(path, &[], &leaves).unwrap();
    let bent = |bend: &dyn Fn(&mut StateProof)| {
        let mut bent = proof.clone();
        bend(&mut bent);
        bent.verify(root, path).unwrap_err()
    };
    let is_root = |error| matches!(error, StateProofError::Root { .. });
    for at in 0..proof.bucket.len() {
        let left_out = proof.bucket[at];
        assert!(is_root(bent(&|proof| proof.bucket.retain(|leaf| *leaf != left_out))));
        assert!(is_root(bent(&|proof| proof.bucket[at].digest = hash(9, 9))));
    }
    let last = proof.bucket[proof.bucket.len() - 1];
    let added = Leaf { path: flipped(last.path, 255), digest: hash(9, 9) };
    bent(&|proof| {
        proof.bucket.push(added);
        proof.bucket.sort();
    });
    for at in 0..proof.siblings.len() {
        assert!(is_root(bent(&|proof| proof.siblings[at] = hash(9, 9))));
        bent(&|proof| proof.siblings.truncate(at));
        bent(&|proof| proof.siblings.insert(at, hash(9, 9)));
    }
    bent(&|proof| proof.bucket.clear());
    bent(&|proof| proof.count += 1);
    bent(&|proof| proof.siblings.resize(257, Hash::ZERO));
    bent(&|proof| proof.bucket = vec![last; 9]);
}

/// A root over one bucket, made as no honest state makes it.
fn forged(bucket: Vec<Leaf>, siblings: Vec<Hash>, on_the_right: bool) -> (StateProof, Hash) {
    let listed = bucket.iter().flat_map(|leaf| [leaf.path, leaf.digest]);
    let bytes: Vec<u8> = listed.flat_map(|hash| *hash.as_bytes()).collect();
    let top = siblings.iter().fold(Hash::of(&[&[0], &bytes]), |hash, sibling| {
        let (left, right) = if on_the_right { (sibling, &hash) } else { (&hash, sibling) };
        Hash::of(&[&[1], left.as_bytes(), right.as_bytes()])
    });
    let root = Hash::of(&[&[2], &9_u64.to_be_bytes(), top.as_bytes()]);
    (StateProof { count: 9, bucket, siblings }, root)
}

#[test]
fn not_even_a_forged_root_proves_what_is_out_of_place() {
    let low = Leaf { path: Hash::new([0x11; 32]), digest: hash(1, 1) };
    let high = Leaf { path: Hash::new([0x99; 32]), digest: hash(2, 2) };

    let (proof, root) = forged(vec![low, high], vec![], false);
    assert_eq!(proof.verify(root, low.path), Ok(Some(low.digest)));
    for bucket in [vec![high, low], vec![low, low]] {
        let (proof, root) = forged(bucket, vec![], false);
        let order = StateProofError::Order { path: low.path };
        assert_eq!(proof.verify(root, low.path), Err(order));
    }

    let sibling = vec![hash(5, 5)];
    let (proof, root) = forged(vec![low], sibling.clone(), false);
    assert_eq!(proof.verify(root, Hash::ZERO), Ok(None));
    let (proof, root) = forged(vec![high], sibling.clone(), false);
    let outside = StateProofError::Outside { path: high.path, depth: 1 };
    assert_eq!(proof.verify(root, Hash::ZERO), Err(outside));
    let (proof, root) = forged(vec![low], sibling, true);
    let outside = StateProofError::Outside { path: low.path, depth: 1 };
    assert_eq!(proof.verify(root, high.path), Err(outside));

    let nine: Vec<Leaf> =
        (0..9).map(|n| Leaf { path: Hash::new([n; 32]), digest: Hash::ZERO }).collect();
    let (proof, root) = forged(nine, vec![], false);
    assert_eq!(proof.verify(root, Hash::ZERO), Err(StateProofError::Bucket { found: 9 }));
    assert!(StateProof::from_bytes(&proof.to_bytes()).is_err());
}

#[test]
fn an_inner_node_does_not_pass_for_a_bucket() {
    // Bucket and inner node are told apart by their first byte. Without it the two children of
    // the top could be listed as one leaf, whose path is the hash on the left.
    let (tree, leaves) = ledger(9);
    let proof = tree.prove(hash(0, 0), &[], &leaves).unwrap();
    let on_the_right = hash(0, 0).as_bytes()[0] >> 7 == 1;
    let (other, _) = forged(proof.bucket.clone(), vec![], false);
    let listed = other.bucket.iter().flat_map(|leaf| [leaf.path, leaf.digest]);
    let bytes: Vec<u8> = listed.flat_map(|hash| *hash.as_bytes()).collect();
    let (own, sibling) = (Hash::of(&[&[0], &bytes]), proof.siblings[0]);
    let (path, digest) = if on_the_right { (sibling, own) } else { (own, sibling) };
    let short = StateProof { count: 9, bucket: vec![Leaf { path, digest }], siblings: vec![] };
    assert!(matches!(short.verify(tree.root(), path), Err(StateProofError::Root { .. })));
}

#[test]
fn fuzz_state_proof_decodes_or_refuses() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        if let Ok(proof) = StateProof::from_bytes(&bytes) {
            assert_eq!(proof.to_bytes(), bytes);
            assert!(proof.verify(Hash::ZERO, Hash::ZERO).is_err());
        }
    });
}

#[test]
fn fuzz_a_bent_state_proof_makes_no_other_claim() {
    let (tree, leaves) = ledger(100);
    type Input = (u8, Vec<(u16, u8)>, u8);
    bolero::check!().with_type::<Input>().cloned().for_each(|(key, edits, cut)| {
        let path = hash(u64::from(key), 0);
        let stands = (key < 100).then(|| hash(u64::from(key), 1));
        let proof = tree.prove(path, &[], &leaves).unwrap();
        let mut bytes = proof.to_bytes().to_vec();
        for (at, bits) in edits {
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= bits;
        }
        bytes.truncate(bytes.len() - usize::from(cut / 64));
        let bytes = Bytes::from(bytes);
        let Ok(bent) = StateProof::from_bytes(&bytes) else {
            return;
        };
        assert_eq!(bent.to_bytes(), bytes);
        match bent.verify(tree.root(), path) {
            Ok(found) => assert_eq!((found, bent), (stands, proof)),
            Err(_) => assert_ne!(bent, proof),
        }
    });
}
