//! The golden fixtures, mutated, before every decoder: none panics, what decodes is encoded as it
//! came, and no verification of it panics.
//!
//! The input is a list of mutations: which fixture, and what is done to it where.
#![allow(clippy::unwrap_used)]

mod common;
mod fixtures;
mod probe;
mod story;

use std::fs;
use std::sync::LazyLock;

use bolero::check;
use fixtures::Fixture;

static FIXTURES: LazyLock<Vec<Fixture>> = LazyLock::new(fixtures::read_all);

/// What is done, where, and with what.
type Mutation = (u8, u16, u16);

/// Up to three of them: after more, hardly anything decodes.
type Mutations = (u8, [Mutation; 3]);

/// Puts mutations on bytes. `other` is where splices come from.
fn mutate(bytes: &[u8], other: &[u8], mutations: &Mutations) -> Vec<u8> {
    let (count, mutations) = mutations;
    let mut bytes = bytes.to_vec();
    for (what, at, with) in mutations.iter().take(usize::from(count % 4)) {
        let (at, with) = (usize::from(*at), usize::from(*with));
        let place = at % (bytes.len() + 1);
        let low = with.to_le_bytes()[0];
        match what % 14 {
            0 => bytes.truncate(place),
            1 => bytes.extend(vec![low; with % 70]),
            2 => bytes.insert(place, low),
            // A run is taken out, or comes twice.
            3 => drop(bytes.drain(place..(place + with % 70).min(bytes.len()))),
            4 => {
                let run = bytes[place..(place + with % 70).min(bytes.len())].to_vec();
                bytes.splice(place..place, run);
            }
            // The rest comes from somewhere else.
            5 => {
                bytes.truncate(place);
                bytes.extend_from_slice(&other[with % (other.len() + 1)..]);
            }
            // Four bytes at once: a length, a count, an id.
            6 => {
                let value = [[0; 4], [0, 0, 0, low], [0xff; 4], [0, 0, low, 1]][with % 4];
                bytes.iter_mut().skip(place).zip(value).for_each(|(byte, new)| *byte = new);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << (with % 8);
                }
            }
        }
    }
    bytes
}

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
