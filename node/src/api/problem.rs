//! The one table of errors: what each code means for HTTP, for scripts and for whoever tries again.

use quorate_chain::ids::TxId;
use quorate_chain::outcome::{Failure, Void};
use quorate_chain::transaction::TransactionError;
use quorate_client::answer::Outcome;
use quorate_client::problem::{Code, Effect, EffectWord, Problem, Retry};
use quorate_replica::io::{Dropped, Refusal};

use crate::exit::Exit;

/// What a code means.
struct Row {
    status: u16,
    exit: Exit,
    outcome: EffectWord,
    retry: Retry,
}

const fn row(code: Code) -> Row {
    use EffectWord::{NothingHappened, Unknown};
    use Retry::{AfterFix, Never, SameBytes};

    let (status, exit, outcome, retry) = match code {
        Code::Malformed
        | Code::TooLarge
        | Code::BadSignature
        | Code::WrongChain
        | Code::NonceUsed
        | Code::NonceTooFar
        | Code::NotPermitted
        | Code::Expired => (422, Exit::Rejected, NothingHappened, AfterFix),
        Code::UnsafeChange => (422, Exit::Unsafe, NothingHappened, AfterFix),
        Code::KeyExists | Code::Mismatch => (409, Exit::Rejected, NothingHappened, AfterFix),
        Code::ChangeInProgress => (409, Exit::Rejected, NothingHappened, SameBytes),
        Code::MempoolFull | Code::RateLimited => (429, Exit::Rejected, NothingHappened, SameBytes),
        Code::NoLeader | Code::NoQuorum | Code::CatchingUp => {
            (503, Exit::NoQuorum, NothingHappened, SameBytes)
        }
        Code::OutcomeUnknown => (504, Exit::NoQuorum, Unknown, SameBytes),
        Code::KeyNotFound | Code::BlockNotFound => (404, Exit::NotFound, NothingHappened, Never),
        Code::ProofUnavailable | Code::ReceiptNotYet => {
            (404, Exit::NotFound, NothingHappened, SameBytes)
        }
        Code::Pruned => (410, Exit::NotFound, NothingHappened, Never),
        Code::DiskLow => (503, Exit::Storage, NothingHappened, SameBytes),
        Code::Stopping => (503, Exit::NoQuorum, NothingHappened, SameBytes),
    };
    Row { status, exit, outcome, retry }
}

/// How a command ends because of a problem.
#[must_use]
pub fn exit(problem: &Problem) -> Exit {
    match (problem.status, problem.code) {
        // An operation failed because there is no such key; nothing that was asked for is missing.
        (409, Code::KeyNotFound) => Exit::Rejected,
        (_, code) => row(code).exit,
    }
}

/// A problem with the facts of the case.
pub(crate) fn problem(code: Code, detail: impl Into<String>) -> Box<Problem> {
    let Row { status, outcome, retry, .. } = row(code);
    Box::new(Problem {
        uri: code.uri(),
        title: code.title().to_owned(),
        status,
        code,
        detail: detail.into(),
        outcome: Effect::Word(outcome),
        retry,
        tx: None,
        reachable: None,
        needed: None,
        leader_api: None,
        read_height: None,
    })
}

/// The request itself cannot be read, whatever it asks for.
pub(crate) fn bad_request(detail: impl Into<String>) -> Box<Problem> {
    let mut problem = problem(Code::Malformed, detail);
    problem.status = 400;
    problem
}

/// A transaction that is not acceptable, whatever the state.
pub(crate) fn unacceptable(tx: TxId, error: &TransactionError) -> Box<Problem> {
    let strange = matches!(error, TransactionError::WrongChain { .. });
    let code = if strange { Code::WrongChain } else { Code::BadSignature };
    let mut problem = problem(code, error.to_string());
    problem.tx = Some(tx);
    problem
}

