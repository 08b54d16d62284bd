//! HTTP: translates requests to the ledger's operations and answers back, and decides nothing.

mod events;
mod state;
mod submit;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::BASE64;
use quorate_chain::ids::Height;
use quorate_client::path::BlockName;
use quorate_client::problem::{Code, Problem};
use serde::{Deserialize, Serialize};

use super::ledger::{Answered, Ledger};
use super::problem::{bad_request, problem};

/// How long a wait is when nothing is said.
const WAIT: Duration = Duration::from_secs(5);
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
        .route("/v1/txs", post(submit::submit))
        .route("/v1/txs/batch", post(submit::batch))
        .route("/v1/txs/{id}", get(submit::transaction))
        .route("/v1/accounts/{key}", get(state::account))
        .route("/v1/state", get(state::query_state))
        .route("/v1/state/{key}", get(state::value))
        .route("/v1/state/{key}/history", get(state::history))
        .route("/v1/validators", get(validators))
        .route("/v1/peers", get(peers))
        .route("/v1/mempool", get(mempool))
        .route("/v1/genesis", get(genesis))
        .route("/v1/events", get(events::events))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .layer(map_response(told))
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

/// Most bytes of what the router says of itself.
const REMARK: usize = 4_096;

/// What the router itself says no to, as a problem like every other.
async fn told(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_ours = kind.is_some_and(|kind| kind.starts_with("application/"));
    if is_ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (head, body) = response.into_parts();
    let remark = to_bytes(body, REMARK).await.unwrap_or_default();
    let detail = match status {
        StatusCode::NOT_FOUND => "there is nothing at this path".to_owned(),
        StatusCode::METHOD_NOT_ALLOWED => "this path does not take this method".to_owned(),
        _ => String::from_utf8_lossy(&remark).into_owned(),
    };
    let mut problem = bad_request(detail);
    problem.status = status.as_u16();
    let mut answer = Refusal(problem).into_response();
    if let Some(methods) = head.headers.get(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, methods.clone());
    }
    answer
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

async fn validators(State(ledger): Shared) -> Reply {
    Ok(json(StatusCode::OK, &ledger.validators().await?))
}

async fn peers(State(ledger): Shared) -> Response {
    json(StatusCode::OK, &serde_json::json!({ "peers": ledger.peers() }))
}

async fn mempool(State(ledger): Shared) -> Response {
    json(StatusCode::OK, &ledger.mempool())
}

async fn metrics(State(ledger): Shared) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, ledger.metrics()).into_response()
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
    let (blocks, next) = ledger.blocks(from, limit).await?;
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

/// Bytes in base64.
fn from_base64(text: &str) -> Answered<Bytes> {
    let bytes = BASE64.decode(text.as_bytes());
    bytes.map(Bytes::from).map_err(|wrong| problem(Code::Malformed, format!("base64: {wrong}")))
}
