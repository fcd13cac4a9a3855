//! The schema: numbered migrations in one DDL text for both databases.
//!
//! The text is written with BIGINT, TEXT and BYTEA. SQLite gets INTEGER, TEXT and BLOB in STRICT tables; PostgreSQL
//! gets TEXT with collation "C", so that text is ordered by bytes on both. A migration that was released is never
//! edited: the next one gets the next number.

use crate::{Backend, Constraint, OpenError, StoreError, Tx};

/// Every migration, oldest first; the schema's number is how many of them were applied.
const MIGRATIONS: &[&[&str]] = &[FOUNDATION];

/// The newest schema that this program knows.
pub(crate) const NEWEST: i64 = 1;
const _: () = assert!(MIGRATIONS.len() == 1);

const FOUNDATION: &[&str] = &[
    "CREATE TABLE vms (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        group_name TEXT NOT NULL,
        scale_set TEXT,
        status TEXT NOT NULL,
        status_detail TEXT,
        facts TEXT NOT NULL,
        security_type TEXT NOT NULL,
        machine TEXT NOT NULL,
        ek_sha256 TEXT NOT NULL,
        ek_public BYTEA NOT NULL,
        ek_certificate BYTEA,
        ak_public BYTEA NOT NULL,
        ak_name BYTEA NOT NULL,
        agent_token_sha256 BYTEA NOT NULL,
        challenge_used_us BIGINT NOT NULL,
        interval_s BIGINT NOT NULL,
        silence_limit_s BIGINT NOT NULL,
        enrolled_at BIGINT NOT NULL,
        last_attested_at BIGINT,
        last_seen_at BIGINT,
        silent_after BIGINT NOT NULL,
        current_boot_id TEXT,
        reset_count BIGINT,
        restart_count BIGINT,
        clock_ms BIGINT,
        firmware_version BIGINT,
        counted_ak_name BYTEA,
        reenrolments_paid_at BIGINT,
        log_sha256 TEXT,
        last_attestation_id TEXT,
        fault TEXT,
        baseline TEXT,
        monitoring BIGINT NOT NULL,
        CONSTRAINT vms_name UNIQUE (group_name, name),
        CONSTRAINT vms_ek UNIQUE (ek_sha256)
    )",
    "CREATE INDEX vms_by_name ON vms (name)",
    "CREATE INDEX vms_by_scale_set ON vms (scale_set, group_name, name)",
    "CREATE INDEX vms_by_status ON vms (status, group_name, name)",
    "CREATE INDEX vms_by_silence ON vms (silent_after) WHERE monitoring = 1 AND status <> 'stale'",
    "CREATE TABLE enrolments (
        id TEXT NOT NULL PRIMARY KEY,
        created_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        attempts BIGINT NOT NULL,
        secret_sha256 BYTEA NOT NULL,
        join_token_id TEXT,
        vm_id TEXT,
        name TEXT NOT NULL,
        machine TEXT NOT NULL,
        ek_sha256 TEXT NOT NULL,
        ek_public BYTEA NOT NULL,
        ek_certificate BYTEA,
        ak_public BYTEA NOT NULL,
        ak_name BYTEA NOT NULL
    )",
    "CREATE INDEX enrolments_by_expiry ON enrolments (expires_at)",
    "CREATE INDEX enrolments_by_vm ON enrolments (vm_id)",
    "CREATE INDEX enrolments_by_ek ON enrolments (ek_sha256, created_at, id)",
    "CREATE INDEX enrolments_by_join_token ON enrolments (join_token_id)",
    "CREATE TABLE join_tokens (
        id TEXT NOT NULL PRIMARY KEY,
        secret_sha256 BYTEA NOT NULL,
        group_name TEXT NOT NULL,
        scale_set TEXT,
        uses_left BIGINT NOT NULL CHECK (uses_left >= 0),
        expires_at BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL,
        comment TEXT,
        revoked BIGINT NOT NULL,
        CONSTRAINT join_tokens_secret UNIQUE (secret_sha256)
    )",
    "CREATE INDEX join_tokens_by_age ON join_tokens (created_at, id)",
    "CREATE TABLE api_tokens (
        id TEXT NOT NULL PRIMARY KEY,
        secret_sha256 BYTEA NOT NULL,
        name TEXT NOT NULL,
        role TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL,
        expires_at BIGINT,
        revoked BIGINT NOT NULL,
        CONSTRAINT api_tokens_secret UNIQUE (secret_sha256)
    )",
    "CREATE UNIQUE INDEX api_tokens_name ON api_tokens (name) WHERE revoked = 0",
    "CREATE INDEX api_tokens_by_age ON api_tokens (created_at, id)",
    "CREATE TABLE logs (
        sha256 TEXT NOT NULL PRIMARY KEY,
        content BYTEA NOT NULL,
        first_seen_at BIGINT NOT NULL
    )",
    "CREATE TABLE suspect_logs (
        sha256 TEXT NOT NULL PRIMARY KEY REFERENCES logs (sha256),
        vm_id TEXT NOT NULL,
        shown_at BIGINT NOT NULL
    )",
    "CREATE INDEX suspect_logs_by_vm ON suspect_logs (vm_id, shown_at)",
    "CREATE TABLE boots (
        id TEXT NOT NULL PRIMARY KEY,
        vm_id TEXT NOT NULL REFERENCES vms (id),
        first_attested_at BIGINT NOT NULL,
        last_attested_at BIGINT NOT NULL,
        reset_count BIGINT NOT NULL,
        restart_count BIGINT NOT NULL,
        log_sha256 TEXT NOT NULL,
        verdict TEXT NOT NULL,
        attestations BIGINT NOT NULL,
        components TEXT NOT NULL,
        CONSTRAINT boots_key UNIQUE (vm_id, reset_count, restart_count, log_sha256)
    )",
    "CREATE INDEX boots_by_vm ON boots (vm_id, first_attested_at, id)",
    "CREATE TABLE attestations (
        id TEXT NOT NULL PRIMARY KEY,
        vm_id TEXT NOT NULL REFERENCES vms (id),
        boot_id TEXT REFERENCES boots (id),
        at BIGINT NOT NULL,
        verdict TEXT NOT NULL,
        facts TEXT NOT NULL,
        findings TEXT NOT NULL,
        baseline TEXT,
        log_sha256 TEXT REFERENCES logs (sha256),
        ak_public BYTEA NOT NULL,
        quote BYTEA NOT NULL,
        signature BYTEA NOT NULL,
        nonce BYTEA NOT NULL,
        bank TEXT,
        pcrs TEXT NOT NULL,
        log_absent_because TEXT
    )",
    "CREATE INDEX attestations_by_vm ON attestations (vm_id, at, id)",
    "CREATE INDEX attestations_by_boot ON attestations (boot_id)",
    "CREATE INDEX attestations_by_log ON attestations (log_sha256)",
    "CREATE TABLE alerts (
        id TEXT NOT NULL PRIMARY KEY,
        vm_id TEXT NOT NULL REFERENCES vms (id),
        kind TEXT NOT NULL,
        title TEXT NOT NULL,
        reason TEXT NOT NULL,
        severity TEXT NOT NULL,
        state TEXT NOT NULL,
        is_open BIGINT NOT NULL,
        component TEXT,
        message TEXT NOT NULL,
        remediation TEXT NOT NULL,
        findings TEXT NOT NULL,
        attestation_id TEXT,
        raised BIGINT NOT NULL,
        first_at BIGINT NOT NULL,
        last_at BIGINT NOT NULL,
        closed_at BIGINT,
        timeline TEXT NOT NULL
    )",
    "CREATE UNIQUE INDEX alerts_open ON alerts (vm_id, reason) WHERE is_open = 1",
    "CREATE INDEX alerts_by_age ON alerts (first_at, id)",
    "CREATE INDEX alerts_by_vm ON alerts (vm_id, first_at, id)",
    "CREATE TABLE baselines (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        version BIGINT NOT NULL,
        is_current BIGINT NOT NULL,
        scope_kind TEXT NOT NULL,
        scope_group TEXT NOT NULL,
        scope_id TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL,
        comment TEXT,
        boot_id TEXT,
        components BIGINT NOT NULL,
        document TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        CONSTRAINT baselines_version UNIQUE (name, version)
    )",
    "CREATE UNIQUE INDEX baselines_current ON baselines (scope_kind, scope_group, scope_id) WHERE is_current = 1",
    "CREATE TABLE signing_keys (
        kid TEXT NOT NULL PRIMARY KEY,
        algorithm TEXT NOT NULL,
        private_pkcs8 BYTEA NOT NULL,
        public_jwk TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        signs_from BIGINT NOT NULL,
        published_until BIGINT
    )",
    "CREATE TABLE settings (
        name TEXT NOT NULL PRIMARY KEY,
        value BYTEA NOT NULL
    )",
    "CREATE TABLE audit (
        sequence BIGINT NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        target TEXT NOT NULL,
        detail TEXT NOT NULL,
        hash TEXT NOT NULL
    )",
];

