//! Threads that run jobs on a database.

mod checkpoints;
mod postgres;
mod queue;
mod sqlite;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub(crate) use queue::Queue;

use crate::observe::Observe;
use crate::{Backend, OpenError, Options, StoreError, Tx};

/// A closure that waits for its transaction, together with the way to answer its caller.
pub(crate) type Job = Box<dyn Run + Send>;

/// What a job wants done with its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The closure gave `Ok`.
    Commit,
    /// The closure gave `Err` or panicked.
    Rollback,
}

/// A job, whatever it returns.
pub(crate) trait Run {
    /// Runs the closure. May be called again after a rollback.
    fn run(&mut self, tx: &mut dyn Tx) -> Wish;
    /// Answers the caller: with what the closure gave, or with the failure of the database.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Call<T, E, F> {
    work: F,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Run for Call<T, E, F>
where
    E: From<StoreError>,
    F: FnMut(&mut dyn Tx) -> Result<T, E>,
{
    fn run(&mut self, tx: &mut dyn Tx) -> Wish {
        let result = catch_unwind(AssertUnwindSafe(|| (self.work)(tx)))
            .unwrap_or_else(|_| Err(StoreError::failed("the operation panicked").into()));
        let wish = if result.is_ok() { Wish::Commit } else { Wish::Rollback };
        self.result = Some(result);
        wish
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let result = match (outcome, self.result) {
            (Ok(()), Some(result)) => result,
            (Ok(()), None) => Err(StoreError::failed("the operation did not run").into()),
            (Err(error), _) => Err(error.into()),
        };
        // The caller may have stopped waiting; what was committed stays.
        let _ = self.answer.send(result);
    }
}

/// A job and where its answer arrives.
pub(crate) fn job<T, E, F>(work: F) -> (Job, oneshot::Receiver<Result<T, E>>)
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
{
    let (answer, receiver) = oneshot::channel();
    (Box::new(Call { work, result: None, answer }), receiver)
}

/// Opens the database and starts its threads.
pub(crate) fn start(
    url: &str,
    options: &Options,
    reads: &Arc<Queue>,
    writes: &Arc<Queue>,
    observer: &Arc<dyn Observe>,
) -> Result<(Backend, Vec<JoinHandle<()>>), OpenError> {
    let started = if let Some(path) = url.strip_prefix("sqlite:") {
        (Backend::Sqlite, sqlite::start(path, options, reads, writes, observer)?)
    } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        (Backend::Postgres, postgres::start(url, options, reads, writes, observer)?)
    } else {
        return Err(OpenError::Url { cause: "it starts with neither sqlite: nor postgres://".into() });
    };
    Ok(started)
}

/// Starts a named thread.
fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new().name(name).spawn(body).map_err(OpenError::Thread)
}
