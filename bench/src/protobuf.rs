//! The few messages of etcd that are sent, as protobuf has them: fields of bytes, and one of a number.

use bytes::Bytes;

/// A field of bytes, or of another message.
fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length > 0x7f {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push((length & 0x7f) as u8);
    out.extend_from_slice(bytes);
}

fn put_message(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + value.len() + 8);
    field(1, key, &mut out);
    field(2, value, &mut out);
    out
}

/// One write.
pub(crate) fn put(key: &[u8], value: &[u8]) -> Bytes {
    put_message(key, value).into()
}

/// Several writes, all or none.
pub(crate) fn transaction(pairs: &[(Bytes, Bytes)]) -> Bytes {
    let mut out = Vec::new();
    for (key, value) in pairs {
        let mut operation = Vec::new();
        field(2, &put_message(key, value), &mut operation);
        field(2, &operation, &mut out);
    }
    out.into()
}

/// A read of one key: of what the group has decided, or of what this node has.
pub(crate) fn range(key: &[u8], local: bool) -> Bytes {
    let mut out = Vec::new();
    field(1, key, &mut out);
    if local {
        out.extend_from_slice(&[7 << 3, 1]);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_number_kind_and_length() {
        assert_eq!(put(b"k", b"v")[..], [10, 1, b'k', 18, 1, b'v']);
        assert_eq!(range(b"k", true)[..], [10, 1, b'k', 56, 1]);
        let long = put(b"", &[7; 300]);
        assert_eq!(long[..5], [10, 0, 18, 0xac, 2]);
        let pair = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
        assert_eq!(transaction(&[pair])[..4], [18, 8, 18, 6]);
    }
}
