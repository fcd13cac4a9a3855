//! Who watches, when nobody did, and what is watched.

pub(super) const DDL: &[&str] = &[
    "CREATE TABLE replicas (
        id TEXT NOT NULL PRIMARY KEY,
        started_at BIGINT NOT NULL,
        beat_at BIGINT NOT NULL,
        beats BIGINT NOT NULL
    )",
    "CREATE TABLE outages (
        sequence BIGINT NOT NULL PRIMARY KEY,
        cause TEXT NOT NULL,
        from_at BIGINT NOT NULL,
        until_at BIGINT NOT NULL,
        step_ms BIGINT NOT NULL,
        seen_by TEXT NOT NULL
    )",
    "CREATE TABLE monitoring (
        scope_kind TEXT NOT NULL,
        scope_group TEXT NOT NULL,
        scope_id TEXT NOT NULL,
        enabled BIGINT NOT NULL,
        comment TEXT,
        set_at BIGINT NOT NULL,
        set_by TEXT NOT NULL,
        revision BIGINT NOT NULL,
        PRIMARY KEY (scope_kind, scope_group, scope_id)
    )",
    "CREATE INDEX monitoring_by_group ON monitoring (scope_group, scope_kind, scope_id)",
    "CREATE TABLE monitoring_switches (
        id TEXT NOT NULL PRIMARY KEY,
        scope_kind TEXT NOT NULL,
        scope_group TEXT NOT NULL,
        scope_id TEXT NOT NULL,
        asked_at BIGINT NOT NULL,
        asked_by TEXT NOT NULL,
        vms BIGINT NOT NULL,
        done BIGINT NOT NULL,
        switched BIGINT NOT NULL,
        after_name TEXT NOT NULL,
        claimed_by TEXT,
        claimed_until BIGINT NOT NULL,
        finished_at BIGINT
    )",
    "CREATE INDEX monitoring_switches_open ON monitoring_switches (asked_at, id) WHERE finished_at IS NULL",
];
