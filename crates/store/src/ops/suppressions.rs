//! Suppression rules: what they match, what they would have matched, and when they hold.

use std::collections::BTreeMap;

use veriboot_wire::{
    AlertEvent, AlertReason, AlertState, ChangeClass, Finding, Page, Suppression, SuppressionBreadth,
    SuppressionCount, SuppressionMatch, SuppressionQuery, SuppressionSample, SuppressionSimulated,
    SuppressionState, Time, class_words, looks_like_attack,
};

use super::alerts::{classes_of, read_classes, write_classes};
use crate::StoreError;
use crate::page::{decode_time_cursor, encode_cursor, page, page_rows};
use crate::query::Select;
use crate::tx::{Columns, Row, Tx, params, query_one};

/// Rules that may hold at a time: each failing attestation asks them.
const MAX_RUNNING: i64 = 1000;
/// Alerts that a simulation looks at.
const MAX_EXAMINED: i64 = 10_000;
/// Alerts that a simulation shows.
const SAMPLE: usize = 20;

/// A failure that a rule may match.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Type id of the alert.
    pub kind: &'a str,
    /// Reason of the alert.
    pub reason: AlertReason,
    /// Findings behind it.
    pub findings: &'a [Finding],
    /// The VM.
    pub vm_id: &'a str,
    /// Its scale set.
    pub scale_set: Option<&'a str>,
    /// Its group.
    pub group: &'a str,
}

/// A rule that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub id: String,
    /// Why it was made.
    pub why: String,
}

/// A rule to make. What is checked about it (breadth, expiry) is the caller's.
#[derive(Clone, Copy, Debug)]
pub struct NewRule<'a> {
    /// What it matches; a VM by its id.
    pub matches: &'a SuppressionMatch,
    /// Name of that VM.
    pub vm_name: Option<&'a str>,
    /// Why.
    pub why: &'a str,
    /// More about it.
    pub comment: Option<&'a str>,
    /// Until when it holds.
    pub expires_at: Option<Time>,
    /// Who makes it.
    pub by: &'a str,
    /// When.
    pub now: Time,
}

const COLUMNS: &str = "s.id, s.kind, s.reason, s.classes, s.vm_id, s.vm_name, s.scale_set, s.group_name, s.why, s.comment, \
     s.broad, s.created_by, s.created_at, s.expires_at, s.ended_by, s.ended_at, \
     (SELECT COUNT(*) FROM alerts a WHERE a.suppressed_by = s.id), \
     (SELECT MAX(a.last_at) FROM alerts a WHERE a.suppressed_by = s.id)";

fn word<T: std::str::FromStr>(text: Option<String>) -> Result<Option<T>, StoreError>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| text.parse().map_err(StoreError::corrupt)).transpose()
}

fn read(row: Row, now: Time) -> Result<Suppression, StoreError> {
    let mut c = row.columns();
    let id = c.text()?;
    let matches = |c: &mut Columns| -> Result<(SuppressionMatch, Option<String>), StoreError> {
        let (kind, reason, classes) = (c.opt_text()?, word(c.opt_text()?)?, read_classes(&c.text()?)?);
        let (vm, vm_name) = (c.opt_text()?, c.opt_text()?);
        let (scale_set, group) = (c.opt_text()?, c.opt_text()?);
        Ok((SuppressionMatch { kind, reason, classes, vm, scale_set, group }, vm_name))
    };
    let (matches, vm_name) = matches(&mut c)?;
    let mut rule = Suppression {
        id,
        matches,
        vm_name,
        reason: c.text()?,
        comment: c.opt_text()?,
        state: SuppressionState::Active,
        broad: word(c.opt_text()?)?,
        warnings: Vec::new(),
        created_by: c.text()?,
        created_at: c.time()?,
        expires_at: c.opt_time()?,
        ended_by: c.opt_text()?,
        ended_at: c.opt_time()?,
        alerts: c.u64()?,
        last_matched_at: c.opt_time()?,
        revision: 0,
    };
    rule.revision = if rule.ended_at.is_some() { 2 } else { 1 };
    rule.state = match (rule.ended_at, rule.expires_at) {
        (Some(_), _) => SuppressionState::Ended,
        (None, Some(expires)) if expires <= now => SuppressionState::Expired,
        _ => SuppressionState::Active,
    };
    rule.warnings = warnings(&rule);
    Ok(rule)
}

