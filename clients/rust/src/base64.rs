//! Bytes as JSON carries them: RFC 4648 §4, with padding.

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::{BASE64, DecodeError};
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Result<Bytes, DecodeError> {
    BASE64.decode(text.as_bytes()).map(Bytes::from)
}

pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&encode(bytes))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    let text = Cow::<'de, str>::deserialize(from)?;
    decode(&text).map_err(serde::de::Error::custom)
}
