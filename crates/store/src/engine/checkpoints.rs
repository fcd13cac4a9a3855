//! When SQLite's log is brought home into the database, and on which thread.
//!
//! The pages of a log are written once more when they are brought home, and those that many commits have changed only once: the
//! longer it waits, the less is written. A thread with a connection of its own does it beside the writer, so that nobody waits
//! for it. What was committed is on the disk before, in the log.
//!
//! A log only begins anew once all of it is home and nobody reads it, and pages of commits come meanwhile. So the writer brings the
//! last of it home itself, and waits a moment for those who read; until a commit shows that the log began anew, again and again.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

/// Pages that the log grows by before they are brought home: 64 MiB.
const PAGES: u32 = 16_384;
/// Pages of the log from which on the writer waits for those that are brought home and for those who read, so that a disk is not
/// filled: 512 MiB. Only who reads for longer than [`PATIENCE`] has it grow further.
const MOST_PAGES: u32 = 131_072;
/// Pages that were added while the log was brought home and that the writer brings home itself, so that the log begins anew: 4 MiB.
const REST_PAGES: u32 = 1024;
/// How long it waits at most for either of them, after one commit.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits at most for those who read while the log is shorter: most read for a few milliseconds.
const MOMENT: Duration = Duration::from_millis(50);
/// A log that did not begin anew is tried again when it has grown by this part of itself.
const AGAIN: u32 = 8;
/// Bytes of the log's file that are kept when it begins anew.
pub(super) const KEPT_BYTES: u32 = PAGES * 4096;

/// What the writer and the thread beside it tell each other.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Pages of the log.
    pages: u32,
    /// Pages that it had when it was brought home last.
    home: u32,
    /// It was brought home beside the writer, and did not begin anew since.
    rest: bool,
    /// The writer tried in vain to have it begin anew: pages with which it tries again.
    again: Option<u32>,
    /// How often it was begun to bring it home, and how often that ended.
    begun: u64,
    ended: u64,
    closed: bool,
}

impl State {
    fn is_due(&self) -> bool {
        self.pages >= self.home.saturating_add(PAGES)
    }
}

impl Checkpoints {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every commit on this connection noted, in place of what SQLite does by itself.
    pub(super) fn watch(self: &Arc<Self>, writer: &mut Connection) -> rusqlite::Result<()> {
        let this = Arc::clone(self);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            this.committed(u32::try_from(pages).unwrap_or(0));
            Ok(())
        }))
    }

    fn committed(&self, pages: u32) {
        let mut state = self.lock();
        if pages < state.pages {
            // It began anew.
            state.home = 0;
            state.rest = false;
            state.again = None;
        }
        state.pages = pages;
        if state.is_due() {
            self.changed.notify_all();
        }
    }

    /// Between two commits, on the writer's thread and connection: waits while the log is too long, and has it begin anew when
    /// little is left to bring home.
    pub(super) fn between_commits(&self, writer: &Connection) {
        let mut state = self.lock();
        let too_long = state.pages >= MOST_PAGES;
        if too_long && state.is_due() {
            // What began before the last commit does not bring that home.
            let enough = state.begun + 1;
            let short = |state: &mut State| state.ended < enough && !state.closed;
            let waited = self.changed.wait_timeout_while(state, PATIENCE, short);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let little = state.rest && state.pages.saturating_sub(state.home) <= REST_PAGES;
        if !state.again.map_or(too_long || little, |again| state.pages >= again) {
            return;
        }
        state.home = state.pages;
        state.again = Some(state.pages.saturating_add(state.pages / AGAIN));
        drop(state);
        begin_anew(writer, if too_long { PATIENCE } else { MOMENT });
    }

    /// Ends [`Self::run`].
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Brings the log home whenever it has grown enough.
    pub(super) fn run(&self, connection: &Connection) {
        loop {
            let mut state = self.lock();
            while !state.is_due() && !state.closed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return;
            }
            let pages = state.pages;
            state.begun += 1;
            drop(state);
            bring_home(connection);
            let mut state = self.lock();
            state.ended += 1;
            // Not before it has grown by as much again, also where it failed: the commits themselves are not in danger.
            state.home = pages.min(state.pages);
            state.rest = true;
            drop(state);
            self.changed.notify_all();
        }
    }
}

/// Without waiting for anybody: what readers still look at is brought home the next time.
fn bring_home(connection: &Connection) {
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
        tracing::warn!(%error, "the log in front of the database cannot be brought home");
    }
}

