//! A promise that was broken.

use quorate_chain::ids::NodeId;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {found}")]
pub struct Violation {
    /// What must always be so.
    pub rule: &'static str,
    /// What was found instead.
    pub found: String,
}

/// A store that cannot be read, whose files nobody has damaged.
#[must_use]
pub fn unreadable(node: NodeId, error: &impl std::fmt::Display) -> Violation {
    Violation { rule: "a store can be read", found: format!("node {node}: {error}") }
}

/// Nothing to complain about, or the first thing.
pub type Check = Result<(), Violation>;

/// Checks that something holds.
///
/// # Errors
/// If it does not.
pub fn hold(holds: bool, rule: &'static str, found: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Violation { rule, found: found() }) }
}
