//! Where each field of a record or message stands: the layout of `quorate_consensus::codec` once
//! more, as `layout` is that of `docs/format.md`.

use crate::layout::{self, Sheet};

fn term(s: &mut Sheet<'_>) {
    s.plain("term", 8);
}

pub(crate) fn proof(s: &mut Sheet<'_>) {
    s.inner(layout::certificate);
    s.inner(layout::roster);
}

pub(crate) fn record(s: &mut Sheet<'_>) {
    match s.tag("record", &["ballot", "branch"], 1) {
        1 => {
            term(s);
            s.option("proof", proof);
            if s.tag("choice", &["open", "for", "spent"], 1) == 2 {
                s.plain("candidate", 4);
                s.inner(layout::block_ref);
            }
        }
        _ => {
            s.inner(layout::block_ref);
            s.list("block", layout::block);
        }
    }
}
