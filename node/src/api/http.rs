//! HTTP: translates requests to the ledger's operations and answers back, and decides nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::BASE64;
use quorate_chain::codec::{Decode as _, DecodeError};
use quorate_chain::ids::{Height, TxId};
use quorate_chain::transaction::SignedTransaction;
use quorate_client::path::BlockName;
use quorate_client::problem::{Code, Problem};
use serde::{Deserialize, Serialize};

use super::ledger::{Answered, Consistency, Ledger, Level};
use super::problem::{bad_request, problem};
use crate::config::values;

/// Bytes of a request.
const REQUEST: usize = 1 << 20;
/// Bytes of a request with many transactions.
const BATCH: usize = 4 << 20;
/// Most transactions in one batch.
const BATCH_TRANSACTIONS: usize = 10_000;
/// How long the body of a request may take.
const BODY: Duration = Duration::from_secs(30);
/// How long a wait is when nothing is said.
const WAIT: Duration = Duration::from_secs(5);
/// How long a wait is at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Most items in a list.
const LIST: usize = 1_000;

type Shared = State<Arc<Ledger>>;

/// All paths.
pub(super) fn router(ledger: Arc<Ledger>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/height", get(height))
        .route("/v1/blocks", get(blocks))
        .route("/v1/blocks/{name}", get(block))
        .route("/v1/blocks/{name}/certificate", get(certificate))
        .route("/v1/headers", get(headers))
        .route("/v1/txs", post(submit))
        .route("/v1/txs/batch", post(batch))
        .route("/v1/txs/{id}", get(transaction))
        .route("/v1/accounts/{key}", get(account))
        .route("/v1/state", get(state_query))
        .route("/v1/state/{key}", get(state))
        .route("/v1/genesis", get(genesis))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(nowhere)
        .with_state(ledger)
}

/// A problem on its way out.
struct Refusal(Box<Problem>);

