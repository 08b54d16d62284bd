//! Sending transactions, one or many, and asking what became of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use quorate_chain::codec::{Decode as _, DecodeError};
use quorate_chain::ids::TxId;
use quorate_chain::transaction::SignedTransaction;
use quorate_client::problem::Code;
use serde::Deserialize;

use super::super::ledger::{Answered, Level};
use super::super::problem::{bad_request, problem};
use super::{Queried, Reply, Shared, WAIT, from_base64, json, query};
use crate::config::values;

/// Bytes of a request.
const REQUEST: usize = 1 << 20;
/// Bytes of a request with many transactions.
const BATCH: usize = 4 << 20;
/// Most transactions in one batch.
const BATCH_TRANSACTIONS: usize = 10_000;
/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(30);
/// How long a wait is at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubmitQuery {
    wait: Option<Level>,
    timeout: Option<String>,
}

impl SubmitQuery {
    fn wait(&self) -> Answered<(Level, Duration)> {
        let timeout = match &self.timeout {
            None => WAIT,
            Some(text) => {
                values::duration(text).filter(|time| *time <= LONGEST_WAIT).ok_or_else(|| {
                    bad_request(format!("timeout={text}; it is a time such as 5s, at most 60s"))
                })?
            }
        };
        Ok((self.wait.unwrap_or(Level::Applied), timeout))
    }
}

/// The body of a request, if it is not too large and comes in time.
async fn body(request: Request<Body>, limit: usize) -> Answered<(HeaderMap, Bytes)> {
    let (head, body) = request.into_parts();
    let too_large = || {
        let mut problem = problem(Code::TooLarge, format!("a request has at most {limit} bytes"));
        problem.status = 413;
        problem
    };
    let announced = head.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY, to_bytes(body, limit)).await {
        Ok(Ok(body)) => Ok((head.headers, body)),
        // Cut off by the client or by the limit: only the latter can still read the answer.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(bad_request("the body took too long")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.split(';').next().unwrap_or_default().trim() == "application/json")
}

fn decode(bytes: &Bytes) -> Answered<SignedTransaction> {
    SignedTransaction::from_bytes(bytes).map_err(|wrong| {
        let too_large = matches!(wrong, DecodeError::TooLong { .. });
        let code = if too_large { Code::TooLarge } else { Code::Malformed };
        problem(code, wrong.to_string())
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneTx {
    tx: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManyTxs {
    txs: Vec<String>,
}

fn from_json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Answered<T> {
    serde_json::from_slice(body).map_err(|wrong| problem(Code::Malformed, wrong.to_string()))
}

pub(super) async fn submit(
    State(ledger): Shared,
    wanted: Queried<SubmitQuery>,
    request: Request<Body>,
) -> Reply {
    let (level, timeout) = query(wanted)?.wait()?;
    let (headers, body) = body(request, REQUEST).await?;
    let bytes = if is_json(&headers) { from_base64(&from_json::<OneTx>(&body)?.tx)? } else { body };
    let outcome = ledger.submit(decode(&bytes)?, level, timeout).await?;
    let status = if outcome.duplicate {
        StatusCode::OK
    } else if outcome.height.is_none() {
        StatusCode::ACCEPTED
    } else {
        StatusCode::CREATED
    };
    Ok(json(status, &outcome))
}

/// The transactions of a binary batch.
fn batched(mut body: Bytes) -> Answered<Vec<Bytes>> {
    let cut = || problem(Code::Malformed, "the batch ends within a transaction");
    let number = |body: &mut Bytes| -> Answered<usize> {
        let head = body.get(..4).and_then(|head| head.try_into().ok()).ok_or_else(cut)?;
        *body = body.slice(4..);
        Ok(u32::from_le_bytes(head) as usize)
    };
    let count = number(&mut body)?;
    if count > BATCH_TRANSACTIONS {
        let detail = format!("{count} transactions, at most {BATCH_TRANSACTIONS} are allowed");
        return Err(problem(Code::TooLarge, detail));
    }
    let mut items = Vec::new();
    for _ in 0..count {
        let length = number(&mut body)?;
        if length > body.len() {
            return Err(cut());
        }
        items.push(body.split_to(length));
    }
    if !body.is_empty() {
        return Err(problem(Code::Malformed, "something follows the last transaction"));
    }
    Ok(items)
}

pub(super) async fn batch(
    State(ledger): Shared,
    wanted: Queried<SubmitQuery>,
    request: Request<Body>,
) -> Reply {
    let (level, timeout) = query(wanted)?.wait()?;
    let (headers, body) = body(request, BATCH).await?;
    let items = if is_json(&headers) {
        let texts = from_json::<ManyTxs>(&body)?.txs;
        texts.iter().map(|text| from_base64(text)).collect()
    } else {
        batched(body)?.into_iter().map(Ok).collect::<Vec<_>>()
    };
    let submitted: Vec<_> = items
        .into_iter()
        .map(|item: Answered<Bytes>| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move { ledger.submit(decode(&item?)?, level, timeout).await })
        })
        .collect();
    let mut outcomes = Vec::with_capacity(submitted.len());
    for one in submitted {
        let answered = one.await.unwrap_or_else(|_| Err(problem(Code::OutcomeUnknown, "")));
        let value = match &answered {
            Ok(outcome) => serde_json::to_value(outcome),
            Err(problem) => serde_json::to_value(problem),
        };
        outcomes.push(value.expect("what a node answers has a JSON form"));
    }
    Ok(json(StatusCode::OK, &serde_json::json!({ "outcomes": outcomes })))
}

pub(super) async fn transaction(State(ledger): Shared, Path(id): Path<String>) -> Reply {
    let id: TxId = id.parse().map_err(|wrong| bad_request(format!("{id:?}: {wrong}")))?;
    Ok(json(StatusCode::OK, &ledger.transaction(id).await?))
}
