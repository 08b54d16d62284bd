//! The golden fixtures, mutated, before every decoder: none panics, what decodes is encoded as it
//! came, and no verification of it panics.
//!
//! The input is a list of mutations: which fixture, and what is done to it where.
#![allow(clippy::unwrap_used)]

mod common;
mod fixtures;
mod mutate;
mod probe;
mod story;

use std::fs;
use std::sync::LazyLock;

use bolero::check;
use fixtures::Fixture;
use mutate::{Mutations, mutate};

static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(fixtures::read_all);

#[test]
fn fuzz_mutated_fixtures() {
    type Input = (u16, u16, Mutations);
    let take = |number: u16| &FIXTURES[usize::from(number) % FIXTURES.len()];
    check!().with_iterations(6_000).with_type::<Input>().for_each(|(one, other, mutations)| {
        let fixture = take(*one);
        let bytes = mutate(&fixture.bytes, &take(*other).bytes, mutations);
        let decodes = probe::probe_of(&fixture.kind)(&bytes);
        assert!(decodes || mutations.0 % 4 != 0, "{} {}", fixture.kind, fixture.name);
    });
}

#[test]
fn fuzz_mutated_genesis() {
    let file = fs::read(fixtures::folder().join("genesis.json")).unwrap();
    check!().with_iterations(1_500).with_type::<Mutations>().for_each(|mutations| {
        let decodes = probe::genesis(&mutate(&file, &file, mutations));
        assert!(decodes || mutations.0 % 4 != 0);
    });
}
