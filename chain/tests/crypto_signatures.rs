//! Every vector has its verdict under each rule, alone and in every batch.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod vectors;

use quorate_chain::crypto::{
    BadSender, Ed25519, Message, SecretKey, SenderSignature, ValidatorKey, Verifier,
    check_account_key,
};
use quorate_chain::ids::{AccountKey, Signature};
use vectors::{Seeded, Vector};

fn all() -> Vec<Vector> {
    [
        vectors::from_file(),
        vectors::mixed_order(),
        vectors::small_order_r(),
        vectors::small_order_key(),
        vectors::malformed(),
        vectors::fillers(4),
    ]
    .concat()
}

fn validators_accept(vector: &Vector) -> bool {
    ValidatorKey::from_bytes(&vector.key).is_ok_and(|key| {
        let signature = Signature::new(vector.signature);
        Ed25519.validator(&key, &vector.message, &signature).is_ok()
    })
}

fn senders_accept(vector: &Vector) -> bool {
    Ed25519.senders(&[vector.item()]).is_ok()
}

#[test]
fn every_vector_has_its_verdict_under_each_rule() {
    vectors::check_the_constants();
    for vector in all() {
        assert_eq!(validators_accept(&vector), vector.validators, "validators: {vector:?}");
        assert_eq!(senders_accept(&vector), vector.senders, "senders: {vector:?}");
    }
}

#[test]
fn the_secret_keys_of_rfc_8032_make_its_signatures() {
    let secrets = [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5",
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    ];
    for (secret, vector) in secrets.into_iter().zip(vectors::from_file()) {
        assert!(vector.name.starts_with("rfc8032"), "{}", vector.name);
        let seed: AccountKey = secret.parse().unwrap();
        let key = SecretKey::from_seed(seed.as_bytes());
        assert_eq!(*key.account_key().as_bytes(), vector.key, "{}", vector.name);
        assert_eq!(*key.sign(&vector.message).as_bytes(), vector.signature, "{}", vector.name);
    }
}

#[test]
fn small_order_keys_are_refused_for_the_key_and_not_the_equation() {
    for vector in vectors::small_order_key() {
        let signature = ed25519_zebra::Signature::from_bytes(&vector.signature);
        let zip215 = ed25519_zebra::VerificationKey::try_from(vector.key).unwrap();
        assert!(zip215.verify(&signature, &vector.message).is_ok(), "{vector:?}");
        assert!(check_account_key(&AccountKey::new(vector.key)).is_err(), "{vector:?}");
        assert!(ValidatorKey::from_bytes(&vector.key).is_err(), "{vector:?}");
    }
}

/// What the library says by its own strict rule, which decodes `R`.
fn strictly_accepted(vector: &Vector) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(&vector.signature);
    ed25519_dalek::VerifyingKey::from_bytes(&vector.key)
        .is_ok_and(|key| key.verify_strict(&vector.message, &signature).is_ok())
}

/// The keys that are none for us are of small order, and refused by both.
#[test]
fn the_validators_rule_is_the_strict_one_of_the_library() {
    for vector in all() {
        assert_eq!(validators_accept(&vector), strictly_accepted(&vector), "{vector:?}");
    }
}

/// Every bit of what was signed and of the signature, and `s` plus the order, under plain keys and mixed ones.
#[test]
fn the_two_strict_rules_agree_around_every_good_signature() {
    let good: Vec<_> =
        all().into_iter().filter(|vector| vector.validators && vector.message.len() < 64).collect();
    assert!(good.len() > 50);
    for vector in &good {
        let agree = |changed: &Vector| {
            assert!(!validators_accept(changed), "{changed:?}, made of {}", vector.name);
            assert!(!strictly_accepted(changed), "{changed:?}, made of {}", vector.name);
        };
        for bit in 0..512 {
            let mut changed = vector.clone();
            changed.signature[bit / 8] ^= 1 << (bit % 8);
            agree(&changed);
        }
        for bit in 0..8 * vector.message.len() {
            let mut changed = vector.clone();
            changed.message[bit / 8] ^= 1 << (bit % 8);
            agree(&changed);
        }
        let mut changed = vector.clone();
        let s = vector.signature[32..].try_into().unwrap();
        changed.signature[32..].copy_from_slice(&vectors::add(s, vectors::ORDER).unwrap());
        agree(&changed);
    }
}

