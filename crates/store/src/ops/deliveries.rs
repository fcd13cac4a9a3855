//! The outbox: events that targets are still to be told, and what became of those that they were told.
//!
//! A target is claimed as a whole and told in the order of the events; two replicas never tell one target at the same
//! time. A claim ends by itself: what a replica that died had sent without noting it is sent again by another.

use veriboot_wire::{Delivery, DeliveryQuery, DeliveryState, Event, Page, TargetKind, Time};

use super::ages::Old;
use super::events::read_columns;
use super::targets;
use crate::StoreError;
use crate::page::{decode_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Row, Tx, params, query_one};

/// An event that a target is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// The event.
    pub event: Event,
    /// Attempts so far.
    pub attempts: u64,
    /// When it was queued.
    pub queued_at: Time,
}

/// A target whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The target.
    pub target_id: String,
}

/// Further ahead than any wait, claim or repetition reaches, seconds: what lies there was written by a clock that was
/// ahead, and would keep a target from being told for as long as the clock was set back.
const AHEAD_S: i64 = 2 * 3600;

/// The same for repetitions of what is open, which an Alertmanager forgets otherwise.
const REPEAT_AHEAD_S: i64 = 120;

/// Targets that nobody has claimed and that there is something to tell, those that waited longest first.
pub fn due(tx: &mut dyn Tx, now: Time, limit: u32) -> Result<Vec<Due>, StoreError> {
    let sql = "SELECT t.id FROM notification_targets t JOIN target_state s ON s.target_id = t.id \
               WHERE t.enabled = 1 AND (s.claimed_until <= $1 OR s.claimed_until > $3) \
               AND (s.next_at <= $1 OR s.next_at > $3) AND (s.repeat_at <= $1 OR s.repeat_at > $4 OR EXISTS \
               (SELECT 1 FROM deliveries d WHERE d.target_id = t.id AND d.state = 'waiting' \
               AND (d.queued_at <= $1 - t.digest_ms OR d.queued_at > $3))) ORDER BY s.claimed_until, t.id LIMIT $2";
    let rows = tx.query(sql, params![now, limit, now.plus_s(AHEAD_S), now.plus_s(REPEAT_AHEAD_S)])?;
    rows.into_iter().map(|row| Ok(Due { target_id: row.columns().text()? })).collect()
}

/// What a claim tells about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Attempts in a row that failed.
    pub failures: u64,
    /// When the open alerts are to be told again.
    pub repeat_at: Option<Time>,
}

/// Claims a target until `until` in the name of `by`. `None` when somebody else has it, or it is not its turn.
pub fn claim(
    tx: &mut dyn Tx,
    target_id: &str,
    by: &str,
    now: Time,
    until: Time,
) -> Result<Option<Claimed>, StoreError> {
    let sql = "UPDATE target_state SET claimed_by = $2, claimed_until = $4 \
               WHERE target_id = $1 AND (claimed_until <= $3 OR claimed_until > $5) \
               AND (next_at <= $3 OR next_at > $5) RETURNING failures, repeat_at";
    let params = params![target_id, by, now, until, now.plus_s(AHEAD_S)];
    let Some(row) = query_one(tx, sql, params)? else { return Ok(None) };
    let ahead = now.plus_s(REPEAT_AHEAD_S);
    let mut c = row.columns();
    let (failures, repeat_at) = (c.u64()?, c.opt_time()?);
    Ok(Some(Claimed { failures, repeat_at: repeat_at.map(|at| if at > ahead { now } else { at }) }))
}

/// The oldest events that a target is still to be told.
pub fn waiting(tx: &mut dyn Tx, target_id: &str, limit: u32) -> Result<Vec<Waiting>, StoreError> {
    let sql = "SELECT e.sequence, e.at, e.kind, e.severity, e.group_name, e.scale_set, e.vm_id, e.vm_name, e.subject, \
               e.data, d.attempts, d.queued_at FROM deliveries d JOIN events e ON e.sequence = d.sequence \
               WHERE d.target_id = $1 AND d.state = 'waiting' ORDER BY d.sequence LIMIT $2";
    tx.query(sql, params![target_id, limit])?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            Ok(Waiting { event: read_columns(&mut c)?, attempts: c.u64()?, queued_at: c.time()? })
        })
        .collect()
}

