//! When to try again: intervals with jitter, back-off, and what `Retry-After` asks for.
//!
//! Randomness and time are arguments. A fleet that lost its service at one moment must not come back at one moment,
//! so every wait is spread.

use std::time::Duration;

use veriboot_wire::Time;

/// First step of the back-off; doubled with every failure.
const BACK_OFF_FIRST: Duration = Duration::from_secs(5);
/// Longest step.
const BACK_OFF_LIMIT: Duration = Duration::from_secs(600);
/// The service cannot send an agent to sleep for longer.
const RETRY_AFTER_LIMIT: Duration = Duration::from_secs(3600);
/// Bounds for the interval that the service gives.
const INTERVAL_S: std::ops::RangeInclusive<u32> = 5..=86_400;

/// Time until the next attestation: the interval, plus or minus 10 %. `random` is uniform in [0, 1).
pub fn interval(interval_s: u32, random: f64) -> Duration {
    let seconds = f64::from(interval_s.clamp(*INTERVAL_S.start(), *INTERVAL_S.end()));
    Duration::from_secs_f64(seconds * (0.9 + 0.2 * random.clamp(0.0, 1.0)))
}

/// Time until the next try after `failures` failures in a row (at least 1), with full jitter: uniform between nothing
/// and the step. With `retry_after` it is never shorter than that, and spread over a quarter more.
pub fn back_off(failures: u32, retry_after: Option<Duration>, random: f64) -> Duration {
    let random = random.clamp(0.0, 1.0);
    match retry_after {
        Some(wait) => {
            let wait = wait.min(RETRY_AFTER_LIMIT);
            let spread = (wait / 4).max(BACK_OFF_FIRST);
            wait + spread.mul_f64(random)
        }
        None => {
            let step = BACK_OFF_FIRST
                .saturating_mul(1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
            step.min(BACK_OFF_LIMIT).mul_f64(random).max(Duration::from_millis(500))
        }
    }
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or an HTTP date that is compared with `now`.
pub fn retry_after(value: &str, now: Time) -> Option<Duration> {
    let value = value.trim();
    if value.len() > 64 {
        return None;
    }
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_LIMIT));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_millisecond();
    let wait = u64::try_from(at.saturating_sub(now.unix_ms())).unwrap_or(0);
    Some(Duration::from_millis(wait).min(RETRY_AFTER_LIMIT))
}

/// Uniform in [0, 1); 0.5 when the system has no randomness to give.
pub fn random() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_stay_within_a_tenth_and_within_bounds() {
        assert_eq!(interval(300, 0.0), Duration::from_secs(270));
        assert_eq!(interval(300, 0.5), Duration::from_secs(300));
        assert!(interval(300, 0.999_999) <= Duration::from_secs(330));
        assert_eq!(interval(0, 0.5), Duration::from_secs(5));
        assert_eq!(interval(u32::MAX, 0.5), Duration::from_secs(86_400));
    }

    #[test]
    fn back_off_grows_and_ends_at_its_limit() {
        assert_eq!(back_off(1, None, 1.0), Duration::from_secs(5));
        assert_eq!(back_off(2, None, 1.0), Duration::from_secs(10));
        assert_eq!(back_off(3, None, 0.5), Duration::from_secs(10));
        for failures in [8, 31, 32, 33, 64, u32::MAX] {
            assert_eq!(back_off(failures, None, 1.0), Duration::from_secs(600), "{failures}");
        }
        assert_eq!(back_off(1, None, 0.0), Duration::from_millis(500));
    }

    #[test]
    fn retry_after_is_a_lower_bound_and_spread() {
        let wait = Some(Duration::from_secs(100));
        assert_eq!(back_off(1, wait, 0.0), Duration::from_secs(100));
        assert_eq!(back_off(9, wait, 1.0), Duration::from_secs(125));
        assert_eq!(back_off(1, Some(Duration::ZERO), 1.0), Duration::from_secs(5));
        assert_eq!(back_off(1, Some(Duration::MAX), 0.0), Duration::from_secs(3600));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        // date -u -d @784111777 gives Sun, 06 Nov 1994 08:49:37 GMT (the example of RFC 9110).
        let now = Time::from_unix_ms(784_111_777_000 - 30_000);
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now.plus_s(60)), Some(Duration::ZERO));
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("18446744073709551615", now), Some(Duration::from_secs(3600)));
        for garbage in ["", "-1", "soon", "1e9", "Sun, 99 Nov 1994 08:49:37 GMT", &"9".repeat(100)] {
            assert_eq!(retry_after(garbage, now), None, "{garbage}");
        }
    }
}
