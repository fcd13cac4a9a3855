//! Which replicas of the service live, and when none did.
//!
//! Each replica beats: it writes the time into its row, and looks at the rows of the others in the same transaction. When
//! nobody has beaten for longer than the limit, nobody could take evidence either: that is an outage of the service and
//! not silence of the fleet. A wall clock that was set is one too: times before and after it cannot be compared. Outages
//! are kept, so that deadlines are the same after a restart and on every replica.

use veriboot_wire::Time;

use crate::StoreError;
use crate::tx::{Tx, params, query_one};

/// Outages that are kept.
const OUTAGES_KEPT: i64 = 1000;
/// A replica that has not beaten for so long is forgotten.
const FORGOTTEN_AFTER_MS: i64 = 3_600_000;
/// Replicas that are looked at.
const MAX_REPLICAS: u32 = 1000;

/// What ended a time in which deadlines ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutageCause {
    /// No replica lived, or none reached the database.
    Down,
    /// The wall clock was set, or the machine slept.
    ClockStep,
}

impl OutageCause {
    /// Every cause.
    pub const ALL: [Self; 2] = [Self::Down, Self::ClockStep];

    /// The word in the database and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::ClockStep => "clock-step",
        }
    }
}

impl std::str::FromStr for OutageCause {
    type Err = StoreError;
    fn from_str(word: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|cause| cause.as_str() == word)
            .ok_or_else(|| StoreError::corrupt(format_args!("cause of an outage {word:?}")))
    }
}

/// A time in which nobody watched. No VM turns stale before its end and one silence limit of that VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Ascending from 1.
    pub sequence: i64,
    /// Why.
    pub cause: OutageCause,
    /// The last sign of life before it.
    pub from: Time,
    /// The first sign of life after it.
    pub until: Time,
    /// How far the wall clock was set; negative is back. For [`OutageCause::Down`] 0 when the replica that saw it had lived
    /// through it, else all of it: nobody's monotonic clock tells how much of it passed.
    pub step_ms: i64,
    /// The replica that saw it.
    pub seen_by: String,
}

/// A sign of life of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat<'a> {
    /// Id of the replica, another one at each start.
    pub replica: &'a str,
    /// Its wall clock.
    pub now: Time,
    /// How far its wall clock moved against its monotonic clock since its last beat, milliseconds.
    pub step_ms: i64,
    /// Milliseconds without any beat, and of a step, that are an outage.
    pub limit_ms: i64,
}

/// Another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its id.
    pub id: String,
    /// When it started.
    pub started_at: Time,
    /// Its wall clock when it beat last.
    pub beat_at: Time,
    /// How often it has beaten: a number that changes shows that it lives, whatever its clock says.
    pub beats: u64,
}

/// What a beat found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// An outage that ends with this beat. Exactly one replica is told of each that has the cause `down`.
    pub ended: Option<Outage>,
    /// The other replicas.
    pub others: Vec<Replica>,
}

/// Writes a sign of life, and the outage that it ends.
pub fn beat(tx: &mut dyn Tx, beat: &Beat<'_>) -> Result<Pulse, StoreError> {
    let Beat { replica, now, step_ms, limit_ms } = *beat;
    let all = replicas(tx)?;
    let found = match outage(beat, &all) {
        Some(found) => Some(found),
        None => ahead(tx, beat)?,
    };
    let ended = match found {
        Some((cause, from, step_ms)) => Some(record(tx, cause, from, now, step_ms, replica)?),
        None => None,
    };
    let sql = "INSERT INTO replicas (id, started_at, beat_at, beats) VALUES ($1, $2, $2, 1) \
               ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at, beats = replicas.beats + 1";
    tx.execute(sql, params![replica, now])?;
    let (oldest, newest) = (now.unix_ms() - FORGOTTEN_AFTER_MS, now.unix_ms() + FORGOTTEN_AFTER_MS);
    let forgotten = |other: &Replica| !(oldest..=newest).contains(&other.beat_at.unix_ms());
    if all.iter().any(|other| other.id != replica && forgotten(other)) || step_ms.abs() > limit_ms {
        let sql = "DELETE FROM replicas WHERE id <> $1 AND (beat_at < $2 OR beat_at > $3)";
        tx.execute(sql, params![replica, oldest, newest])?;
    }
    let others = all.into_iter().filter(|other| other.id != replica && !forgotten(other)).collect();
    Ok(Pulse { ended, others })
}

