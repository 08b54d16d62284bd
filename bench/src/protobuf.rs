//! The few messages of etcd that are sent, as protobuf has them: fields of bytes, and one of a number; and as much of what
//! comes back as says whether a field is there.

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

/// A number of as many bytes as it needs, which are taken away.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte <= 0x7f {
            return Some(value);
        }
    }
    None
}

/// The first field of a number, if it is one of bytes or of another message; none either if what stands before it is no
/// message.
pub(crate) fn found(wanted: u8, mut message: &[u8]) -> Option<&[u8]> {
    loop {
        let tag = number(&mut message)?;
        let length = match tag & 7 {
            0 => number(&mut message).map(|_| 0)?,
            1 => 8,
            2 => usize::try_from(number(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (content, rest) = message.split_at_checked(length)?;
        if tag == u64::from(wanted) << 3 | 2 {
            return Some(content);
        }
        message = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_behind_others_of_any_kind() {
        let others = [8, 0xac, 2, 17, 1, 2, 3, 4, 5, 6, 7, 8, 29, 1, 2, 3, 4, 34, 2, 18, 1];
        assert_eq!(found(2, &others), None);
        let message = [&others[..], &[18, 2, b'k', b'v', 18, 0]].concat();
        assert_eq!(found(2, &message), Some(&b"kv"[..]));
        assert_eq!(found(4, &message), Some(&[18, 1][..]));
        let long = put(b"", &[7; 300]);
        assert_eq!(found(2, &long), Some(&[7; 300][..]));
    }

    #[test]
    fn what_is_no_message_has_no_field() {
        let whole = [10, 3, 1, 2, 3, 18, 2, b'k', b'v'];
        assert!((0..whole.len()).all(|end| found(2, &whole[..end]).is_none()));
        // Lengths beyond the end, kinds that there are not, a number without an end.
        let huge = [18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        for wrong in
            [&huge[..], &[11, 18, 0], &[12, 18, 0], &[14, 18, 0], &[15, 18, 0], &[0xff; 30]]
        {
            assert_eq!(found(2, wrong), None);
        }
    }

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
