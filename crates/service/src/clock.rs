//! The one place of the service that reads the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use veriboot_wire::Time;

/// Tells the time; clones move together.
#[derive(Clone)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { offset_ms: Arc::new(AtomicI64::new(0)) }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        Time::from_unix_ms(self.now_us().div_euclid(1000))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn now_us(&self) -> i64 {
        system_us().saturating_add(self.offset_ms.load(Ordering::Relaxed).saturating_mul(1000))
    }

    /// Steps this clock and its clones, for tests of clock faults.
    pub fn step_ms(&self, by: i64) {
        self.offset_ms.fetch_add(by, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

#[allow(clippy::disallowed_methods)] // the one place
fn system_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}
