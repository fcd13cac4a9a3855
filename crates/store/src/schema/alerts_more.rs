//! What an alert has shown while it is open, and rules that were settled by a clock that was ahead.

pub(super) const DDL: &[&str] = &[
    // Codes with their class, and digests over what failed together: crate::ops::alerts::news.
    "ALTER TABLE alerts ADD COLUMN shown TEXT NOT NULL DEFAULT '[]'",
    "CREATE INDEX suppressions_settled ON suppressions (settled_at) WHERE settled_at IS NOT NULL",
];
