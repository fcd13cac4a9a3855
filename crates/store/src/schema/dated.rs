//! Whose word holds as of when: what an item was linked for, as of when a source says that it is stopped or gone, and how
//! far the clock of a receiver is ahead.

pub(super) const DDL: &[&str] = &[
    // What had been linked with others before says no longer why: it excuses no silence until somebody links it by hand.
    "ALTER TABLE inventory_vms ADD COLUMN agreed_by TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE inventory_vms ADD COLUMN stopped_as_of BIGINT",
    "ALTER TABLE inventory_vms ADD COLUMN gone_as_of BIGINT",
    // What was known to be absent stays so until something is heard of it: an upgrade calls nobody silent whose silence was
    // excused, also where sources are synced by those who do not say when a document was made.
    "UPDATE inventory_vms SET stopped_as_of = stopped_at, gone_as_of = gone_at \
     WHERE stopped_at IS NOT NULL OR gone_at IS NOT NULL",
    "ALTER TABLE inventory_sources ADD COLUMN exported_at BIGINT",
    "ALTER TABLE target_state ADD COLUMN clock_ahead_ms BIGINT",
    // Sources of the configuration are read once more, which says as of when.
    "UPDATE inventory_sources SET document_sha256 = NULL",
];
