//! PostgreSQL: threads with a connection each; SERIALIZABLE writes, REPEATABLE READ snapshots.
//!
//! One place decides what is repeated:
//! * serialisation failures and deadlocks: the transaction is rolled back by the server; repeated with jitter, up to
//!   [`MAX_REPEATS`] times; a broken constraint is looked at a second time, since the winner of a race becomes visible;
//! * a connection lost before COMMIT was sent: nothing was written; repeated on a new connection;
//! * a connection lost while COMMIT was on its way: never repeated, answered as
//!   [`StoreError::CommitUnknown`], since a repetition could do the work twice.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postgres::config::SslMode;
use postgres::error::SqlState;
use postgres::types::private::BytesMut;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Config, IsolationLevel, NoTls, Statement, Transaction};

use super::{Job, Queue, Wish, spawn};
use crate::observe::Observe;
use crate::schema::{constraint_by_name, migrate};
use crate::tx::{Param, Row, Tx, Value};
use crate::{Backend, Constraint, OpenError, Options, StoreError};

/// Repetitions of one transaction before [`StoreError::Contended`].
const MAX_REPEATS: u32 = 20;
/// Connection attempts for one job before [`StoreError::Unavailable`].
const MAX_CONNECTS: u32 = 4;
/// Statements that a connection keeps prepared; beyond that it starts anew.
const CACHED_STATEMENTS: usize = 1024;
/// Key of the advisory lock around migrations.
const MIGRATION_LOCK: i64 = 0x7665_7269_626f_6f74;

/// Sessions end statements, waits and forgotten transactions, and never answer before the commit is on the disk.
const SESSION: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = 'warning'; \
     SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Opens the database and starts the threads.
pub(super) fn start(
    url: &str,
    options: &Options,
    reads: &Arc<Queue>,
    writes: &Arc<Queue>,
    observer: &Arc<dyn Observe>,
) -> Result<Vec<JoinHandle<()>>, OpenError> {
    let config = configure(url, options)?;
    // The driver blocks on a runtime of its own, which must not happen on a thread of another runtime.
    let first = config.clone();
    let opening = std::thread::Builder::new()
        .name("store-open".into())
        .spawn(move || set_up(&first))
        .map_err(OpenError::Thread)?;
    opening.join().unwrap_or_else(|_| Err(StoreError::failed("opening panicked").into()))?;

    let mut threads = Vec::new();
    for (kind, queue, count) in [("read", reads, options.readers), ("write", writes, options.writers)] {
        for n in 0..count.max(1) {
            let (queue, config, observer) = (Arc::clone(queue), config.clone(), Arc::clone(observer));
            threads.push(spawn(format!("store-{kind}-{n}"), move || {
                let mut worker =
                    Worker { config, session: None, write: kind == "write", down: false, observer };
                while let Some(job) = queue.take(1).pop() {
                    worker.serve(job);
                }
            })?);
        }
    }
    Ok(threads)
}

fn configure(url: &str, options: &Options) -> Result<Config, OpenError> {
    // The driver's message names parameters, never values.
    let mut config: Config =
        url.parse().map_err(|e: postgres::Error| OpenError::Url { cause: with_source(&e) })?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(OpenError::Tls { mode: "require" });
    }
    config.ssl_mode(SslMode::Disable);
    if config.get_application_name().is_none() {
        config.application_name("veriboot");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(options.connect_timeout);
    }
    config.keepalives_idle(Duration::from_secs(15));
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(Duration::from_secs(20));
    }
    Ok(config)
}

/// Migrates under a lock, so that replicas may start at once.
fn set_up(config: &Config) -> Result<(), OpenError> {
    let mut session = Session::open(config)?;
    // READ COMMITTED: what is read after the lock is what the replica that held it before has written.
    let mut transaction = session.client.transaction().map_err(|e| store_error(&e))?;
    let mut tx =
        PostgresTx { transaction: &mut transaction, statements: &mut session.statements, failed: None };
    tx.query("SELECT CAST(pg_advisory_xact_lock($1) AS TEXT)", &[MIGRATION_LOCK.into()])?;
    migrate(&mut tx)?;
    Ok(transaction.commit().map_err(|e| store_error(&e))?)
}

struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl Session {
    fn open(config: &Config) -> Result<Self, StoreError> {
        let unavailable = |e: &postgres::Error| StoreError::Unavailable { cause: with_source(e) };
        let mut client = config.connect(NoTls).map_err(|e| unavailable(&e))?;
        client.batch_execute(SESSION).map_err(|e| unavailable(&e))?;
        Ok(Self { client, statements: HashMap::new() })
    }
}

/// One thread and its connection.
struct Worker {
    config: Config,
    session: Option<Session>,
    write: bool,
    /// The last connection attempt failed: later jobs try once and are answered soon.
    down: bool,
    observer: Arc<dyn Observe>,
}

