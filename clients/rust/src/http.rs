//! One request to one node.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::time::Duration;

/// The longest answer that is read: a full block with its transactions in base64 fits in.
const LONGEST_ANSWER: u64 = 64 * 1_024 * 1_024;
/// How long a node may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a node may take to begin an answer that does not end.
const ANSWER: Duration = Duration::from_secs(5);

/// What a node answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: String,
}

impl Reply {
    /// Whether it is what was asked for.
    pub(crate) const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

/// Why one node gave no answer.
#[derive(Debug)]
pub struct Failure {
    /// Whether the request may have reached the node all the same.
    pub may_have_arrived: bool,
    reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        let kinds = [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::HostUnreachable,
            io::ErrorKind::NetworkUnreachable,
            io::ErrorKind::AddrNotAvailable,
        ];
        let kind = if let ureq::Error::Io(io) = &error { Some(io.kind()) } else { None };
        let never_sent = kind.is_some_and(|kind| kinds.contains(&kind))
            || matches!(
                error,
                ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
                    | ureq::Error::HostNotFound
                    | ureq::Error::BadUri(_)
                    | ureq::Error::ConnectionFailed
                    | ureq::Error::TlsRequired
            );
        let reason = if kind == Some(io::ErrorKind::ConnectionRefused) {
            "connection refused".to_owned()
        } else if matches!(error, ureq::Error::Timeout(_)) {
            "no answer in time".to_owned()
        } else if matches!(error, ureq::Error::TlsRequired) {
            "https is not supported".to_owned()
        } else {
            error.to_string()
        };
        Self { may_have_arrived: !never_sent, reason }
    }
}

/// Speaks HTTP/1.1 and keeps connections for the next request. Proxies of the environment and
/// redirects are left aside: a node is named by its own address.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .user_agent(concat!("quorate-client/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// Asks once and waits for the whole answer.
pub(crate) fn ask(
    agent: &ureq::Agent,
    url: &str,
    body: Option<&[u8]>,
    limit: Duration,
) -> Result<Reply, Failure> {
    let accept = "application/json, application/problem+json";
    let answer = match body {
        None => {
            let request = agent.get(url).header("accept", accept);
            request.config().timeout_global(Some(limit)).build().call()
        }
        Some(body) => {
            let request = agent.post(url).header("accept", accept);
            let request = request.header("content-type", "application/octet-stream");
            request.config().timeout_global(Some(limit)).build().send(body)
        }
    };
    let mut answer = answer?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string()?;
    Ok(Reply { status, body })
}

/// Asks for an answer that does not end, and listens to it for so long.
pub(crate) fn listen(
    agent: &ureq::Agent,
    url: &str,
    limit: Duration,
) -> Result<Result<Box<dyn BufRead + Send>, Reply>, Failure> {
    let request = agent.get(url).header("accept", "text/event-stream, application/problem+json");
    let request =
        request.config().timeout_recv_response(Some(ANSWER)).timeout_recv_body(Some(limit));
    let mut answer = request.build().call()?;
    let status = answer.status().as_u16();
    if status == 200 {
        return Ok(Ok(Box::new(BufReader::new(answer.into_body().into_reader()))));
    }
    let body = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_string()?;
    Ok(Err(Reply { status, body }))
}
