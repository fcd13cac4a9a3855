//! What turns with every VM of a fleet at once is written to as few indexes as possible.

pub(super) const DDL: &[&str] = &[
    // Without the status: an assessment that turns stays where it stands in the order of the lists. What is counted by status
    // is counted by `assessments_by_check`, and in the rows of a scale set.
    "DROP INDEX assessments_by_name",
    "CREATE INDEX assessments_by_name ON assessments (group_name, name, resource_id, check_id)",
    "DROP INDEX assessments_by_set",
    "CREATE INDEX assessments_by_set ON assessments (group_name, scale_set, name, resource_id, check_id) \
     WHERE scale_set IS NOT NULL",
    // Old events go by their sequence.
    "DROP INDEX events_by_age",
];
