//! The schema: numbered migrations in one DDL text for both databases.
//!
//! The text is written with BIGINT, TEXT and BYTEA. SQLite gets INTEGER, TEXT and BLOB in STRICT tables; PostgreSQL
//! gets TEXT with collation "C", so that text is ordered by bytes on both. A migration that was released is never
//! edited: the next one gets the next number.

mod alerts;
mod alerts_more;
mod audit_lists;
mod context;
mod dated;
mod endorsed;
mod events;
mod foundation;
mod inventory;
mod judged_in_order;
mod kernel;
mod lists;
mod posture;
mod proposals;
mod rejections;
mod sets;
mod signed_baselines;
mod turning;
mod watch;

use crate::{Backend, Constraint, OpenError, StoreError, Tx};

/// Every migration, oldest first; the schema's number is how many of them were applied.
const MIGRATIONS: &[&[&str]] = &[
    foundation::DDL,
    signed_baselines::DDL,
    proposals::DDL,
    context::DDL,
    rejections::DDL,
    inventory::DDL,
    posture::DDL,
    alerts::DDL,
    events::DDL,
    watch::DDL,
    alerts_more::DDL,
    lists::DDL,
    kernel::DDL,
    dated::DDL,
    turning::DDL,
    audit_lists::DDL,
    judged_in_order::DDL,
    endorsed::DDL,
    sets::DDL,
];