/// What to look at about a rule.
fn warnings(rule: &Suppression) -> Vec<String> {
    let mut said = Vec::new();
    match rule.state {
        SuppressionState::Ended => return said,
        SuppressionState::Expired => {
            said.push("expired: it matches nothing any more; end it, or make a new one".to_owned());
        }
        SuppressionState::Active if rule.expires_at.is_none() => {
            said.push("never expires: somebody has to remember it".to_owned());
        }
        SuppressionState::Active => {}
    }
    said.extend(rule.broad.map(breadth_warning).map(str::to_owned));
    said
}

/// What is wrong with a broad rule.
pub fn breadth_warning(breadth: SuppressionBreadth) -> &'static str {
    match breadth {
        SuppressionBreadth::Everything => "too broad: it hides every alert of the fleet, attacks included",
        SuppressionBreadth::WholeGroup => "too broad: it hides every alert of the group, attacks included",
        SuppressionBreadth::WholeReason => {
            "too broad: it hides this reason in the whole fleet, attacks included"
        }
    }
}

/// Whether every failing finding is a change of one of these classes. No classes ask for nothing.
fn classes_match(classes: &[ChangeClass], findings: &[Finding]) -> bool {
    if classes.is_empty() {
        return true;
    }
    let mut failing = findings.iter().filter(|f| f.fails()).peekable();
    failing.peek().is_some() && failing.all(|f| f.change.is_some_and(|class| classes.contains(&class)))
}

/// A rule that holds, with what it matches.
pub(crate) struct Running {
    rule: Rule,
    matches: SuppressionMatch,
    expires_at: Option<Time>,
}

/// Rules that hold at `since`, the oldest first.
pub(crate) fn running(tx: &mut dyn Tx, since: Time) -> Result<Vec<Running>, StoreError> {
    // Two scans of the index: rules with an end that is to come, and rules without one.
    let sql = "SELECT s.id, s.why, s.kind, s.reason, s.classes, s.vm_id, s.scale_set, s.group_name, s.expires_at \
               FROM suppressions s WHERE s.ended_at IS NULL AND (s.expires_at > $1 OR s.expires_at IS NULL) \
               ORDER BY s.created_at, s.id LIMIT $2";
    tx.query(sql, params![since, MAX_RUNNING])?
        .into_iter()
        .map(|row| {
            let mut c = row.columns();
            let rule = Rule { id: c.text()?, why: c.text()? };
            let matches = SuppressionMatch {
                kind: c.opt_text()?,
                reason: c.opt_word()?,
                classes: read_classes(&c.text()?)?,
                vm: c.opt_text()?,
                scale_set: c.opt_text()?,
                group: c.opt_text()?,
            };
            Ok(Running { rule, matches, expires_at: c.opt_time()? })
        })
        .collect()
}

/// The oldest of these rules that holds at `now` and matches.
pub(crate) fn first_match<'a>(rules: &'a [Running], subject: &Subject<'_>, now: Time) -> Option<&'a Rule> {
    fn is(wanted: Option<&String>, found: Option<&str>) -> bool {
        wanted.is_none_or(|wanted| Some(wanted.as_str()) == found)
    }
    let found = rules.iter().find(|Running { matches, expires_at, .. }| {
        expires_at.is_none_or(|expires| expires > now)
            && is(matches.kind.as_ref(), Some(subject.kind))
            && matches.reason.is_none_or(|reason| reason == subject.reason)
            && is(matches.vm.as_ref(), Some(subject.vm_id))
            && is(matches.scale_set.as_ref(), subject.scale_set)
            && is(matches.group.as_ref(), Some(subject.group))
            && classes_match(&matches.classes, subject.findings)
    });
    found.map(|found| &found.rule)
}

/// The oldest rule that holds at `now` and matches.
pub fn matching(tx: &mut dyn Tx, subject: &Subject<'_>, now: Time) -> Result<Option<Rule>, StoreError> {
    let rules = running(tx, now)?;
    Ok(first_match(&rules, subject, now).cloned())
}

