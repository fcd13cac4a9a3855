//! When a target that failed is told next.

use veriboot_wire::Time;

/// Wait after the first failure.
const FIRST_MS: i64 = 5_000;
/// The longest wait that we choose.
const MOST_MS: i64 = 900_000;
/// The longest wait that a receiver may ask for (Retry-After).
const MOST_ASKED_S: u32 = 3_600;

/// When the next attempt is made after `failures` in a row, the last one included: doubling, the second half of each wait
/// drawn by `random`, so that replicas and targets do not meet. Never before a receiver asked.
pub(super) fn next_attempt(now: Time, failures: u64, retry_after_s: Option<u32>, random: u32) -> Time {
    let doublings = failures.saturating_sub(1).min(20);
    let wait = (FIRST_MS << doublings).min(MOST_MS);
    let half = wait / 2;
    let wait = half + half * i64::from(random) / i64::from(u32::MAX);
    let asked = i64::from(retry_after_s.unwrap_or(0).min(MOST_ASKED_S)) * 1000;
    Time::from_unix_ms(now.unix_ms().saturating_add(wait.max(asked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(failures: u64, asked: Option<u32>, random: u32) -> i64 {
        let now = Time::from_unix_ms(1_000);
        next_attempt(now, failures, asked, random).unix_ms() - now.unix_ms()
    }

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        assert_eq!([1, 2, 3, 8].map(|n| wait(n, None, u32::MAX)), [5_000, 10_000, 20_000, 640_000]);
        assert_eq!([1, 2, 3, 8].map(|n| wait(n, None, 0)), [2_500, 5_000, 10_000, 320_000]);
        assert_eq!(wait(9, None, u32::MAX), MOST_MS);
        assert_eq!(wait(u64::MAX, None, u32::MAX), MOST_MS);
        assert_eq!(wait(0, None, u32::MAX), 5_000);
    }

    #[test]
    fn a_receiver_is_left_alone_for_as_long_as_it_asks_within_bounds() {
        assert_eq!(wait(1, Some(120), 0), 120_000);
        assert_eq!(wait(8, Some(1), u32::MAX), 640_000);
        assert_eq!(wait(1, Some(u32::MAX), 0), 3_600_000);
    }
}
