//! Words for people, on standard error.
//!
//! Not with `eprintln!`, which panics when the words find no room: the end of a process, and its exit code, must not
//! hang on whether its log can be written or anybody still reads it.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Says a line, if it can be said.
pub fn line(words: impl Display) {
    // There is nowhere else to say that it could not.
    let _ = writeln!(io::stderr().lock(), "{words}");
}
