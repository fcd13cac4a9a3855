//! The one place where the CLI reads the clock.

use veriboot_wire::Time;

/// Now.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Time {
    Time::from_unix_ms(jiff::Timestamp::now().as_millisecond())
}
