//! Signatures with a known verdict: read from a file, and built where a file would be long.

use std::collections::BTreeSet;

use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use data_encoding::HEXLOWER;
use quorate_chain::crypto::{Message, SecretKey, SenderSignature};
use quorate_chain::ids::{AccountKey, Signature};
use sha2::{Digest, Sha512};

/// A signature, and what each rule says of it.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) key: [u8; 32],
    pub(crate) message: Vec<u8>,
    pub(crate) signature: [u8; 64],
    /// Whether the validators' rule accepts it.
    pub(crate) validators: bool,
    /// Whether the senders' rule accepts it.
    pub(crate) senders: bool,
    /// Whether a sum with the wrong rule would accept it at times, so that many must be tried.
    pub(crate) delicate: bool,
}

impl Vector {
    pub(crate) fn item(&self) -> SenderSignature<'_> {
        SenderSignature {
            key: AccountKey::new(self.key),
            message: Message::new(&self.message),
            signature: Signature::new(self.signature),
        }
    }

    fn bad(name: String, key: [u8; 32], message: &[u8], signature: [u8; 64]) -> Self {
        let message = message.to_vec();
        Self { name, key, message, signature, validators: false, senders: false, delicate: false }
    }
}

/// A small generator (SplitMix64), so that a failure can be repeated.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Good signatures by a few senders.
pub(crate) fn fillers(count: usize) -> Vec<Vector> {
    let keys: Vec<_> = (0..8).map(|seed| SecretKey::from_seed(&[seed; 32])).collect();
    let sign = |number: usize| {
        let key = &keys[number % keys.len()];
        let message = format!("filler {number}").into_bytes();
        Vector {
            name: format!("filler {number}"),
            key: *key.account_key().as_bytes(),
            signature: *key.sign(&message).as_bytes(),
            message,
            validators: true,
            senders: true,
            delicate: false,
        }
    };
    (0..count).map(sign).collect()
}

/// The vectors of `ed25519.txt`.
pub(crate) fn from_file() -> Vec<Vector> {
    let verdict = |word: &str| match word {
        "good" => true,
        "bad" => false,
        other => panic!("a verdict is good or bad, not {other}"),
    };
    let hex = |text: &str| HEXLOWER.decode(text.trim_matches('-').as_bytes()).unwrap();
    let lines = include_str!("ed25519.txt").lines().filter(|line| !line.starts_with('#'));
    let vectors: Vec<_> = lines
        .map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let [name, validators, senders, key, message, signature] = fields[..] else {
                panic!("a line has six fields: {line}");
            };
            Vector {
                name: name.to_owned(),
                key: hex(key).try_into().unwrap(),
                message: hex(message),
                signature: hex(signature).try_into().unwrap(),
                validators: verdict(validators),
                senders: verdict(senders),
                delicate: name.starts_with("taming"),
            }
        })
        .collect();
    assert_eq!(vectors.len(), 24);
    vectors
}

/// Two numbers that sign: the secret, and the one behind `R`.
fn secrets() -> (Scalar, Scalar) {
    let number = |domain: &[u8]| Scalar::from_bytes_mod_order_wide(&Sha512::digest(domain).into());
    (number(b"secret"), number(b"nonce"))
}

