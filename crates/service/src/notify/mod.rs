//! Telling others what happened: the outbox of the database, emptied target by target.
//!
//! Every event is queued for its targets in its own transaction (`veriboot_store::events::append`). Every replica looks
//! for targets whose turn it is and claims them whole, so that each is told in order and by one replica at a time; each
//! claimed target is told in a task of its own, so that a slow one holds nobody else. A claim ends by itself: what was
//! sent but not noted is sent again (at least once). Receivers tell repetitions by the id of the event.

mod address;
mod alertmanager;
mod backoff;
mod clocks;
mod connection;
mod email;
mod export;
mod http;
mod metrics;
mod ocsf;
mod roots;
mod secrets;
mod settings;
mod smtp;
mod streams;
mod syslog;
mod tell;
mod webhook;
mod words;
mod work;

pub(crate) use metrics::NotifyMetrics;
pub(crate) use secrets::shown_settings;
pub(crate) use settings::{check_route, check_settings, new_signing_secret};
pub(crate) use streams::{Full, Listener, Streams, Told};
pub(crate) use tell::test;
pub use work::{pass, run, sweep};

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Messages to one target that may be on their way at the same time, those that nobody waits for any more included.
const MAX_ON_THEIR_WAY: usize = 4;

/// Targets whose refusals are counted.
const MAX_COUNTED: usize = 1024;

/// What the notifications keep in this process.
#[derive(Clone)]
pub struct Notify {
    random: Arc<dyn Fn() -> u32 + Send + Sync>,
    streams: Streams,
    sending: Arc<Mutex<HashMap<String, usize>>>,
    refused: Arc<Mutex<HashMap<String, (u64, u32)>>>,
    clocks: clocks::Clocks,
}

/// A message on its way, for as long as the thread that sends it.
struct OnItsWay {
    sending: Arc<Mutex<HashMap<String, usize>>>,
    target_id: String,
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sending.get_mut(&self.target_id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                sending.remove(&self.target_id);
            }
        }
    }
}

impl Notify {
    /// With this source of jitter, evenly spread over all of `u32`.
    pub fn new(random: impl Fn() -> u32 + Send + Sync + 'static) -> Self {
        Self {
            random: Arc::new(random),
            streams: Streams::default(),
            sending: Arc::default(),
            refused: Arc::default(),
            clocks: clocks::Clocks::default(),
        }
    }

    /// `None` when too many messages to this target are on their way: a receiver that takes or says one byte at a time
    /// holds the thread of each, and must not hold all that there are.
    fn on_its_way(&self, target_id: &str) -> Option<OnItsWay> {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sending.entry(target_id.to_owned()).or_default();
        if *count >= MAX_ON_THEIR_WAY {
            return None;
        }
        *count += 1;
        Some(OnItsWay { sending: Arc::clone(&self.sending), target_id: target_id.to_owned() })
    }

    /// How often a target refused this event in a row, now included. A target is told in order: it refuses one event at a
    /// time. Another replica, or this one after a restart, counts anew.
    fn refused(&self, target_id: &str, sequence: u64) -> u32 {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MAX_COUNTED && !refused.contains_key(target_id) {
            // Only targets that were removed are left over: there are fewer than that.
            refused.clear();
        }
        let (last, count) = refused.entry(target_id.to_owned()).or_insert((sequence, 0));
        if *last != sequence {
            (*last, *count) = (sequence, 0);
        }
        *count = count.saturating_add(1);
        *count
    }

    /// The target took something, or the event that it refused was given up: the next refusal is the first.
    fn no_longer_refused(&self, target_id: &str) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(target_id);
    }

    /// The streams of events that are open here.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }
}

impl Default for Notify {
    fn default() -> Self {
        Self::new(|| {
            let mut bytes = [0_u8; 4];
            // Without randomness replicas meet again, and the claim still lets one of them through.
            let _ = getrandom::fill(&mut bytes);
            u32::from_le_bytes(bytes)
        })
    }
}

impl std::fmt::Debug for Notify {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notify")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_one_event_are_counted() {
        let notify = Notify::new(|| 0);
        assert_eq!([1, 1, 2, 1].map(|sequence| notify.refused("a", sequence)), [1, 2, 1, 1]);
        assert_eq!(notify.refused("b", 1), 1);
        notify.no_longer_refused("a");
        assert_eq!([("a", 1), ("b", 1)].map(|(target, n)| notify.refused(target, n)), [1, 2]);
    }

    #[test]
    fn a_receiver_that_hangs_holds_a_few_threads() {
        let notify = Notify::new(|| 0);
        let mut held: Vec<_> = (0..MAX_ON_THEIR_WAY).filter_map(|_| notify.on_its_way("a")).collect();
        assert_eq!(held.len(), MAX_ON_THEIR_WAY);
        assert!(notify.on_its_way("a").is_none() && notify.on_its_way("b").is_some());
        held.pop();
        assert!(notify.on_its_way("a").is_some());
        held.clear();
        assert!(notify.sending.lock().unwrap().is_empty());
    }
}
