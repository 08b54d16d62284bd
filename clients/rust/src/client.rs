//! Asking a group of nodes: one after the other, until one answers.

use std::io::BufRead;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quorate_chain::codec::Decode;
use quorate_chain::crypto::SecretKey;
use quorate_chain::ids::{AccountKey, ChainId, TxId};
use quorate_chain::transaction::SignedTransaction;
use serde::de::DeserializeOwned;

use crate::account::Account;
use crate::answer::{
    AccountInfo, Block, Certificate, Entry, HeightInfo, History, Items, Outcome, OutcomeError,
    Status, TxStatus,
};
use crate::error::Error;
use crate::events::{Events, Wanted};
use crate::http::{self, Failure, Reply};
use crate::nodes::Nodes;
use crate::path::{self, BlockName, Txs};
use crate::problem::{Code, Effect, EffectWord, Problem, Retry};

/// How long a question is asked again, if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one node of several is waited for before the next one is asked the same.
const TURN: Duration = Duration::from_secs(2);
/// The same if it is the only one: no node lets anybody wait longer.
const LONGEST_TURN: Duration = Duration::from_secs(60);
/// What a node may take beyond the time it was told to wait.
const MARGIN: Duration = Duration::from_millis(500);
/// The first and the longest pause between two rounds of questions.
const PAUSE: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(400));

/// How far a transaction must have come before there is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A node has it and will have it ordered if it can.
    Accepted,
    /// It stands in the chain.
    Committed,
    /// It has been executed.
    Applied,
}

/// How far a transaction must have come, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// How far.
    pub level: Level,
    /// How long; nodes wait at most a minute.
    pub timeout: Duration,
}

impl Default for Wait {
    /// Until it is applied, for five seconds.
    fn default() -> Self {
        Self { level: Level::Applied, timeout: PATIENCE }
    }
}

/// A group of nodes that serve one chain. Copies share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    timeout: Duration,
}

#[derive(Debug)]
struct Inner {
    agent: ureq::Agent,
    nodes: Nodes,
}

/// What is asked.
struct Question<'a> {
    path: String,
    body: Option<&'a [u8]>,
    /// How long it is asked.
    patience: Duration,
    /// The transaction that is sent, and how far it must come.
    sends: Option<(TxId, Level)>,
}

/// How it ended, and whether the nodes may know more of it than they have said.
pub(crate) struct Asked {
    pub(crate) result: Result<String, Error>,
    /// Whether a try may have had an effect that the result does not tell.
    pub(crate) in_doubt: bool,
}

