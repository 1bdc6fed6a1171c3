//! What was noted last, by its key: so much of it, and no more. The oldest is forgotten first.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The last entries that were noted.
pub(crate) struct Recent<K, V> {
    most: usize,
    known: HashMap<K, V>,
    /// In the order in which they were noted first.
    order: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// Nothing noted yet; at most so many entries will be known.
    pub fn new(most: usize) -> Self {
        Recent { most, known: HashMap::new(), order: VecDeque::new() }
    }

    /// What is known under a key.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.known.get(key)
    }

    /// What is known under a key; what is new there begins as `first` says.
    pub fn note(&mut self, key: K, first: impl FnOnce() -> V) -> &mut V {
        if !self.known.contains_key(&key) {
            if self.known.len() >= self.most
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(key.clone());
        }
        self.known.entry(key).or_insert_with(first)
    }

    /// How many entries are known.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_first_is_forgotten_first() {
        let mut recent = Recent::new(2);
        for key in [1, 2, 1, 3] {
            *recent.note(key, || 0) += 1;
        }
        assert_eq!([1, 2, 3].map(|key| recent.get(&key).copied()), [None, Some(1), Some(1)]);
        assert_eq!(recent.len(), 2);
    }
}