/// Makes a rule.
///
/// # Errors
/// [`StoreError::Limit`] when too many hold already.
pub fn create(tx: &mut dyn Tx, new: &NewRule<'_>) -> Result<Suppression, StoreError> {
    let sql = "SELECT COUNT(*) FROM suppressions WHERE ended_at IS NULL AND (expires_at > $1 OR expires_at IS NULL)";
    let running = query_one(tx, sql, params![new.now])?.map_or(Ok(0), |row| row.columns().int())?;
    if running >= MAX_RUNNING {
        return Err(StoreError::Limit { what: "suppression rules" });
    }
    let id = crate::new_id(new.now);
    let matches = new.matches;
    let classes = write_classes(&matches.classes);
    tx.execute(
        "INSERT INTO suppressions (id, kind, reason, classes, vm_id, vm_name, scale_set, group_name, why, comment, broad, \
         created_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        params![
            &id,
            matches.kind.as_ref(),
            matches.reason.map(AlertReason::as_str),
            &classes,
            matches.vm.as_ref(),
            new.vm_name,
            matches.scale_set.as_ref(),
            matches.group.as_ref(),
            new.why,
            new.comment,
            matches.breadth().map(SuppressionBreadth::as_str),
            new.by,
            new.now,
            new.expires_at,
        ],
    )?;
    by_id(tx, &id, new.now)?.ok_or_else(|| StoreError::failed("a rule that was just written is gone"))
}

/// The rule with this id.
pub fn by_id(tx: &mut dyn Tx, id: &str, now: Time) -> Result<Option<Suppression>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM suppressions s WHERE s.id = $1");
    query_one(tx, &sql, params![id])?.map(|row| read(row, now)).transpose()
}

/// Ends a rule, expired or not. `false` when it is ended already or not there.
pub fn end(tx: &mut dyn Tx, id: &str, by: &str, now: Time) -> Result<bool, StoreError> {
    let sql = "UPDATE suppressions SET ended_at = $2, ended_by = $3 WHERE id = $1 AND ended_at IS NULL";
    Ok(tx.execute(sql, params![id, now, by])? == 1)
}

/// SQL: rules that a clock of a time after `$1` settled, or began to.
const AHEAD: &str = "(settled_at > $1 OR (settled_at IS NULL AND settled_upto IS NOT NULL AND ended_at IS NULL \
     AND expires_at > $1))";

/// Whether a rule holds no more and the silent VMs that it hid were not looked at since; or a clock that was ahead looked
/// at them too early.
pub fn unsettled(tx: &mut dyn Tx, now: Time) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT 1 FROM suppressions WHERE settled_at IS NULL AND (ended_at IS NOT NULL OR expires_at <= $1) \
         UNION ALL SELECT 1 FROM suppressions WHERE {AHEAD} LIMIT 1"
    );
    Ok(!tx.query(&sql, params![now])?.is_empty())
}

/// Rules that were settled by a clock that was ahead hold again, and are settled at their real end.
pub(crate) fn unsettle_ahead(tx: &mut dyn Tx, now: Time) -> Result<(), StoreError> {
    let sql = format!("UPDATE suppressions SET settled_at = NULL, settled_upto = NULL WHERE {AHEAD}");
    tx.execute(&sql, params![now])?;
    Ok(())
}

/// A page of rules, newest first.
pub fn list(tx: &mut dyn Tx, query: &SuppressionQuery, now: Time) -> Result<Page<Suppression>, StoreError> {
    let key = decode_time_cursor("suppressions", query.cursor.as_deref())?;
    let limit = page_rows(query.limit);
    let mut select = Select::new(&format!("SELECT {COLUMNS} FROM suppressions s"));
    select.and_if("s.group_name = ?", query.group.as_ref());
    match query.state {
        Some(SuppressionState::Active) => {
            select.and("s.ended_at IS NULL AND (s.expires_at > ? OR s.expires_at IS NULL)", params![now])
        }
        Some(SuppressionState::Expired) => {
            select.and("s.ended_at IS NULL AND s.expires_at <= ?", params![now])
        }
        Some(SuppressionState::Ended) => select.and("s.ended_at IS NOT NULL", &[]),
        None => &mut select,
    };
    match query.broad {
        Some(true) => select.and("s.broad IS NOT NULL", &[]),
        Some(false) => select.and("s.broad IS NULL", &[]),
        None => &mut select,
    };
    if let Some((time, id)) = &key {
        select.and("(s.created_at, s.id) < (?, ?)", params![*time, id]);
    }
    let rows = select.page(tx, " ORDER BY s.created_at DESC, s.id DESC", limit)?;
    let cursor =
        |r: &Suppression| encode_cursor("suppressions", &[&r.created_at.unix_ms().to_string(), &r.id]);
    page(rows, limit, |row| read(row, now), cursor)
}

