//! Frames on the wire: some go through the real codec, and some of those are damaged there.
//!
//! What was not damaged must mean the same. What was damaged must not make anything panic: it cannot be
//! decoded, or its blocks cannot be verified, or it still means the same. If it means something else it is
//! lost too, because the network authenticates frames; whoever signs what it means is a liar, and plays its own
//! part.

use bytes::Bytes;
use quorate_chain::codec::{Decode, DecodeError, Encode};
use quorate_consensus::codec::Incoming;
use quorate_consensus::message::Message;

use crate::dials::Fault;
use crate::dice::Dice;
use crate::violation::{Check, Violation, hold};
use crate::world::{Cargo, World};

/// Most bytes that are added to a frame.
const LONGER: u64 = 4_096;

impl World {
    /// Sends some of what leaves through the codec. Returns whether it arrives.
    pub(super) fn garble(&mut self, cargo: &Cargo) -> Result<bool, Violation> {
        let strength = self.dials.strength(Fault::Garble);
        if strength == 0 || !self.dice.chance(strength * 10_000) {
            return Ok(true);
        }
        self.tally.fault(Fault::Garble);
        let damaged = self.dice.flip();
        match cargo {
            Cargo::Message(message) => {
                let bytes = message.to_bytes();
                if damaged {
                    let bytes = damage(&bytes, &mut self.dice);
                    return Ok(self.unframe(&bytes).as_ref() == Some(message));
                }
                let found = self.unframe(&bytes);
                same(found.as_ref() == Some(message), message)?;
            }
            Cargo::Ask(ask) => return through(ask, damaged, &mut self.dice),
            Cargo::Piece(piece) => return through(piece, damaged, &mut self.dice),
            // The pool of the node reads them, one by one, by the codec of the chain alone.
            Cargo::Transactions(_) => {}
        }
        Ok(true)
    }

    /// What a node makes of a frame.
    fn unframe(&self, bytes: &Bytes) -> Option<Box<Message>> {
        let incoming = Incoming::from_bytes(bytes).ok()?;
        incoming.verify(self.chain_id(), &*self.verifier).ok().map(Box::new)
    }
}

fn same(holds: bool, sent: &impl std::fmt::Debug) -> Check {
    hold(holds, "a frame means what was sent", || format!("{sent:?}"))
}

/// Sends something through its codec. Returns whether it arrives.
fn through<T>(sent: &T, damaged: bool, dice: &mut Dice) -> Result<bool, Violation>
where
    T: Encode + Decode + PartialEq + std::fmt::Debug,
{
    let bytes = sent.to_bytes();
    let read = |bytes: &Bytes| -> Result<T, DecodeError> { T::from_bytes(bytes) };
    if damaged {
        return Ok(read(&damage(&bytes, dice)).is_ok_and(|found| found == *sent));
    }
    same(read(&bytes).is_ok_and(|found| found == *sent), sent)?;
    Ok(true)
}

/// Damages a frame: bits, runs of bytes, its length.
fn damage(frame: &Bytes, dice: &mut Dice) -> Bytes {
    let mut bytes = frame.to_vec();
    for _ in 0..dice.between(1, 3) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.index(bytes.len());
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.extend((0..dice.below(LONGER)).map(|_| 0xff)),
            // A length that is far too large, wherever one may stand.
            2 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            3 => bytes[at..].iter_mut().take(32).for_each(|byte| *byte = 0),
            4 => {
                let piece = bytes[at..].iter().take(64).copied().collect::<Vec<_>>();
                let place = dice.index(bytes.len());
                bytes.splice(place..place, piece);
            }
            _ => bytes[at] ^= 1 << dice.below(8),
        }
    }
    Bytes::from(bytes)
}
