//! Reading the state.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use quorate_chain::ids::Height;
use serde::Deserialize;

use super::super::ledger::Answered;
use super::super::problem::bad_request;
use super::super::state::{Consistency, Read, Scan, VersionPlace};
use super::{LIST, Queried, Reply, Shared, WAIT, from_base64, json, query};

pub(super) async fn account(State(ledger): Shared, Path(key): Path<String>) -> Reply {
    let key = key.parse().map_err(|wrong| bad_request(format!("{key:?}: {wrong}")))?;
    Ok(json(StatusCode::OK, &ledger.account(key).await?))
}

/// Everything that may be said of a read; what fits where is decided below.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateQuery {
    consistency: Option<Consistency>,
    at: Option<u64>,
    key_base64: Option<String>,
    prefix: Option<String>,
    prefix_base64: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

impl StateQuery {
    const fn is_list(&self) -> bool {
        self.prefix.is_some()
            || self.prefix_base64.is_some()
            || self.limit.is_some()
            || self.cursor.is_some()
    }

    fn read(&self) -> Read {
        Read {
            consistency: self.consistency.unwrap_or(Consistency::Linearizable),
            at: self.at.map(Height::new),
            patience: WAIT,
        }
    }
}

/// Bytes in base64 in a query.
fn named(text: &str) -> Answered<Bytes> {
    from_base64(text).map_err(|mut wrong| {
        wrong.status = 400;
        wrong
    })
}

fn limit(wanted: Option<usize>) -> Answered<usize> {
    match wanted.unwrap_or(100) {
        limit if limit == 0 || limit > LIST => {
            Err(bad_request(format!("limit is {limit}; it is 1 to {LIST}")))
        }
        limit => Ok(limit),
    }
}

pub(super) async fn value(
    State(ledger): Shared,
    Path(key): Path<String>,
    headers: HeaderMap,
    wanted: Queried<StateQuery>,
) -> Reply {
    let wanted = query(wanted)?;
    if wanted.key_base64.is_some() || wanted.is_list() {
        return Err(bad_request("the path names one key; the query names others").into());
    }
    one(&ledger, Bytes::from(key), &wanted, &headers).await
}

/// One key that is no text, or many.
pub(super) async fn query_state(
    State(ledger): Shared,
    headers: HeaderMap,
    wanted: Queried<StateQuery>,
) -> Reply {
    let wanted = query(wanted)?;
    match &wanted.key_base64 {
        Some(_) if wanted.is_list() => {
            Err(bad_request("one key and a list of keys are asked for").into())
        }
        Some(text) => one(&ledger, named(text)?, &wanted, &headers).await,
        None if wanted.at.is_some() => Err(bad_request("a list cannot be read at a height").into()),
        None => {
            let prefix = match (&wanted.prefix, &wanted.prefix_base64) {
                (Some(_), Some(_)) => return Err(bad_request("the prefix is named twice").into()),
                (Some(text), None) => Bytes::from(text.clone()),
                (None, Some(text)) => named(text)?,
                (None, None) => Bytes::new(),
            };
            let cursor = wanted.cursor.as_deref().map(Scan::after).transpose()?;
            let scan = Scan { prefix, after: cursor, limit: limit(wanted.limit)? };
            Ok(json(StatusCode::OK, &ledger.scan(scan, wanted.read()).await?))
        }
    }
}

async fn one(
    ledger: &super::Ledger,
    key: Bytes,
    wanted: &StateQuery,
    headers: &HeaderMap,
) -> Reply {
    let (entry, value) = ledger.value(key, wanted.read()).await?;
    let accepted = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    if accepted.is_some_and(|kinds| kinds.contains("application/octet-stream")) {
        let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
        return Ok((kind, value).into_response());
    }
    Ok(json(StatusCode::OK, &entry))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    consistency: Option<Consistency>,
    key_base64: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// The history of a key. One that is no text is named by the query, and the path says `-`.
pub(super) async fn history(
    State(ledger): Shared,
    Path(key): Path<String>,
    wanted: Queried<HistoryQuery>,
) -> Reply {
    let wanted = query(wanted)?;
    let key = match &wanted.key_base64 {
        Some(text) if key == "-" => named(text)?,
        Some(_) => return Err(bad_request("the key is named twice").into()),
        None => Bytes::from(key),
    };
    let before = wanted.cursor.as_deref().map(VersionPlace::read).transpose()?;
    let consistency = wanted.consistency.unwrap_or(Consistency::Linearizable);
    let read = Read { consistency, at: None, patience: WAIT };
    Ok(json(StatusCode::OK, &ledger.history(key, before, limit(wanted.limit)?, read).await?))
}
