//! Streams of events that are open in this process.
//!
//! One task looks for the newest event while somebody listens; a listener reads the table only when there is something
//! new.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
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
/// Bytes of events that a listener holds until they are taken, as JSON; one event is held whatever it has.
const HELD_BYTES: usize = 64 * 1024;

/// What the listeners share.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    slots: Arc<Semaphore>,
    by_token: Arc<Mutex<HashMap<String, u32>>>,
    newest: Arc<watch::Sender<u64>>,
    closed: Arc<watch::Sender<bool>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(MAX_STREAMS)),
            by_token: Arc::default(),
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

    /// A place for one more stream of a token that may have so many.
    fn place(&self, token_id: &str, most: u32) -> Result<Place, Full> {
        let mut by_token = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_token.get(token_id).copied().unwrap_or(0);
        if open >= most {
            return Err(Full::OfToken);
        }
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| Full::All)?;
        by_token.insert(token_id.to_owned(), open + 1);
        Ok(Place { by_token: Arc::clone(&self.by_token), token_id: token_id.to_owned(), _slot: slot })
    }

    /// Ends every stream: the service stops.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }
}

/// No more streams are served at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// To this token.
    OfToken,
    /// To anybody.
    All,
}

/// The place of one stream, given back when it ends.
#[derive(Debug)]
struct Place {
    by_token: Arc<Mutex<HashMap<String, u32>>>,
    token_id: String,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_token = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_token.get_mut(&self.token_id) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                by_token.remove(&self.token_id);
            }
        }
    }
}

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
    _place: Place,
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
    /// Begins after `after`, or with what comes next, for a token.
    ///
    /// # Errors
    /// The database's; `Ok(Err(Full))` when there are too many streams.
    pub(crate) async fn begin(
        state: &AppState,
        token_id: &str,
        wanted: Wanted,
        after: Option<u64>,
    ) -> Result<Result<Self, Full>, StoreError> {
        let streams = state.notify.streams().clone();
        let place = match streams.place(token_id, state.config.limits.streams_per_token) {
            Ok(place) => place,
            Err(full) => {
                state.metrics.notify.stream_refused(full);
                return Ok(Err(full));
            }
        };
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
            _place: place,
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
        if found.is_empty() {
            return Ok(None);
        }
        let (wanted, position) = held(found, &self.wanted, self.after);
        self.after = position;
        // There may be more than was read, and than is held.
        self.newest.mark_changed();
        Ok(Some(Told::Events(wanted, position)))
    }
}

/// Those of the events that are wanted, as many as may be held, and how far that is. The rest is read again when these
/// are taken: a reader that takes nothing holds no more.
fn held(found: Vec<Event>, wanted: &Wanted, after: u64) -> (Vec<Event>, u64) {
    let (mut taken, mut position, mut bytes) = (Vec::new(), after, 0_usize);
    for event in found {
        if wanted.takes(&event) {
            bytes = bytes.saturating_add(serde_json::to_vec(&event).map_or(HELD_BYTES, |json| json.len()));
            if bytes > HELD_BYTES && !taken.is_empty() {
                break;
            }
            position = event.sequence;
            taken.push(event);
        } else {
            position = event.sequence;
        }
    }
    (taken, position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use veriboot_wire::{Severity, Time};

    #[test]
    fn a_token_has_its_places_and_gives_them_back() {
        let streams = Streams::default();
        let mut held: Vec<Place> = (0..3).map(|_| streams.place("a", 3).unwrap()).collect();
        assert_eq!(streams.place("a", 3).unwrap_err(), Full::OfToken);
        let other = streams.place("b", 3).unwrap();
        held.pop();
        held.push(streams.place("a", 3).unwrap());
        drop((held, other));
        assert!(streams.by_token.lock().unwrap().is_empty());
        let all: Vec<Place> = (0..MAX_STREAMS).map(|n| streams.place(&n.to_string(), 1).unwrap()).collect();
        assert_eq!(streams.place("c", 1).unwrap_err(), Full::All);
        assert_eq!(streams.by_token.lock().unwrap().len(), all.len());
    }

    #[test]
    fn what_nobody_takes_is_held_up_to_a_bound_and_nothing_is_passed_over() {
        let event = |sequence: u64, bytes: usize, group: &str| Event {
            sequence,
            at: Time::from_unix_ms(0),
            kind: "alert.opened".into(),
            severity: Severity::Info,
            group: Some(group.into()),
            scale_set: None,
            vm_id: None,
            vm_name: None,
            subject: None,
            data: serde_json::json!({ "message": "x".repeat(bytes) }),
        };
        let wanted = Wanted { group: Some("a".into()), ..Wanted::default() };
        let all: Vec<Event> = (1..=200)
            .map(|n| match n % 50 {
                0 => event(n, 2 * HELD_BYTES, "a"),
                1 => event(n, 2 * HELD_BYTES, "b"),
                _ => event(n, 5_000, "a"),
            })
            .collect();
        let (mut after, mut told) = (0, Vec::new());
        while after < 200 {
            let rest = all.iter().filter(|event| event.sequence > after).cloned().collect();
            let (events, position) = held(rest, &wanted, after);
            let bytes: usize = events.iter().map(|event| serde_json::to_vec(event).unwrap().len()).sum();
            assert!(bytes <= HELD_BYTES || events.len() == 1, "{bytes}");
            assert!(position > after);
            told.extend(events.iter().map(|event| event.sequence));
            after = position;
        }
        let expected: Vec<u64> = (1..=200).filter(|n| n % 50 != 1).collect();
        assert_eq!(told, expected);
        assert_eq!(held(Vec::new(), &wanted, 7), (Vec::new(), 7));
    }
}
