//! Just enough of Rust's lexer to tell code from comments and literals.

use std::ops::Range;

/// The same text with comments and the contents of literals turned into spaces; line breaks stay,
/// and so does every offset.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'\'' => char_end(bytes, at),
            byte if is_word(byte) => {
                let word = &bytes[at..word_end(bytes, at)];
                at += word.len();
                match raw_string_end(bytes, at) {
                    Some(end) if matches!(word, b"r" | b"br" | b"cr") => end,
                    _ => continue,
                }
            }
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters were blanked")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at.min(bytes.len())
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The end of a character literal; of a lifetime, the end of its quote.
fn char_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at + 1..];
    if rest.first() == Some(&b'\\') {
        let close = rest.iter().skip(2).position(|byte| *byte == b'\'');
        return close.map_or(bytes.len(), |length| at + length + 4);
    }
    let width = rest.first().map_or(1, |byte| match byte {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    });
    if rest.get(width) == Some(&b'\'') { at + width + 2 } else { at + 1 }
}

/// The end of a raw string whose hashes or quote begin here.
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let body = at + hashes + 1;
    let length = bytes[body..].windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| body + length + close.len()))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn word_end(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| is_word(**byte)).count()
}

/// The line of this byte, counted from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Where `word` stands as a whole word.
pub(crate) fn find_word(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| *at == 0 || !is_word(bytes[at - 1]))
        .filter(|at| bytes.get(at + word.len()).is_none_or(|byte| !is_word(*byte)))
        .collect()
}

/// The identifier that begins here; empty if none does.
pub(crate) fn word_at(code: &str, at: usize) -> &str {
    &code[at..word_end(code.as_bytes(), at)]
}

/// From an opening bracket to behind the one that closes it.
pub(crate) fn bracketed(code: &str, open: usize) -> Range<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return open..at + 1;
                }
            }
            _ => {}
        }
    }
    open..code.len()
}

/// The body of the item whose head begins here: from its brace to behind the one that closes it.
/// `None` if a semicolon ends the item first.
pub(crate) fn body(code: &str, head: usize) -> Option<Range<usize>> {
    let mut at = head;
    loop {
        match code.as_bytes().get(at)? {
            b'{' => return Some(bracketed(code, at)),
            b'(' | b'[' => at = bracketed(code, at).end,
            b';' => return None,
            _ => at += 1,
        }
    }
}

/// The modules that are compiled for tests only.
pub(crate) fn test_modules(code: &str) -> Vec<Range<usize>> {
    const MARK: &str = "#[cfg(test)]";
    code.match_indices(MARK)
        .filter(|(at, _)| code[at + MARK.len()..].trim_start().starts_with("mod "))
        .filter_map(|(at, _)| body(code, at + MARK.len()))
        .collect()
}

/// Every path that the code writes, `use` groups multiplied out, with where it begins.
pub(crate) fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    read_paths(code, 0..code.len(), &[], &mut found);
    found
}

fn read_paths(
    code: &str,
    range: Range<usize>,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) {
    let bytes = code.as_bytes();
    let mut at = range.start;
    while at < range.end {
        if !is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let begin = at;
        let mut path = prefix.to_vec();
        loop {
            path.push(word_at(code, at).to_owned());
            at = word_end(bytes, at);
            if !bytes[at..].starts_with(b"::") {
                break;
            }
            at += 2;
            if bytes.get(at).is_some_and(|byte| *byte == b'{') {
                let group = bracketed(code, at);
                read_paths(code, group.start + 1..group.end - 1, &path, found);
                at = group.end;
                break;
            }
            if !bytes.get(at).is_some_and(|byte| is_word(*byte)) {
                break;
            }
        }
        found.push((begin, path));
    }
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else_is() {
    let text = r###"let a = "x // y"; // todo
let b = r#"a "quoted" b"#; /* one /* two */ still */ let c = '"';
let d: &'static str = br"\"; let e = '\''; let f = 'ä'; fn g<'a>(r: &'a u8) {}"###;
    let blanked = blank(text);
    assert_eq!(blanked.len(), text.len());
    let words: Vec<_> = blanked.split_whitespace().collect();
    assert_eq!(
        words.join(" "),
        "let a = ; let b = r ; let c = ; let d: & static str = br ; let e = ; let f = ; \
         fn g< a>(r: & a u8) {}"
    );
}

#[test]
fn paths_are_read_out_of_groups() {
    let paths = paths("use std::{fs, net::{self, IpAddr}}; let now = Instant::now();");
    let paths: Vec<_> = paths.into_iter().map(|(_, path)| path.join("::")).collect();
    for path in ["std::fs", "std::net::self", "std::net::IpAddr", "Instant::now"] {
        assert!(paths.iter().any(|found| found == path), "{path} is not in {paths:?}");
    }
}
