//! Telling others what happened: the outbox of the database, emptied target by target.
//!
//! Every event is queued for its targets in its own transaction (`veriboot_store::events::append`). Every replica looks
//! for targets whose turn it is and claims them whole, so that each is told in order and by one replica at a time; each
//! claimed target is told in a task of its own, so that a slow one holds nobody else. A claim ends by itself: what was
//! sent but not noted is sent again (at least once). Receivers tell repetitions by the id of the event.

mod address;
mod alertmanager;
mod backoff;
mod email;
mod http;
mod metrics;
mod ocsf;
mod roots;
mod settings;
mod streams;
mod syslog;
mod tell;
mod webhook;
mod words;
mod work;

pub(crate) use metrics::NotifyMetrics;
pub(crate) use settings::{check_route, check_settings, new_signing_secret};
pub(crate) use streams::{Listener, Streams, Told};
pub(crate) use tell::test;
pub use work::{pass, run, sweep};

use std::sync::Arc;

/// What the notifications keep in this process.
#[derive(Clone)]
pub struct Notify {
    random: Arc<dyn Fn() -> u32 + Send + Sync>,
    streams: Streams,
}

impl Notify {
    /// With this source of jitter, evenly spread over all of `u32`.
    pub fn new(random: impl Fn() -> u32 + Send + Sync + 'static) -> Self {
        Self { random: Arc::new(random), streams: Streams::default() }
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
