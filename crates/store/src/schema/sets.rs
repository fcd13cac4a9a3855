//! What checks come to for whole scale sets, and which sets are to be looked at again.

pub(super) const DDL: &[&str] = &[
    // Due while `changes` is not `evaluated`: how often an assessment of a member changed, and what of that was looked at.
    "CREATE TABLE set_postures (
        group_name TEXT NOT NULL,
        scale_set TEXT NOT NULL,
        changes BIGINT NOT NULL,
        evaluated BIGINT NOT NULL,
        PRIMARY KEY (group_name, scale_set)
    )",
    "CREATE INDEX set_postures_due ON set_postures (group_name, scale_set) WHERE changes <> evaluated",
    "CREATE TABLE set_assessments (
        group_name TEXT NOT NULL,
        scale_set TEXT NOT NULL,
        check_id TEXT NOT NULL,
        status TEXT NOT NULL,
        cause TEXT,
        first_evaluated_at BIGINT NOT NULL,
        last_status_change_at BIGINT NOT NULL,
        PRIMARY KEY (group_name, scale_set, check_id)
    )",
    "INSERT INTO set_postures (group_name, scale_set, changes, evaluated) \
     SELECT group_name, scale_set, 1, 0 FROM vms WHERE scale_set IS NOT NULL UNION \
     SELECT group_name, scale_set, 1, 0 FROM inventory_vms WHERE scale_set IS NOT NULL",
];
