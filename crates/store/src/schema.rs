//! The schema: numbered migrations in one DDL text for both databases.
//!
//! The text is written with BIGINT, TEXT and BYTEA. SQLite gets INTEGER, TEXT and BLOB in STRICT tables; PostgreSQL
//! gets TEXT with collation "C", so that text is ordered by bytes on both. A migration that was released is never
//! edited: the next one gets the next number.

use crate::{Backend, Constraint, OpenError, StoreError, Tx};

/// Every migration, oldest first; the schema's number is how many of them were applied.
const MIGRATIONS: &[&[&str]] = &[FOUNDATION, SIGNED_BASELINES, PROPOSALS, CONTEXT];

/// The newest schema that this program knows.
pub(crate) const NEWEST: i64 = 4;
const _: () = assert!(MIGRATIONS.len() == 4);

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

/// Baselines are signed and may be of an image, profiles are kept, and what they judge is judged again when they change.
const SIGNED_BASELINES: &[&str] = &[
    "ALTER TABLE vms ADD COLUMN image TEXT",
    "ALTER TABLE vms ADD COLUMN baseline_scope TEXT",
    "ALTER TABLE vms ADD COLUMN profile TEXT",
    "CREATE INDEX vms_by_image ON vms (image, group_name, name) WHERE image IS NOT NULL",
    "ALTER TABLE attestations ADD COLUMN baseline_scope TEXT",
    "ALTER TABLE attestations ADD COLUMN profile TEXT",
    "ALTER TABLE join_tokens ADD COLUMN image TEXT",
    "ALTER TABLE signing_keys ADD COLUMN purpose TEXT NOT NULL DEFAULT 'result'",
    // Without a signature only until the service has a key that signs baselines.
    "ALTER TABLE baselines ADD COLUMN origin TEXT NOT NULL DEFAULT 'learned'",
    "ALTER TABLE baselines ADD COLUMN signed_by TEXT",
    "ALTER TABLE baselines ADD COLUMN signature BYTEA",
    "UPDATE baselines SET origin = 'accepted' WHERE created_by <> 'service'",
    "UPDATE vms SET baseline_scope = CASE WHEN baseline LIKE 'vm/%' THEN 'vm' \
     WHEN baseline LIKE 'scale-set/%' THEN 'scale-set' ELSE 'group' END WHERE baseline IS NOT NULL",
    "CREATE TABLE learned_boots (
        baseline_name TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        log_sha256 TEXT NOT NULL,
        at BIGINT NOT NULL,
        PRIMARY KEY (baseline_name, boot_id)
    )",
    "CREATE TABLE profiles (
        id TEXT NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        version BIGINT NOT NULL,
        is_current BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL,
        comment TEXT,
        document TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        signed_by TEXT NOT NULL,
        signature BYTEA NOT NULL,
        CONSTRAINT profiles_version UNIQUE (name, version)
    )",
    "CREATE UNIQUE INDEX profiles_current ON profiles (name) WHERE is_current = 1",
    "CREATE TABLE profile_assignments (
        scope_kind TEXT NOT NULL,
        scope_group TEXT NOT NULL,
        scope_id TEXT NOT NULL,
        profile TEXT NOT NULL,
        assigned_at BIGINT NOT NULL,
        assigned_by TEXT NOT NULL,
        comment TEXT,
        PRIMARY KEY (scope_kind, scope_group, scope_id)
    )",
    "CREATE INDEX profile_assignments_by_profile ON profile_assignments (profile)",
    "CREATE TABLE reappraisals (
        id TEXT NOT NULL PRIMARY KEY,
        scope_kind TEXT NOT NULL,
        scope_group TEXT NOT NULL,
        scope_id TEXT NOT NULL,
        because TEXT NOT NULL,
        always BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL,
        vms BIGINT NOT NULL,
        done BIGINT NOT NULL,
        turned BIGINT NOT NULL,
        failed BIGINT NOT NULL,
        after_name TEXT NOT NULL,
        claimed_by TEXT,
        claimed_until BIGINT NOT NULL,
        finished_at BIGINT
    )",
    "CREATE INDEX reappraisals_open ON reappraisals (created_at, id) WHERE finished_at IS NULL",
    "CREATE INDEX reappraisals_by_age ON reappraisals (created_at, id)",
];

