//! Mutations of encodings, for fuzzing from fixtures.
#![allow(unreachable_pub)]

/// What is done, where, and with what.
pub type Mutation = (u8, u16, u16);

/// Up to three of them: after more, hardly anything decodes.
pub type Mutations = (u8, [Mutation; 3]);

/// Puts mutations on bytes. `other` is where splices come from.
pub fn mutate(bytes: &[u8], other: &[u8], mutations: &Mutations) -> Vec<u8> {
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
