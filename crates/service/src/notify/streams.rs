//! Streams of events that are open in this process.
//!
//! One task looks for the newest event while somebody listens; a listener reads the table only when there is something
//! new.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use veriboot_store::StoreError;
use veriboot_store::events::{self, Bounds, Wanted};
use veriboot_wire::{Event, EventGap};

use crate::AppState;

/// Streams that one replica serves at the same time.
const MAX_STREAMS: usize = 256;
/// How often is looked for something new while somebody listens.
const LOOK: Duration = Duration::from_millis(500);
/// How long a stream lasts: its token is looked at again when the client comes back with the last id that it has.
const LIFE: Duration = Duration::from_secs(900);
/// Events that one look of a listener reads.
const READ_ROWS: u32 = 200;

/// What the listeners share.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    slots: Arc<Semaphore>,
    newest: Arc<watch::Sender<u64>>,
    closed: Arc<watch::Sender<bool>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(MAX_STREAMS)),
            newest: Arc::new(watch::Sender::new(0)),
            closed: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Streams {
    /// Looks for new events until `stop` turns true, while somebody listens.
    pub(crate) async fn run(state: AppState, mut stop: watch::Receiver<bool>) {
        let streams = state.notify.streams().clone();
        loop {
            if streams.newest.receiver_count() > 0 {
                match state.store.read(events::bounds).await {
                    Ok(bounds) => {
                        streams.newest.send_if_modified(|newest| {
                            std::mem::replace(newest, bounds.newest) != bounds.newest
                        });
                    }
                    Err(error) => tracing::warn!(code = error.code(), %error, "cannot look for new events"),
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Ends every stream: the service stops.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// No more streams are served at the same time.
#[derive(Debug)]
pub(crate) struct Full;

/// What a listener is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// Events that it asked for, and how far it is with those that it did not.
    Events(Vec<Event>, u64),
    /// Events that it should have been told are gone.
    Gap(EventGap),
    /// The service stops, the stream lasted long enough, or the database failed: it comes again with the last id that it has.
    End,
}

/// One stream.
pub(crate) struct Listener {
    state: AppState,
    wanted: Wanted,
    after: u64,
    ends: Instant,
    newest: watch::Receiver<u64>,
    closed: watch::Receiver<bool>,
    _slot: OwnedSemaphorePermit,
    _open: Open,
}

/// Counts the stream while it is open.
struct Open(AppState);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.notify.streams().dec();
    }
}

impl Listener {
    /// Begins after `after`, or with what comes next.
    ///
    /// # Errors
    /// The database's; `Ok(Err(Full))` when there are too many streams.
    pub(crate) async fn begin(
        state: &AppState,
        wanted: Wanted,
        after: Option<u64>,
    ) -> Result<Result<Self, Full>, StoreError> {
        let streams = state.notify.streams().clone();
        let Ok(slot) = streams.slots.clone().try_acquire_owned() else { return Ok(Err(Full)) };
        let Bounds { newest, .. } = state.store.read(events::bounds).await?;
        state.metrics.notify.streams().inc();
        let mut receiver = streams.newest.subscribe();
        receiver.mark_changed();
        Ok(Ok(Self {
            wanted,
            // A number from the future (another database) would never be reached.
            after: after.unwrap_or(newest).min(newest),
            ends: Instant::now() + LIFE,
            newest: receiver,
            closed: streams.closed.subscribe(),
            _slot: slot,
            _open: Open(state.clone()),
            state: state.clone(),
        }))
    }

    /// Where it is.
    pub(crate) fn position(&self) -> u64 {
        self.after
    }

    /// Waits for something to tell.
    pub(crate) async fn next(&mut self) -> Told {
        loop {
            if *self.closed.borrow() || Instant::now() >= self.ends {
                return Told::End;
            }
            match self.read().await {
                Ok(Some(told)) => return told,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(code = error.code(), %error, "a stream of events ends");
                    return Told::End;
                }
            }
            tokio::select! {
                _ = self.closed.wait_for(|closed| *closed) => return Told::End,
                () = tokio::time::sleep_until(self.ends) => return Told::End,
                changed = self.newest.changed() => if changed.is_err() { return Told::End },
            }
        }
    }

    /// What the table has after where it is; `None` when that is nothing.
    async fn read(&mut self) -> Result<Option<Told>, StoreError> {
        let after = self.after;
        let (bounds, found) = self
            .state
            .store
            .read(move |tx| Ok((events::bounds(tx)?, events::after(tx, after, READ_ROWS)?)))
            .await?;
        if bounds.oldest > after.saturating_add(1) {
            let gap = EventGap { after, oldest: bounds.oldest };
            self.after = bounds.oldest.saturating_sub(1);
            return Ok(Some(Told::Gap(gap)));
        }
        let Some(last) = found.last() else { return Ok(None) };
        self.after = last.sequence;
        // There may be more than was read.
        self.newest.mark_changed();
        let wanted = found.into_iter().filter(|event| self.wanted.takes(event)).collect();
        Ok(Some(Told::Events(wanted, self.after)))
    }
}