/// Unique constraints: name (as PostgreSQL reports it), columns (as SQLite reports it), meaning.
const UNIQUE: &[(&str, &str, Constraint)] = &[
    ("vms_name", "vms.group_name, vms.name", Constraint::VmName),
    ("vms_ek", "vms.ek_sha256", Constraint::VmEk),
    ("join_tokens_secret", "join_tokens.secret_sha256", Constraint::TokenSecret),
    ("api_tokens_secret", "api_tokens.secret_sha256", Constraint::TokenSecret),
    ("api_tokens_name", "api_tokens.name", Constraint::ApiTokenName),
    ("boots_key", "boots.vm_id, boots.reset_count, boots.restart_count, boots.log_sha256", Constraint::Boot),
    ("alerts_open", "alerts.vm_id, alerts.reason", Constraint::AlertOpen),
    ("baselines_version", "baselines.name, baselines.version", Constraint::BaselineVersion),
    (
        "baselines_current",
        "baselines.scope_kind, baselines.scope_group, baselines.scope_id",
        Constraint::BaselineCurrent,
    ),
];

/// The constraint with this name in PostgreSQL.
pub(crate) fn constraint_by_name(name: &str) -> Constraint {
    if name.ends_with("_pkey") {
        return Constraint::Id;
    }
    UNIQUE.iter().find(|(n, _, _)| *n == name).map_or(Constraint::Other, |(_, _, c)| *c)
}

