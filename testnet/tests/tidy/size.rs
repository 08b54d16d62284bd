//! A file and a function fit on what a reader can hold in mind.

use crate::code;
use crate::tree::{File, Offence, check_all, lines};

const MOST_LINES_IN_A_FILE: usize = 500;
const MOST_LINES_IN_A_FUNCTION: usize = 70;

/// `(path, function, why it may be longer)`.
const LONGER_FUNCTIONS: &[(&str, &str, &str)] = &[];

fn long_files(file: &File) -> Vec<Offence> {
    let length = file.text.lines().count();
    if !file.is_rust() || length <= MOST_LINES_IN_A_FILE {
        return Vec::new();
    }
    let what = format!("{length} lines; a file has at most {MOST_LINES_IN_A_FILE}: split it");
    vec![file.offence(0, what)]
}

/// From the line of `fn` to the line of the closing brace, both counted.
fn long_functions(file: &File) -> Vec<Offence> {
    let mut offences = Vec::new();
    for at in code::find_word(&file.code, "fn") {
        let Some(head) = file.code[at..].strip_prefix("fn ") else {
            continue;
        };
        let Some(body) = code::body(&file.code, at) else {
            continue;
        };
        let name = code::word_at(head, 0);
        let length = file.code[at..body.end].lines().count();
        let allowed =
            LONGER_FUNCTIONS.iter().any(|(path, long, _)| file.is_in(path) && name == *long);
        if length > MOST_LINES_IN_A_FUNCTION && !allowed {
            let what = format!(
                "`{name}` has {length} lines; a function has at most {MOST_LINES_IN_A_FUNCTION}: \
                 let the caller decide and a leaf compute"
            );
            offences.push(file.offence(at, what));
        }
    }
    offences
}

#[test]
fn a_file_has_at_most_500_lines() {
    check_all(long_files);
}

#[test]
fn a_file_of_501_lines_is_seen() {
    assert_eq!(lines(long_files, "chain/src/x.rs", &"\n".repeat(500)), [0; 0]);
    assert_eq!(lines(long_files, "chain/src/x.rs", &"\n".repeat(501)), [1]);
}

#[test]
fn a_function_has_at_most_70_lines() {
    check_all(long_functions);
}

#[test]
fn a_function_of_71_lines_is_seen() {
    let function = |lines: usize| {
        let body = "    // } \"\n".repeat(lines - 4);
        format!(
            "trait A {{\n    fn a(&self);\n}}\nfn f<T>(\n    x: [u8; 2],\n) where T: A {{\n{body}}}\n"
        )
    };
    let at = |text: String| lines(long_functions, "chain/src/x.rs", &text);
    assert_eq!(at(function(70)), [0; 0]);
    assert_eq!(at(function(71)), [4]);
}
