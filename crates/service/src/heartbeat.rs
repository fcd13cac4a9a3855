//! Signs of life of this replica, and what they tell about times in which nobody watched.
//!
//! A beat compares the two clocks since the last one: a wall clock that moved otherwise than the monotonic clock was set.
//! It also looks at the other replicas: one that lives and whose wall clock says something else means that one of both is
//! wrong, and nobody can tell which, so that none of them calls a VM silent until they agree.

use std::collections::HashMap;
use std::sync::PoisonError;

use tokio::sync::{Mutex, MutexGuard};
use veriboot_store::heartbeats::{self, Beat, OutageCause, Pulse};
use veriboot_store::{StoreError, new_id};
use veriboot_wire::Time;

use crate::{AppState, Clock, Config};

/// The longest time without a beat, milliseconds, that is no outage.
const MAX_LIMIT_MS: i64 = 60_000;
/// The shortest, so that a machine that is busy for a moment was not down.
const MIN_LIMIT_MS: i64 = 2_000;

/// Milliseconds without any beat that are an outage: a quarter of the allowed silence, at most a minute. An agent that
/// misses that much misses no more than one attestation.
pub(crate) fn limit_ms(config: &Config) -> i64 {
    (i64::from(config.silence_limit_s()) * 250).clamp(MIN_LIMIT_MS, MAX_LIMIT_MS)
}

/// This replica's heart.
#[derive(Debug)]
pub struct Heart {
    replica: String,
    memory: Mutex<Memory>,
    agreed: std::sync::Mutex<Option<(Time, i64)>>,
}

/// What one beat leaves for the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Wall clock and monotonic clock at the last beat that was committed.
    last: Option<(Time, i64)>,
    /// How often the others had beaten by then.
    others: HashMap<String, u64>,
    /// Whether deadlines may be too far away, because the clock was ahead when they were set.
    pub(crate) deadlines_ahead: bool,
    /// How far the wall clock of another living replica is off, milliseconds.
    pub(crate) disagreement_ms: Option<i64>,
}

impl Heart {
    /// A heart that has not beaten yet.
    pub(crate) fn new(clock: &Clock) -> Self {
        let memory = Memory { deadlines_ahead: true, ..Memory::default() };
        Self { replica: new_id(clock.now()), memory: Mutex::new(memory), agreed: std::sync::Mutex::default() }
    }

    /// The time, where all settings of the clock before it are in the database: it follows on the last beat, and no living
    /// replica disagreed with that. Only then can be told how old something is ([`veriboot_store::ages`]).
    pub(crate) fn certain_now(&self, clock: &Clock, config: &Config) -> Option<Time> {
        let (wall, monotonic) = (*self.agreed.lock().unwrap_or_else(PoisonError::into_inner))?;
        let (now, monotonic_now) = clock.both();
        (step_ms((wall, monotonic), (now, monotonic_now)).abs() <= limit_ms(config)).then_some(now)
    }

    /// Id of this replica: another one at each start.
    pub fn replica(&self) -> &str {
        &self.replica
    }

    /// One beat at a time.
    pub(crate) async fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().await
    }
}

/// How far the wall clock moved against the monotonic one between two looks at both.
fn step_ms(before: (Time, i64), after: (Time, i64)) -> i64 {
    let wall = after.0.unix_ms().saturating_sub(before.0.unix_ms());
    wall.saturating_sub(after.1.saturating_sub(before.1))
}

/// A beat that is about to be written.
#[derive(Clone, Debug)]
pub(crate) struct Beating {
    replica: String,
    pub(crate) now: Time,
    monotonic_ms: i64,
    step_ms: i64,
    limit_ms: i64,
}

impl Beating {
    /// The time by both clocks.
    pub(crate) fn new(state: &AppState, memory: &Memory) -> Self {
        let (now, monotonic_ms) = state.clock.both();
        let step_ms = memory.last.map_or(0, |last| step_ms(last, (now, monotonic_ms)));
        let replica = state.heart.replica().to_owned();
        Self { replica, now, monotonic_ms, step_ms, limit_ms: limit_ms(&state.config) }
    }

    /// Writes it.
    pub(crate) fn write(&self, tx: &mut dyn veriboot_store::Tx) -> Result<Pulse, StoreError> {
        let beat =
            Beat { replica: &self.replica, now: self.now, step_ms: self.step_ms, limit_ms: self.limit_ms };
        heartbeats::beat(tx, &beat)
    }

    /// How far the clock of another replica is off that has beaten since this one's last beat: the worst.
    pub(crate) fn disagreement_ms(&self, memory: &Memory, pulse: &Pulse) -> Option<i64> {
        let (since, _) = memory.last?;
        let lived = pulse
            .others
            .iter()
            .filter(|other| memory.others.get(&other.id).is_some_and(|beats| *beats != other.beats));
        let (earliest, latest) = (since.unix_ms().min(self.now.unix_ms()), self.now.unix_ms());
        let off = lived.map(|other| match other.beat_at.unix_ms() {
            at if at > latest => at - latest,
            at if at < earliest => at - earliest,
            _ => 0,
        });
        off.filter(|off| off.abs() > self.limit_ms).max_by_key(|off| off.abs())
    }

    /// It is committed.
    pub(crate) fn committed(&self, state: &AppState, memory: &mut Memory, pulse: &Pulse) {
        let disagreement = self.disagreement_ms(memory, pulse);
        if disagreement.is_some() && memory.disagreement_ms.is_none() {
            tracing::error!(
                off_ms = disagreement,
                "the wall clocks of two replicas disagree: no VM is called silent until they agree"
            );
        }
        if let Some(outage) = &pulse.ended {
            tracing::warn!(
                cause = outage.cause.as_str(),
                from = %outage.from,
                until = %outage.until,
                step_ms = outage.step_ms,
                "nobody watched: no VM is called silent before one silence limit from now"
            );
            // A step may have been forward and back between two beats of others.
            memory.deadlines_ahead |= outage.cause == OutageCause::ClockStep;
        }
        state.metrics.beat(pulse.ended.as_ref().map(|outage| outage.cause), disagreement);
        memory.disagreement_ms = disagreement;
        memory.last = Some((self.now, self.monotonic_ms));
        *state.heart.agreed.lock().unwrap_or_else(PoisonError::into_inner) =
            memory.last.filter(|_| disagreement.is_none());
        memory.others = pulse.others.iter().map(|other| (other.id.clone(), other.beats)).collect();
    }
}

/// Beats, without looking for silent VMs.
///
/// # Errors
/// [`StoreError`]; then it did not beat.
pub async fn beat(state: &AppState) -> Result<(), StoreError> {
    let mut memory = state.heart.memory().await;
    let beating = Beating::new(state, &memory);
    let write = beating.clone();
    let pulse = state.store.write(move |tx| write.write(tx)).await?;
    beating.committed(state, &mut memory, &pulse);
    Ok(())
}
