//! Which bytes are keys, and how keys are read and written.

#![allow(missing_docs)]

use std::collections::BTreeSet;

use bytes::Bytes;
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::CompressedEdwardsY;
use quorate_chain::codec::{Decode, DecodeError, Encode};
use quorate_chain::crypto::{
    Ed25519, KeyError, Message, SecretKey, SenderSignature, Signer, ValidatorKey, Verifier,
    check_account_key,
};
use quorate_chain::ids::{AccountKey, HexError, Signature};

fn key(seed: u8) -> ValidatorKey {
    SecretKey::from_seed(&[seed; 32]).validator_key()
}

/// What both kinds of key are checked for, by bytes.
fn check(bytes: [u8; 32]) -> Result<(), KeyError> {
    let verdict = check_account_key(&AccountKey::new(bytes));
    match ValidatorKey::from_bytes(&bytes) {
        Ok(key) => {
            assert_eq!(*key.as_bytes(), bytes);
            assert_eq!(verdict, Ok(()));
        }
        Err(KeyError::NotAPoint) => assert_eq!(verdict, Ok(())),
        Err(error) => assert_eq!(verdict, Err(error)),
    }
    verdict
}

#[test]
fn the_numbers_around_the_prime() {
    for sign in [0, 0x80] {
        // 2^255 - 256 + low.
        for low in 0..=255 {
            let mut bytes = [0xff; 32];
            bytes[0] = low;
            bytes[31] = 0x7f | sign;
            let expected = match low {
                0..=0xeb => Ok(()),
                0xec => Err(KeyError::SmallOrder),
                _ => Err(KeyError::NotCanonical),
            };
            assert_eq!(check(bytes), expected, "{low} {sign}");
            // One bit less anywhere above, and it is below the prime.
            for bit in 8..255 {
                let mut less = bytes;
                less[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(check_account_key(&AccountKey::new(less)), Ok(()), "{low} {bit}");
            }
        }
    }
}

#[test]
fn points_of_small_order_are_no_keys() {
    for point in EIGHT_TORSION {
        for flip in [0, 0x80] {
            let mut bytes = point.compress().to_bytes();
            bytes[31] ^= flip;
            assert_eq!(check(bytes), Err(KeyError::SmallOrder));
        }
    }
}

#[test]
fn points_of_mixed_order_are_keys() {
    let main = CompressedEdwardsY(*key(1).as_bytes()).decompress().unwrap();
    for torsion in EIGHT_TORSION {
        assert_eq!(check((main + torsion).compress().to_bytes()), Ok(()));
    }
}

/// A small number is as likely a point as any other, and a canonical encoding.
#[test]
fn bytes_that_are_no_point_are_no_validator_and_sign_nothing() {
    let signature = SecretKey::from_seed(&[1; 32]).sign(b"message");
    let mut not_points = 0;
    for number in 2..=255 {
        let mut bytes = [0; 32];
        bytes[0] = number;
        assert_eq!(check(bytes), Ok(()));
        let point = CompressedEdwardsY(bytes).decompress().is_some();
        let expected = if point { None } else { Some(KeyError::NotAPoint) };
        assert_eq!(ValidatorKey::from_bytes(&bytes).err(), expected);
        not_points += usize::from(!point);
        let item = SenderSignature {
            key: AccountKey::new(bytes),
            message: Message::new(b"message"),
            signature,
        };
        assert!(Ed25519.senders(&[item]).is_err());
        assert!(Ed25519.senders(&[item; 3]).is_err());
    }
    assert!((100..150).contains(&not_points));
}

#[test]
fn a_validator_key_is_its_bytes() {
    let (one, two) = (key(1), key(2));
    assert_eq!(one, one.clone());
    assert_ne!(one, two);
    assert_eq!(one.cmp(&two), one.as_bytes().cmp(two.as_bytes()));
    let set: BTreeSet<_> = [one.clone(), two.clone(), one].into();
    assert_eq!(set.len(), 2);
}

#[test]
fn a_validator_key_is_written_as_hex() {
    let text = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c";
    let key = key(1);
    assert_eq!(key.to_string(), text);
    assert_eq!(format!("{key:?}"), "ValidatorKey(8a88e3dd)");
    assert_eq!(text.parse(), Ok(key.clone()));
    assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<ValidatorKey>(&format!("\"{text}\"")).unwrap(), key);

    assert_eq!("00".repeat(32).parse::<ValidatorKey>(), Err(KeyError::SmallOrder));
    let short = HexError::Length { found: 2 };
    assert_eq!("00".parse::<ValidatorKey>(), Err(KeyError::Hex(short)));
    let zeros = format!("\"{}\"", "00".repeat(32));
    let error = serde_json::from_str::<ValidatorKey>(&zeros).unwrap_err();
    assert!(error.to_string().starts_with("a point of small order is no public key"));
}

#[test]
fn a_validator_key_is_encoded_as_its_bytes() {
    let key = key(1);
    let bytes = key.to_bytes();
    assert_eq!(bytes[..], key.as_bytes()[..]);
    assert_eq!(<ValidatorKey as Decode>::from_bytes(&bytes), Ok(key));
    for bad in [[0; 32], [0xff; 32], [2; 32]] {
        let found = <ValidatorKey as Decode>::from_bytes(&Bytes::copy_from_slice(&bad));
        let Err(DecodeError::Invalid { field: "validator key", offset: 0, .. }) = found else {
            panic!("{bad:?} decoded to {found:?}");
        };
    }
    let found = <ValidatorKey as Decode>::from_bytes(&bytes.slice(1..));
    assert!(matches!(found, Err(DecodeError::Short { needed: 32, left: 31, .. })));
}

#[test]
fn a_signature_has_64_bytes_and_no_other_number() {
    let bytes = SecretKey::from_seed(&[1; 32]).sign(b"message").to_bytes();
    assert_eq!(bytes.len(), 64);
    assert!(Signature::from_bytes(&bytes).is_ok());
    for length in 0..64 {
        assert!(Signature::from_bytes(&bytes.slice(..length)).is_err());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Signature::from_bytes(&Bytes::from(longer)).is_err());
}

#[test]
fn a_secret_key_shows_only_its_public_half() {
    let secret = SecretKey::from_seed(&[7; 32]);
    let shown = format!("{secret:?} {secret:#?}");
    assert!(shown.contains(&secret.account_key().to_string()));
    assert!(!shown.contains("07070707"));
    assert!(!shown.contains("7, 7"));
    assert_eq!(*secret.seed(), [7; 32]);
}

#[test]
fn what_a_signer_signs_its_key_accepts() {
    let signer: &dyn Signer = &SecretKey::from_seed(&[9; 32]);
    let verifier: &dyn Verifier = &Ed25519;
    let signature = signer.sign(b"statement");
    assert_eq!(signature, signer.sign(b"statement"));
    assert!(verifier.validator(&signer.key(), b"statement", &signature).is_ok());
    assert!(verifier.validator(&signer.key(), b"Statement", &signature).is_err());
    assert!(verifier.validator(&key(1), b"statement", &signature).is_err());
}
