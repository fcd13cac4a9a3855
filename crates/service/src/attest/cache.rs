//! A bounded cache of two generations: what was used since the last turn stays, what was not goes.
//!
//! It approximates least-recently-used with constant work per call and no list to maintain.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Shared, bounded, for values that are cheap to clone (`Arc`).
pub struct Cache<K, V> {
    /// Weight of one generation; the cache holds at most twice this and one more entry.
    generation_weight: usize,
    generations: Mutex<Generations<K, V>>,
}

struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    young_weight: usize,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// A cache whose entries weigh at most about `weight` together, in the unit that [`Cache::put`] is given.
    pub fn new(weight: usize) -> Self {
        Self {
            generation_weight: weight / 2,
            generations: Mutex::new(Generations {
                young: HashMap::new(),
                old: HashMap::new(),
                young_weight: 0,
            }),
        }
    }

    /// The value, which counts as used now.
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((value, _)) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, weight)) = generations.old.remove_entry(key)?;
        self.insert(&mut generations, key, value.clone(), weight);
        Some(value)
    }

    /// Keeps a value. One that is heavier than a generation is not kept.
    pub fn put(&self, key: K, value: V, weight: usize) {
        if weight > self.generation_weight {
            return;
        }
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.old.remove(&key);
        self.insert(&mut generations, key, value, weight);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        *generations = Generations { young: HashMap::new(), old: HashMap::new(), young_weight: 0 };
    }

    fn insert(&self, generations: &mut Generations<K, V>, key: K, value: V, weight: usize) {
        if generations.young_weight.saturating_add(weight) > self.generation_weight {
            generations.old = std::mem::take(&mut generations.young);
            generations.young_weight = 0;
        }
        let before = generations.young.insert(key, (value, weight)).map_or(0, |(_, weight)| weight);
        generations.young_weight = generations.young_weight.saturating_add(weight).saturating_sub(before);
    }
}

impl<K, V> std::fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_bounded_and_keeps_what_is_used() {
        let cache = Cache::new(100);
        for key in 0..10_000_u32 {
            cache.put(key, key, 5);
            assert_eq!(cache.get(&0), Some(0), "used all the time, at {key}");
        }
        let generations = cache.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 21);
        assert!(generations.young_weight <= 50);
    }

    #[test]
    fn one_huge_value_does_not_empty_it() {
        let cache = Cache::new(100);
        cache.put("small", 1, 1);
        cache.put("huge", 2, 51);
        assert_eq!((cache.get("small"), cache.get("huge")), (Some(1), None));
    }

    #[test]
    fn replaces() {
        let cache = Cache::new(100);
        for value in 0..1000 {
            cache.put("key", value, 5);
        }
        assert_eq!(cache.get("key"), Some(999));
        assert!(cache.generations.lock().unwrap().young_weight <= 50);
    }
}
