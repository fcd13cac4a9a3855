//! When a document was made, and what it is therefore taken for.
//!
//! A machine that an export calls stopped may have been started between the export and the sync: what is excused is the
//! silence of machines that were not heard of since the document was made. A document that does not say when that was,
//! or is older than one that was synced before, changes the inventory and excuses nothing. A list of some machines is one
//! like any other: what it lists as running may be what an older one calls stopped.

use veriboot_wire::{InventorySource, Time};

use crate::ApiError;
use crate::problem::kinds;

/// How far the clock of whoever made a document may be ahead of ours, seconds.
const AHEAD_S: i64 = 300;

/// Whether something was made so far in the future that its clock is wrong.
pub(super) fn is_ahead(at: Time, now: Time) -> bool {
    at > now.plus_s(AHEAD_S)
}

/// What a document is taken for.
#[derive(Debug)]
pub(super) struct Made {
    /// As of when holds what it says about machines that are stopped or gone; `None` when that is not known.
    pub as_of: Option<Time>,
    /// Why it is not.
    pub note: Option<String>,
}

/// What a document is taken for that was made then, by what was synced before.
///
/// # Errors
/// `invalid-value` for a time in the future.
pub(super) fn of(
    exported_at: Option<Time>,
    source: Option<&InventorySource>,
    now: Time,
) -> Result<Made, ApiError> {
    let excuses_none = "machines that it calls stopped or does not list are expected to attest as before";
    let Some(at) = exported_at else {
        let note = format!("the document does not say when it was made (exported_at): {excuses_none}");
        return Ok(Made { as_of: None, note: Some(note) });
    };
    if is_ahead(at, now) {
        let message = format!("exported_at {at} is in the future: it is {now} here");
        return Err(ApiError::new(&kinds::INVALID_VALUE, message)
            .hint("give the time at which the export was made; the clocks of both machines have to agree"));
    }
    Ok(match source.and_then(|source| source.exported_at) {
        Some(newer) if newer > at => {
            let note = format!(
                "the document was made at {at}, and one of {newer} was synced before: {excuses_none}"
            );
            Made { as_of: None, note: Some(note) }
        }
        _ => Made { as_of: Some(at.min(now)), note: None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(exported_at: Option<Time>) -> InventorySource {
        let mut source: InventorySource = serde_json::from_value(serde_json::json!({
            "name": "a", "created_at": "2026-01-01T00:00:00Z", "created_by": "ann", "items": 0, "matched": 0, "gone": 0,
            "revision": 1,
        }))
        .unwrap();
        source.exported_at = exported_at;
        source
    }

    #[test]
    fn an_export_is_as_old_as_it_says_and_never_newer_than_now() {
        let now = Time::from_unix_ms(1_000_000_000);
        let as_of = |at: i64, newest: Option<i64>| {
            let known = source(newest.map(|s| now.plus_s(s)));
            of(Some(now.plus_s(at)), Some(&known), now).map(|made| (made.as_of, made.note.is_some()))
        };
        assert_eq!(as_of(-60, None).unwrap(), (Some(now.plus_s(-60)), false));
        assert_eq!(as_of(-60, Some(-60)).unwrap(), (Some(now.plus_s(-60)), false), "the same once more");
        assert_eq!(as_of(-60, Some(-59)).unwrap(), (None, true), "a newer one was there before");
        assert_eq!(as_of(299, None).unwrap(), (Some(now), false), "a clock that is a little ahead");
        assert_eq!(as_of(301, None).unwrap_err().code(), "invalid-value");
        let unknown = of(None, None, now).unwrap();
        assert!(unknown.as_of.is_none() && unknown.note.unwrap().contains("exported_at"));
    }
}