/// Brings all of it home and waits for those who read it, so that the next commit begins it anew. Who begins to read meanwhile
/// needs nothing of the log and is not waited for.
fn begin_anew(writer: &Connection, patience: Duration) {
    let restart = || {
        let usual: u32 = writer.query_row("PRAGMA busy_timeout", [], |row| row.get(0))?;
        writer.busy_timeout(patience)?;
        let done = writer.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        writer.busy_timeout(Duration::from_millis(usual.into()))?;
        done
    };
    if let Err(error) = restart() {
        tracing::warn!(%error, "the log in front of the database cannot be brought home");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages_of(state: &Checkpoints) -> (u32, u32) {
        let state = state.lock();
        (state.pages, state.home)
    }

    #[test]
    fn a_log_is_brought_home_when_it_has_grown_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        let checkpoints = Arc::new(Checkpoints::default());
        checkpoints.watch(&mut writer).unwrap();
        writer.execute_batch("CREATE TABLE t (a BLOB)").unwrap();
        let (beside, other) = (Arc::clone(&checkpoints), Connection::open(&path).unwrap());
        let thread = std::thread::spawn(move || beside.run(&other));
        let write = |mib: u32| {
            for _ in 0..mib {
                writer.execute("INSERT INTO t VALUES (zeroblob(1048576))", []).unwrap();
                checkpoints.between_commits(&writer);
            }
        };
        let size = || std::fs::metadata(&path).unwrap().len();
        write(8);
        assert!(size() < 1 << 20, "nothing was brought home yet");
        write(57);
        let mut waited = 0;
        while size() < 60 << 20 {
            std::thread::sleep(Duration::from_millis(10));
            waited += 1;
            assert!(waited < 3000, "never brought home");
        }
        while checkpoints.lock().ended == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
        // The writer brings the rest home, and nobody reads it: the log begins anew, and so does the counting.
        write(2);
        let (pages, home) = pages_of(&checkpoints);
        assert!(pages < PAGES && home == 0, "{pages} {home}");
        checkpoints.close();
        thread.join().unwrap();
    }

    #[test]
    fn the_writer_waits_for_a_log_that_is_too_long_and_not_for_ever() {
        let (checkpoints, writer) = (Checkpoints::default(), Connection::open_in_memory().unwrap());
        checkpoints.committed(MOST_PAGES - 1);
        let started = std::time::Instant::now();
        checkpoints.between_commits(&writer);
        assert!(started.elapsed() < PATIENCE / 2, "short enough");
        checkpoints.committed(MOST_PAGES);
        checkpoints.between_commits(&writer);
        assert!(started.elapsed() >= PATIENCE, "nobody brings it home");
        // Brought home up to here, though a reader keeps it from beginning anew: no reason to wait after each commit.
        checkpoints.lock().home = MOST_PAGES;
        checkpoints.committed(MOST_PAGES + 1);
        let started = std::time::Instant::now();
        checkpoints.between_commits(&writer);
        assert!(started.elapsed() < PATIENCE / 2);
        checkpoints.committed(1);
        assert_eq!(pages_of(&checkpoints), (1, 0));
    }
    /// Two that read in turns for 20 ms each, so that the log is never without one: how many MiB its file gets while `commits` times 256 KiB
    /// are written, with a pause after each.
    fn longest_beside_readers(commits: u32, pause: Duration) -> u64 {
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let open = || {
            let connection = Connection::open(&path).unwrap();
            connection.pragma_update(None, "journal_mode", "WAL").unwrap();
            connection.pragma_update(None, "synchronous", "OFF").unwrap();
            connection
        };
        let mut writer = open();
        writer.busy_timeout(Duration::from_secs(5)).unwrap();
        writer.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB)").unwrap();
        let checkpoints = Arc::new(Checkpoints::default());
        checkpoints.watch(&mut writer).unwrap();
        let done = AtomicBool::new(false);
        let longest = std::thread::scope(|scope| {
            let (beside, other) = (Arc::clone(&checkpoints), open());
            scope.spawn(move || beside.run(&other));
            for n in 0..2 {
                let (reader, done) = (open(), &done);
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(n * 10));
                    while !done.load(Ordering::Relaxed) {
                        reader.execute_batch("BEGIN").unwrap();
                        let _: i64 = reader.query_row("SELECT COUNT(*) FROM t", [], |r| r.get(0)).unwrap();
                        std::thread::sleep(Duration::from_millis(20));
                        reader.execute_batch("COMMIT").unwrap();
                    }
                });
            }
            let mut longest = 0;
            for n in 0..commits {
                let sql = "INSERT OR REPLACE INTO t VALUES (?1, zeroblob(262144))";
                writer.execute(sql, [n % 64]).unwrap();
                checkpoints.between_commits(&writer);
                std::thread::sleep(pause);
                longest = longest.max(std::fs::metadata(folder.path().join("a.db-wal")).unwrap().len());
            }
            done.store(true, Ordering::Relaxed);
            checkpoints.close();
            longest
        });
        let usual: u32 = writer.query_row("PRAGMA busy_timeout", [], |row| row.get(0)).unwrap();
        assert_eq!(usual, 5000, "the writer's own patience is as it was");
        longest >> 20
    }

    #[test]
    fn a_log_that_is_always_read_begins_anew_all_the_same() {
        let longest = longest_beside_readers(640, Duration::from_millis(3));
        assert!(longest < 112, "{longest} MiB");
        // Faster than the thread beside the writer: not before it is too long, but then.
        let longest = longest_beside_readers(2600, Duration::ZERO);
        assert!(longest < 560, "{longest} MiB");
    }
}
