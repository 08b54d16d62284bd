//! Where each field of each type stands.
//!
//! It knows nothing of the types of the crate: it is the layout of `docs/format.md` once more, and
//! takes the bytes apart field by field to give each line of a fixture its name. If it disagrees
//! with the encoder, bytes are left over or missing, and the fixture is not written.

use crate::fixtures::hex;

/// The layout of a type.
pub(crate) type Layout = fn(&mut Sheet<'_>);

/// The bytes of a fixture while they are being written down.
pub(crate) struct Sheet<'a> {
    bytes: &'a [u8],
    depth: usize,
    pub(crate) text: String,
}

impl<'a> Sheet<'a> {
    /// Writes all of the bytes down.
    pub(crate) fn write(bytes: &'a [u8], layout: Layout) -> String {
        let mut sheet = Self { bytes, depth: 0, text: String::new() };
        layout(&mut sheet);
        assert!(sheet.bytes.is_empty(), "bytes follow the last field:\n{}", sheet.text);
        sheet.text
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        assert!(length <= self.bytes.len(), "bytes are missing after:\n{}", self.text);
        let (field, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        field
    }

    /// Writes one field, 32 bytes a line.
    pub(crate) fn line(&mut self, name: &str, bytes: &[u8]) {
        let mut label = format!("{:width$}{name}", "", width = 2 * self.depth);
        for row in bytes.chunks(32) {
            self.text += &format!("{label:<25} {}\n", hex(row));
            label = String::new();
        }
    }

    pub(crate) fn plain(&mut self, name: &str, length: usize) {
        let field = self.take(length);
        self.line(name, field);
    }

    fn count(&mut self, name: &str) -> usize {
        let field = self.take(4);
        self.line(name, field);
        u32::from_be_bytes([field[0], field[1], field[2], field[3]]) as usize
    }

    fn string(&mut self, name: &str) {
        let length = self.count(&format!("{name} length"));
        self.plain(name, length);
    }

    pub(crate) fn list(&mut self, name: &str, item: Layout) {
        self.counted(name, item);
    }

    /// Writes a list; how many items it has.
    fn counted(&mut self, name: &str, item: Layout) -> usize {
        let count = self.count(&format!("{name} count"));
        for _ in 0..count {
            self.inner(item);
        }
        count
    }

    pub(crate) fn inner(&mut self, layout: Layout) {
        self.depth += 1;
        layout(self);
        self.depth -= 1;
    }

    pub(crate) fn option(&mut self, name: &str, value: Layout) {
        if self.tag(name, &["absent", "present"], 0) == 1 {
            self.inner(value);
        }
    }

    /// A byte that stands for one of several names, the first of which has the number `from`.
    pub(crate) fn tag(&mut self, name: &str, names: &[&str], from: u8) -> u8 {
        let field = self.take(1);
        let meaning = names[usize::from(field[0] - from)];
        self.line(&format!("{name} = {meaning}"), field);
        field[0]
    }

    fn hashes(&mut self, name: &str) {
        self.list(name, |sheet| sheet.plain("hash", 32));
    }
}

pub(crate) fn operation(s: &mut Sheet<'_>) {
    let names = ["put", "update", "remove", "cas", "grant", "revoke"];
    match s.tag("operation", &names, 1) {
        3 => s.string("key"),
        4 => {
            s.string("key");
            s.option("expected", |s| s.string("value"));
            s.string("value");
        }
        5 | 6 => {
            s.plain("account", 32);
            s.string("prefix");
        }
        _ => {
            s.string("key");
            s.string("value");
        }
    }
}

pub(crate) fn message(s: &mut Sheet<'_>) {
    message_of(s);
}

/// The message of a transaction; how many approvers it names.
fn message_of(s: &mut Sheet<'_>) -> usize {
    s.plain("domain", 12);
    s.plain("chain id", 32);
    s.plain("sender", 32);
    s.plain("nonce", 8);
    s.option("expiry", |s| s.plain("height", 8));
    let approvers = s.counted("approver", |s| s.plain("key", 32));
    s.list("operation", operation);
    approvers
}

pub(crate) fn transaction(s: &mut Sheet<'_>) {
    let approvers = message_of(s);
    s.plain("signature", 64);
    for _ in 0..approvers {
        s.plain("approval", 64);
    }
}

fn approvals(s: &mut Sheet<'_>) {
    s.list("approval", |s| {
        s.plain("admin", 32);
        s.plain("signature", 64);
    });
}

fn addresses(s: &mut Sheet<'_>) {
    s.list("p2p address", |s| s.string("address"));
    s.list("api address", |s| s.string("address"));
}

fn lead(s: &mut Sheet<'_>) {
    s.tag("lead", &["no", "yes", "prefer"], 1);
}

pub(crate) fn member(s: &mut Sheet<'_>) {
    s.plain("id", 4);
    s.string("name");
    s.plain("key", 32);
    addresses(s);
    s.tag("role", &["voter", "learner", "promoted"], 1);
    lead(s);
}

fn admins(s: &mut Sheet<'_>) {
    s.plain("threshold", 2);
    s.list("admin", |s| s.plain("key", 32));
}

pub(crate) fn part(s: &mut Sheet<'_>) {
    s.list("member", member);
    s.plain("next id", 4);
    s.plain("changes", 8);
    s.plain("vote quorum", 2);
    s.plain("finality quorum", 2);
    admins(s);
}

pub(crate) fn roster(s: &mut Sheet<'_>) {
    part(s);
    s.option("next part", part);
}

pub(crate) fn change_step(s: &mut Sheet<'_>) {
    let names = ["add", "remove", "promote", "update", "set admins", "set quorums"];
    match s.tag("change", &names, 1) {
        1 => {
            s.string("name");
            s.plain("key", 32);
            addresses(s);
            lead(s);
            s.tag("promote", &["no", "yes"], 0);
        }
        4 => {
            s.plain("id", 4);
            s.string("name");
            addresses(s);
            lead(s);
        }
        5 => admins(s),
        6 => {
            s.plain("vote quorum", 2);
            s.plain("finality quorum", 2);
        }
        _ => s.plain("id", 4),
    }
}

pub(crate) fn roster_change(s: &mut Sheet<'_>) {
    s.plain("domain", 16);
    s.plain("chain id", 32);
    s.plain("roster hash", 32);
    s.list("step", change_step);
    approvals(s);
}

pub(crate) fn block_ref(s: &mut Sheet<'_>) {
    s.plain("term", 8);
    s.plain("height", 8);
    s.plain("block hash", 32);
}

pub(crate) fn recovery(s: &mut Sheet<'_>) {
    s.plain("domain", 18);
    s.plain("chain id", 32);
    s.plain("roster hash", 32);
    s.inner(block_ref);
    s.plain("term", 8);
    s.plain("proposer", 4);
    part(s);
    approvals(s);
}

pub(crate) fn statement(s: &mut Sheet<'_>) {
    let tag = s.tag("statement", &["prevote", "vote", "ack", "handover"], 1);
    if tag != 3 {
        s.plain("term", 8);
        s.plain(if tag == 4 { "to" } else { "candidate" }, 4);
    }
    s.inner(block_ref);
}

pub(crate) fn signed_statement(s: &mut Sheet<'_>) {
    statement(s);
    s.plain("roster hash", 32);
    s.plain("signer", 4);
    s.plain("signature", 64);
}

pub(crate) fn certificate(s: &mut Sheet<'_>) {
    statement(s);
    s.plain("roster hash", 32);
    s.list("signature", |s| {
        s.plain("signer", 4);
        s.plain("signature", 64);
    });
}

pub(crate) fn path(s: &mut Sheet<'_>) {
    s.list("header", header);
    certificate(s);
}

pub(crate) fn header(s: &mut Sheet<'_>) {
    s.plain("domain", 15);
    s.plain("chain id", 32);
    s.plain("roster hash", 32);
    s.tag("kind", &["opening", "transactions", "enter", "leave", "closing", "recovery"], 1);
    s.plain("height", 8);
    s.plain("term", 8);
    s.plain("parent", 32);
    s.plain("proposer", 4);
    s.plain("time", 8);
    s.plain("transactions", 4);
    s.plain("body size", 4);
    s.plain("body root", 32);
    s.plain("executed", 8);
    s.plain("state root", 32);
}

pub(crate) fn signed_header(s: &mut Sheet<'_>) {
    header(s);
    s.plain("signature", 64);
}

pub(crate) fn item(s: &mut Sheet<'_>) {
    match s.tag("item", &["opening", "", "enter", "leave", "", "recovery"], 1) {
        3 => {
            match s.tag("enter", &["ordered", "promotion"], 1) {
                1 => s.inner(roster_change),
                _ => s.plain("id", 4),
            }
            s.inner(certificate);
        }
        6 => s.inner(recovery),
        _ => s.inner(certificate),
    }
}

pub(crate) fn block(s: &mut Sheet<'_>) {
    signed_header(s);
    s.option("item", item);
    s.list("transaction", transaction);
}

pub(crate) fn inclusion(s: &mut Sheet<'_>) {
    s.plain("index", 8);
    s.plain("count", 8);
    s.hashes("sibling");
}

pub(crate) fn evidence(s: &mut Sheet<'_>) {
    let names = ["two blocks", "two votes", "two acks", "vote below ack", "malformed"];
    match s.tag("evidence", &names, 1) {
        1 => {
            s.inner(signed_header);
            s.inner(signed_header);
        }
        5 => {
            s.option("parent", header);
            s.inner(signed_header);
            s.option("proven item", |s| {
                item(s);
                inclusion(s);
            });
        }
        _ => {
            s.inner(signed_statement);
            s.inner(signed_statement);
        }
    }
}

pub(crate) fn state_key(s: &mut Sheet<'_>) {
    match s.tag("state key", &["value", "nonces", "grants"], 1) {
        1 => s.string("key"),
        _ => s.plain("account", 32),
    }
}

pub(crate) fn state_entry(s: &mut Sheet<'_>) {
    match s.tag("state entry", &["value", "nonces", "grants"], 1) {
        1 => {
            s.plain("height", 8);
            s.plain("transaction", 32);
            s.string("value");
        }
        2 => {
            s.plain("next", 8);
            s.string("free");
        }
        _ => s.list("grant", |s| s.string("prefix")),
    }
}

pub(crate) fn outcome(s: &mut Sheet<'_>) {
    s.plain("transaction", 32);
    match s.tag("status", &["applied", "failed", "void"], 1) {
        2 => {
            s.plain("operation", 1);
            let why = ["not permitted", "key exists", "key not found", "mismatch", "too large"];
            s.tag("why", &why, 1);
        }
        3 => {
            s.tag("why", &["nonce used", "nonce too far", "expired"], 1);
        }
        _ => {}
    }
}

pub(crate) fn state_proof(s: &mut Sheet<'_>) {
    s.plain("count", 8);
    s.list("leaf", |s| {
        s.plain("path", 32);
        s.plain("digest", 32);
    });
    s.hashes("sibling");
}

pub(crate) fn entry_proof(s: &mut Sheet<'_>) {
    s.plain("entries", 32);
    s.plain("outcomes", 32);
    state_proof(s);
}

fn outcome_proof(s: &mut Sheet<'_>) {
    outcome(s);
    inclusion(s);
    s.plain("below", 32);
    s.hashes("above");
    s.plain("entries", 32);
}

pub(crate) fn receipt(s: &mut Sheet<'_>) {
    s.inner(transaction);
    s.inner(header);
    s.inner(inclusion);
    s.option("outcome proof", outcome_proof);
    s.inner(path);
}

pub(crate) fn state_receipt(s: &mut Sheet<'_>) {
    s.inner(state_key);
    s.option("entry", state_entry);
    s.inner(entry_proof);
    s.inner(header);
    s.inner(path);
}

pub(crate) fn roster_step(s: &mut Sheet<'_>) {
    s.inner(header);
    s.inner(header);
    s.inner(item);
    s.inner(path);
}
