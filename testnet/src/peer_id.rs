//! The name of a validator in the network, made from its key.
//!
//! It is the base58 of `00 24 08 01 12 20` and the 32 bytes of the key: a hash that is none (`00`,
//! the bytes themselves, 36 of them) of a protobuf message that says "Ed25519" and the key. The
//! addresses in homes have it, and the launcher writes homes without knowing the network.

use quorate_chain::crypto::ValidatorKey;

const HEAD: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The peer id of a validator.
#[must_use]
pub fn peer_id(key: &ValidatorKey) -> String {
    let mut bytes = HEAD.to_vec();
    bytes.extend_from_slice(key.as_bytes());
    base58(&bytes)
}

/// Digits by repeated division, the last digit first; each zero byte in front is one digit.
fn base58(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = Vec::new();
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            // Below 58, so it fits.
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    digits.extend(std::iter::repeat_n(0, zeros));
    digits.iter().rev().map(|digit| char::from(ALPHABET[usize::from(*digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base58_agrees_with_the_examples_of_its_draft() {
        assert_eq!(base58(b"Hello World!"), "2NEpo7TZRRrLZSi2U");
        assert_eq!(base58(&[0, 0, 0x28, 0x7f, 0xb4, 0xcd]), "11233QC4");
        assert_eq!(base58(&[]), "");
    }
}
