//! Sending transactions, one or many, and asking what became of them.
//!
//! What clients send waits in memory until it is answered, which may be a minute, or its client hangs up. All of it
//! together is bounded ([`Room`]): whoever comes when the bound is reached is told to come back.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use futures_core::Stream as _;
use quorate_chain::codec::{Decode as _, DecodeError};
use quorate_chain::ids::TxId;
use quorate_chain::transaction::SignedTransaction;
use quorate_client::answer::Outcome;
use quorate_client::problem::{Code, Problem};
use serde::{Deserialize, Serialize};

use super::super::ledger::{Answered, Level};
use super::super::problem::{bad_request, problem};
use super::super::room::{Requests, Room};
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

/// About how many bytes each transaction of a batch takes while it is waited for, besides its own.
const TRANSACTION: usize = 2 << 10;

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

/// A request that has come in whole, and the room that it takes.
struct Arrived {
    headers: HeaderMap,
    body: Bytes,
    room: Room,
}

/// The body of a request, if it is not too large, comes in time, and there is room for it.
async fn arrive(requests: &Requests, request: Request<Body>, limit: usize) -> Answered<Arrived> {
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
    let (mut room, mut parts) = (requests.begin(), body.into_data_stream());
    let all = async {
        let mut bytes = Vec::new();
        while let Some(part) = poll_fn(|context| Pin::new(&mut parts).poll_next(context)).await {
            // Cut off by the client, who does not hear it.
            let part = part.map_err(|_| bad_request("the body was cut off"))?;
            if bytes.len() + part.len() > limit {
                return Err(too_large());
            }
            room.grow(part.len())?;
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    };
    match tokio::time::timeout(BODY, all).await {
        Ok(bytes) => Ok(Arrived { headers: head.headers, body: bytes?.into(), room }),
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
    let Arrived { headers, body, room: _room } = arrive(&ledger.requests, request, REQUEST).await?;
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

/// Whether a batch may have so many transactions.
fn few_enough(count: usize) -> Answered<()> {
    if count > BATCH_TRANSACTIONS {
        let detail = format!("{count} transactions, at most {BATCH_TRANSACTIONS} are allowed");
        return Err(problem(Code::TooLarge, detail));
    }
    Ok(())
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
    few_enough(count)?;
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
    let Arrived { headers, body, mut room } = arrive(&ledger.requests, request, BATCH).await?;
    let items = if is_json(&headers) {
        let texts = from_json::<ManyTxs>(&body)?.txs;
        few_enough(texts.len())?;
        texts.iter().map(|text| from_base64(text)).collect()
    } else {
        batched(body)?.into_iter().map(Ok).collect::<Vec<_>>()
    };
    room.grow(items.len() * TRANSACTION)?;
    let mut transactions = Vec::new();
    let mut take = |item: Answered<Bytes>| -> Answered<()> {
        transactions.push(decode(&item?)?);
        Ok(())
    };
    let decoded: Vec<_> = items.into_iter().map(&mut take).collect();
    let mut answers = ledger.submit_all(transactions, level, timeout).await.into_iter();
    let answer = |one: Answered<()>| match one.map(|()| answers.next()) {
        Ok(Some(answer)) => Told::from(answer),
        Ok(None) => unreachable!("there is an answer for each transaction"),
        Err(malformed) => Told::Problem(malformed),
    };
    let outcomes = decoded.into_iter().map(answer).collect();
    Ok(json(StatusCode::OK, &Batch { outcomes }))
}

/// The answer to a batch: one for each transaction, in order.
#[derive(Serialize)]
struct Batch {
    outcomes: Vec<Told>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    Outcome(Box<Outcome>),
    Problem(Box<Problem>),
}

impl From<Answered<Outcome>> for Told {
    fn from(answer: Answered<Outcome>) -> Self {
        answer.map_or_else(Self::Problem, |outcome| Self::Outcome(Box::new(outcome)))
    }
}

pub(super) async fn transaction(State(ledger): Shared, Path(id): Path<String>) -> Reply {
    let id: TxId = id.parse().map_err(|wrong| bad_request(format!("{id:?}: {wrong}")))?;
    Ok(json(StatusCode::OK, &ledger.transaction(id).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(length: usize) -> Request<Body> {
        Request::new(Body::from(vec![0; length]))
    }

    async fn refused(requests: &Requests, length: usize, limit: usize) -> Option<(Code, u16)> {
        let refusal = arrive(requests, request(length), limit).await.err()?;
        Some((refusal.code, refusal.status))
    }

    #[tokio::test]
    async fn what_waits_for_its_answer_takes_room() {
        let (requests, limit) = (Requests::of(1_000), 100_000);
        let first = arrive(&requests, request(33_000), limit).await.unwrap();
        assert_eq!(first.body.len(), 33_000);
        assert_eq!(refused(&requests, limit + 1, limit).await, Some((Code::TooLarge, 413)));
        assert_eq!(refused(&requests, 34_000, limit).await, Some((Code::RateLimited, 429)));
        assert_eq!(refused(&requests, 33_000, limit).await, None);
        drop(first);
        assert_eq!(refused(&requests, 33_700, limit).await, None);
    }
}
