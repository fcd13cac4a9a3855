//! The handle on a database: takes closures, gives answers after the commit.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::engine::{self, Job, Queue, job};
use crate::observe::{Nobody, Observe};
use crate::{Backend, OpenError, StoreError, Tx};

/// Sizes and limits of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Jobs that may wait for a writer before [`StoreError::Busy`].
    pub write_queue: usize,
    /// Jobs that may wait for a reader before [`StoreError::Busy`].
    pub read_queue: usize,
    /// Threads that read, each with its own connection.
    pub readers: usize,
    /// Threads that write to PostgreSQL, each with its own connection. SQLite has one writer.
    pub writers: usize,
    /// Jobs that SQLite commits together at most.
    pub group_commit: usize,
    /// How long SQLite waits for another process that holds the file.
    pub lock_timeout: Duration,
    /// How long one connection attempt to PostgreSQL may take.
    pub connect_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            write_queue: 8192,
            read_queue: 4096,
            readers: 4,
            writers: 4,
            group_commit: 256,
            lock_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
        }
    }
}

/// A database. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    backend: Backend,
    reads: Arc<Queue>,
    writes: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    observer: Arc<dyn Observe>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reads.close();
        self.writes.close();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("backend", &self.inner.backend).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens `sqlite:PATH` (folder 0700 and file 0600 are made where missing) or `postgres://…`, and brings the
    /// schema up to date. Blocks; safe to call inside of an async runtime.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(url, &Options::default())
    }

    /// [`Store::open`] with other sizes and limits.
    pub fn open_with(url: &str, options: &Options) -> Result<Self, OpenError> {
        Self::open_observed(url, options, Arc::new(Nobody))
    }

    /// [`Store::open_with`], and tells `observer` what it does.
    pub fn open_observed(
        url: &str,
        options: &Options,
        observer: Arc<dyn Observe>,
    ) -> Result<Self, OpenError> {
        let reads = Arc::new(Queue::new(options.read_queue));
        let writes = Arc::new(Queue::new(options.write_queue));
        let (backend, threads) = engine::start(url, options, &reads, &writes, &observer)?;
        Ok(Self { inner: Arc::new(Inner { backend, reads, writes, threads: Mutex::new(threads), observer }) })
    }

    /// Which database is below.
    pub fn backend(&self) -> Backend {
        self.inner.backend
    }

    /// Runs `work` on one snapshot of the database. Writing in it is [`StoreError::ReadOnly`].
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    {
        self.try_read(work).await
    }

    /// Runs `work` in one serialisable transaction. `Ok` comes after the commit is durable; after `Err` nothing of it
    /// is kept (except [`StoreError::CommitUnknown`], which says so).
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    {
        self.try_write(work).await
    }

    /// [`Store::read`] with an error type of the caller.
    pub async fn try_read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.submit(false, job, answer).await
    }

    /// [`Store::write`] with an error type of the caller: any `Err` undoes the transaction.
    pub async fn try_write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.submit(true, job, answer).await
    }

    async fn submit<T, E: From<StoreError>>(
        &self,
        write: bool,
        job: Job,
        answer: oneshot::Receiver<Result<T, E>>,
    ) -> Result<T, E> {
        let inner = &self.inner;
        let started = Instant::now();
        let queue = if write { &inner.writes } else { &inner.reads };
        queue.push(job).inspect_err(|error| inner.observer.failed(error.code()))?;
        // The sender is dropped without an answer only when a worker thread died.
        let result =
            answer.await.unwrap_or_else(|_| Err(StoreError::failed("a database thread ended").into()));
        inner.observer.answered(write, started.elapsed());
        result
    }

    /// Whether the database answers; for readiness.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(|tx| tx.query("SELECT version FROM schema_version", &[]).map(|_| ())).await
    }

    /// Jobs that wait for a reader and for a writer, for metrics.
    pub fn queue_depths(&self) -> (usize, usize) {
        (self.inner.reads.depth(), self.inner.writes.depth())
    }

    /// Takes no more work ([`StoreError::Closed`]), finishes what waits, and ends the threads.
    pub async fn close(&self) {
        self.inner.reads.close();
        self.inner.writes.close();
        let threads = std::mem::take(&mut *self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let (done, ended) = oneshot::channel();
        let joiner = std::thread::Builder::new().name("store-close".into()).spawn(move || {
            for thread in threads {
                let _ = thread.join();
            }
            let _ = done.send(());
        });
        if joiner.is_ok() {
            let _ = ended.await;
        }
    }
}