/// The outage that this beat ends: why, since when, and by how much the clock was set.
fn outage(beat: &Beat<'_>, all: &[Replica]) -> Option<(OutageCause, Time, i64)> {
    let (now, limit) = (beat.now.unix_ms(), beat.limit_ms);
    if beat.step_ms.abs() > limit {
        let before = now.saturating_sub(beat.step_ms);
        return Some((OutageCause::ClockStep, Time::from_unix_ms(before.min(now)), beat.step_ms));
    }
    // Times of a clock that was ahead say nothing about when somebody lived.
    let heard = all.iter().map(|other| other.beat_at.unix_ms());
    match heard.clone().filter(|at| *at <= now.saturating_add(limit)).max() {
        Some(last) if now.saturating_sub(last) > limit => {
            let lived_through = all.iter().any(|one| one.id == beat.replica);
            let unknown = if lived_through { 0 } else { now.saturating_sub(last) };
            Some((OutageCause::Down, Time::from_unix_ms(last), unknown))
        }
        Some(_) => None,
        // All of them are ahead: the clock was set back while nobody lived.
        None => heard.max().map(|ahead| (OutageCause::ClockStep, beat.now, now.saturating_sub(ahead))),
    }
}

/// An outage whose end is still to come was seen by a clock that was ahead: it ends now, and not at that time.
fn ahead(tx: &mut dyn Tx, beat: &Beat<'_>) -> Result<Option<(OutageCause, Time, i64)>, StoreError> {
    let by = last_outage(tx)?.map_or(0, |outage| outage.until.unix_ms().saturating_sub(beat.now.unix_ms()));
    Ok((by > beat.limit_ms).then_some((OutageCause::ClockStep, beat.now, -by)))
}

fn record(
    tx: &mut dyn Tx,
    cause: OutageCause,
    from: Time,
    until: Time,
    step_ms: i64,
    seen_by: &str,
) -> Result<Outage, StoreError> {
    let sequence = last_outage(tx)?.map_or(0, |outage| outage.sequence) + 1;
    let sql = "INSERT INTO outages (sequence, cause, from_at, until_at, step_ms, seen_by) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    tx.execute(sql, params![sequence, cause.as_str(), from, until, step_ms, seen_by])?;
    forget(tx, sequence.saturating_sub(OUTAGES_KEPT))?;
    Ok(Outage { sequence, cause, from, until, step_ms, seen_by: seen_by.to_owned() })
}

/// Forgets outages up to this one. By how much a clock was set forward passes to the next one that is kept: what was written before
/// is never older than it is for that (`super::ages`). One that was set back makes nothing older when it is forgotten.
fn forget(tx: &mut dyn Tx, up_to: i64) -> Result<(), StoreError> {
    let sql = "SELECT step_ms FROM outages WHERE sequence <= $1 ORDER BY sequence LIMIT $2";
    let mut forward = 0_i64;
    for row in tx.query(sql, params![up_to, OUTAGES_KEPT])? {
        forward = forward.saturating_add(row.columns().int()?).max(0);
    }
    let next = "SELECT sequence, step_ms FROM outages WHERE sequence > $1 ORDER BY sequence LIMIT 1";
    if forward > 0
        && let Some(row) = query_one(tx, next, params![up_to])?
    {
        let mut c = row.columns();
        let (sequence, step_ms) = (c.int()?, c.int()?.saturating_add(forward));
        tx.execute("UPDATE outages SET step_ms = $2 WHERE sequence = $1", params![sequence, step_ms])?;
    }
    tx.execute("DELETE FROM outages WHERE sequence <= $1", params![up_to]).map(drop)
}

/// Every replica that has beaten lately.
pub fn replicas(tx: &mut dyn Tx) -> Result<Vec<Replica>, StoreError> {
    let sql = "SELECT id, started_at, beat_at, beats FROM replicas ORDER BY id DESC LIMIT $1";
    tx.query(sql, params![MAX_REPLICAS])?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(Replica { id: c.text()?, started_at: c.time()?, beat_at: c.time()?, beats: c.u64()? })
        })
        .collect()
}

/// The last outage.
pub fn last_outage(tx: &mut dyn Tx) -> Result<Option<Outage>, StoreError> {
    let sql = "SELECT sequence, cause, from_at, until_at, step_ms, seen_by FROM outages ORDER BY sequence DESC LIMIT 1";
    let Some(row) = query_one(tx, sql, &[])? else { return Ok(None) };
    let mut c = row.columns();
    Ok(Some(Outage {
        sequence: c.int()?,
        cause: c.word()?,
        from: c.time()?,
        until: c.time()?,
        step_ms: c.int()?,
        seen_by: c.text()?,
    }))
}

/// Outages that are kept: how many.
pub fn outages(tx: &mut dyn Tx) -> Result<u64, StoreError> {
    query_one(tx, "SELECT COUNT(*) FROM outages", &[])?.map_or(Ok(0), |row| row.columns().u64())
}
