//! What a command prints, and how it ends.
//!
//! In JSON there is one line: on success, on standard output, the body of the endpoint as the node
//! sent it; on failure, on standard error, the problem. In text there are words.

use std::io::{self, Write as _};

use clap::ValueEnum;
use quorate_chain::codec::DecodeError;
use quorate_client::Error;
use quorate_client::problem::Code;
use serde::Serialize;

use crate::api::problem;
use crate::exit::{Exit, Failure};
use crate::stderr;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Text for people.
    Text,
    /// One line of JSON.
    Json,
}

/// How a command ends that does not do what it should.
#[derive(Debug)]
pub(super) struct Ended {
    failure: Failure,
    /// The problem as a line of JSON, if a node or the client library stated one.
    problem: Option<String>,
}

pub(super) type Done = Result<(), Ended>;

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self { failure, problem: None }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        let sentence = error.to_string();
        match error {
            Error::Refused { problem, body } => {
                let exit = problem::exit(&problem);
                let sentence = match hint(problem.code) {
                    Some(hint) => format!("{sentence}\n{hint}"),
                    None => sentence,
                };
                Self::stated(exit, sentence, Some(one_line(&body)))
            }
            Error::Unknown { tx, last, .. } => {
                let mut unknown = problem::problem(Code::OutcomeUnknown, &sentence);
                unknown.tx = Some(tx);
                if let Some(said) = last.problem() {
                    (unknown.reachable, unknown.needed) = (said.reachable, said.needed);
                    unknown.leader_api.clone_from(&said.leader_api);
                }
                let problem = serde_json::to_string(&unknown).ok();
                let sentence = format!("{sentence}\nask again: quorate tx {tx}");
                Self::stated(Exit::NoQuorum, sentence, problem)
            }
            Error::Transaction(ref why) => {
                let long = matches!(why, DecodeError::TooLong { .. });
                let code = if long { Code::TooLarge } else { Code::Malformed };
                let problem = serde_json::to_string(&problem::problem(code, &sentence)).ok();
                Self::stated(Exit::Rejected, sentence, problem)
            }
            Error::Address { .. } | Error::NoNodes => Failure::new(Exit::Usage, sentence).into(),
            Error::NoNode { .. } => {
                let hint = "is a node running? `quorate testnet up` starts some; --node names them";
                Failure::new(Exit::NoNode, format!("{sentence}\n{hint}")).into()
            }
            Error::Nonsense { .. } => Failure::new(Exit::NoNode, sentence).into(),
            Error::Random(_) => Failure::new(Exit::Bug, sentence).into(),
            // The library may learn to fail in new ways.
            _ => Failure::new(Exit::Bug, sentence).into(),
        }
    }
}

/// What a command line has for who was refused so.
fn hint(code: Code) -> Option<&'static str> {
    if code == Code::KeyExists {
        Some("`put` is for new keys; `quorate update KEY VALUE` gives one another value")
    } else {
        None
    }
}

impl Ended {
    /// The end that goes with a problem.
    pub(super) fn stated(exit: Exit, sentence: String, problem: Option<String>) -> Self {
        Self { failure: Failure { exit, sentence }, problem }
    }

    /// Says it, and gives the exit code.
    pub(super) fn tell(&self, output: Output) -> Exit {
        match (output, &self.problem) {
            (Output::Text, _) => stderr::line(format_args!("quorate: {}", self.failure.sentence)),
            (Output::Json, Some(problem)) => stderr::line(problem),
            (Output::Json, None) => stderr::line(self.failure.to_json()),
        }
        self.failure.exit
    }
}

/// JSON without the line breaks between its parts; inside of its strings there are none.
fn one_line(json: &str) -> String {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json.to_owned() }
}

/// Prints the body of an endpoint.
pub(super) fn body(json: &str) -> Done {
    line(&one_line(json))
}

/// Prints something as a line of JSON.
pub(super) fn json(value: &impl Serialize) -> Done {
    let text = serde_json::to_string(value).map_err(|error| Failure::new(Exit::Bug, error))?;
    line(&text)
}

/// Prints a line.
pub(super) fn line(text: &str) -> Done {
    raw(format!("{text}\n").as_bytes())
}

/// Prints bytes. Who has closed the pipe has read enough.
pub(super) fn raw(bytes: &[u8]) -> Done {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            // What was asked for is done all the same.
            let failure = Failure::new(Exit::Storage, format!("standard output: {error}"));
            let problem = failure.to_json_with("unknown");
            Err(Ended { failure, problem: Some(problem) })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