impl From<Box<Problem>> for Refusal {
    fn from(problem: Box<Problem>) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = json(status, &self.0);
        let kind = HeaderValue::from_static("application/problem+json");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        if matches!(self.0.code, Code::MempoolFull | Code::RateLimited) {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let text = serde_json::to_vec(body).expect("what a node answers has a JSON form");
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

type Reply = Result<Response, Refusal>;

/// A query, or a sentence about what is wrong with it.
fn query<T>(found: Result<Query<T>, axum::extract::rejection::QueryRejection>) -> Answered<T> {
    found.map(|Query(query)| query).map_err(|wrong| bad_request(wrong.body_text()))
}

type Queried<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

async fn nowhere() -> Response {
    let body = b"{\"title\":\"There is nothing at this path.\",\"status\":404}\n";
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::NOT_FOUND, kind, body.as_slice()).into_response()
}

async fn status(State(ledger): Shared) -> Response {
    json(StatusCode::OK, &ledger.status())
}

async fn height(State(ledger): Shared) -> Response {
    json(StatusCode::OK, &ledger.height())
}

async fn genesis(State(ledger): Shared) -> Response {
    let file = ledger.facts.genesis.clone();
    ([(header::CONTENT_TYPE, "application/json")], file).into_response()
}

async fn livez() -> StatusCode {
    StatusCode::OK
}

async fn readyz(State(ledger): Shared) -> Response {
    #[derive(Serialize)]
    struct Readiness {
        ready: bool,
        reasons: Vec<&'static str>,
    }
    let reasons = ledger.not_ready();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Readiness { ready, reasons })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockQuery {
    txs: Option<TxsWanted>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TxsWanted {
    Ids,
    Full,
}

async fn named(ledger: &Ledger, name: &str) -> Answered<Height> {
    match name.parse() {
        Ok(BlockName::Height(height)) => Ok(height),
        Ok(BlockName::Hash(hash)) => ledger.height_of(hash).await,
        Ok(BlockName::Latest) => Ok(ledger.latest()),
        Err(wrong) => Err(bad_request(wrong.to_string())),
    }
}

async fn block(
    State(ledger): Shared,
    Path(name): Path<String>,
    wanted: Queried<BlockQuery>,
) -> Reply {
    let is_full = query(wanted)?.txs == Some(TxsWanted::Full);
    let height = named(&ledger, &name).await?;
    Ok(json(StatusCode::OK, &ledger.block(height, is_full).await?))
}

async fn certificate(State(ledger): Shared, Path(name): Path<String>) -> Reply {
    let height = named(&ledger, &name).await?;
    Ok(json(StatusCode::OK, &ledger.certificate(height).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    from: Option<u64>,
    limit: Option<usize>,
}

impl ListQuery {
    fn bounds(&self) -> Answered<(Height, usize)> {
        let limit = self.limit.unwrap_or(100);
        if limit == 0 || limit > LIST {
            return Err(bad_request(format!("limit is {limit}; it is 1 to {LIST}")));
        }
        Ok((Height::new(self.from.unwrap_or(1)), limit))
    }
}

/// Where a list goes on; nowhere if it ended before its limit.
fn next(last: Option<Height>, found: usize, limit: usize) -> Option<Height> {
    last.filter(|_| found == limit)?.next()
}

async fn blocks(State(ledger): Shared, wanted: Queried<ListQuery>) -> Reply {
    #[derive(Serialize)]
    struct Blocks {
        blocks: Vec<super::answers::BlockInfo>,
        next: Option<Height>,
    }
    let (from, limit) = query(wanted)?.bounds()?;
    let blocks = ledger.blocks(from, limit).await?;
    let next = next(blocks.last().map(|block| block.height), blocks.len(), limit);
    Ok(json(StatusCode::OK, &Blocks { blocks, next }))
}

async fn headers(State(ledger): Shared, wanted: Queried<ListQuery>) -> Reply {
    #[derive(Serialize)]
    struct Headers {
        headers: Vec<super::answers::HeaderInfo>,
        next: Option<Height>,
    }
    let (from, limit) = query(wanted)?.bounds()?;
    let headers = ledger.headers(from, limit).await?;
    let next = next(headers.last().map(|header| header.height), headers.len(), limit);
    Ok(json(StatusCode::OK, &Headers { headers, next }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmitQuery {
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

fn from_base64(text: &str) -> Answered<Bytes> {
    let bytes = BASE64.decode(text.as_bytes());
    bytes.map(Bytes::from).map_err(|wrong| problem(Code::Malformed, format!("base64: {wrong}")))
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

async fn submit(
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

async fn batch(
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

async fn transaction(State(ledger): Shared, Path(id): Path<String>) -> Reply {
    let id: TxId = id.parse().map_err(|wrong| bad_request(format!("{id:?}: {wrong}")))?;
    Ok(json(StatusCode::OK, &ledger.transaction(id).await?))
}

async fn account(State(ledger): Shared, Path(key): Path<String>) -> Reply {
    let key = key.parse().map_err(|wrong| bad_request(format!("{key:?}: {wrong}")))?;
    Ok(json(StatusCode::OK, &ledger.account(key).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateQuery {
    consistency: Option<Consistency>,
    key_base64: Option<String>,
}

async fn state(
    State(ledger): Shared,
    Path(key): Path<String>,
    headers: HeaderMap,
    wanted: Queried<StateQuery>,
) -> Reply {
    let wanted = query(wanted)?;
    if wanted.key_base64.is_some() {
        return Err(bad_request("the key is named twice").into());
    }
    read(&ledger, Bytes::from(key), wanted.consistency, &headers).await
}

async fn state_query(
    State(ledger): Shared,
    headers: HeaderMap,
    wanted: Queried<StateQuery>,
) -> Reply {
    let wanted = query(wanted)?;
    let text = wanted.key_base64.ok_or_else(|| bad_request("key_base64 is missing"))?;
    let key = from_base64(&text).map_err(|mut wrong| {
        wrong.status = 400;
        wrong
    })?;
    read(&ledger, key, wanted.consistency, &headers).await
}

async fn read(
    ledger: &Ledger,
    key: Bytes,
    consistency: Option<Consistency>,
    headers: &HeaderMap,
) -> Reply {
    let consistency = consistency.unwrap_or(Consistency::Linearizable);
    let (entry, value) = ledger.value(key, consistency, WAIT).await?;
    let accepted = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok());
    if accepted.is_some_and(|kinds| kinds.contains("application/octet-stream")) {
        let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
        return Ok((kind, value).into_response());
    }
    Ok(json(StatusCode::OK, &entry))
}
