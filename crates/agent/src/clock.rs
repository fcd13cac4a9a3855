//! The one place where the agent reads the wall clock.

use veriboot_wire::Time;

/// Now, in UTC.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Time {
    Time::from_unix_ms(jiff::Timestamp::now().as_millisecond())
}
