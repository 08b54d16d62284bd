//! What was put in lately, in a bounded place.
//!
//! Two generations: what is put in goes to the young one; when that is full it becomes the old one, and the old one goes.
//! So what was put in last is there, half of the room at least, without a list of who came when.

#![expect(
    clippy::disallowed_types,
    reason = "nobody goes through them, so their order is seen nowhere"
)]

use std::collections::HashMap;
use std::hash::Hash;

/// At most so many values, each under its key.
#[derive(Clone, Debug)]
pub struct Lately<K, V> {
    half: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Lately<K, V> {
    /// Nothing, with room for so many, of which it keeps at least half.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { half: (room / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Puts a value under a key.
    pub fn put(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(key, value);
    }

    /// Takes out what is under a key.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_half_is_there_and_never_more_than_all_of_the_room() {
        let mut lately = Lately::new(8);
        for number in 0..100_u32 {
            lately.put(number, 10 * number);
            let there = (0..=number).filter(|it| lately.get(it) == Some(&(10 * it)));
            let there: Vec<_> = there.collect();
            assert!(there.len() <= 8, "{there:?}");
            assert!((number.saturating_sub(3)..=number).all(|it| there.contains(&it)), "{there:?}");
        }
    }

    #[test]
    fn a_key_has_one_value_whichever_generation_it_came_in() {
        let mut lately = Lately::new(4);
        lately.put('a', 1);
        lately.put('b', 1);
        lately.put('c', 1);
        lately.put('a', 2);
        assert_eq!(lately.get(&'a'), Some(&2));
        assert_eq!(lately.remove(&'a'), Some(2));
        assert_eq!(lately.get(&'a'), None);
        // One that is young already needs no room.
        lately.put('c', 3);
        lately.put('c', 4);
        lately.put('b', 5);
        lately.put('b', 6);
        assert_eq!((lately.get(&'c'), lately.get(&'b')), (Some(&4), Some(&6)));
    }
}