/// Changes that wait for a decision, and what members of scale sets booted. A VM is a member of the proposal that its own
/// row names.
const PROPOSALS: &[&str] = &[
    "ALTER TABLE vms ADD COLUMN proposal_id TEXT",
    "ALTER TABLE vms ADD COLUMN proposal_since BIGINT",
    "ALTER TABLE vms ADD COLUMN boot_key TEXT",
    "CREATE INDEX vms_by_proposal ON vms (proposal_id, proposal_since, id) WHERE proposal_id IS NOT NULL",
    "CREATE INDEX vms_by_boot_key ON vms (group_name, scale_set, boot_key, status, id) WHERE scale_set IS NOT NULL",
    "CREATE TABLE proposals (
        id TEXT NOT NULL PRIMARY KEY,
        baseline_id TEXT NOT NULL REFERENCES baselines (id),
        baseline TEXT NOT NULL,
        baseline_name TEXT NOT NULL,
        scope_kind TEXT NOT NULL,
        scope_group TEXT NOT NULL,
        scope_id TEXT NOT NULL,
        profile TEXT NOT NULL,
        change_key TEXT NOT NULL,
        state TEXT NOT NULL,
        revision BIGINT NOT NULL,
        classes TEXT NOT NULL,
        title TEXT NOT NULL,
        signer TEXT,
        pcrs TEXT NOT NULL,
        findings TEXT NOT NULL,
        vm_id TEXT NOT NULL,
        vm_name TEXT NOT NULL,
        boot_id TEXT NOT NULL,
        attestation_id TEXT NOT NULL,
        log_sha256 TEXT NOT NULL,
        first_seen_at BIGINT NOT NULL,
        last_seen_at BIGINT NOT NULL,
        decided_at BIGINT,
        decided_by TEXT,
        comment TEXT,
        result TEXT,
        vms BIGINT,
        CONSTRAINT proposals_change UNIQUE (baseline_id, profile, change_key)
    )",
    "CREATE INDEX proposals_by_age ON proposals (first_seen_at, id)",
    "CREATE INDEX proposals_by_state ON proposals (state, first_seen_at, id)",
    "CREATE INDEX proposals_rejected ON proposals (baseline_name, change_key) WHERE state = 'rejected'",
    "CREATE TABLE reappraise_queue (
        vm_id TEXT NOT NULL PRIMARY KEY,
        asked_at BIGINT NOT NULL,
        claimed_until BIGINT NOT NULL
    )",
    "CREATE INDEX reappraise_queue_by_age ON reappraise_queue (asked_at, vm_id)",
];

/// Attestations keep what their verdict rests on beside evidence, baseline and profile.
const CONTEXT: &[&str] = &["ALTER TABLE attestations ADD COLUMN context TEXT"];

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
    ("profiles_version", "profiles.name, profiles.version", Constraint::ProfileVersion),
    ("profiles_current", "profiles.name", Constraint::ProfileVersion),
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

#[cfg(test)]
mod tests {
    use veriboot_testkit::postgres::Postgres;
    use veriboot_wire::{BaselineOrigin, ScopeKind};

