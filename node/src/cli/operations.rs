//! Operations as a file has them.

use std::ffi::OsStr;

use bytes::Bytes;
use data_encoding::BASE64;
use quorate_chain::ids::AccountKey;
use quorate_chain::transaction::Operation;
use quorate_client::Batch;
use serde::Deserialize;

use super::output::Ended;
use super::write::content;
use crate::exit::{Exit, Failure};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    ops: Vec<Line>,
}

/// What may stand in an operation; which of it must is decided below.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    op: String,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    #[serde(default, deserialize_with = "present")]
    expect: Option<Option<String>>,
    account: Option<AccountKey>,
}

/// Tells `null` from what is missing.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(from).map(Some)
}

fn base64(name: &str, text: &str) -> Result<Bytes, String> {
    let bytes = BASE64.decode(text.as_bytes());
    bytes.map(Bytes::from).map_err(|error| format!("`{name}` is not base64: {error}"))
}

impl Line {
    fn key(&self) -> Result<Bytes, String> {
        match (&self.key, &self.key_base64) {
            (Some(text), None) => Ok(Bytes::from(text.clone())),
            (None, Some(text)) => base64("key_base64", text),
            (Some(_), Some(_)) => Err("`key` and `key_base64` do not go together".to_owned()),
            (None, None) => Err("`key` is missing".to_owned()),
        }
    }

    /// The operation; everything that is said belongs to it.
    fn operation(self) -> Result<Operation, String> {
        let key = self.key()?;
        let missing = |name: &str| format!("`{name}` is missing");
        let value = self.value.as_deref().map(|text| base64("value", text)).transpose()?;
        let value_for = || value.clone().ok_or_else(|| missing("value"));
        let account = || self.account.ok_or_else(|| missing("account"));
        let (values, expects, accounts) =
            (self.value.is_some(), self.expect.is_some(), self.account.is_some());
        let (operation, fits) = match self.op.as_str() {
            "put" => (Operation::Put { key, value: value_for()? }, !expects && !accounts),
            "update" => (Operation::Update { key, value: value_for()? }, !expects && !accounts),
            "remove" => (Operation::Remove { key }, !values && !expects && !accounts),
            "cas" => {
                let expect = self.expect.as_ref().ok_or_else(|| missing("expect"))?;
                let expected = expect.as_deref().map(|text| base64("expect", text)).transpose()?;
                (Operation::Cas { key, expected, value: value_for()? }, !accounts)
            }
            "grant" => (Operation::Grant { account: account()?, prefix: key }, !values && !expects),
            "revoke" => {
                (Operation::Revoke { account: account()?, prefix: key }, !values && !expects)
            }
            other => return Err(format!("there is no operation `{other}`")),
        };
        let too_much = || format!("`{}` has fields that do not belong to it", self.op);
        if fits { Ok(operation) } else { Err(too_much()) }
    }
}

/// Reads a file of operations, or standard input if it is `-`.
pub(super) fn read(file: &OsStr) -> Result<Batch, Ended> {
    let usage = |what: String| {
        Ended::from(Failure::new(Exit::Usage, format!("{}: {what}", file.display())))
    };
    let bytes = content(file)?;
    let File { ops } = serde_json::from_slice(&bytes).map_err(|error| usage(error.to_string()))?;
    if ops.is_empty() {
        return Err(usage("it has no operations".to_owned()));
    }
    let mut batch = Batch::new();
    for (at, line) in ops.into_iter().enumerate() {
        let operation =
            line.operation().map_err(|what| usage(format!("operation {at}: {what}")))?;
        batch = batch.and(operation);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str) -> Result<Operation, String> {
        serde_json::from_str::<Line>(json).map_err(|error| error.to_string())?.operation()
    }

    #[test]
    fn every_operation_has_its_fields_and_no_others() {
        let account = "07".repeat(32);
        let key = Bytes::from_static(b"k");
        let value = Bytes::from_static(b"hello");
        let put = told(r#"{"op":"put","key":"k","value":"aGVsbG8="}"#);
        assert_eq!(put, Ok(Operation::Put { key: key.clone(), value: value.clone() }));
        let cas = told(r#"{"op":"cas","key":"k","expect":null,"value":"aGVsbG8="}"#);
        assert_eq!(cas, Ok(Operation::Cas { key, expected: None, value }));
        assert!(told(&format!(r#"{{"op":"grant","key":"a/","account":"{account}"}}"#)).is_ok());
        for (wrong, why) in [
            (r#"{"op":"put","key":"k"}"#, "`value` is missing"),
            (r#"{"op":"put","value":""}"#, "`key` is missing"),
            (r#"{"op":"put","key":"k","value":"?"}"#, "not base64"),
            (r#"{"op":"cas","key":"k","value":""}"#, "`expect` is missing"),
            (r#"{"op":"remove","key":"k","value":""}"#, "do not belong"),
            (r#"{"op":"drop","key":"k"}"#, "no operation `drop`"),
            (r#"{"op":"put","key":"k","key_base64":"","value":""}"#, "do not go together"),
            (r#"{"op":"put","kee":"k","value":""}"#, "unknown field"),
        ] {
            let error = told(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
