//! SQLite: one writer thread with group commit, a few reader threads.
//!
//! WAL with synchronous=FULL: a commit is on the disk before anybody is answered. The writer takes all jobs that
//! wait (up to a bound), runs each in a savepoint of one transaction and commits once; a job that fails undoes its
//! own savepoint and nothing else. A third kind of thread brings the log home ([`super::checkpoints`]).

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Statement, ToSql, ffi};

use super::checkpoints::{self, Checkpoints};
use super::{Job, Queue, Wish, spawn};
use crate::observe::Observe;
use crate::schema::{constraint_by_columns, migrate};
use crate::tx::{Param, Row, Tx, Value};
use crate::{Backend, Constraint, OpenError, Options, StoreError};

/// Statements that a connection keeps compiled.
const CACHED_STATEMENTS: usize = 256;

/// Opens the file and starts its threads.
pub(super) fn start(
    path: &str,
    options: &Options,
    reads: &Arc<Queue>,
    writes: &Arc<Queue>,
    observer: &Arc<dyn Observe>,
) -> Result<Vec<JoinHandle<()>>, OpenError> {
    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
    if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
        return Err(OpenError::Url { cause: "sqlite: needs the path of a file".into() });
    }
    make_file(path)?;
    let mut writer = connect(path, options)?;
    set_up(&writer, options)?;
    let mut threads = Vec::new();
    for n in 0..options.readers.max(1) {
        let reader = connect(path, options)?;
        reader.pragma_update(None, "query_only", true).map_err(|e| store_error(&e))?;
        let (queue, observer) = (Arc::clone(reads), Arc::clone(observer));
        threads.push(spawn(format!("store-read-{n}"), move || read_loop(&reader, &queue, &*observer))?);
    }
    let checkpoints = Arc::new(Checkpoints::default());
    checkpoints.watch(&mut writer).map_err(|e| store_error(&e))?;
    let (home, beside) = (connect(path, options)?, Arc::clone(&checkpoints));
    threads.push(spawn("store-checkpoint".into(), move || beside.run(&home))?);
    let (queue, observer) = (Arc::clone(writes), Arc::clone(observer));
    let group = options.group_commit.max(1);
    threads.push(spawn("store-write".into(), move || {
        write_loop(&writer, &queue, group, &*observer, &checkpoints);
        checkpoints.close();
    })?);
    Ok(threads)
}

/// Makes the folder (0700) and the file (0600) where they are missing.
fn make_file(path: &Path) -> Result<(), OpenError> {
    let error = |path: &Path| {
        let path = path.display().to_string();
        move |cause| OpenError::File { path, cause }
    };
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(error(folder))?;
    }
    let mut file = std::fs::OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
    match file.open(path) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(error(path)(e)),
    }
}

fn connect(path: &Path, options: &Options) -> Result<Connection, OpenError> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(options.lock_timeout)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        // Plans do not depend on what is bound: a statement that looks at that is compiled again each time it runs.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        Ok(connection)
    };
    Ok(open().map_err(|e| store_error(&e))?)
}

/// Between two tries to switch to WAL.
const WAL_RETRY: std::time::Duration = std::time::Duration::from_millis(10);

/// Switches to WAL. SQLite does not wait for its busy timeout here when another process reads the file for the first
/// time or switches too, so the waiting is ours.
fn write_ahead_log(connection: &Connection, options: &Options) -> Result<String, StoreError> {
    let mut waited = std::time::Duration::ZERO;
    loop {
        let switched =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match switched.map_err(|e| store_error(&e)) {
            Err(StoreError::Locked) if waited < options.lock_timeout => {
                std::thread::sleep(WAL_RETRY);
                waited += WAL_RETRY;
            }
            other => return other,
        }
    }
}

/// Pages of the writer's cache, in KiB. A transaction that touches more pages than fit writes them several times: what
/// changes many rows at once (a sweep of posture, an inventory sync) is several times slower with SQLite's usual 2 MiB.
const WRITER_CACHE_KIB: i64 = 256 * 1024;

/// Switches to WAL and migrates; the writer's connection.
fn set_up(connection: &Connection, options: &Options) -> Result<(), OpenError> {
    let mode = write_ahead_log(connection, options)?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::failed(format_args!("journal mode is {mode}, not WAL")).into());
    }
    let large = || {
        connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        connection.pragma_update(None, "journal_size_limit", checkpoints::KEPT_BYTES)?;
        // What undoes one job of a group are pages that would otherwise go to a file.
        connection.pragma_update(None, "temp_store", "MEMORY")
    };
    large().map_err(|e| store_error(&e))?;
    batch(connection, "BEGIN IMMEDIATE")?;
    let mut tx = SqliteTx { connection, failed: None };
    match migrate(&mut tx) {
        Ok(()) => Ok(batch(connection, "COMMIT")?),
        Err(e) => {
            let _ = batch(connection, "ROLLBACK");
            Err(e)
        }
    }
}

