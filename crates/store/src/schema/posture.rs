//! Assessments, what they rest on, and how the score of a group went.
//!
//! Every index of `assessments` but the last ends with columns that make counting read the index alone.

pub(super) const DDL: &[&str] = &[
    "ALTER TABLE vms ADD COLUMN posture_key TEXT",
    "CREATE TABLE vm_log_facts (
        vm_id TEXT NOT NULL PRIMARY KEY REFERENCES vms (id),
        log_sha256 TEXT NOT NULL,
        facts TEXT NOT NULL
    )",
    "CREATE TABLE assessments (
        resource_id TEXT NOT NULL,
        check_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        group_name TEXT NOT NULL,
        scale_set TEXT,
        severity TEXT NOT NULL,
        status TEXT NOT NULL,
        cause TEXT,
        description TEXT NOT NULL,
        first_evaluated_at BIGINT NOT NULL,
        last_status_change_at BIGINT NOT NULL,
        PRIMARY KEY (resource_id, check_id)
    )",
    "CREATE INDEX assessments_by_check ON assessments (check_id, status, group_name, name, resource_id)",
    "CREATE INDEX assessments_by_name ON assessments (group_name, name, resource_id, check_id, status)",
    "CREATE INDEX assessments_by_set ON assessments \
     (group_name, scale_set, check_id, status, name, resource_id) WHERE scale_set IS NOT NULL",
    "CREATE INDEX assessments_unhealthy ON assessments (group_name, name, resource_id, check_id) \
     WHERE status = 'unhealthy'",
    "CREATE INDEX assessments_by_change ON assessments (last_status_change_at, resource_id, check_id)",
    "CREATE TABLE posture_sweeps (
        id TEXT NOT NULL PRIMARY KEY,
        because TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        phase TEXT NOT NULL,
        after_id TEXT NOT NULL,
        looked_at BIGINT NOT NULL,
        changed BIGINT NOT NULL,
        claimed_by TEXT NOT NULL,
        claimed_until BIGINT NOT NULL,
        finished_at BIGINT
    )",
    "CREATE INDEX posture_sweeps_waiting ON posture_sweeps (created_at) WHERE finished_at IS NULL",
    "CREATE TABLE score_points (
        group_name TEXT NOT NULL,
        hour BIGINT NOT NULL,
        healthy_weight BIGINT NOT NULL,
        applicable_weight BIGINT NOT NULL,
        resources BIGINT NOT NULL,
        PRIMARY KEY (group_name, hour)
    )",
    "CREATE INDEX score_points_by_hour ON score_points (hour)",
];