#[test]
fn one_in_eight_is_good_of_what_the_owner_of_a_mixed_key_signs() {
    let signed = vectors::by_owners_of_mixed_keys(800);
    for vector in &signed {
        assert_eq!(validators_accept(vector), vector.validators, "{vector:?}");
        assert_eq!(strictly_accepted(vector), vector.validators, "{vector:?}");
    }
    let good = signed.iter().filter(|vector| vector.validators).count();
    assert!((70..130).contains(&good), "{good} of 800");
}

/// The equation alone would take them.
#[test]
fn each_r_of_small_order_is_refused_for_its_order() {
    let vectors = vectors::small_order_r_that_cancels();
    assert_eq!(vectors.len(), 8);
    for vector in vectors {
        let plain = ed25519_dalek::VerifyingKey::from_bytes(&vector.key).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&vector.signature);
        let verdict = ed25519_dalek::Verifier::verify(&plain, &vector.message, &signature);
        assert!(verdict.is_ok(), "{vector:?}");
        assert!(!strictly_accepted(&vector), "{vector:?}");
        assert!(!validators_accept(&vector), "{vector:?}");
    }
}

/// So a client may check a validator's signature with any Ed25519 there is.
#[test]
fn what_validators_accept_every_other_rule_accepts() {
    for vector in all().into_iter().filter(validators_accept) {
        assert!(senders_accept(&vector), "{vector:?}");
        let plain = ed25519_dalek::VerifyingKey::from_bytes(&vector.key).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&vector.signature);
        let verdict = ed25519_dalek::Verifier::verify(&plain, &vector.message, &signature);
        assert!(verdict.is_ok(), "{vector:?}");
    }
}

/// A signature that a validator's key accepts belongs to that key, in those bytes, even if the key is
/// of mixed order: no neighbour of the key or of the signature will do.
#[test]
fn a_validators_signature_is_good_for_one_key_and_in_one_form() {
    let accepted: Vec<_> = vectors::mixed_order().into_iter().filter(|v| v.validators).collect();
    assert!(accepted.len() > 40);
    let keys: Vec<_> =
        accepted.iter().map(|vector| ValidatorKey::from_bytes(&vector.key).unwrap()).collect();
    for vector in &accepted {
        for key in &keys {
            let good =
                Ed25519.validator(key, &vector.message, &Signature::new(vector.signature)).is_ok();
            assert_eq!(good, *key.as_bytes() == vector.key, "{vector:?} by {key:?}");
        }
        for other in &accepted {
            let mut swapped = vector.clone();
            swapped.signature[..32].copy_from_slice(&other.signature[..32]);
            let same = swapped.signature == vector.signature;
            assert_eq!(validators_accept(&swapped), same, "{vector:?} with R of {other:?}");
        }
    }
}

/// Puts each vector at seeded places among good signatures, and asks whether the batch says of it
/// what the rule says. With `QUORATE_ALL_VECTORS` set each of them 200 times, which takes minutes.
fn in_batches_of(size: usize, vectors: &[Vector]) {
    let fillers = vectors::fillers(512);
    let mut seeded = Seeded(size as u64);
    for vector in vectors {
        let times = match (vector.delicate, vector.senders) {
            _ if std::env::var_os("QUORATE_ALL_VECTORS").is_some() => 200,
            (true, true) => 200,
            (false, true) => 8,
            // There are hundreds, and taking a large batch apart is slow: some of them will do.
            (_, false) => usize::from(size < 64 || seeded.below(8) == 0),
        };
        for _ in 0..times {
            let place = seeded.below(size);
            let first = seeded.below(fillers.len() - size);
            let mut batch: Vec<_> = fillers[first..first + size].iter().map(Vector::item).collect();
            batch[place] = vector.item();
            let expected = if vector.senders { Ok(()) } else { Err(BadSender { index: place }) };
            assert_eq!(Ed25519.senders(&batch), expected, "at {place} of {size}: {vector:?}");
        }
    }
}

#[test]
fn verdicts_are_the_same_in_batches_of_2() {
    in_batches_of(2, &all());
}