/// What a rule would have matched among the alerts that were last raised at `since` or later, the newest first.
pub fn simulate(
    tx: &mut dyn Tx,
    matches: &SuppressionMatch,
    since: Time,
) -> Result<SuppressionSimulated, StoreError> {
    let mut select = Select::new(
        "SELECT a.id, v.name, v.group_name, a.reason, a.message, a.last_at, a.is_open, a.findings, a.timeline \
         FROM alerts a JOIN vms v ON v.id = a.vm_id",
    );
    select
        .and("a.last_at >= ?", params![since])
        .and_if("a.kind = ?", matches.kind.as_ref())
        .and_if("a.reason = ?", matches.reason.map(AlertReason::as_str))
        .and_if("a.vm_id = ?", matches.vm.as_ref())
        .and_if("v.scale_set = ?", matches.scale_set.as_ref())
        .and_if("v.group_name = ?", matches.group.as_ref());
    let mut rows = select.page(tx, " ORDER BY a.last_at DESC, a.id DESC", MAX_EXAMINED)?;
    let most = usize::try_from(MAX_EXAMINED).unwrap_or(usize::MAX);
    let truncated = rows.len() > most;
    rows.truncate(most);
    let sql = "SELECT COUNT(*) FROM alerts WHERE last_at >= $1";
    let examined = query_one(tx, sql, params![since])?.map_or(Ok(0), |row| row.columns().u64())?;
    let mut found = SuppressionSimulated {
        examined,
        truncated,
        since,
        matched: 0,
        open: 0,
        attacks: 0,
        handled: 0,
        by_reason: Vec::new(),
        by_class: Vec::new(),
        sample: Vec::new(),
        broad: matches.breadth(),
    };
    let (mut reasons, mut classes) = (BTreeMap::new(), BTreeMap::new());
    let mut others = Vec::new();
    for row in rows {
        let Some(seen) = Matched::read(row, &matches.classes)? else { continue };
        found.matched += 1;
        found.open += u64::from(seen.open);
        found.attacks += u64::from(seen.sample.attack);
        found.handled += u64::from(seen.handled);
        *reasons.entry(seen.sample.reason).or_insert(0) += 1;
        for class in seen.classes {
            *classes.entry(class).or_insert(0) += 1;
        }
        match seen.sample.attack {
            true if found.sample.len() < SAMPLE => found.sample.push(seen.sample),
            false if others.len() < SAMPLE => others.push(seen.sample),
            _ => {}
        }
    }
    let room = SAMPLE.saturating_sub(found.sample.len());
    found.sample.extend(others.into_iter().take(room));
    let count = |name: &str, alerts, attack| SuppressionCount { name: name.to_owned(), alerts, attack };
    found.by_reason = reasons
        .into_iter()
        .map(|(reason, alerts): (AlertReason, u64)| {
            let never_routine = matches!(reason, AlertReason::QuoteUntrusted | AlertReason::LogMismatch);
            count(reason.as_str(), alerts, never_routine)
        })
        .collect();
    found.by_class = classes
        .into_iter()
        .map(|(class, alerts): (ChangeClass, u64)| count(class.as_str(), alerts, class_words(class).attack))
        .collect();
    Ok(found)
}

/// An alert that a rule would have matched.
struct Matched {
    sample: SuppressionSample,
    classes: Vec<ChangeClass>,
    open: bool,
    handled: bool,
}

impl Matched {
    /// `None` for one with anything beside these classes.
    fn read(row: Row, classes: &[ChangeClass]) -> Result<Option<Self>, StoreError> {
        let mut c = row.columns();
        let (alert_id, vm_name, group) = (c.text()?, c.text()?, c.text()?);
        let (reason, message, last_at) = (c.word::<AlertReason>()?, c.text()?, c.time()?);
        let open = c.bool()?;
        let (findings, timeline): (Vec<Finding>, Vec<AlertEvent>) = (c.json()?, c.json()?);
        if !classes_match(classes, &findings) {
            return Ok(None);
        }
        let classes = classes_of(&findings);
        // A failing finding that is no change at all is explained by no update either.
        let unclassed = findings.iter().any(|f| f.fails() && f.change.is_none());
        let attack =
            looks_like_attack(reason, &classes) || (unclassed && reason == AlertReason::BaselineDeviation);
        let handled = timeline.iter().any(|step| {
            step.by != "service" && matches!(step.state, AlertState::InProgress | AlertState::Resolved)
        });
        let sample = SuppressionSample { alert_id, vm_name, group, reason, message, attack, last_at };
        Ok(Some(Self { sample, classes, open, handled }))
    }
}

/// Alerts that rules dismissed and that were raised since.
pub fn suppressed_since(tx: &mut dyn Tx, since: Time) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) FROM alerts WHERE suppressed_by IS NOT NULL AND last_at >= $1";
    query_one(tx, sql, params![since])?.map_or(Ok(0), |row| row.columns().u64())
}