fn challenge(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(message).finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

/// `(R, s)` with the given bytes for `R` and the `s` that fits them if they stand for `[nonce]B`, up
/// to a point of small order.
fn sign(nonce: Scalar, r: [u8; 32], key: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let s = nonce + challenge(&r, key, message) * secrets().0;
    join(r, s.to_bytes())
}

fn join(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    signature
}

fn plus_torsion(number: Scalar, torsion: usize) -> [u8; 32] {
    (EdwardsPoint::mul_base(&number) + EIGHT_TORSION[torsion]).compress().to_bytes()
}

/// `A + T` and `R + T` with every pair of points of small order. The senders' rule accepts them all.
/// The validators' rule asks that the two small parts cancel, `T_R + [k]T_A = 0`; for every pair there
/// is a message for which they do and one for which they do not, where there can be.
pub(crate) fn mixed_order() -> Vec<Vector> {
    let (secret, nonce) = secrets();
    let mut vectors = Vec::new();
    for (in_key, in_r) in (0..64).map(|pair| (pair / 8, pair % 8)) {
        let key = plus_torsion(secret, in_key);
        let r = plus_torsion(nonce, in_r);
        for cancels in [true, false] {
            // Point number i is i times point number 1, which has order 8.
            let message = (0..=255_u8).map(|number| [number]).find(|message| {
                let k = usize::from(challenge(&r, &key, message).as_bytes()[0]);
                ((in_r + k * in_key) % 8 == 0) == cancels
            });
            let Some(message) = message else { continue };
            // One point of each order is enough for the long runs.
            let delicate = [0, 1, 2, 4].contains(&in_key) && [0, 1, 2, 4].contains(&in_r);
            vectors.push(Vector {
                name: format!("A + T{in_key}, R + T{in_r}, cancels: {cancels}"),
                signature: sign(nonce, r, &key, &message),
                key,
                message: message.to_vec(),
                validators: cancels,
                senders: true,
                delicate,
            });
        }
    }
    // Odd keys 64, order 4 twice 12, order 2 10, order 1 8.
    assert_eq!(vectors.len(), 64 + 24 + 10 + 8);
    vectors
}

/// All encodings of the eight points of small order, canonical or not.
pub(crate) fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut encodings = BTreeSet::new();
    for point in EIGHT_TORSION {
        let canonical = point.compress().to_bytes();
        let mut y = canonical;
        y[31] &= 0x7f;
        let mut forms = vec![y];
        // Only 0 to 18 have a second encoding in 255 bits, p more.
        if y[0] < 19 && y[1..] == [0; 31] {
            forms.push(add(y, PRIME).unwrap());
        }
        for mut form in forms {
            encodings.insert(form);
            form[31] |= 0x80;
            encodings.insert(form);
        }
    }
    encodings.retain(|bytes| CompressedEdwardsY(*bytes).decompress().unwrap().is_small_order());
    assert_eq!(encodings.len(), 14);
    encodings.into_iter().collect()
}

/// `R` of small order in all encodings, canonical or not, under an ordinary key and a mixed one.
pub(crate) fn small_order_r() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for in_key in [0, 1] {
        for r in small_order_encodings() {
            let key = plus_torsion(secrets().0, in_key);
            let message = b"small R".to_vec();
            vectors.push(Vector {
                name: format!("A + T{in_key}, R {}", HEXLOWER.encode(&r)),
                signature: sign(Scalar::ZERO, r, &key, &message),
                key,
                message,
                validators: false,
                senders: true,
                delicate: in_key == 0,
            });
        }
    }
    vectors.extend(small_order_r_that_cancels());
    vectors
}

/// Each of the eight points of small order as `R`, written canonically, with a message for which it and
/// the small part of a mixed key cancel: nothing but the order of `R` speaks against them.
pub(crate) fn small_order_r_that_cancels() -> Vec<Vector> {
    let key = plus_torsion(secrets().0, 1);
    let vector = |in_r: usize| {
        let r = EIGHT_TORSION[in_r].compress().to_bytes();
        // Point number i is i times point number 1, which has order 8.
        let cancels = |message: &[u8; 1]| {
            (in_r + usize::from(challenge(&r, &key, message).as_bytes()[0])).is_multiple_of(8)
        };
        let message = (0..=255_u8).map(|number| [number]).find(cancels).unwrap();
        Vector {
            name: format!("A + T1, R T{in_r}, cancels"),
            signature: sign(Scalar::ZERO, r, &key, &message),
            key,
            message: message.to_vec(),
            validators: false,
            senders: true,
            delicate: false,
        }
    };
    (0..8).map(vector).collect()
}

/// What the owner of a key with a small part signs without looking after it: `R` is in the main
/// group, so the validators' rule accepts one signature in eight.
pub(crate) fn by_owners_of_mixed_keys(count: u16) -> Vec<Vector> {
    let (secret, nonce) = secrets();
    let r = plus_torsion(nonce, 0);
    let vector = |number: u16| {
        // Points of order 8 alone.
        let key = plus_torsion(secret, [1, 3, 5, 7][usize::from(number % 4)]);
        let message = number.to_be_bytes();
        Vector {
            name: format!("number {number} by the owner of a mixed key"),
            signature: sign(nonce, r, &key, &message),
            validators: challenge(&r, &key, &message).as_bytes()[0].is_multiple_of(8),
            key,
            message: message.to_vec(),
            senders: true,
            delicate: false,
        }
    };
    (0..count).map(vector).collect()
}

