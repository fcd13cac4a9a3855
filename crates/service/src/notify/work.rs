//! Emptying the outbox.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use veriboot_store::ages::Old;
use veriboot_store::deliveries::{self, Attempt, Claimed, Failed, Waiting};
use veriboot_store::targets::{self, TargetRow};
use veriboot_store::{StoreError, Tx, alerts, events, new_id};
use veriboot_wire::{AlertQuery, Routed, TargetKind, Time};

use super::tell::{Message, SendError, tell};
use super::{alertmanager, backoff};
use crate::AppState;

/// How often is looked for something to tell.
const PAUSE: Duration = Duration::from_millis(500);
/// How often old events are forgotten.
const SWEEP: Duration = Duration::from_secs(300);
/// How long a claim lasts without a note. Longer than one message may take.
const CLAIM_S: i64 = 120;
/// How long one target is told without giving it back.
const TURN: Duration = Duration::from_secs(20);
/// Attempts to tell what a receiver understood and refused.
const MAX_REFUSALS: u32 = 5;
/// Targets that are told at the same time: all that there can be.
const MAX_AT_ONCE: u32 = 64;
/// Events that are read at once.
const READ_ROWS: u32 = 64;
/// Events that one digest holds at most.
const DIGEST_ROWS: u32 = 200;
/// Open alerts in one repetition.
const REPEAT_ROWS: u32 = 100;
/// Open alerts that are repeated at most.
const MAX_REPEATED: usize = 20_000;
/// Transactions that forget before targets are told again: a long backlog of one that is switched off holds nobody up.
const SWEEP_STEPS: usize = 4;
/// Events, and deliveries, that one transaction forgets.
const PURGE_ROWS: u32 = 1000;
/// How long messages on their way get to end when the service stops.
const STOP: Duration = Duration::from_secs(5);