fn batch(connection: &Connection, sql: &str) -> Result<(), StoreError> {
    connection.prepare_cached(sql).and_then(|mut s| s.raw_execute()).map(|_| ()).map_err(|e| store_error(&e))
}

fn read_loop(connection: &Connection, queue: &Queue, observer: &dyn Observe) {
    observer.connections(true);
    loop {
        let Some(mut job) = queue.take(1).pop() else { return observer.connections(false) };
        let outcome = batch(connection, "BEGIN").and_then(|()| {
            let mut tx = SqliteTx { connection, failed: None };
            let wish = job.run(&mut tx);
            let failed = tx.failed;
            batch(connection, "COMMIT").inspect_err(|_| {
                let _ = batch(connection, "ROLLBACK");
            })?;
            own_outcome(wish, failed)
        });
        job.answer(seen(outcome, observer));
    }
}

fn seen(outcome: Result<(), StoreError>, observer: &dyn Observe) -> Result<(), StoreError> {
    outcome.inspect_err(|error| observer.failed(error.code()))
}

/// A closure that swallowed the error of a statement gets that error back; one that gave its own error keeps it.
fn own_outcome(wish: Wish, failed: Option<StoreError>) -> Result<(), StoreError> {
    match (wish, failed) {
        (Wish::Commit, Some(error)) => Err(error),
        _ => Ok(()),
    }
}

fn write_loop(
    connection: &Connection,
    queue: &Queue,
    group: usize,
    observer: &dyn Observe,
    checkpoints: &Checkpoints,
) {
    observer.connections(true);
    loop {
        let jobs = queue.take(group);
        if jobs.is_empty() {
            return observer.connections(false);
        }
        let (operations, started) = (jobs.len(), Instant::now());
        let ended = match <[Job; 1]>::try_from(jobs) {
            Ok([job]) => vec![commit_alone(connection, job)],
            Err(jobs) => commit_group(connection, jobs),
        };
        observer.committed(operations, started.elapsed());
        for (job, outcome) in ended {
            job.answer(seen(outcome, observer));
        }
        checkpoints.between_commits(connection);
    }
}

/// Runs a job in a transaction of its own and says how it ended. It has no savepoint, which would keep all pages that it
/// changes as they were.
fn commit_alone(connection: &Connection, mut job: Job) -> (Job, Result<(), StoreError>) {
    if let Err(error) = batch(connection, "BEGIN IMMEDIATE") {
        return (job, Err(error));
    }
    let mut tx = SqliteTx { connection, failed: None };
    let wish = job.run(&mut tx);
    let outcome = own_outcome(wish, tx.failed.take());
    // Some errors (disk full, I/O) make SQLite roll back by itself.
    let lost = connection.is_autocommit();
    let outcome = match (wish, outcome) {
        (Wish::Commit, Ok(())) if lost => Err(StoreError::failed("the transaction was lost")),
        (Wish::Commit, Ok(())) => batch(connection, "COMMIT"),
        (_, outcome) => outcome,
    };
    if !connection.is_autocommit() {
        let _ = batch(connection, "ROLLBACK");
    }
    (job, outcome)
}

/// Runs jobs in one transaction and says for each how it ended.
fn commit_group(connection: &Connection, jobs: Vec<Job>) -> Vec<(Job, Result<(), StoreError>)> {
    if let Err(error) = batch(connection, "BEGIN IMMEDIATE") {
        return jobs.into_iter().map(|job| (job, Err(error.clone()))).collect();
    }
    // `Ok` in here means: done as the closure wished, provided that the whole transaction commits.
    let mut ended: Vec<(Job, Wish, Result<(), StoreError>)> = Vec::with_capacity(jobs.len());
    let mut lost = None;
    for mut job in jobs {
        if let Some(error) = &lost {
            ended.push((job, Wish::Commit, Err(StoreError::clone(error))));
            continue;
        }
        let (wish, outcome) = run_in_savepoint(connection, &mut job);
        // Some errors (disk full, I/O) make SQLite roll back the whole transaction by itself.
        if connection.is_autocommit() {
            lost =
                Some(outcome.clone().err().unwrap_or_else(|| StoreError::failed("the transaction was lost")));
        }
        ended.push((job, wish, outcome));
    }
    let committed = match lost {
        Some(error) => Err(error),
        None => batch(connection, "COMMIT").inspect_err(|_| {
            let _ = batch(connection, "ROLLBACK");
        }),
    };
    ended
        .into_iter()
        .map(|(job, wish, outcome)| match (&committed, wish, outcome) {
            // What was to be committed shares the fate of the commit; what was undone anyway keeps its own answer.
            (Err(error), Wish::Commit, Ok(())) => (job, Err(error.clone())),
            (_, _, outcome) => (job, outcome),
        })
        .collect()
}