/// `A` of small order in all encodings, canonical or not. ZIP-215 alone would accept them all.
pub(crate) fn small_order_key() -> Vec<Vector> {
    let (_, nonce) = secrets();
    let rs = [(Scalar::ZERO, [1, 2]), (nonce, [0, 7])];
    let mut vectors = Vec::new();
    for key in small_order_encodings() {
        for (number, torsions) in rs {
            for torsion in torsions {
                let name = format!("A {}, R + T{torsion}", HEXLOWER.encode(&key));
                let signature = join(plus_torsion(number, torsion), number.to_bytes());
                vectors.push(Vector::bad(name, key, b"small A", signature));
            }
        }
    }
    vectors
}

/// The order of the base point, little-endian.
pub(crate) const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The prime of the field, 2^255 - 19, little-endian.
pub(crate) const PRIME: [u8; 32] = {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    prime
};

/// A little-endian sum, if it fits.
pub(crate) fn add(left: [u8; 32], right: [u8; 32]) -> Option<[u8; 32]> {
    let mut sum = [0; 32];
    let mut carry = 0;
    for at in 0..32 {
        let digit = u16::from(left[at]) + u16::from(right[at]) + carry;
        sum[at] = digit.to_le_bytes()[0];
        carry = digit >> 8;
    }
    (carry == 0).then_some(sum)
}

/// What nobody accepts: `s` out of range, `R` changed with and without a fitting `s`, special values.
pub(crate) fn malformed() -> Vec<Vector> {
    let (secret, nonce) = secrets();
    let key = plus_torsion(secret, 0);
    let r = plus_torsion(nonce, 0);
    let message = b"message".as_slice();
    let good = sign(nonce, r, &key, message);
    let good_s: [u8; 32] = good[32..].try_into().unwrap();
    let mut vectors = Vec::new();
    let mut push = |name: String, signature| {
        vectors.push(Vector::bad(name, key, message, signature));
    };

    let mut s = good_s;
    for times in 1.. {
        let Some(sum) = add(s, ORDER) else { break };
        s = sum;
        push(format!("s + {times}L"), join(r, s));
    }
    for bit in 0..256 {
        let mut other = r;
        other[bit / 8] ^= 1 << (bit % 8);
        push(format!("bit {bit} of R, s fits"), sign(nonce, other, &key, message));
    }
    for bit in 0..512 {
        let mut other = good;
        other[bit / 8] ^= 1 << (bit % 8);
        push(format!("bit {bit} of the signature"), other);
    }
    let one = Scalar::ONE.to_bytes();
    let minus_one = (-Scalar::ONE).to_bytes();
    let prime_plus_one = add(PRIME, one).unwrap();
    for r in [[0; 32], one, minus_one, ORDER, PRIME, prime_plus_one, [0xff; 32]] {
        for s in [[0; 32], one, minus_one, ORDER, PRIME, [0xff; 32]] {
            push(format!("R {}, s {}", HEXLOWER.encode(&r), HEXLOWER.encode(&s)), join(r, s));
        }
    }
    push("s + 1".into(), join(r, add(good_s, one).unwrap()));
    // All bytes that stand for a coordinate with a shorter encoding.
    for (low, sign_of_x) in (0xed..=0xff).flat_map(|low| [(low, 0), (low, 0x80)]) {
        let mut r = PRIME;
        r[0] = low;
        r[31] |= sign_of_x;
        push(format!("R {}, s fits", HEXLOWER.encode(&r)), sign(nonce, r, &key, message));
    }
    vectors
}

/// What holds of the constants that the construction rests on.
pub(crate) fn check_the_constants() {
    assert!((EIGHT_TORSION[1] + EIGHT_TORSION[7]).is_identity());
    for number in 1..8 {
        assert_eq!(EIGHT_TORSION[number - 1] + EIGHT_TORSION[1], EIGHT_TORSION[number]);
    }
    assert_eq!(add((-Scalar::ONE).to_bytes(), Scalar::ONE.to_bytes()), Some(ORDER));
}