/// What became of an attempt to tell a target some events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// The target.
    pub target_id: &'a str,
    /// Who claimed it.
    pub by: &'a str,
    /// When.
    pub at: Time,
    /// The events; none for a repetition of what is open.
    pub sequences: &'a [u64],
    /// Until when the claim lasts on; `at` gives it back.
    pub until: Time,
    /// When the open alerts are told next.
    pub repeat_at: Option<Time>,
    /// How far the clock of the target is ahead, milliseconds, where that was measured.
    pub clock_ahead_ms: Option<i64>,
    /// Why it failed.
    pub failed: Option<Failed<'a>>,
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed<'a> {
    /// Why, for people.
    pub error: &'a str,
    /// When the target is told next.
    pub next_at: Time,
    /// Those of the events that are given up.
    pub give_up: &'a [u64],
}

/// Notes an attempt. `false`, and nothing is noted, when the claim was lost meanwhile.
pub fn attempted(tx: &mut dyn Tx, attempt: &Attempt<'_>) -> Result<bool, StoreError> {
    let Attempt { target_id, by, at, until, repeat_at, clock_ahead_ms, .. } = *attempt;
    let kept = match &attempt.failed {
        None => tx.execute(
            "UPDATE target_state SET claimed_until = $3, next_at = 0, failures = 0, repeat_at = $4, \
             last_delivered_at = $5, clock_ahead_ms = COALESCE($6, clock_ahead_ms) \
             WHERE target_id = $1 AND claimed_by = $2",
            params![target_id, by, until, repeat_at, at, clock_ahead_ms],
        )?,
        Some(failed) => tx.execute(
            "UPDATE target_state SET claimed_until = $3, next_at = $4, failures = failures + 1, repeat_at = $5, \
             last_failed_at = $6, last_error = $7, clock_ahead_ms = COALESCE($8, clock_ahead_ms) \
             WHERE target_id = $1 AND claimed_by = $2",
            params![target_id, by, until, failed.next_at, repeat_at, at, failed.error, clock_ahead_ms],
        )?,
    };
    if kept == 0 {
        return Ok(false);
    }
    for sequence in attempt.sequences.iter().copied() {
        let (state, error) = match &attempt.failed {
            None => (DeliveryState::Delivered, None),
            Some(failed) if failed.give_up.contains(&sequence) => (DeliveryState::Dead, Some(failed.error)),
            Some(failed) => (DeliveryState::Waiting, Some(failed.error)),
        };
        tx.execute(
            // Queued by a clock that was ahead, it would never be old.
            "UPDATE deliveries SET state = $3, attempts = attempts + 1, last_at = $4, last_error = $5, \
             queued_at = CASE WHEN queued_at > $6 THEN $4 ELSE queued_at END WHERE target_id = $1 AND sequence = $2 AND state = 'waiting'",
            params![target_id, sequence, state.as_str(), at, error, at.plus_s(AHEAD_S)],
        )?;
    }
    Ok(true)
}

/// Lets a claim last until `until`. `false` when it was lost meanwhile.
pub fn hold(tx: &mut dyn Tx, target_id: &str, by: &str, until: Time) -> Result<bool, StoreError> {
    let sql = "UPDATE target_state SET claimed_until = $3 WHERE target_id = $1 AND claimed_by = $2";
    Ok(tx.execute(sql, params![target_id, by, until])? > 0)
}

/// Gives a claim back without an attempt.
pub fn release(
    tx: &mut dyn Tx,
    target_id: &str,
    by: &str,
    repeat_at: Option<Time>,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE target_state SET claimed_until = 0, repeat_at = $3 WHERE target_id = $1 AND claimed_by = $2",
        params![target_id, by, repeat_at],
    )?;
    Ok(())
}