    use super::*;
    use crate::{Place, baselines, join_tokens, signing_keys, vms};

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    /// The first released schema with one row in each table that changed since, as that version wrote them.
    fn first_schema(backend: Backend) -> Vec<String> {
        let blob = match backend {
            Backend::Sqlite => "x'00'",
            Backend::Postgres => "'\\x00'::bytea",
        };
        let facts = r#"{"secure_boot":"unknown","vtpm":"unknown","quote":"unknown","log":"unknown","baseline":"unknown","endorsement":"unknown","tee":"unknown"}"#;
        let mut statements: Vec<String> = FOUNDATION.iter().map(|ddl| translate(ddl, backend)).collect();
        statements.push(
            "CREATE TABLE schema_version (version BIGINT NOT NULL)"
                .replace(" BIGINT", if backend == Backend::Sqlite { " INTEGER" } else { " BIGINT" }),
        );
        statements.push("INSERT INTO schema_version (version) VALUES (1)".to_owned());
        statements.push(format!(
            "INSERT INTO vms (id, name, group_name, scale_set, status, facts, security_type, machine, ek_sha256, ek_public, \
             ak_public, ak_name, agent_token_sha256, challenge_used_us, interval_s, silence_limit_s, enrolled_at, \
             silent_after, baseline, monitoring) VALUES ('vm-1', 'web-0', 'default', 'web', 'healthy', '{facts}', \
             'trusted-launch', '{{}}', 'ek', {blob}, {blob}, {blob}, {blob}, 0, 300, 900, 1, 2, 'scale-set/default/web@1', 1)"
        ));
        statements.push(format!(
            "INSERT INTO join_tokens (id, secret_sha256, group_name, uses_left, expires_at, created_at, created_by, revoked) \
             VALUES ('token-1', {blob}, 'default', 1, 9, 1, 'ann', 0)"
        ));
        statements.push(format!(
            "INSERT INTO signing_keys (kid, algorithm, private_pkcs8, public_jwk, created_at, signs_from) \
             VALUES ('key-1', 'ES256', {blob}, '{{}}', 1, 1)"
        ));
        for (id, by, version, current) in [("b-1", "service", 1, 1), ("b-0", "ann", 2, 0)] {
            statements.push(format!(
                "INSERT INTO baselines (id, name, version, is_current, scope_kind, scope_group, scope_id, created_at, \
                 created_by, components, document, sha256) VALUES ('{id}', 'scale-set/default/web', {version}, {current}, \
                 'scale-set', 'default', 'web', 1, '{by}', 3, '', '{HASH}')"
            ));
        }
        statements
    }

    fn check(url: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = crate::Store::open(url).unwrap();
        let read = store.read(|tx| {
            let vm = vms::by_id(tx, "vm-1")?.unwrap();
            let token = join_tokens::by_id(tx, "token-1")?.unwrap();
            let key = signing_keys::active(tx, veriboot_wire::Time::from_unix_ms(5))?.unwrap();
            let others = signing_keys::of_purpose(tx, signing_keys::Purpose::Baseline)?;
            let place = Place { vm_id: "vm-1", group: "default", scale_set: Some("web"), image: None };
            let judging = baselines::current_id_for_vm(tx, place)?.unwrap();
            let unsigned = baselines::unsigned(tx, "", 10)?;
            Ok((vm, token, key, others, judging, unsigned))
        });
        let (vm, token, key, others, judging, unsigned) = runtime.block_on(read).unwrap();
        assert_eq!((vm.image, vm.profile, vm.baseline_scope), (None, None, Some(ScopeKind::ScaleSet)));
        assert_eq!((token.image, key.kid.as_str(), others.len()), (None, "key-1", 0));
        assert_eq!(
            (judging.reference.as_str(), judging.scope),
            ("scale-set/default/web@1", ScopeKind::ScaleSet)
        );
        let origins: Vec<_> = unsigned.iter().map(|b| (b.id.as_str(), b.origin)).collect();
        assert_eq!(origins, [("b-0", BaselineOrigin::Accepted), ("b-1", BaselineOrigin::Learned)]);
        runtime.block_on(store.close());
    }

    #[test]
    fn an_sqlite_database_of_the_first_schema_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("veriboot.db");
        let old = rusqlite::Connection::open(&path).unwrap();
        for statement in first_schema(Backend::Sqlite) {
            old.execute_batch(&statement).unwrap();
        }
        drop(old);
        check(&format!("sqlite:{}", path.display()));
        check(&format!("sqlite:{}", path.display()));
    }

    #[test]
    fn a_postgres_database_of_the_first_schema_goes_on() {
        let Some(server) = Postgres::shared().unwrap() else { return };
        let url = server.database().unwrap();
        server.psql(url.rsplit('/').next().unwrap(), &first_schema(Backend::Postgres).join(";\n")).unwrap();
        check(&url);
    }
}
