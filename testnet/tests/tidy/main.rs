//! What review should not have to say twice, said by a test.
//!
//! Each rule is a pure function from a file, or from the manifests, to a list of offences. One test
//! runs it over the whole tree and lists every offence as `file:line: what is wrong, and what is
//! right`; a second one feeds it a snippet that offends, so that a rule which has gone blind is
//! noticed. What a rule allows stands in a table at the top of its module, with the reason.
//!
//! The rules read Rust by a small lexer (`code`), not by a compiler. They see what is written: a
//! name made by a macro, or brought in under another name by a crate in between, passes unseen.

mod code;
mod dependencies;
mod glossary;
mod mutants;
mod names;
mod size;
mod text;
mod traps;
mod tree;