/// Tells targets until `stop` turns true.
pub async fn run(state: AppState, mut stop: watch::Receiver<bool>) {
    let mut running = JoinSet::new();
    let mut swept: Option<Instant> = None;
    loop {
        while running.try_join_next().is_some() {}
        if let Err(error) = begin(&state, &mut running).await {
            // Only time was lost: what waits is in the database.
            tracing::warn!(code = error.code(), %error, "cannot look for notifications");
        }
        if swept.is_none_or(|at| at.elapsed() >= SWEEP) {
            match forget(&state, SWEEP_STEPS).await {
                // There is more, which comes after those that wait to be told.
                Ok((_, true)) => {}
                Ok((_, false)) => swept = Some(Instant::now()),
                Err(error) => {
                    swept = Some(Instant::now());
                    tracing::warn!(code = error.code(), %error, "cannot forget old events");
                }
            }
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    // What does not end in time is told again by whoever claims it next.
    let _ = tokio::time::timeout(STOP, async { while running.join_next().await.is_some() {} }).await;
    running.abort_all();
}

/// Starts to tell every target whose turn it is; each in a task of its own.
async fn begin(state: &AppState, running: &mut JoinSet<()>) -> Result<usize, StoreError> {
    let now = state.clock.now();
    let due = state.store.read(move |tx| deliveries::due(tx, now, MAX_AT_ONCE)).await?;
    let count = due.len();
    for target in due {
        let state = state.clone();
        running.spawn(async move {
            if let Err(error) = turn(&state, &target.target_id).await {
                let target = target.target_id;
                tracing::warn!(target_id = target, code = error.code(), %error, "a notification target waits");
            }
        });
    }
    Ok(count)
}

/// Tells every target whose turn it is now, and waits for the end of it; gives how many targets that were.
///
/// # Errors
/// [`StoreError`].
pub async fn pass(state: &AppState) -> Result<usize, StoreError> {
    let mut running = JoinSet::new();
    let count = begin(state, &mut running).await?;
    while running.join_next().await.is_some() {}
    Ok(count)
}

/// Forgets events and deliveries that are older than their retention.
///
/// # Errors
/// [`StoreError`].
pub async fn sweep(state: &AppState) -> Result<u64, StoreError> {
    forget(state, usize::MAX).await.map(|(total, _)| total)
}

/// The same in at most so many transactions; whether there is more.
async fn forget(state: &AppState, steps: usize) -> Result<(u64, bool), StoreError> {
    let (give_up_s, retention_s) =
        (state.config.notifications.give_up_s, state.config.notifications.retention_s);
    let mut total = 0;
    for _ in 0..steps {
        // Nothing is forgotten by a clock that was set and not yet seen to be.
        let Some(now) = state.heart.certain_now(&state.clock, &state.config) else {
            return Ok((total, false));
        };
        let forget = move |tx: &mut dyn Tx| {
            let late = Old::than(tx, give_up_s, now)?;
            let settled = deliveries::give_up_disabled(tx, &late)?;
            let old = Old::than(tx, retention_s, now)?;
            Ok((settled.max(deliveries::purge_dead(tx, &old)?), events::purge(tx, &old, PURGE_ROWS)?))
        };
        let (settled, gone) = state.store.write(forget).await?;
        total += gone;
        if settled.max(gone) < u64::from(PURGE_ROWS) {
            return Ok((total, false));
        }
    }
    Ok((total, true))
}

/// One target in the hands of this replica.
struct Turn<'a> {
    state: &'a AppState,
    target: TargetRow,
    me: String,
    failures: u64,
    repeat_at: Option<Time>,
}

/// Claims a target and tells it what waits, until nothing does, telling fails, or its time is over.
async fn turn(state: &AppState, target_id: &str) -> Result<(), StoreError> {
    let now = state.clock.now();
    let (id, me) = (target_id.to_owned(), new_id(now));
    let by = me.clone();
    let claimed = state
        .store
        .write(move |tx| {
            let Some(claimed) = deliveries::claim(tx, &id, &by, now, now.plus_s(CLAIM_S))? else {
                return Ok(None);
            };
            Ok(targets::by_id(tx, &id)?.map(|target| (claimed, target)))
        })
        .await?;
    let Some((Claimed { failures, repeat_at }, target)) = claimed else { return Ok(()) };
    let mut turn = Turn { state, target, me, failures, repeat_at };
    let started = Instant::now();
    let mut well = true;
    while well && turn.target.enabled && started.elapsed() < TURN {
        let rows = if turn.target.route.digest_s.is_some() { DIGEST_ROWS } else { READ_ROWS };
        let id = turn.target.id.clone();
        let waiting = state.store.read(move |tx| deliveries::waiting(tx, &id, rows)).await?;
        if waiting.is_empty() {
            break;
        }
        for batch in turn.batches(waiting) {
            well = turn.tell(batch).await?;
            if !well || started.elapsed() >= TURN {
                break;
            }
        }
    }
    if well && turn.target.enabled && turn.repeat_at.is_some_and(|at| at <= state.clock.now()) {
        turn.repeat().await?;
    }
    let Turn { target, me, repeat_at, .. } = turn;
    state.store.write(move |tx| deliveries::release(tx, &target.id, &me, repeat_at)).await
}

impl Turn<'_> {
    /// What goes into one message: a digest, all that one connection takes, or a single event.
    fn batches(&self, waiting: Vec<Waiting>) -> Vec<Vec<Waiting>> {
        let together = self.target.route.digest_s.is_some()
            || matches!(self.target.kind, TargetKind::Alertmanager | TargetKind::Syslog | TargetKind::Ocsf);
        if together { vec![waiting] } else { waiting.into_iter().map(|one| vec![one]).collect() }
    }

    /// Sends events together and notes what became of them. `false` when the target is to be left alone for now.
    ///
    /// A receiver that refuses several events may mean one of them. Halves are told then, the earlier one first, until the
    /// one that it refuses is alone: what stands before it was taken, it alone counts as refused, and what stands behind
    /// it waits, so that the order holds.
    async fn tell(&mut self, batch: Vec<Waiting>) -> Result<bool, StoreError> {
        let digest = self.target.route.digest_s.is_some();
        let mut parts = vec![batch];
        while let Some(mut part) = parts.pop() {
            let events = part.iter().map(|waiting| waiting.event.clone()).collect();
            let outcome = tell(self.state, &self.target, Message::Events { events, digest }).await;
            if part.len() > 1 && outcome.as_ref().is_err_and(SendError::is_refused) {
                let later = part.split_off(part.len() / 2);
                parts.extend([later, part]);
                if !self.hold().await? {
                    return Ok(false);
                }
            } else if !self.note(&part, outcome).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Holds the claim for another message. `false` when it was lost.
    async fn hold(&self) -> Result<bool, StoreError> {
        let (id, me, until) =
            (self.target.id.clone(), self.me.clone(), self.state.clock.now().plus_s(CLAIM_S));
        self.state.store.write(move |tx| deliveries::hold(tx, &id, &me, until)).await
    }

    async fn note(&mut self, batch: &[Waiting], outcome: Result<(), SendError>) -> Result<bool, StoreError> {
        let now = self.state.clock.now();
        let well = outcome.is_ok();
        let sequences: Vec<u64> = batch.iter().map(|waiting| waiting.event.sequence).collect();
        let mut refused = Vec::new();
        let (mut failed, mut told) = (None, None);
        if let Err(error) = outcome {
            self.failures = self.failures.saturating_add(1);
            if error.is_refused() && self.refused_too_often(batch) {
                refused.clone_from(&sequences);
            }
            let random = (self.state.notify.random)();
            let next_at = backoff::next_attempt(now, self.failures, error.retry_after_s(), random);
            told = Some(error.message().to_owned());
            failed = Some((error, next_at));
        } else {
            if self.failures > 0 {
                let (target, failures) = (&self.target.name, self.failures);
                tracing::info!(target, failures, "a notification target takes messages again");
            }
            self.failures = 0;
        }
        if well || !refused.is_empty() {
            self.state.notify.no_longer_refused(&self.target.id);
        }
        let kind = self.target.kind;
        let clock_ahead_ms = self.state.notify.clocks.last(&self.target.id);
        let delivered = if well { sequences.len() } else { 0 };
        let (id, me, repeat_at) = (self.target.id.clone(), self.me.clone(), self.repeat_at);
        let give_up_s = self.state.config.notifications.give_up_s;
        let certain = self.state.heart.certain_now(&self.state.clock, &self.state.config);
        let write = move |tx: &mut dyn Tx| {
            let attempt = Attempt {
                target_id: &id,
                by: &me,
                at: now,
                sequences: &sequences,
                until: now.plus_s(CLAIM_S),
                repeat_at,
                clock_ahead_ms,
                failed: failed.as_ref().map(|(error, next_at)| Failed {
                    error: error.message(),
                    next_at: *next_at,
                    give_up: &refused,
                }),
            };
            if !deliveries::attempted(tx, &attempt)? {
                return Ok(None);
            }
            let mut given_up = refused.clone();
            if let (Some((error, _)), Some(now)) = (&failed, certain) {
                let old = Old::than(tx, give_up_s, now)?;
                given_up.extend(deliveries::give_up_old(tx, &old, &id, error.message())?);
            }
            Ok(Some(given_up))
        };
        let Some(given_up) = self.state.store.write(write).await? else { return Ok(false) };
        if let Some(error) = &told {
            self.told_of_failure(error, &given_up);
        }
        self.state.metrics.notify.attempted(kind, delivered, !well, given_up.len());
        Ok(well)
    }

    /// Counts a refusal of the event that stands alone. Attempts that failed otherwise do not count.
    fn refused_too_often(&self, batch: &[Waiting]) -> bool {
        let [Waiting { event, .. }] = batch else { return false };
        self.state.notify.refused(&self.target.id, event.sequence) >= MAX_REFUSALS
    }

    fn told_of_failure(&self, error: &str, given_up: &[u64]) {
        let target = &self.target.name;
        if !given_up.is_empty() {
            tracing::error!(target, error, events = ?given_up, "notifications are given up; `veriboot notify replay` queues them again");
        } else if self.failures == 1 {
            tracing::warn!(target, error, "a notification target cannot be told; it is tried again");
        }
    }

    /// Tells an Alertmanager once more what is open. Where nothing is, it is told so: one that cannot be reached is known
    /// before the first alert.
    async fn repeat(&mut self) -> Result<(), StoreError> {
        let mut cursor = None;
        let mut told = 0;
        let mut reached = false;
        let mut outcome = Ok(());
        let started = Instant::now();
        while told < MAX_REPEATED && outcome.is_ok() && started.elapsed() < TURN {
            let query = AlertQuery {
                open: Some(true),
                limit: Some(REPEAT_ROWS),
                cursor: cursor.take(),
                ..AlertQuery::default()
            };
            let page = self.state.store.read(move |tx| alerts::list(tx, &query)).await?;
            told += page.items.len();
            let route = &self.target.route;
            let mut facts = Vec::new();
            for alert in &page.items {
                let routed = Routed {
                    kind: "alert.opened",
                    severity: alert.severity,
                    group: Some(&alert.group),
                    alert: Some((&alert.kind, alert.reason)),
                };
                if route.takes(&routed) {
                    facts.push((events::alert_data(alert)?, alert.severity, alert.group.clone()));
                }
            }
            if !facts.is_empty() {
                reached = true;
                outcome = tell(self.state, &self.target, Message::Open(facts)).await;
            }
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        if !reached {
            outcome = tell(self.state, &self.target, Message::Open(Vec::new())).await;
        }
        self.repeat_at = Some(self.state.clock.now().plus_s(alertmanager::REPEAT_S));
        self.note(&[], outcome).await.map(drop)
    }
}