/// The constraint over these columns, as SQLite lists them.
pub(crate) fn constraint_by_columns(columns: &str) -> Constraint {
    UNIQUE.iter().find(|(_, c, _)| *c == columns).map_or(Constraint::Other, |(_, _, c)| *c)
}

/// The DDL in the words of one database.
fn translate(ddl: &str, backend: Backend) -> String {
    match backend {
        Backend::Sqlite => {
            let text = ddl.replace(" BIGINT", " INTEGER").replace(" BYTEA", " BLOB");
            if text.starts_with("CREATE TABLE") { text + " STRICT" } else { text }
        }
        Backend::Postgres => ddl.replace(" TEXT", " TEXT COLLATE \"C\""),
    }
}

/// Brings the schema up to date. The caller holds a lock that keeps other replicas out and commits afterwards.
pub(crate) fn migrate(tx: &mut dyn Tx) -> Result<(), OpenError> {
    let backend = tx.backend();
    tx.execute(
        &translate("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)", backend),
        &[],
    )?;
    let rows = tx.query("SELECT version FROM schema_version", &[])?;
    let found = match rows.into_iter().next() {
        Some(row) => row.columns().int()?,
        None => {
            tx.execute("INSERT INTO schema_version (version) VALUES (0)", &[])?;
            0
        }
    };
    if found > NEWEST {
        return Err(OpenError::Newer { found, known: NEWEST });
    }
    let applied = usize::try_from(found).map_err(|_| StoreError::corrupt("number of the schema"))?;
    for ddl in MIGRATIONS.iter().skip(applied).copied().flatten() {
        tx.execute(&translate(ddl, backend), &[])?;
    }
    if found < NEWEST {
        tx.execute("UPDATE schema_version SET version = $1", &[NEWEST.into()])?;
    }
    Ok(())
}