/// How one run of a job ended.
enum Ended {
    /// As the closure wished.
    Done,
    /// Nothing was written; running it again may help.
    Repeat(StoreError),
    /// The connection is gone, nothing was written.
    Lost(StoreError),
    /// Final.
    Failed(StoreError),
}

impl Worker {
    fn serve(&mut self, mut job: Job) {
        let mut repeats = 0;
        let mut losses = 0;
        let outcome = loop {
            let session = match self.session.take() {
                Some(session) => Ok(session),
                None => self.connect(),
            };
            let mut session = match session {
                Ok(session) => session,
                Err(error) => break Err(error),
            };
            let started = Instant::now();
            let ended = run(&mut session, &mut job, self.write, repeats == 0);
            if self.write && matches!(ended, Ended::Done) {
                self.observer.committed(1, started.elapsed());
            }
            if !session.client.is_closed() && session.statements.len() <= CACHED_STATEMENTS {
                self.session = Some(session);
            } else {
                self.observer.connections(false);
            }
            match ended {
                Ended::Done => break Ok(()),
                Ended::Failed(error) => break Err(error),
                Ended::Repeat(error) => {
                    self.observer.repeated();
                    repeats += 1;
                    if repeats > MAX_REPEATS {
                        break Err(error);
                    }
                    std::thread::sleep(jitter(repeats));
                }
                Ended::Lost(error) => {
                    if self.session.take().is_some() {
                        self.observer.connections(false);
                    }
                    losses += 1;
                    if losses >= MAX_CONNECTS {
                        break Err(error);
                    }
                }
            }
        };
        if let Err(error) = &outcome {
            self.observer.failed(error.code());
        }
        job.answer(outcome);
    }

    fn connect(&mut self) -> Result<Session, StoreError> {
        let attempts = if self.down { 1 } else { MAX_CONNECTS };
        let mut result = Err(StoreError::Unavailable { cause: "no attempt".into() });
        for attempt in 1..=attempts {
            result = Session::open(&self.config);
            if result.is_ok() || attempt == attempts {
                break;
            }
            std::thread::sleep(jitter(attempt + 4));
        }
        if result.is_ok() {
            self.observer.connections(true);
        }
        if self.down != result.is_err() {
            self.down = result.is_err();
            match &result {
                Ok(_) => tracing::info!("the database is back"),
                Err(error) => tracing::error!(cause = error.cause(), "the database cannot be reached"),
            }
        }
        result
    }
}

/// 0 to 2^n milliseconds, at most 200, so that writers who met once do not meet again.
fn jitter(n: u32) -> Duration {
    let mut random = [0_u8; 4];
    // Without randomness all wait the full time, which is still correct.
    let random = if getrandom::fill(&mut random).is_ok() { u32::from_le_bytes(random) } else { u32::MAX };
    let most_us = 1000_u32.saturating_mul(1 << n.min(8)).min(200_000);
    Duration::from_micros(u64::from(random % (most_us + 1)))
}

fn run(session: &mut Session, job: &mut Job, write: bool, first: bool) -> Ended {
    let Session { client, statements } = session;
    let isolation = if write { IsolationLevel::Serializable } else { IsolationLevel::RepeatableRead };
    let mut transaction =
        match client.build_transaction().isolation_level(isolation).read_only(!write).start() {
            Ok(transaction) => transaction,
            Err(e) => return Ended::Lost(StoreError::Unavailable { cause: with_source(&e) }),
        };
    let mut tx = PostgresTx { transaction: &mut transaction, statements, failed: None };
    let wish = job.run(&mut tx);
    match (wish, tx.failed.take()) {
        (_, Some(error @ StoreError::Unavailable { .. })) => Ended::Lost(error),
        (_, Some(error @ StoreError::Contended)) => {
            rollback(transaction);
            Ended::Repeat(error)
        }
        // May be a race in which the winner was not visible yet; the second run sees it.
        (_, Some(error @ StoreError::Conflict { .. })) if first => {
            rollback(transaction);
            Ended::Repeat(error)
        }
        (Wish::Commit, Some(error)) => {
            rollback(transaction);
            Ended::Failed(error)
        }
        (Wish::Rollback, _) => {
            rollback(transaction);
            Ended::Done
        }
        (Wish::Commit, None) => match transaction.commit() {
            Ok(()) => Ended::Done,
            Err(e) => match store_error(&e) {
                StoreError::Contended => Ended::Repeat(StoreError::Contended),
                StoreError::Unavailable { cause } if write => {
                    Ended::Failed(StoreError::CommitUnknown { cause })
                }
                error => Ended::Failed(error),
            },
        },
    }
}

