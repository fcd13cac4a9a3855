//! How far the clocks of receivers are ahead of ours.
//!
//! A receiver to which a time means something is told it on its own clock, as the `Date` of its answers shows it. What was
//! measured counts for a short while, and only while our own clock went on evenly: one that was set says nothing about
//! what was measured before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use veriboot_wire::Time;

/// How long a measurement counts.
const FRESH: Duration = Duration::from_secs(180);
/// How far our clock may differ from the time that passed, milliseconds.
const EVEN_MS: i64 = 1000;
/// Below this two clocks agree, milliseconds: a `Date` has whole seconds, and an answer takes time.
const NOISE_MS: i64 = 2000;
/// An answer that took longer says too little about the time.
const SLOW: Duration = Duration::from_secs(5);
/// From here on somebody should set a clock, milliseconds.
const TELL_MS: i64 = 60_000;

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Measured {
    /// `None`: the receiver does not say what time it is.
    ahead_ms: Option<i64>,
    ours: Time,
    at: Instant,
}

/// What was measured, by target; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Clocks(Arc<Mutex<HashMap<String, Measured>>>);

impl Clocks {
    /// How far the clock of a target is ahead, milliseconds, 0 for one that does not say; `None` when it is to be measured.
    pub(super) fn known(&self, target_id: &str, now: Time) -> Option<i64> {
        let clocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Measured { ahead_ms, ours, at } = *clocks.get(target_id)?;
        let passed = at.elapsed();
        let by_clock = now.unix_ms().saturating_sub(ours.unix_ms());
        let even = by_clock.abs_diff(millis(passed)) <= EVEN_MS.unsigned_abs();
        (passed <= FRESH && even).then_some(ahead_ms.unwrap_or(0))
    }

    /// What was measured last, however long ago.
    pub(super) fn last(&self, target_id: &str) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target_id)?.ahead_ms
    }

    /// Notes the `Date` of an answer to a request that was made at `asked` and took `took`, and gives how far the clock is
    /// ahead. Whoever reads the log hears of one that is far off, once.
    pub(super) fn measure(
        &self,
        (target_id, name): (&str, &str),
        date: Option<Time>,
        asked: Time,
        took: Duration,
    ) -> i64 {
        let ours = Time::from_unix_ms(asked.unix_ms().saturating_add(millis(took)));
        let ahead_ms = match date {
            Some(_) if took > SLOW => return self.last(target_id).unwrap_or(0),
            // In the middle of its second.
            Some(date) => Some(date.unix_ms().saturating_add(500).saturating_sub(ours.unix_ms())),
            None => None,
        };
        let ahead_ms = ahead_ms
            .map(|ms| if ms.abs() <= NOISE_MS { 0 } else { ms.saturating_add(500).div_euclid(1000) * 1000 });
        let mut clocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = clocks.insert(target_id.to_owned(), Measured { ahead_ms, ours, at: Instant::now() });
        let far = |ms: Option<i64>| ms.is_some_and(|ms| ms.abs() > TELL_MS);
        match (far(before.and_then(|before| before.ahead_ms)), far(ahead_ms)) {
            (false, true) => {
                let ahead_s = ahead_ms.unwrap_or(0) / 1000;
                tracing::warn!(
                    target = name,
                    ahead_s,
                    "the clock of a notification target differs from ours; set one of them"
                );
            }
            (true, false) => {
                tracing::info!(target = name, "the clock of a notification target agrees with ours again")
            }
            _ => {}
        }
        ahead_ms.unwrap_or(0)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_counts_until_a_clock_is_set() {
        let (clocks, now) = (Clocks::default(), Time::from_unix_ms(1_000_000_000_700));
        let none = Duration::ZERO;
        assert_eq!((clocks.known("a", now), clocks.last("a")), (None, None));
        for (date_ms, ahead_ms) in [(0, 0), (-1_000, 0), (600_000, 600_000), (-600_000, -600_000)] {
            let date = Time::from_unix_ms(now.unix_ms() - 700 + date_ms);
            assert_eq!(clocks.measure(("a", "a"), Some(date), now, none), ahead_ms);
            assert_eq!(clocks.known("a", now), Some(ahead_ms));
        }
        assert_eq!(clocks.known("a", now.plus_s(60)), None, "our clock was set");
        assert_eq!(clocks.known("a", now.plus_s(-60)), None, "our clock was set back");
        // A slow answer says nothing, and one without a date says that.
        assert_eq!(clocks.measure(("a", "a"), Some(now), now, Duration::from_secs(9)), -600_000);
        assert_eq!(clocks.measure(("a", "a"), None, now, none), 0);
        assert_eq!((clocks.known("a", now), clocks.last("a")), (Some(0), None));
    }
}
