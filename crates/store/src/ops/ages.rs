//! How old something is, although clocks were set since.
//!
//! Rows have times of the wall clock. Between two outages ([`super::heartbeats`]) that clock ran as time does: an era. The
//! outages tell by how much it was set between eras, so that the time that really passed since a row was written is known
//! from the eras that its time lies in. Where it lies in several, or in none, the row counts as the youngest that it can be:
//! what is forgotten by age is gone for good.

use veriboot_wire::Time;

use crate::StoreError;
use crate::tx::{Tx, params};

/// Outages that are looked back over, which are all that are kept; before them there is one era. What was set forward before passes on
/// to the oldest one, so that rows of that era, too, count as the youngest that they can be.
const MAX_ERAS: u32 = 1000;
/// Rows are written between the setting of a clock and the beat that sees it, milliseconds.
const SLACK_MS: i64 = 60_000;

/// A time in which nobody set the clock, in the times of that clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Era {
    from: i64,
    until: i64,
    /// By how much the clock was set since; negative is back.
    set_ms: i64,
}

/// What is older than an age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    now: i64,
    age_ms: i64,
    /// The newest first, at least one.
    eras: Vec<Era>,
}

impl Old {
    /// What is older at `now` than so many seconds. `now` follows on the last beat: no clock was set since.
    pub fn than(tx: &mut dyn Tx, age_s: u32, now: Time) -> Result<Self, StoreError> {
        let sql = "SELECT until_at, step_ms FROM outages WHERE step_ms <> 0 ORDER BY sequence DESC LIMIT $1";
        let rows = tx.query(sql, params![MAX_ERAS])?;
        let mut steps = Vec::with_capacity(rows.len());
        for row in rows {
            let mut c = row.columns();
            steps.push((c.time()?.unix_ms(), c.int()?));
        }
        Ok(Self::of(&steps, age_s, now))
    }

    /// `steps`: the time after each setting of the clock and by how much it was set, the last one first.
    fn of(steps: &[(i64, i64)], age_s: u32, now: Time) -> Self {
        let now = now.unix_ms();
        let begin = |n: usize| steps.get(n).map_or(i64::MIN, |(after, _)| *after);
        let mut eras = vec![Era { from: begin(0), until: now, set_ms: 0 }];
        let mut set_ms = 0_i64;
        for (n, (after, by)) in steps.iter().enumerate() {
            set_ms = set_ms.saturating_add(*by);
            eras.push(Era { from: begin(n + 1), until: after.saturating_sub(*by), set_ms });
        }
        Self { now, age_ms: i64::from(age_s) * 1000, eras }
    }

    /// Whether what was written at this time is; `None` when only a clock that was ahead can have written it, and nobody
    /// knows when.
    pub fn is(&self, at: Time) -> Option<bool> {
        self.passed_ms(at.unix_ms()).map(|passed| passed > self.age_ms)
    }

    /// No row of a later time is, unless it was written by a clock that was ahead of [`Self::now`].
    pub(super) fn latest(&self) -> Time {
        Time::from_unix_ms(self.now.saturating_sub(self.age_ms))
    }

    pub(super) fn now(&self) -> Time {
        Time::from_unix_ms(self.now)
    }

    /// The least that can have passed since.
    fn passed_ms(&self, at: i64) -> Option<i64> {
        let since = |at: i64, era: &Era| {
            // Two replicas may have told of one setting of a clock each: what lies behind is never older than it says.
            let set = if at <= self.now { era.set_ms.max(0) } else { era.set_ms };
            self.now.saturating_sub(at).saturating_sub(set)
        };
        let within = |era: &&Era| {
            (era.from.saturating_sub(SLACK_MS)..=era.until.saturating_add(SLACK_MS)).contains(&at)
        };
        let passed = self.eras.iter().filter(within).map(|era| since(at, era)).min();
        // Between two eras: at the beginning of the later one at the latest.
        let later = || self.eras.iter().filter(|era| era.from > at).map(|era| since(era.from, era)).min();
        passed.or_else(later).map(|passed| passed.max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: i64 = 3_600_000;
    const YEAR: i64 = 366 * 24 * H;
    /// When all this happens.
    const T: i64 = 50 * YEAR;

    fn passed(steps: &[(i64, i64)], now: i64, at: i64) -> Option<i64> {
        Old::of(steps, 0, Time::from_unix_ms(now)).passed_ms(at)
    }

    #[test]
    fn without_steps_the_clock_is_right() {
        assert_eq!(passed(&[], T, T - 5 * H), Some(5 * H));
        assert_eq!(passed(&[], T, T), Some(0));
        assert_eq!(passed(&[], T, T + H), None);
        assert_eq!(passed(&[], i64::MAX, i64::MIN), Some(i64::MAX));
        assert_eq!(passed(&[], i64::MIN, i64::MAX), None);
        let old = Old::of(&[], 3600, Time::from_unix_ms(T));
        assert_eq!(
            [T - H - 1, T - H, T + H].map(|at| old.is(Time::from_unix_ms(at))),
            [Some(true), Some(false), None]
        );
        let never =
            Old::of(&[(i64::MIN, i64::MAX), (i64::MAX, i64::MIN)], u32::MAX, Time::from_unix_ms(i64::MAX));
        for at in [i64::MIN, -1, 0, T, i64::MAX] {
            let _ = never.is(Time::from_unix_ms(at));
        }
    }

    #[test]
    fn a_year_forward_and_back_makes_nothing_older() {
        // Set forward at T, an hour ago.
        let forward = [(T + YEAR, YEAR)];
        let now = T + YEAR + H;
        assert_eq!(passed(&forward, now, T - 2 * H), Some(3 * H));
        assert_eq!(passed(&forward, now, T + YEAR), Some(H));
        assert_eq!(passed(&forward, now, T + YEAR / 2), Some(H), "of another replica's clock");
        // Set back an hour later, an hour ago.
        let both = [(T + H, -YEAR), (T + YEAR, YEAR)];
        let now = T + 2 * H;
        assert_eq!(passed(&both, now, T - 2 * H), Some(4 * H));
        assert_eq!(passed(&both, now, T + 90 * 60_000), Some(H / 2));
        assert_eq!(
            passed(&both, now, T + YEAR + H / 2),
            Some(H + H / 2),
            "written while the clock was ahead"
        );
        assert_eq!(passed(&both, now, T + 2 * YEAR), None);
        // And a day later.
        assert_eq!(passed(&both, now + 24 * H, T - 2 * H), Some(28 * H));
    }

    #[test]
    fn a_machine_that_starts_in_1970_makes_nothing_older() {
        let steps = [(T, T - 60_000), (0, -T)];
        let now = T + H;
        assert_eq!(passed(&steps, now, T - 2 * H), Some(3 * H));
        assert_eq!(passed(&steps, now, 30_000), Some(H + 30_000), "written in 1970");
        assert_eq!(passed(&steps, now, T + H / 2), Some(H / 2));
    }

    #[test]
    fn two_replicas_that_tell_of_one_step_make_nothing_older() {
        // One was ahead for an hour, the other took that for a step back, and the first then stepped back.
        let steps = [(T + H, -YEAR), (T, -YEAR), (T + YEAR, YEAR)];
        let now = T + 2 * H;
        for (at, most) in [(T - 2 * H, 4 * H), (T + H / 2, 90 * 60_000), (T + YEAR + H / 2, 90 * 60_000)] {
            assert!(passed(&steps, now, at).unwrap() <= most, "{at}");
        }
    }
}