/// A transaction that was not taken.
pub(crate) fn refused(tx: TxId, refusal: Refusal) -> Box<Problem> {
    let code = match refusal {
        Refusal::Full => Code::MempoolFull,
        Refusal::SenderFull | Refusal::WaitersFull => Code::RateLimited,
        Refusal::NonceUsed | Refusal::NonceTaken => Code::NonceUsed,
        Refusal::NonceTooFar => Code::NonceTooFar,
        Refusal::Expired => Code::Expired,
        Refusal::NotPermitted => Code::NotPermitted,
        Refusal::DiskLow => Code::DiskLow,
        Refusal::Stopping => Code::Stopping,
    };
    let mut problem = problem(code, refusal.to_string());
    problem.tx = Some(tx);
    problem
}

/// A transaction that was taken and will never stand in the chain.
pub(crate) fn dropped(tx: TxId, dropped: Dropped) -> Box<Problem> {
    let code = match dropped {
        Dropped::NonceUsed => Code::NonceUsed,
        Dropped::Expired => Code::Expired,
    };
    let mut problem = problem(code, dropped.to_string());
    problem.tx = Some(tx);
    problem
}

/// A transaction that was ordered and has failed.
pub(crate) fn failed(outcome: Outcome) -> Box<Problem> {
    let error = outcome.error.as_ref();
    let code = error.map_or(Code::Mismatch, |error| error.code);
    let mut problem = problem(code, error.map_or("", |error| &error.detail));
    problem.status = 409;
    problem.tx = Some(outcome.id);
    problem.retry = Retry::AfterFix;
    problem.outcome = Effect::Ordered(Box::new(outcome));
    problem
}

/// The code of a failed operation.
pub(crate) const fn failure_code(failure: Failure) -> Code {
    match failure {
        Failure::NotPermitted => Code::NotPermitted,
        Failure::KeyExists => Code::KeyExists,
        Failure::KeyNotFound => Code::KeyNotFound,
        Failure::Mismatch => Code::Mismatch,
        Failure::TooManyGrants => Code::TooLarge,
    }
}

/// The code of a transaction that counts for nothing.
pub(crate) const fn void_code(void: Void) -> Code {
    match void {
        Void::NonceUsed => Code::NonceUsed,
        Void::NonceTooFar => Code::NonceTooFar,
        Void::Expired => Code::Expired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status and the exit code of every code, as the surface has them, each written out here once more.
    const EXPECTED: &[(Code, u16, u8)] = &[
        (Code::Malformed, 422, 7),
        (Code::TooLarge, 422, 7),
        (Code::BadSignature, 422, 7),
        (Code::WrongChain, 422, 7),
        (Code::Expired, 422, 7),
        (Code::NonceUsed, 422, 7),
        (Code::NonceTooFar, 422, 7),
        (Code::NotPermitted, 422, 7),
        (Code::KeyExists, 409, 7),
        (Code::KeyNotFound, 404, 5),
        (Code::Mismatch, 409, 7),
        (Code::MempoolFull, 429, 7),
        (Code::RateLimited, 429, 7),
        (Code::NoLeader, 503, 6),
        (Code::NoQuorum, 503, 6),
        (Code::OutcomeUnknown, 504, 6),
        (Code::BlockNotFound, 404, 5),
        (Code::Pruned, 410, 5),
        (Code::ProofUnavailable, 404, 5),
        (Code::ReceiptNotYet, 404, 5),
        (Code::ChangeInProgress, 409, 7),
        (Code::UnsafeChange, 422, 10),
        (Code::CatchingUp, 503, 6),
        (Code::DiskLow, 503, 9),
        (Code::Stopping, 503, 6),
    ];

    #[test]
    fn every_code_has_its_status_and_its_exit_code() {
        let told = |code: &Code| {
            let problem = problem(*code, "");
            (*code, problem.status, exit(&problem).code())
        };
        let told: Vec<_> = Code::ALL.iter().map(told).collect();
        assert_eq!(told, EXPECTED);
        for code in Code::ALL {
            let Row { status, outcome, .. } = row(*code);
            assert_eq!(outcome == EffectWord::Unknown, status == 504, "{code}");
        }
        // Of a transaction that has failed because there is no such key; nothing that was asked for is missing.
        let mut failed = problem(Code::KeyNotFound, "");
        failed.status = 409;
        assert_eq!(exit(&failed), Exit::Rejected);
    }
}
