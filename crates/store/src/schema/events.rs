//! What happened, in order, and whom it is still to be told.
//!
//! `event_counter` has one row: the newest sequence number outlives the events that retention removed.
//! `target_state` changes with every attempt to deliver; it is apart from `notification_targets`, which every event
//! reads, so that delivering never makes the transaction of an event repeat itself.

pub(super) const DDL: &[&str] = &[
    "CREATE TABLE event_counter (
        id BIGINT NOT NULL PRIMARY KEY,
        newest BIGINT NOT NULL
    )",
    "INSERT INTO event_counter (id, newest) VALUES (1, 0)",
    "CREATE TABLE events (
        sequence BIGINT NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL,
        kind TEXT NOT NULL,
        severity TEXT NOT NULL,
        group_name TEXT,
        scale_set TEXT,
        vm_id TEXT,
        vm_name TEXT,
        subject TEXT,
        data TEXT NOT NULL
    )",
    "CREATE INDEX events_by_age ON events (at, sequence)",
    "CREATE TABLE notification_targets (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        enabled BIGINT NOT NULL,
        digest_ms BIGINT NOT NULL,
        settings TEXT NOT NULL,
        secrets TEXT NOT NULL,
        route TEXT NOT NULL,
        revision BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL,
        changed_at BIGINT NOT NULL,
        CONSTRAINT notification_targets_name UNIQUE (name)
    )",
    "CREATE TABLE target_state (
        target_id TEXT NOT NULL PRIMARY KEY REFERENCES notification_targets (id),
        claimed_by TEXT NOT NULL,
        claimed_until BIGINT NOT NULL,
        next_at BIGINT NOT NULL,
        failures BIGINT NOT NULL,
        repeat_at BIGINT,
        last_delivered_at BIGINT,
        last_failed_at BIGINT,
        last_error TEXT
    )",
    "CREATE TABLE deliveries (
        target_id TEXT NOT NULL REFERENCES notification_targets (id),
        sequence BIGINT NOT NULL REFERENCES events (sequence),
        state TEXT NOT NULL,
        queued_at BIGINT NOT NULL,
        attempts BIGINT NOT NULL,
        last_at BIGINT,
        last_error TEXT,
        PRIMARY KEY (target_id, sequence)
    )",
    "CREATE INDEX deliveries_waiting ON deliveries (target_id, sequence) WHERE state = 'waiting'",
    "CREATE INDEX deliveries_of_target ON deliveries (target_id, state, queued_at) WHERE state <> 'delivered'",
    "CREATE INDEX deliveries_unsettled ON deliveries (sequence) WHERE state <> 'delivered'",
    "CREATE INDEX deliveries_by_age ON deliveries (state, queued_at)",
    "CREATE INDEX deliveries_by_sequence ON deliveries (sequence, target_id)",
];
