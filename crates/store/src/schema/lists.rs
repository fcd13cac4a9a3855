//! Indexes in the order of the lists, so that a page ends after its rows however many there are. The test `plans` asks both
//! databases whether they use them.

pub(super) const DDL: &[&str] = &[
    // All of one resource stand together: its assessments are written at once.
    "DROP INDEX assessments_by_set",
    "CREATE INDEX assessments_by_set ON assessments (group_name, scale_set, name, resource_id, check_id, status) \
     WHERE scale_set IS NOT NULL",
    "CREATE INDEX assessments_by_group_change ON assessments \
     (group_name, last_status_change_at, resource_id, check_id)",
    "DROP INDEX inventory_vms_by_scale_set",
    "CREATE INDEX inventory_vms_by_scale_set ON inventory_vms (scale_set, group_name, name, id) \
     WHERE scale_set IS NOT NULL",
    "CREATE INDEX inventory_vms_by_source ON inventory_vms (source, group_name, name, id)",
    "CREATE INDEX alerts_by_count ON alerts (raised, first_at, id)",
];