#[test]
fn verdicts_are_the_same_in_batches_of_8() {
    in_batches_of(8, &all());
}

// The slowest one, so in two parts that run side by side.

#[test]
fn verdicts_are_the_same_in_batches_of_64() {
    in_batches_of(64, &vectors::mixed_order());
}

#[test]
fn verdicts_are_the_same_in_batches_of_64_if_not_of_mixed_order() {
    let mixed: Vec<_> = vectors::mixed_order().into_iter().map(|vector| vector.name).collect();
    let others: Vec<_> = all().into_iter().filter(|v| !mixed.contains(&v.name)).collect();
    in_batches_of(64, &others);
}

/// Many signatures under each mixed key, so that the keys are added up before they are multiplied.
#[test]
fn signatures_of_mixed_order_are_good_together() {
    let vectors = [vectors::mixed_order(), vectors::small_order_r()].concat();
    let mut seeded = Seeded(1);
    for round in 0..200 {
        let mut batch: Vec<_> = vectors.iter().map(Vector::item).collect();
        seeded.shuffle(&mut batch);
        batch.truncate([2, 8, 64][round % 3]);
        assert_eq!(Ed25519.senders(&batch), Ok(()), "round {round}");
    }
}

#[test]
fn an_empty_batch_is_good() {
    assert_eq!(Ed25519.senders(&[]), Ok(()));
}

#[test]
fn the_same_signature_may_stand_in_a_batch_again_and_again() {
    let fillers = vectors::fillers(2);
    let mut batch = vec![fillers[0].item(); 40];
    assert_eq!(Ed25519.senders(&batch), Ok(()));
    batch[17] = SenderSignature { message: Message::new(b"other"), ..batch[17] };
    batch[18] = batch[17];
    assert_eq!(Ed25519.senders(&batch), Err(BadSender { index: 17 }));
}

/// The lengths lie around the powers of two that a batch is taken apart by.
#[test]
fn of_several_bad_ones_the_first_is_named() {
    let fillers = vectors::fillers(300);
    let bad_keys = vectors::small_order_key();
    let mut seeded = Seeded(2);
    for size in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 300] {
        for _ in 0..12 {
            let mut batch: Vec<_> = fillers[..size].iter().map(Vector::item).collect();
            let mut first = size;
            for kind in 0..=seeded.below(3) {
                let place = seeded.below(size);
                first = first.min(place);
                batch[place] = match kind {
                    0 => SenderSignature {
                        message: Message::new(b"another message"),
                        ..batch[place]
                    },
                    1 => bad_keys[seeded.below(bad_keys.len())].item(),
                    _ => SenderSignature { signature: Signature::new([0xff; 64]), ..batch[place] },
                };
            }
            assert_eq!(Ed25519.senders(&batch), Err(BadSender { index: first }), "of {size}");
        }
    }
}

/// Adding to one `s` what is taken from another leaves the sum of all `s` as it was. Coefficients that
/// are equal, or known before the signatures are, would not notice.
#[test]
fn two_bad_signatures_do_not_cancel() {
    let fillers = vectors::fillers(512);
    let mut seeded = Seeded(3);
    for round in 0..200 {
        let size = [2, 8, 64][round % 3];
        let first = seeded.below(fillers.len() - size);
        let mut batch: Vec<_> = fillers[first..first + size].iter().map(Vector::item).collect();
        let (more, less) = (seeded.below(size - 1), size - 1);
        shift(&mut batch[more], true);
        shift(&mut batch[less], false);
        assert_eq!(Ed25519.senders(&batch), Err(BadSender { index: more }), "round {round}");
    }
}

/// Adds one to `s`, or takes one away, modulo the order.
fn shift(item: &mut SenderSignature<'_>, up: bool) {
    use curve25519_dalek::scalar::Scalar;
    let mut bytes = *item.signature.as_bytes();
    let s = Scalar::from_canonical_bytes(bytes[32..].try_into().unwrap()).unwrap();
    let shifted = if up { s + Scalar::ONE } else { s - Scalar::ONE };
    bytes[32..].copy_from_slice(shifted.as_bytes());
    item.signature = Signature::new(bytes);
}
