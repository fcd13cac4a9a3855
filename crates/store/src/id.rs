//! Identifiers.

use uuid::{NoContext, Timestamp, Uuid};
use veriboot_wire::Time;

/// A new UUIDv7: sorts by `now` (milliseconds), then at random. Times before 1970 count as 1970.
pub fn new_id(now: Time) -> String {
    let ms = u64::try_from(now.unix_ms()).unwrap_or(0);
    let nanos = u32::try_from(ms % 1000).unwrap_or(0).saturating_mul(1_000_000);
    Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1000, nanos)).to_string()
}
