//! Baselines are signed and may be of an image, profiles are kept, and what they judge is judged again when they change.

pub(super) const DDL: &[&str] = &[
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