/// A page of deliveries, those of the newest events first.
pub fn list(tx: &mut dyn Tx, query: &DeliveryQuery) -> Result<Page<Delivery>, StoreError> {
    let key: Option<[String; 2]> = decode_cursor("deliveries", query.cursor.as_deref())?;
    let limit = page_rows(query.limit);
    let mut select = Select::new(
        "SELECT e.sequence, e.at, e.kind, e.severity, e.group_name, e.scale_set, e.vm_id, e.vm_name, e.subject, e.data, \
         t.name, d.state, d.queued_at, d.attempts, d.last_at, d.last_error FROM deliveries d \
         JOIN events e ON e.sequence = d.sequence JOIN notification_targets t ON t.id = d.target_id",
    );
    let target_id = match &query.target {
        Some(name) => match targets::by_name(tx, name)? {
            Some(target) => Some(target.id),
            None => return Ok(Page { items: Vec::new(), next_cursor: None }),
        },
        None => None,
    };
    // Each state along the index in the order of the list that has fewest others. Expressions keep the index by age, and that
    // of all that the target was ever told, from being taken.
    match (query.state, &target_id) {
        (None, _) => select.and_if("d.target_id = ?", target_id.as_ref()),
        (Some(DeliveryState::Delivered), _) => {
            select.and("d.state || '' = 'delivered'", &[]).and_if("d.target_id = ?", target_id.as_ref())
        }
        (Some(DeliveryState::Waiting), Some(id)) => {
            select.and("d.state = 'waiting' AND d.target_id = ?", params![id])
        }
        (Some(state), _) => select
            .and("d.state <> 'delivered' AND d.state || '' = ?", params![state.as_str()])
            .and_if("d.target_id || '' = ?", target_id.as_ref()),
    };
    if let Some([sequence, target]) = &key {
        let sequence: i64 = sequence.parse().map_err(|_| StoreError::BadCursor)?;
        select.and("(d.sequence, t.name) < (?, ?)", params![sequence, target]);
    }
    let read = |row: Row| {
        let mut c = row.columns();
        let event = read_columns(&mut c)?;
        Ok(Delivery {
            event,
            target: c.text()?,
            state: c.word()?,
            queued_at: c.time()?,
            attempts: c.u64()?,
            last_at: c.opt_time()?,
            last_error: c.opt_text()?,
        })
    };
    let rows = select.page(tx, " ORDER BY d.sequence DESC, t.name DESC", limit)?;
    page(rows, limit, read, |d| encode_cursor("deliveries", &[&d.event.sequence.to_string(), &d.target]))
}

/// Queues dead deliveries again: of one target or of all, of one event or of all. Gives how many.
pub fn replay(
    tx: &mut dyn Tx,
    target_id: Option<&str>,
    sequence: Option<u64>,
    now: Time,
) -> Result<u64, StoreError> {
    if sequence == Some(0) {
        // There is no such event, and below it stands for all.
        return Ok(0);
    }
    let queued = tx.execute(
        "UPDATE deliveries SET state = 'waiting', queued_at = $1, attempts = 0 WHERE state = 'dead' \
         AND (target_id = $2 OR $2 = '') AND (sequence = $3 OR $3 = 0)",
        params![now, target_id.unwrap_or_default(), sequence.unwrap_or(0)],
    )?;
    tx.execute(
        "UPDATE target_state SET next_at = 0, failures = 0 WHERE (target_id = $1 OR $1 = '') AND EXISTS \
         (SELECT 1 FROM deliveries d WHERE d.target_id = target_state.target_id AND d.state = 'waiting')",
        params![target_id.unwrap_or_default()],
    )?;
    Ok(queued)
}

/// Rows that one look for old deliveries reads at once.
const LOOK: u32 = 1000;
/// Old deliveries that one call handles.
const MOST_OLD: usize = 1000;

/// Up to [`MOST_OLD`] deliveries of a state that were queued too long ago; `which` narrows them, with `$6` as its
/// parameter.
fn old_ones(
    tx: &mut dyn Tx,
    old: &Old,
    state: DeliveryState,
    which: &str,
    parameter: &str,
) -> Result<Vec<(String, i64)>, StoreError> {
    let sql = format!(
        "SELECT target_id, sequence, queued_at FROM deliveries WHERE state = $1 AND (queued_at <= $2 OR queued_at > $3) \
         AND (queued_at, target_id, sequence) > ($4, $5, $7) {which} ORDER BY queued_at, target_id, sequence LIMIT {LOOK}"
    );
    let mut found = Vec::new();
    let (mut queued_at, mut target_id, mut sequence) = (Time::from_unix_ms(i64::MIN), String::new(), -1);
    loop {
        let rows = tx.query(
            &sql,
            params![state.as_str(), old.latest(), old.now(), queued_at, &target_id, parameter, sequence],
        )?;
        let more = rows.len() >= LOOK as usize;
        for row in rows {
            let mut c = row.columns();
            (target_id, sequence, queued_at) = (c.text()?, c.int()?, c.time()?);
            if old.is(queued_at) == Some(true) {
                found.push((target_id.clone(), sequence));
            }
            if found.len() == MOST_OLD {
                return Ok(found);
            }
        }
        if !more {
            return Ok(found);
        }
    }
}