/// The newest schema that this program knows.
pub(crate) const NEWEST: i64 = 19;
const _: () = assert!(MIGRATIONS.len() == 19);

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
    ("notification_targets_name", "notification_targets.name", Constraint::TargetName),
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
        let mut statements: Vec<String> = foundation::DDL.iter().map(|ddl| translate(ddl, backend)).collect();
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

    /// Makes a database with these statements, and has the service's part look at what became of it.
    fn on_sqlite(schema: fn(Backend) -> Vec<String>, check: fn(&str)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("veriboot.db");
        let old = rusqlite::Connection::open(&path).unwrap();
        for statement in schema(Backend::Sqlite) {
            old.execute_batch(&statement).unwrap();
        }
        drop(old);
        check(&format!("sqlite:{}", path.display()));
    }

    fn on_postgres(schema: fn(Backend) -> Vec<String>, check: fn(&str)) {
        let Some(server) = Postgres::shared().unwrap() else { return };
        let url = server.database().unwrap();
        server.psql(url.rsplit('/').next().unwrap(), &schema(Backend::Postgres).join(";\n")).unwrap();
        check(&url);
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

    /// The schema before migration 14, with a VM whose item was stopped at 50 and one whose item was gone at 60. Both attested
    /// last at 20; a third, whose item was stopped at 50 too, at 70.
    fn schema_13(backend: Backend) -> Vec<String> {
        let mut statements = first_schema(backend);
        statements.extend(MIGRATIONS[1..13].iter().copied().flatten().map(|ddl| translate(ddl, backend)));
        statements.push("UPDATE schema_version SET version = 13".to_owned());
        statements.push("UPDATE vms SET last_attested_at = 20".to_owned());
        let columns = "name, group_name, scale_set, status, facts, security_type, machine, ek_public, ak_public, ak_name, \
                       agent_token_sha256, challenge_used_us, interval_s, silence_limit_s, enrolled_at, silent_after, \
                       baseline, monitoring";
        for (n, attested) in [(2, 20), (3, 70)] {
            let others = columns.replacen("name", &format!("'web-{n}'"), 1);
            statements.push(format!(
                "INSERT INTO vms (id, ek_sha256, last_attested_at, {columns}) \
                 SELECT 'vm-{n}', 'ek-{n}', {attested}, {others} FROM vms WHERE id = 'vm-1'"
            ));
        }
        statements.push(
            "INSERT INTO inventory_sources (name, created_at, created_by, items, claimed_until, revision) \
             VALUES ('a', 1, 'ann', 3, 0, 1)"
                .to_owned(),
        );
        for (n, gone, stopped) in [(1, "NULL", "50"), (2, "60", "NULL"), (3, "NULL", "50")] {
            statements.push(format!(
                "INSERT INTO inventory_vms (id, source, item_key, name, group_name, platform, power, security_type, \
                 secure_boot, vtpm, tags, first_seen_at, changed_at, gone_at, stopped_at, vm_id, matched_by, revision) \
                 VALUES ('item-{n}', 'a', '{n}', 'web-{n}', 'default', 'azure', 'stopped', 'unknown', 'on', 'on', '{{}}', \
                 10, 50, {gone}, {stopped}, 'vm-{n}', 'verified-identity', 1)"
            ));
        }
        statements
    }

    fn check_absent(url: &str) {
        use veriboot_wire::{Absence, Time};
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = crate::Store::open(url).unwrap();
        let read = store.read(|tx| {
            ["vm-1", "vm-2", "vm-3"].iter().map(|vm| crate::inventory::absent_since(tx, vm)).collect()
        });
        let absent: Vec<_> = runtime.block_on(read).unwrap();
        let at = Time::from_unix_ms;
        let expected =
            [Some(Absence::Stopped { since: at(50) }), Some(Absence::Gone { since: at(60) }), None];
        assert_eq!(absent, expected, "who was excused still is, and who was heard of since is not");
        runtime.block_on(store.close());
    }

    #[test]
    fn who_was_absent_on_sqlite_before_an_upgrade_is_absent_after_it() {
        on_sqlite(schema_13, check_absent);
    }

    #[test]
    fn who_was_absent_on_postgres_before_an_upgrade_is_absent_after_it() {
        on_postgres(schema_13, check_absent);
    }

    /// The schema before migration 17, with one piece of work that was done and one that had come to a VM by its name.
    fn schema_16(backend: Backend) -> Vec<String> {
        let mut statements = first_schema(backend);
        statements.extend(MIGRATIONS[1..16].iter().copied().flatten().map(|ddl| translate(ddl, backend)));
        statements.push("UPDATE schema_version SET version = 16".to_owned());
        for (id, finished) in [("done", "9"), ("left", "NULL")] {
            statements.push(format!(
                "INSERT INTO reappraisals (id, scope_kind, scope_group, scope_id, because, always, created_at, created_by, vms, \
                 done, turned, failed, after_name, claimed_until, finished_at) \
                 VALUES ('{id}', 'group', 'default', '', 'x', 0, 1, 'ann', 1, 1, 1, 1, 'web-0', 0, {finished})"
            ));
        }
        statements
    }

    fn check_begun_anew(url: &str) {
        use crate::reappraisals;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = crate::Store::open(url).unwrap();
        let now = veriboot_wire::Time::from_unix_ms(5);
        let claim = store.write(move |tx| {
            let claimed = reappraisals::claim(tx, None, "me", now, now.plus_ms(1))?.unwrap();
            let ids = reappraisals::ids_after(tx, &claimed.reappraisal.scope, &claimed.after_id, 10)?;
            Ok((claimed.reappraisal, ids, reappraisals::by_id(tx, "done")?.unwrap()))
        });
        let (left, ids, done) = runtime.block_on(claim).unwrap();
        assert_eq!((left.id.as_str(), left.done, left.turned, left.failed), ("left", 0, 0, 0));
        assert_eq!(ids, ["vm-1"]);
        assert_eq!((done.done, done.turned, done.failed), (1, 1, 1));
        runtime.block_on(store.close());
    }

    #[test]
    fn work_that_an_older_service_left_on_sqlite_begins_anew() {
        on_sqlite(schema_16, check_begun_anew);
    }

    #[test]
    fn work_that_an_older_service_left_on_postgres_begins_anew() {
        on_postgres(schema_16, check_begun_anew);
    }

    #[test]
    fn an_sqlite_database_of_the_first_schema_goes_on() {
        on_sqlite(first_schema, |url| {
            check(url);
            check(url);
        });
    }

    #[test]
    fn a_postgres_database_of_the_first_schema_goes_on() {
        on_postgres(first_schema, check);
    }
}
