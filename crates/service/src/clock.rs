//! The one place of the service that reads the clocks: the wall clock, which people and other machines set, and the
//! monotonic clock, which nobody sets and which means nothing to anybody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use veriboot_wire::Time;

/// Tells the time; clones move together.
#[derive(Clone)]
pub struct Clock {
    /// By how much tests set the wall clock.
    offset_ms: Arc<AtomicI64>,
    /// Time that tests let pass.
    passed_ms: Arc<AtomicI64>,
    started: Instant,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self { offset_ms: Arc::default(), passed_ms: Arc::default(), started: monotonic() }
    }

    /// The time now.
    pub fn now(&self) -> Time {
        Time::from_unix_ms(self.now_us().div_euclid(1000))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn now_us(&self) -> i64 {
        let ms =
            self.offset_ms.load(Ordering::Relaxed).saturating_add(self.passed_ms.load(Ordering::Relaxed));
        machine_us().saturating_add(ms.saturating_mul(1000))
    }

    /// Milliseconds since this clock was made, whatever was done to the wall clock. Stands still while the machine sleeps,
    /// which looks like a wall clock that was set.
    pub fn monotonic_ms(&self) -> i64 {
        let passed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        passed.saturating_add(self.passed_ms.load(Ordering::Relaxed))
    }

    /// Both clocks, the wall clock first: they belong together.
    pub fn both(&self) -> (Time, i64) {
        (self.now(), self.monotonic_ms())
    }

    /// Sets the wall clock of this clock and its clones, for tests of clock faults.
    pub fn step_ms(&self, by: i64) {
        self.offset_ms.fetch_add(by, Ordering::Relaxed);
    }

    /// Lets time pass for this clock and its clones, for tests.
    pub fn advance_ms(&self, by: i64) {
        self.passed_ms.fetch_add(by, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// The machine's wall clock, for what measures the machine and decides nothing.
#[allow(clippy::disallowed_methods)] // the one place
pub(crate) fn machine_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

fn monotonic() -> Instant {
    Instant::now()
}
