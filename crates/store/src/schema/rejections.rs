//! Rejections stand for what is new in a boot, whatever else it has. A proposal that was made before has no marks, and its
//! rejection stands for exactly its change.

pub(super) const DDL: &[&str] = &[
    "ALTER TABLE proposals ADD COLUMN marks TEXT",
    "CREATE INDEX proposals_rejections ON proposals (baseline_name, decided_at, id) WHERE state = 'rejected'",
];
