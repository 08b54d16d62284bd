//! How a process ends: the one list of exit codes, for scripts.

use std::process::ExitCode;

/// Why a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Success = 0,
    /// We are wrong.
    Bug = 1,
    /// The command line is wrong.
    Usage = 2,
    /// Configuration, keys or genesis are wrong.
    Configuration = 3,
    /// No node answered.
    NoNode = 4,
    /// There is no such thing.
    NotFound = 5,
    /// No leader or no quorum, a time-out, or an outcome that nobody knows yet.
    NoQuorum = 6,
    /// A node has said no.
    Rejected = 7,
    /// A proof or a state is not what it should be.
    Verification = 8,
    /// What is stored is locked, damaged or full, or the disk failed.
    Storage = 9,
    /// Refused, because going on would not be safe.
    Unsafe = 10,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::Bug,
        Self::Usage,
        Self::Configuration,
        Self::NoNode,
        Self::NotFound,
        Self::NoQuorum,
        Self::Rejected,
        Self::Verification,
        Self::Storage,
        Self::Unsafe,
    ];

    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The one with this number; an unknown one is a bug.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|exit| exit.code() == code).unwrap_or(Self::Bug)
    }

    /// What it means, in a few words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Success => "All is well.",
            Self::Bug => "The program is wrong.",
            Self::Usage => "The command line is wrong.",
            Self::Configuration => "Configuration, keys or genesis are wrong.",
            Self::NoNode => "No node answered.",
            Self::NotFound => "There is no such thing.",
            Self::NoQuorum => "No leader or no quorum, or nobody knows yet.",
            Self::Rejected => "It was rejected.",
            Self::Verification => "A proof or a state is not what it should be.",
            Self::Storage => "What is stored is locked, damaged or full.",
            Self::Unsafe => "Refused, because going on would not be safe.",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command or a node ended early: a sentence, and the exit code that goes with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What a person needs to know.
    pub sentence: String,
}

/// A problem that no node stated: its code is none of theirs.
#[derive(serde::Serialize)]
struct OwnProblem<'a> {
    #[serde(rename = "type")]
    uri: &'static str,
    title: &'static str,
    status: Option<u16>,
    code: Option<&'a str>,
    detail: &'a str,
    outcome: &'static str,
    retry: &'static str,
    tx: Option<&'a str>,
    reachable: Option<u32>,
    needed: Option<u32>,
    leader_api: Option<&'a str>,
}

impl Failure {
    /// A failure.
    pub fn new(exit: Exit, why: impl std::fmt::Display) -> Self {
        Self { exit, sentence: why.to_string() }
    }

    /// It as a problem in one line of JSON, with the fields of those that nodes state: nothing has happened.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.to_json_with("nothing_happened")
    }

    /// The same, with what has happened.
    pub(crate) fn to_json_with(&self, outcome: &'static str) -> String {
        let again = self.exit == Exit::NoNode || self.exit == Exit::NoQuorum;
        let problem = OwnProblem {
            uri: "about:blank",
            title: self.exit.title(),
            status: None,
            code: None,
            detail: &self.sentence,
            outcome,
            retry: if again { "same_bytes" } else { "after_fix" },
            tx: None,
            reachable: None,
            needed: None,
            leader_api: None,
        };
        serde_json::to_string(&problem).expect("text and numbers have a JSON form")
    }
}