fn give_up(tx: &mut dyn Tx, which: &[(String, i64)], error: &str) -> Result<(), StoreError> {
    for (target_id, sequence) in which {
        tx.execute(
            "UPDATE deliveries SET state = 'dead', last_error = $3 \
             WHERE target_id = $1 AND sequence = $2 AND state = 'waiting'",
            params![target_id, *sequence, error],
        )?;
    }
    Ok(())
}

/// Gives up what a target that was tried in vain was to be told too long ago, all at once; gives which, a thousand at most.
pub fn give_up_old(tx: &mut dyn Tx, old: &Old, target_id: &str, error: &str) -> Result<Vec<u64>, StoreError> {
    let found = old_ones(tx, old, DeliveryState::Waiting, "AND target_id = $6", target_id)?;
    give_up(tx, &found, error)?;
    Ok(found.iter().filter_map(|(_, sequence)| u64::try_from(*sequence).ok()).collect())
}

/// Gives up what targets that are switched off were to be told too long ago; gives how many, a thousand at most.
pub fn give_up_disabled(tx: &mut dyn Tx, old: &Old) -> Result<u64, StoreError> {
    let off = "AND $6 = '' AND target_id IN (SELECT id FROM notification_targets WHERE enabled = 0)";
    let found = old_ones(tx, old, DeliveryState::Waiting, off, "")?;
    give_up(tx, &found, "the target is switched off")?;
    Ok(u64::try_from(found.len()).unwrap_or(u64::MAX))
}

/// Forgets dead deliveries that were queued too long ago; gives how many, a thousand at most.
pub fn purge_dead(tx: &mut dyn Tx, old: &Old) -> Result<u64, StoreError> {
    let found = old_ones(tx, old, DeliveryState::Dead, "AND $6 = ''", "")?;
    for (target_id, sequence) in &found {
        let sql = "DELETE FROM deliveries WHERE target_id = $1 AND sequence = $2 AND state = 'dead'";
        tx.execute(sql, params![target_id, *sequence])?;
    }
    Ok(u64::try_from(found.len()).unwrap_or(u64::MAX))
}

/// What waits and what was given up, by kind of target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// How the targets are told.
    pub kind: TargetKind,
    /// Deliveries that wait.
    pub waiting: u64,
    /// Deliveries that were given up.
    pub dead: u64,
    /// Since when the oldest one that waits does so.
    pub oldest_waiting_at: Option<Time>,
    /// How far a clock of theirs is away from ours at most, milliseconds.
    pub clock_skew_ms: u64,
}

/// What waits and what was given up, for every kind of target.
pub fn depths(tx: &mut dyn Tx) -> Result<Vec<Depth>, StoreError> {
    let mut depths: Vec<Depth> = TargetKind::ALL
        .iter()
        .map(|kind| Depth { kind: *kind, waiting: 0, dead: 0, oldest_waiting_at: None, clock_skew_ms: 0 })
        .collect();
    let sql = "SELECT t.kind, d.state, COUNT(*), MIN(d.queued_at) FROM deliveries d \
               JOIN notification_targets t ON t.id = d.target_id WHERE d.state <> 'delivered' GROUP BY t.kind, d.state";
    for row in tx.query(sql, &[])? {
        let mut c = row.columns();
        let (kind, state, count, oldest) =
            (c.word::<TargetKind>()?, c.word::<DeliveryState>()?, c.u64()?, c.opt_time()?);
        let Some(depth) = depths.iter_mut().find(|depth| depth.kind == kind) else { continue };
        match state {
            DeliveryState::Waiting => (depth.waiting, depth.oldest_waiting_at) = (count, oldest),
            _ => depth.dead = count,
        }
    }
    let sql = "SELECT t.kind, MAX(ABS(s.clock_ahead_ms)) FROM target_state s \
               JOIN notification_targets t ON t.id = s.target_id \
               WHERE t.enabled = 1 AND s.clock_ahead_ms IS NOT NULL GROUP BY t.kind";
    for row in tx.query(sql, &[])? {
        let mut c = row.columns();
        let (kind, skew) = (c.word::<TargetKind>()?, c.u64()?);
        if let Some(depth) = depths.iter_mut().find(|depth| depth.kind == kind) {
            depth.clock_skew_ms = skew;
        }
    }
    Ok(depths)
}