impl Client {
    /// Nodes by their addresses, separated by commas: `http://127.0.0.1:7600,http://127.0.0.1:7601`.
    ///
    /// # Errors
    /// If one is not an address, or there is none.
    pub fn new(nodes: &str) -> Result<Self, Error> {
        let nodes: Vec<_> = nodes.split(',').map(str::trim).filter(|url| !url.is_empty()).collect();
        let nodes = nodes.into_iter().map(address).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(Error::NoNodes);
        }
        let inner = Inner { agent: http::agent(), nodes: Nodes::new(nodes) };
        Ok(Self { inner: Arc::new(inner), timeout: PATIENCE })
    }

    /// The same nodes, asked for at most this long when they do not answer at once.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The nodes, in the order in which they were named.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        self.inner.nodes.urls()
    }

    /// Someone who writes through these nodes.
    #[must_use]
    pub fn account(&self, key: SecretKey) -> Account {
        Account::new(self.clone(), key)
    }

    /// What a node is and how it fares.
    ///
    /// # Errors
    /// If none answers.
    pub fn status(&self) -> Result<Status, Error> {
        self.read("/v1/status")
    }

    /// How far a node has come.
    ///
    /// # Errors
    /// If none answers.
    pub fn height(&self) -> Result<HeightInfo, Error> {
        self.read("/v1/height")
    }

    /// A committed block, with the ids of its transactions.
    ///
    /// # Errors
    /// If there is no such block, or no node answers.
    pub fn block(&self, name: impl Into<BlockName>) -> Result<Block, Error> {
        self.read(&path::block(name.into(), Txs::Ids))
    }

    /// The certificate that covers a height, and the headers from there down to it.
    ///
    /// # Errors
    /// If there is no such block, or no node answers.
    pub fn certificate(&self, height: quorate_chain::ids::Height) -> Result<Certificate, Error> {
        self.read(&path::certificate(height))
    }

    /// What became of a transaction.
    ///
    /// # Errors
    /// If no node answers. That the transaction is unknown is an answer.
    pub fn tx(&self, id: TxId) -> Result<Outcome, Error> {
        self.read(&path::tx(id))
    }

    /// The value of a key, read so that everything acknowledged before is seen; `None` if it has
    /// none.
    ///
    /// # Errors
    /// If no node answers, or none can be sure.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>, Error> {
        match self.read(&path::state(key.as_ref())) {
            Ok(entry) => Ok(Some(entry)),
            Err(Error::Refused { problem, .. }) if problem.status == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a sender needs to know of itself to write.
    ///
    /// # Errors
    /// If no node answers.
    pub fn account_info(&self, key: AccountKey) -> Result<AccountInfo, Error> {
        self.read(&path::account(key))
    }

    /// The chain that the nodes serve, as one of them says.
    ///
    /// # Errors
    /// If none answers.
    pub fn chain_id(&self) -> Result<ChainId, Error> {
        Ok(self.status()?.chain_id)
    }

    /// The body of any `GET` endpoint, byte for byte.
    ///
    /// # Errors
    /// If no node answers, or one says no.
    pub fn body(&self, path: &str) -> Result<String, Error> {
        self.ask(&Question {
            path: path.to_owned(),
            body: None,
            patience: self.timeout,
            sends: None,
        })
        .result
    }

    fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let body = self.body(path)?;
        parse(self.first(), 200, &body)
    }

    /// Has a signed transaction ordered. The same bytes go to one node after the other until one
    /// says what became of them; however many get them, they take effect once.
    ///
    /// # Errors
    /// If these bytes are no transaction, it was refused or has failed, or nobody says what became
    /// of it in time.
    pub fn submit(&self, bytes: &[u8], wait: Wait) -> Result<Outcome, Error> {
        let body = self.submit_for_body(bytes, wait)?;
        parse(self.first(), 200, &body)
    }

    /// The same, but returns the answer byte for byte.
    ///
    /// # Errors
    /// As for [`Client::submit`].
    pub fn submit_for_body(&self, bytes: &[u8], wait: Wait) -> Result<String, Error> {
        let id = SignedTransaction::from_bytes(&Bytes::copy_from_slice(bytes))?.id();
        self.send(id, bytes, wait).result
    }

    /// Has a transaction of this id ordered.
    pub(crate) fn send(&self, id: TxId, bytes: &[u8], wait: Wait) -> Asked {
        let asked = self.ask(&Question {
            path: "/v1/txs".to_owned(),
            body: Some(bytes),
            patience: wait.timeout,
            sends: Some((id, wait.level)),
        });
        Asked { result: asked.result.and_then(failed_is_an_error), ..asked }
    }

    /// Keys that begin with a prefix, in order, all as of one height; those after a cursor if one is
    /// given. The list may end before its limit; if it has a cursor there is more.
    ///
    /// # Errors
    /// If no node answers, or none can be sure.
    pub fn scan(
        &self,
        prefix: impl AsRef<[u8]>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Items, Error> {
        self.read(&path::scan(prefix.as_ref(), limit, cursor))
    }

    /// What a key has been, newest first; before a cursor if one is given.
    ///
    /// # Errors
    /// If no node answers, or none can be sure.
    pub fn history(
        &self,
        key: impl AsRef<[u8]>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<History, Error> {
        self.read(&path::history(key.as_ref(), limit, cursor))
    }

    /// What happens on the chain: an iterator that waits for the next event, and goes on with another
    /// node when one fails, without losing or doubling anything.
    ///
    /// # Errors
    /// If no node says where the chain is now.
    pub fn events(&self, wanted: Wanted) -> Result<Events, Error> {
        Events::begin(self.clone(), wanted)
    }

    /// How long nodes are asked when they do not answer at once.
    pub(crate) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// An answer that does not end, from the first node that gives one.
    pub(crate) fn line(
        &self,
        path: &str,
        limit: Duration,
    ) -> Result<Box<dyn BufRead + Send>, Error> {
        let (mut failures, mut refused) = (Vec::new(), None);
        let nodes = &self.inner.nodes;
        for at in nodes.in_turn(&self.inner.agent) {
            let node = &nodes.urls()[at];
            match http::listen(&self.inner.agent, &format!("{node}{path}"), limit) {
                Ok(Ok(line)) => {
                    nodes.answered(at);
                    return Ok(line);
                }
                Ok(Err(reply)) => match problem(node, reply) {
                    Verdict::Final(error) => return Err(error),
                    Verdict::Again { error, .. } => refused = Some(error),
                },
                Err(failure) => failures.push((node.clone(), failure)),
            }
        }
        Err(refused.unwrap_or(Error::NoNode { failures }))
    }

    /// The node that answered last.
    fn first(&self) -> &str {
        &self.nodes()[self.inner.nodes.first()]
    }

    /// Asks one node after the other, again and again, until one gives a final answer, time is up,
    /// or there is nobody to be asked.
    fn ask(&self, question: &Question<'_>) -> Asked {
        let begin = Instant::now();
        let (mut in_doubt, mut pause) = (false, PAUSE.0);
        let nodes = &self.inner.nodes;
        // What was said last: it is worth more than that the time is over.
        let mut said = None;
        loop {
            let (mut failures, mut refused) = (Vec::new(), None);
            for at in nodes.in_turn(&self.inner.agent) {
                let left = question.patience.saturating_sub(begin.elapsed());
                match self.ask_one(at, question, left) {
                    Ok(reply) if reply.is_success() => {
                        nodes.answered(at);
                        return Asked { result: Ok(reply.body), in_doubt };
                    }
                    Ok(reply) => match problem(&nodes.urls()[at], reply) {
                        Verdict::Final(error) => {
                            if error.problem().is_some() {
                                nodes.answered(at);
                            }
                            let error = match question.sends {
                                Some((tx, _)) if leaves_doubt(&error, in_doubt) => {
                                    unknown(tx, begin.elapsed(), error)
                                }
                                Some(_) | None => error,
                            };
                            return Asked { result: Err(error), in_doubt };
                        }
                        Verdict::Again { error, unknown } => {
                            in_doubt |= unknown;
                            refused = Some(error);
                        }
                    },
                    Err(failure) => {
                        in_doubt |= failure.may_have_arrived && question.sends.is_some();
                        failures.push((nodes.urls()[at].clone(), failure));
                    }
                }
                nodes.failed(at);
            }
            let nobody = refused.is_none() && !in_doubt;
            let late = begin.elapsed() + pause >= question.patience;
            said = refused.or(said);
            if nobody || late {
                let error = said.unwrap_or(Error::NoNode { failures });
                let error = match question.sends {
                    Some((tx, _)) if in_doubt => unknown(tx, begin.elapsed(), error),
                    Some(_) | None => error,
                };
                return Asked { result: Err(error), in_doubt };
            }
            thread::sleep(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn ask_one(
        &self,
        at: usize,
        question: &Question<'_>,
        left: Duration,
    ) -> Result<Reply, Failure> {
        let alone = self.nodes().len() == 1;
        let turn = left.min(if alone { LONGEST_TURN } else { TURN });
        let mut url = format!("{}{}", self.nodes()[at], question.path);
        if let Some((_, level)) = question.sends {
            url.push_str(&path::wait(level, turn));
        }
        http::ask(&self.inner.agent, &url, question.body, turn + MARGIN)
    }
}

/// An address without the slash at its end.
fn address(url: &str) -> Result<String, Error> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.map(|rest| rest.trim_end_matches('/'));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['?', '#', ' ']) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        Some(_) | None => Err(Error::Address { url: url.to_owned() }),
    }
}

enum Verdict {
    Final(Error),
    Again { error: Error, unknown: bool },
}

/// Reads what a node said instead of an answer.
fn problem(url: &str, reply: Reply) -> Verdict {
    let problem: Problem = match parse(url, reply.status, &reply.body) {
        Ok(problem) => problem,
        Err(error) => return Verdict::Final(error),
    };
    let unknown = problem.outcome == Effect::Word(EffectWord::Unknown);
    let again = problem.retry == Retry::SameBytes;
    let error = Error::Refused { problem: Box::new(problem), body: reply.body };
    if again { Verdict::Again { error, unknown } } else { Verdict::Final(error) }
}

fn parse<T: DeserializeOwned>(url: &str, status: u16, body: &str) -> Result<T, Error> {
    serde_json::from_str(body).map_err(|error| Error::Nonsense {
        url: url.to_owned(),
        status,
        what: format!("a body that cannot be read ({error})"),
    })
}

/// Whether a transaction may be under way although a node has said no to it. An earlier try may have
/// brought it to others: then "its nonce is used" may mean that it has used it itself, and it has
/// not expired for good. That its sender may not write this, or is not so far with its nonces, is said by what
/// the asked node has applied, and it may be behind. What is wrong with the bytes was wrong with them before.
fn leaves_doubt(error: &Error, in_doubt: bool) -> bool {
    match error.problem() {
        None => true,
        Some(problem) => {
            let by_its_state =
                [Code::NonceUsed, Code::NonceTooFar, Code::NotPermitted, Code::Expired];
            in_doubt && by_its_state.contains(&problem.code)
        }
    }
}

fn unknown(tx: TxId, waited: Duration, last: Error) -> Error {
    Error::Unknown { tx, waited, last: Box::new(last) }
}

/// A node that has known the transaction answers with what became of it even if it has failed; for
/// who sent it that is the same "no" as the first time.
fn failed_is_an_error(body: String) -> Result<String, Error> {
    let outcome: Result<Outcome, _> = serde_json::from_str(&body);
    let Ok(outcome) = outcome else {
        return Ok(body);
    };
    let Some(OutcomeError { code, detail }) = outcome.error.clone() else {
        return Ok(body);
    };
    let nothing = outcome.status == TxStatus::Expired;
    let problem = Problem {
        uri: code.uri(),
        title: code.title().to_owned(),
        status: if nothing { 422 } else { 409 },
        code,
        detail,
        tx: Some(outcome.id),
        outcome: if nothing {
            Effect::Word(EffectWord::NothingHappened)
        } else {
            Effect::Ordered(Box::new(outcome))
        },
        retry: Retry::Never,
        reachable: None,
        needed: None,
        leader_api: None,
        read_height: None,
    };
    let body = serde_json::to_string(&problem).unwrap_or(body);
    Err(Error::Refused { problem: Box::new(problem), body })
}