/// A rollback that fails means a lost connection, which the next use finds out.
fn rollback(transaction: Transaction<'_>) {
    let _ = transaction.rollback();
}

struct PostgresTx<'t, 'c> {
    transaction: &'t mut Transaction<'c>,
    statements: &'t mut HashMap<String, Statement>,
    failed: Option<StoreError>,
}

impl PostgresTx<'_, '_> {
    fn run<T>(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        finish: impl FnOnce(
            &mut Transaction<'_>,
            &Statement,
            &[&(dyn ToSql + Sync)],
        ) -> Result<T, postgres::Error>,
    ) -> Result<T, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Self { transaction, statements, .. } = self;
        let run = || {
            let statement = match statements.get(sql) {
                Some(statement) => statement.clone(),
                None => {
                    let statement = transaction.prepare(sql)?;
                    statements.insert(sql.to_owned(), statement.clone());
                    statement
                }
            };
            let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
            finish(transaction, &statement, &params)
        };
        run().map_err(|e| {
            let error = store_error(&e);
            self.failed = Some(error.clone());
            error
        })
    }
}

impl Tx for PostgresTx<'_, '_> {
    fn backend(&self) -> Backend {
        Backend::Postgres
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.run(sql, params, |transaction, statement, params| transaction.execute(statement, params))
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let rows =
            self.run(sql, params, |transaction, statement, params| transaction.query(statement, params))?;
        rows.iter()
            .map(|row| {
                let values =
                    row.columns().iter().enumerate().map(|(n, column)| value(row, n, column.type_()));
                values.collect::<Result<Vec<Value>, StoreError>>().map(Row)
            })
            .collect()
    }
}

fn value(row: &postgres::Row, n: usize, kind: &Type) -> Result<Value, StoreError> {
    let value = match *kind {
        Type::INT8 => row.try_get::<_, Option<i64>>(n).map(|v| v.map(Value::Int)),
        Type::INT4 => row.try_get::<_, Option<i32>>(n).map(|v| v.map(|v| Value::Int(i64::from(v)))),
        Type::TEXT | Type::VARCHAR => row.try_get::<_, Option<String>>(n).map(|v| v.map(Value::Text)),
        Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(n).map(|v| v.map(Value::Bytes)),
        _ => return Err(StoreError::failed(format_args!("column {n} has the type {kind}"))),
    };
    value.map(|v| v.unwrap_or(Value::Null)).map_err(StoreError::corrupt)
}

impl ToSql for Param<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match *self {
            Param::Null => Ok(IsNull::Yes),
            Param::Int(value) if *ty == Type::INT8 => value.to_sql(ty, out),
            Param::Int(value) if *ty == Type::INT4 => i32::try_from(value)?.to_sql(ty, out),
            Param::Text(text) if *ty == Type::TEXT || *ty == Type::VARCHAR => {
                if text.contains('\0') {
                    text.replace('\0', "\u{fffd}").to_sql(ty, out)
                } else {
                    text.to_sql(ty, out)
                }
            }
            Param::Bytes(bytes) if *ty == Type::BYTEA => bytes.to_sql(ty, out),
            _ => Err(format!("{self:?} cannot be a {ty}").into()),
        }
    }

    fn accepts(ty: &Type) -> bool {
        [Type::INT8, Type::INT4, Type::TEXT, Type::VARCHAR, Type::BYTEA].contains(ty)
    }

    to_sql_checked!();
}

/// The driver's error with what is below it.
fn with_source(error: &postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{}: {}", db.code().code(), db.message()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

fn store_error(error: &postgres::Error) -> StoreError {
    let cause = with_source(error);
    let Some(db) = error.as_db_error() else {
        // No word of the server: a broken connection, unless it is our own conversion that failed.
        let ours = error.source().is_some_and(|s| s.downcast_ref::<std::io::Error>().is_none())
            && !error.is_closed();
        return if ours { StoreError::Failed { cause } } else { StoreError::Unavailable { cause } };
    };
    let code = db.code();
    if *code == SqlState::UNIQUE_VIOLATION {
        return StoreError::Conflict {
            constraint: db.constraint().map_or(Constraint::Other, constraint_by_name),
        };
    }
    if *code == SqlState::FOREIGN_KEY_VIOLATION {
        return StoreError::Conflict { constraint: Constraint::Reference };
    }
    match code.code() {
        "40001" | "40P01" | "55P03" => StoreError::Contended,
        "25006" => StoreError::ReadOnly { cause },
        "53100" => StoreError::Full { cause },
        // Shutting down, starting up, too many connections, and everything about the connection.
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" => StoreError::Unavailable { cause },
        code if code.starts_with("08") => StoreError::Unavailable { cause },
        _ => StoreError::Failed { cause },
    }
}