fn run_in_savepoint(connection: &Connection, job: &mut Job) -> (Wish, Result<(), StoreError>) {
    if let Err(error) = batch(connection, "SAVEPOINT job") {
        return (Wish::Commit, Err(error));
    }
    let mut tx = SqliteTx { connection, failed: None };
    let wish = job.run(&mut tx);
    let outcome = own_outcome(wish, tx.failed.take());
    let undo = wish == Wish::Rollback || outcome.is_err();
    if connection.is_autocommit() {
        return (wish, outcome);
    }
    let ended = if undo { batch(connection, "ROLLBACK TO job") } else { Ok(()) }
        .and_then(|()| batch(connection, "RELEASE job"));
    match ended {
        Ok(()) => (wish, outcome),
        Err(error) => {
            // Half-undone work must not be committed: give up the whole transaction.
            let _ = batch(connection, "ROLLBACK");
            (Wish::Commit, Err(error))
        }
    }
}

/// A savepoint or a read transaction of a connection.
struct SqliteTx<'c> {
    connection: &'c Connection,
    failed: Option<StoreError>,
}

impl SqliteTx<'_> {
    fn run<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        finish: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let connection = self.connection;
        let run = || {
            let mut statement = connection.prepare_cached(&numbered(sql))?;
            bind(&mut statement, params)?;
            finish(&mut statement)
        };
        run().map_err(|e| {
            let error = store_error(&e);
            self.failed = Some(error.clone());
            error
        })
    }
}

impl Tx for SqliteTx<'_> {
    fn backend(&self) -> Backend {
        Backend::Sqlite
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.run(sql, params, |statement| Ok(u64::try_from(statement.raw_execute()?).unwrap_or(u64::MAX)))
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.run(sql, params, |statement| {
            let columns = statement.column_count();
            let mut rows = statement.raw_query();
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|n| value(row.get_ref(n)?)).collect::<rusqlite::Result<_>>()?;
                all.push(Row(values));
            }
            Ok(all)
        })
    }
}

/// The statement with SQLite's `?n` for `$n`, which SQLite takes for a name that it looks up in a list.
fn numbered(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        out.push(if after.starts_with(|c: char| c.is_ascii_digit()) { '?' } else { '$' });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn bind(statement: &mut Statement<'_>, params: &[Param<'_>]) -> rusqlite::Result<()> {
    let wanted = statement.parameter_count();
    let given = params.get(..wanted).ok_or(rusqlite::Error::InvalidParameterCount(wanted, params.len()))?;
    for (index, param) in (1..).zip(given) {
        statement.raw_bind_parameter(index, *param)?;
    }
    Ok(())
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match *self {
            Param::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Param::Int(value) => ToSqlOutput::Borrowed(ValueRef::Integer(value)),
            Param::Text(text) if text.contains('\0') => ToSqlOutput::from(text.replace('\0', "\u{fffd}")),
            Param::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Param::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

fn value(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Text(_) => Value::Text(value.as_str()?.to_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        ValueRef::Real(_) => return Err(rusqlite::Error::InvalidQuery),
    })
}

fn store_error(error: &rusqlite::Error) -> StoreError {
    let cause = error.to_string();
    let Some(code) = error.sqlite_error() else { return StoreError::Failed { cause } };
    match code.code {
        ffi::ErrorCode::DatabaseBusy | ffi::ErrorCode::DatabaseLocked => StoreError::Locked,
        ffi::ErrorCode::ReadOnly
        | ffi::ErrorCode::PermissionDenied
        | ffi::ErrorCode::AuthorizationForStatementDenied => StoreError::ReadOnly { cause },
        ffi::ErrorCode::DiskFull => StoreError::Full { cause },
        ffi::ErrorCode::DatabaseCorrupt | ffi::ErrorCode::NotADatabase => StoreError::Corrupt { cause },
        ffi::ErrorCode::CannotOpen | ffi::ErrorCode::SystemIoFailure => StoreError::Unavailable { cause },
        ffi::ErrorCode::ConstraintViolation => match code.extended_code {
            ffi::SQLITE_CONSTRAINT_PRIMARYKEY => StoreError::Conflict { constraint: Constraint::Id },
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => StoreError::Conflict { constraint: Constraint::Reference },
            ffi::SQLITE_CONSTRAINT_UNIQUE => {
                let columns = cause.rsplit_once("failed: ").map_or("", |(_, columns)| columns);
                StoreError::Conflict { constraint: constraint_by_columns(columns) }
            }
            _ => StoreError::Failed { cause },
        },
        _ => StoreError::Failed { cause },
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_compiled_once_whatever_is_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        make_file(&path).unwrap();
        let connection = connect(&path, &Options::default()).unwrap();
        connection.execute_batch("CREATE TABLE t (a INTEGER, b INTEGER); CREATE INDEX t_a ON t (a)").unwrap();
        let page = "SELECT a FROM t WHERE a > ? AND b = ? ORDER BY a LIMIT ?";
        for n in 0..5 {
            let mut statement = connection.prepare_cached(page).unwrap();
            bind(&mut statement, &[Param::Int(n), Param::Int(n * 7), Param::Int(n + 1)]).unwrap();
            statement.raw_query().next().unwrap();
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "run {n}");
        }
    }
}
