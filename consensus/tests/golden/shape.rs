//! Where each field of a record or message stands: the layout of `quorate_consensus::codec` once
//! more, as `layout` is that of `docs/format.md`.

use crate::layout::{self, Sheet};

const MESSAGES: &[&str] = &[
    "pre-vote request",
    "vote request",
    "vote",
    "refuse",
    "append",
    "stored",
    "reject",
    "stale",
    "committed",
    "pull",
    "pulled",
    "handover",
    "snapshot",
    "read request",
    "read at",
    "greet",
    "known",
    "whereabouts",
    "standing",
    "recovering",
];

fn term(s: &mut Sheet<'_>) {
    s.plain("term", 8);
}

pub(crate) fn proof(s: &mut Sheet<'_>) {
    s.inner(layout::certificate);
    s.inner(layout::roster);
}

pub(crate) fn record(s: &mut Sheet<'_>) {
    match s.tag("record", &["ballot", "branch", "certificate"], 1) {
        1 => {
            term(s);
            s.option("proof", proof);
            if s.tag("choice", &["open", "for", "spent"], 1) == 2 {
                s.plain("candidate", 4);
                s.inner(layout::block_ref);
            }
            s.tag("recovering", &["no", "yes"], 0);
        }
        2 => {
            s.inner(layout::block_ref);
            s.list("block", layout::block);
        }
        _ => s.inner(layout::certificate),
    }
}

fn place(s: &mut Sheet<'_>, name: &str) {
    s.plain(&format!("{name} term"), 8);
    s.plain(&format!("{name} height"), 8);
    s.plain(&format!("{name} hash"), 32);
}

fn handover(s: &mut Sheet<'_>) {
    s.option("handover", layout::signed_statement);
}

fn blocks(s: &mut Sheet<'_>) {
    s.list("block", layout::block);
    s.option("certificate", layout::certificate);
}

pub(crate) fn message(s: &mut Sheet<'_>) {
    match s.tag("message", MESSAGES, 1) {
        1 => {
            term(s);
            place(s, "tip");
            s.inner(layout::roster);
            s.option("proof", proof);
            handover(s);
        }
        2 => {
            place(s, "tip");
            proof(s);
            handover(s);
        }
        3 | 12 => s.inner(layout::signed_statement),
        4 => {
            s.option("proof", proof);
            place(s, "tip");
            place(s, "committed");
        }
        5 => {
            term(s);
            s.option("election", proof);
            s.plain("lap", 8);
            s.plain("beat", 8);
            place(s, "parent");
            blocks(s);
        }
        6 => {
            term(s);
            place(s, "matched");
            s.plain("applied", 8);
            s.plain("incarnation", 8);
            s.tag("lead", &["no", "yes", "prefer"], 1);
            s.plain("beat", 8);
            s.list("ack", layout::signed_statement);
        }
        7 => {
            s.plain("lap", 8);
            place(s, "committed");
            s.plain("incarnation", 8);
            s.tag("unknown", &["no", "yes"], 0);
        }
        8 => proof(s),
        9 => s.inner(layout::certificate),
        10 => place(s, "committed"),
        11 => {
            place(s, "parent");
            blocks(s);
        }
        13 => {
            place(s, "block");
            proof(s);
        }
        tag => question(s, tag),
    }
}

fn nonce(s: &mut Sheet<'_>) {
    s.plain("nonce", 8);
}

fn life(s: &mut Sheet<'_>) {
    s.plain("incarnation", 8);
    s.plain("boot", 8);
    nonce(s);
    s.plain("signature", 64);
}

fn question(s: &mut Sheet<'_>, tag: u8) {
    match tag {
        14 | 18 => nonce(s),
        15 => {
            nonce(s);
            s.option("height", |s| s.plain("height", 8));
        }
        16 => life(s),
        17 => {
            life(s);
            s.option("other", life);
            s.option("vote", layout::signed_statement);
            s.option("ack", layout::signed_statement);
        }
        19 => {
            nonce(s);
            s.option("proof", proof);
            s.plain("roster", 32);
        }
        _ => s.plain("above", 8),
    }
}
