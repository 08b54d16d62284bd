//! Every leaf of a list can be proven, and nothing else can.

use bytes::Bytes;
use quorate_chain::codec::{Decode, DecodeError, Encode};
use quorate_chain::ids::Hash;
use quorate_chain::merkle::{self, InclusionError, InclusionProof, leaf_hash, node_hash};

const SIZES: usize = 130;

fn leaves(count: usize) -> Vec<Hash> {
    (0..count as u64).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// The root as RFC 6962 §2.1 defines it: split, and take both halves alike.
fn root_by_definition(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of(&[]),
        [one] => *one,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            node_hash(&root_by_definition(left), &root_by_definition(right))
        }
    }
}

fn flipped(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::new(bytes)
}

#[test]
fn the_root_is_that_of_the_definition() {
    for size in 0..=SIZES {
        let leaves = leaves(size);
        assert_eq!(merkle::root(leaves.iter().copied()), root_by_definition(&leaves), "{size}");
    }
}

#[test]
fn every_index_proves_and_reads_back() {
    for size in 0..=SIZES {
        let leaves = leaves(size);
        let root = root_by_definition(&leaves);
        for (index, leaf) in leaves.iter().enumerate() {
            let proof = merkle::prove(&leaves, index).unwrap();
            assert_eq!(proof.verify(*leaf, size as u64, root), Ok(()), "{index} of {size}");
            assert_eq!(InclusionProof::from_bytes(&proof.to_bytes()), Ok(proof));
        }
        assert_eq!(merkle::prove(&leaves, size), None);
    }
}

#[test]
fn another_index_count_leaf_sibling_or_root_is_refused() {
    for size in 1..=SIZES {
        let leaves = leaves(size);
        let (root, count) = (root_by_definition(&leaves), size as u64);
        for index in 0..size {
            let leaf = leaves[index];
            let proof = merkle::prove(&leaves, index).unwrap();
            let refused = |proof: &InclusionProof| proof.verify(leaf, count, root).unwrap_err();

            for other in (0..=size).filter(|other| *other != index) {
                refused(&InclusionProof { index: other as u64, ..proof.clone() });
            }
            for other in (0..=2 * count).filter(|other| *other != count) {
                let error = refused(&InclusionProof { count: other, ..proof.clone() });
                assert_eq!(error, InclusionError::Count { expected: count, found: other });
            }
            for at in 0..proof.siblings.len() {
                let mut bent = proof.clone();
                bent.siblings[at] = flipped(bent.siblings[at], (index * 7 + at) % 256);
                assert!(matches!(refused(&bent), InclusionError::Root { .. }));
                let mut short = proof.clone();
                short.siblings.remove(at);
                assert!(matches!(refused(&short), InclusionError::Siblings { .. }));
            }
            let mut long = proof.clone();
            long.siblings.push(root);
            assert!(matches!(refused(&long), InclusionError::Siblings { .. }));

            let bit = index % 256;
            assert!(proof.verify(flipped(leaf, bit), count, root).is_err());
            assert!(proof.verify(leaf, count, flipped(root, bit)).is_err());
        }
    }
}

#[test]
fn the_root_alone_does_not_fix_the_count() {
    // Why `verify` asks for the count: the same hashes are a proof for a longer list.
    let three = leaves(3);
    let proof = InclusionProof { count: 4, ..merkle::prove(&three, 0).unwrap() };
    let root = merkle::root(three.iter().copied());
    assert_eq!(proof.root(three[0]), Ok(root));
    let error = InclusionError::Count { expected: 3, found: 4 };
    assert_eq!(proof.verify(three[0], 3, root), Err(error));
}

#[test]
fn a_node_does_not_pass_for_a_leaf() {
    let four = leaves(4);
    let pair = [four[0].as_bytes().as_slice(), four[1].as_bytes()].concat();
    let halves = [leaf_hash(&pair), node_hash(&four[2], &four[3])];
    assert_ne!(merkle::root(halves), merkle::root(four));
}

#[test]
fn the_largest_count_has_an_answer() {
    let proof = InclusionProof { index: 0, count: u64::MAX, siblings: vec![Hash::ZERO; 64] };
    assert!(proof.root(Hash::ZERO).is_ok());
    assert_eq!(InclusionProof::from_bytes(&proof.to_bytes()), Ok(proof.clone()));
    let last = InclusionProof { index: u64::MAX, ..proof };
    let error = InclusionError::Index { index: u64::MAX, count: u64::MAX };
    assert_eq!(last.root(Hash::ZERO), Err(error));
}

#[test]
fn another_number_of_siblings_does_not_decode() {
    let mut proof = merkle::prove(&leaves(5), 4).unwrap();
    proof.siblings.push(Hash::ZERO);
    let error = InclusionProof::from_bytes(&proof.to_bytes()).unwrap_err();
    let rule = "index and count imply how many there are";
    assert_eq!(error, DecodeError::Invalid { field: "siblings", offset: 16, rule });
    let outside = InclusionProof { index: 5, count: 5, siblings: Vec::new() };
    assert!(InclusionProof::from_bytes(&outside.to_bytes()).is_err());
}

#[test]
fn fuzz_inclusion_proof_decodes_or_refuses() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        if let Ok(proof) = InclusionProof::from_bytes(&bytes) {
            assert_eq!(proof.to_bytes(), bytes);
            assert!(proof.root(Hash::ZERO).is_ok());
        }
    });
}

#[test]
fn fuzz_a_bent_inclusion_proof_makes_no_other_claim() {
    type Input = (u8, u8, u16, u8);
    bolero::check!().with_type::<Input>().cloned().for_each(|(size, index, at, bits)| {
        let leaves = leaves(usize::from(size) + 1);
        let index = usize::from(index) % leaves.len();
        let proof = merkle::prove(&leaves, index).unwrap();
        let mut bytes = proof.to_bytes().to_vec();
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= bits;
        let bytes = Bytes::from(bytes);
        let Ok(bent) = InclusionProof::from_bytes(&bytes) else {
            return;
        };
        assert_eq!(bent.to_bytes(), bytes);
        let root = merkle::root(leaves.iter().copied());
        let verified = bent.verify(leaves[index], leaves.len() as u64, root);
        assert_eq!(verified.is_ok(), bits == 0);
    });
}
