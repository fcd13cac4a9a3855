//! What becomes of a failure: a new alert, one more count, an alert that comes back, or one that a rule dismisses.

use std::collections::{BTreeMap, BTreeSet};

use veriboot_wire::{Alert, AlertEvent, AlertReason, AlertState, Finding, Severity, Time};

use super::news::{self, differs, news};
use super::tell::{News, tell_stored};
use super::write::{self, CountedDismissed, New, Next};
use super::{SERVICE, cause, is_open, is_remembered, latest_of};
use crate::StoreError;
use crate::ops::incidents::{self, Joining};
use crate::ops::suppressions::{self, Rule, Running, Subject};
use crate::rows::query_in;
use crate::tx::Tx;

/// Failures of one cause are counted on one suppressed alert for at least this long, seconds.
const SUPPRESSED_TOGETHER_S: u32 = 86_400;

/// An alert to raise.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRaise<'a> {
    /// The VM.
    pub vm_id: &'a str,
    /// Stable type id: one of [`veriboot_wire::ALERT_TYPES`].
    pub kind: &'a str,
    /// Headline for people.
    pub title: &'a str,
    /// Why.
    pub reason: AlertReason,
    /// How much it matters.
    pub severity: Severity,
    /// The component that changed, in plain words.
    pub component: Option<&'a str>,
    /// One sentence: what happened.
    pub message: &'a str,
    /// What to do.
    pub remediation: &'a str,
    /// Findings behind it.
    pub findings: &'a [Finding],
    /// The attestation behind it.
    pub attestation_id: Option<&'a str>,
    /// An alert of the same cause that was resolved at most this long ago is opened again, seconds.
    pub reopen_window_s: u32,
    /// When.
    pub at: Time,
}

/// What a raise did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// A new alert.
    Opened,
    /// The alert was open already.
    Counted,
    /// An alert that was closed is open again.
    Reopened,
    /// A rule dismissed it, and had not dismissed this one before.
    Suppressed,
    /// It was counted on an alert that is dismissed, by somebody or by a rule.
    CountedDismissed,
}

/// What became of a raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The alert.
    pub id: String,
    /// How often it was raised by now; 1 for a new one.
    pub count: u64,
    /// What was done.
    pub became: Became,
}

/// Raises an alert, in this order:
/// 1. An alert that somebody dismissed stands for its very findings until its cause ended: it is counted there.
/// 2. A suppression rule that matches dismisses it, unless somebody works on it.
/// 3. An open one is counted, and takes over everything that describes the cause; its state stays. What it did not show
///    before is told, and stands in its timeline.
/// 4. One of the same cause that was closed by a rule that holds no more, or resolved not long ago, is opened again.
/// 5. Else it is new.
///
/// In a scale set an open alert joins the incident of its cause. What is more than a count is an event.
pub fn raise(tx: &mut dyn Tx, alert: &AlertRaise<'_>) -> Result<Raised, StoreError> {
    let raised = raise_all(tx, std::slice::from_ref(alert))?;
    raised
        .into_iter()
        .next()
        .ok_or_else(|| StoreError::failed("an alert was raised and nothing became of it"))
}

/// [`raise`] for the failures of many VMs, and what became of each: with as many statements for 100 as for one, and on SQLite
/// with as many different ones.
///
/// Each pair of VM and reason is there once. All that happens to an incident happens at once: it is told once that it
/// was opened, or that it has doubled, and is closed when all of them have left it.
pub fn raise_all(tx: &mut dyn Tx, alerts: &[AlertRaise<'_>]) -> Result<Vec<Raised>, StoreError> {
    let pairs: Vec<(&str, AlertReason)> = alerts.iter().map(|alert| (alert.vm_id, alert.reason)).collect();
    if pairs.iter().collect::<BTreeSet<_>>().len() != pairs.len() {
        return Err(StoreError::failed("an alert of one VM and reason is raised twice at once"));
    }
    let mut found = latest_of(tx, &pairs)?;
    let latest: Vec<Option<Alert>> =
        alerts.iter().map(|alert| found.remove(&(alert.vm_id.to_owned(), alert.reason))).collect();
    let around = Around::read(tx, alerts, &latest)?;
    let cases = alerts.iter().zip(&latest).map(|(alert, latest)| Case::of(alert, latest.as_ref(), &around));
    let cases = cases.collect::<Result<Vec<_>, StoreError>>()?;
    carry_out(tx, &cases, &around)?;
    Ok(cases.into_iter().map(Case::raised).collect())
}

/// What decides about failures, beside the alerts that there are.
struct Around {
    /// Group and scale set by VM.
    places: BTreeMap<String, (String, Option<String>)>,
    /// Suppression rules, the oldest first.
    rules: Vec<Running>,
}

impl Around {
    fn read(
        tx: &mut dyn Tx,
        alerts: &[AlertRaise<'_>],
        latest: &[Option<Alert>],
    ) -> Result<Self, StoreError> {
        let asking: Vec<&AlertRaise<'_>> = alerts
            .iter()
            .zip(latest)
            .filter(|(alert, latest)| standing(latest.as_ref(), alert).is_none())
            .map(|(alert, _)| alert)
            .collect();
        let Some(first) = asking.iter().map(|alert| alert.at).min() else {
            return Ok(Self { places: BTreeMap::new(), rules: Vec::new() });
        };
        let vms: BTreeSet<&str> = asking.iter().map(|alert| alert.vm_id).collect();
        let vms: Vec<&str> = vms.into_iter().collect();
        let places = query_in(tx, "SELECT id, group_name, scale_set FROM vms WHERE id", "", &[], &vms)?
            .into_iter()
            .map(|row| {
                let mut c = row.columns();
                Ok((c.text()?, (c.text()?, c.opt_text()?)))
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Self { places, rules: suppressions::running(tx, first)? })
    }

    fn place(&self, vm_id: &str) -> Result<(&str, Option<&str>), StoreError> {
        let place = self.places.get(vm_id);
        let (group, scale_set) =
            place.ok_or_else(|| StoreError::failed("an alert about a VM that is not there"))?;
        Ok((group, scale_set.as_deref()))
    }
}

/// What happens for a failure.
enum Fate<'a> {
    /// It is counted on one that is dismissed, by this rule where it is one.
    CountedDismissed { on: &'a Alert, rule: Option<&'a Rule> },
    /// It is counted.
    Counted { open: &'a Alert },
    /// A rule dismisses the open alert.
    Suppressed { open: &'a Alert, rule: &'a Rule },
    /// The alert comes back.
    Reopened { closed: &'a Alert, why: String },
    /// It is new, and dismissed from the start when a rule says so.
    New { id: String, rule: Option<&'a Rule> },
}

/// A failure and what happens for it.
struct Case<'a> {
    alert: &'a AlertRaise<'a>,
    fate: Fate<'a>,
}

impl<'a> Case<'a> {
    fn of(
        alert: &'a AlertRaise<'a>,
        latest: Option<&'a Alert>,
        around: &'a Around,
    ) -> Result<Self, StoreError> {
        if let Some(on) = standing(latest, alert) {
            return Ok(Self { alert, fate: Fate::CountedDismissed { on, rule: None } });
        }
        let (group, scale_set) = around.place(alert.vm_id)?;
        let subject = Subject {
            kind: alert.kind,
            reason: alert.reason,
            findings: alert.findings,
            vm_id: alert.vm_id,
            scale_set,
            group,
        };
        let fate = match suppressions::first_match(&around.rules, &subject, alert.at) {
            Some(rule) => Fate::hidden(alert, latest, rule),
            None => Fate::shown(alert, latest),
        };
        Ok(Self { alert, fate })
    }

    fn id(&self) -> &str {
        match &self.fate {
            Fate::CountedDismissed { on: alert, .. }
            | Fate::Counted { open: alert }
            | Fate::Suppressed { open: alert, .. }
            | Fate::Reopened { closed: alert, .. } => &alert.id,
            Fate::New { id, .. } => id,
        }
    }

    fn raised(self) -> Raised {
        let (became, before) = match &self.fate {
            Fate::CountedDismissed { on, .. } => (Became::CountedDismissed, on.count),
            Fate::Counted { open } => (Became::Counted, open.count),
            Fate::Suppressed { open, .. } => (Became::Suppressed, open.count),
            Fate::Reopened { closed, .. } => (Became::Reopened, closed.count),
            Fate::New { rule: Some(_), .. } => (Became::Suppressed, 0),
            Fate::New { rule: None, .. } => (Became::Opened, 0),
        };
        Raised { id: self.id().to_owned(), count: before + 1, became }
    }

    /// The incident that it left, or that it has to join where that is another one.
    fn member_of(&self) -> Option<&'a str> {
        match &self.fate {
            Fate::Counted { open: alert }
            | Fate::Suppressed { open: alert, .. }
            | Fate::Reopened { closed: alert, .. } => alert.incident_id.as_deref(),
            Fate::CountedDismissed { .. } | Fate::New { .. } => None,
        }
    }

    /// Whether it belongs to the incident of its cause from now on.
    fn joins(&self) -> bool {
        match &self.fate {
            Fate::Counted { open } => cause(&open.findings) != cause(self.alert.findings),
            Fate::Reopened { .. } | Fate::New { rule: None, .. } => true,
            Fate::CountedDismissed { .. } | Fate::Suppressed { .. } | Fate::New { rule: Some(_), .. } => {
                false
            }
        }
    }
}

impl<'a> Fate<'a> {
    /// Of a failure that a rule matches.
    fn hidden(alert: &AlertRaise<'_>, latest: Option<&'a Alert>, rule: &'a Rule) -> Self {
        match latest {
            Some(open) if open.state == AlertState::InProgress => Self::Counted { open },
            Some(open) if open.state == AlertState::Active => Self::Suppressed { open, rule },
            Some(on)
                if on.suppressed_by.is_some()
                    && recent(on, alert, alert.reopen_window_s.max(SUPPRESSED_TOGETHER_S)) =>
            {
                Self::CountedDismissed { on, rule: Some(rule) }
            }
            _ => Self::New { id: crate::new_id(alert.at), rule: Some(rule) },
        }
    }

    /// Of a failure that no rule matches.
    fn shown(alert: &AlertRaise<'_>, latest: Option<&'a Alert>) -> Self {
        match latest {
            Some(open) if is_open(open.state) => Self::Counted { open },
            Some(closed)
                if (closed.suppressed_by.is_some() || closed.state == AlertState::Resolved)
                    && alert.reopen_window_s > 0
                    && recent(closed, alert, alert.reopen_window_s) =>
            {
                let why = match &closed.suppressed_by {
                    Some(rule) => {
                        format!(
                            "suppression rule {rule} does not hold any more, and the cause is still there"
                        )
                    }
                    None => "it came back".to_owned(),
                };
                Self::Reopened { closed, why }
            }
            _ => Self::New { id: crate::new_id(alert.at), rule: None },
        }
    }
}

/// The alert that somebody dismissed and that stands for this very failure.
fn standing<'a>(latest: Option<&'a Alert>, alert: &AlertRaise<'_>) -> Option<&'a Alert> {
    latest.filter(|latest| is_remembered(latest) && seen(&latest.findings) == seen(alert.findings))
}

/// What makes a failure the very same one as before, digests included.
fn seen(findings: &[Finding]) -> BTreeSet<(&str, Option<&str>, Option<&str>)> {
    findings.iter().map(|f| (f.code.as_str(), f.component.as_deref(), f.seen.as_deref())).collect()
}

/// Whether the cause is that of an alert that was closed at most `window_s` ago.
fn recent(latest: &Alert, alert: &AlertRaise<'_>, window_s: u32) -> bool {
    let closed = latest.closed_at.unwrap_or(latest.last_at).max(latest.last_at);
    closed >= alert.at.plus_s(-i64::from(window_s)) && cause(&latest.findings) == cause(alert.findings)
}

fn dismissed(rule: &Rule) -> String {
    format!("suppression rule {}: {}", rule.id, rule.why)
}

fn step(at: Time, state: AlertState, comment: Option<&str>) -> AlertEvent {
    AlertEvent { at, state, by: SERVICE.to_owned(), comment: comment.map(str::to_owned) }
}

/// Writes and tells what happens. Incidents are written first, because alerts name them, and told last, because they say
/// how many of their alerts are open.
fn carry_out(tx: &mut dyn Tx, cases: &[Case<'_>], around: &Around) -> Result<(), StoreError> {
    let joining = cases
        .iter()
        .map(|case| {
            let place = if case.joins() { Some(around.place(case.alert.vm_id)?) } else { None };
            let place = place.and_then(|(group, scale_set)| Some((group, scale_set?)));
            Ok(Joining { alert: case.alert, member_of: case.member_of(), place })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    let joined = incidents::join_all(tx, &joining)?;
    let differing: Vec<&str> = cases
        .iter()
        .filter_map(|case| match case.fate {
            Fate::Counted { open } if differs(open, case.alert.findings) => Some(open.id.as_str()),
            _ => None,
        })
        .collect();
    let mut shown = news::shown(tx, &differing)?;

    let (mut new, mut next, mut counted) = (Vec::new(), Vec::new(), Vec::new());
    let (mut told, mut left) = (Vec::new(), Vec::new());
    for (case, incident) in cases.iter().zip(&joined.of) {
        let (alert, incident) = (case.alert, incident.as_deref());
        let mut tell = |kind| told.push(News { kind, id: case.id(), at: alert.at });
        let as_it_is = |before| Next {
            before,
            alert,
            state: before.state,
            suppressed_by: None,
            again: false,
            changed: false,
            shown: None,
            step: None,
            incident,
        };
        match &case.fate {
            Fate::CountedDismissed { on, rule } => {
                let rule = rule.map(|rule| rule.id.as_str());
                counted.push(CountedDismissed { on: &on.id, rule, alert });
            }
            Fate::Counted { open } => {
                let news = match shown.remove(&open.id) {
                    Some(shown) => news(open, alert.findings, shown)?,
                    None => None,
                };
                let (comment, shown) = news.map_or((None, None), |news| (news.comment, Some(news.shown)));
                if comment.is_some() {
                    tell("alert.changed");
                }
                next.push(Next {
                    changed: case.joins() || comment.is_some(),
                    shown,
                    step: comment.map(|comment| step(alert.at, open.state, Some(&comment))),
                    ..as_it_is(open)
                });
            }
            Fate::Suppressed { open, rule } => {
                left.extend(open.incident_id.as_deref().map(|incident| (incident, alert.at)));
                tell("alert.suppressed");
                let state = AlertState::Dismissed;
                next.push(Next {
                    state,
                    suppressed_by: Some(&rule.id),
                    changed: true,
                    step: Some(step(alert.at, state, Some(&dismissed(rule)))),
                    ..as_it_is(open)
                });
            }
            Fate::Reopened { closed, why } => {
                tell("alert.reopened");
                let state = AlertState::Active;
                next.push(Next {
                    state,
                    again: true,
                    changed: true,
                    // Told anew, from the beginning.
                    shown: Some("[]".to_owned()),
                    step: Some(step(alert.at, state, Some(why))),
                    ..as_it_is(closed)
                });
            }
            Fate::New { id, rule } => {
                tell(if rule.is_some() { "alert.suppressed" } else { "alert.opened" });
                let state = if rule.is_some() { AlertState::Dismissed } else { AlertState::Active };
                let step = step(alert.at, state, rule.map(dismissed).as_deref());
                new.push(New { id, alert, rule: rule.map(|rule| rule.id.as_str()), incident, step });
            }
        }
    }
    write::insert_all(tx, &new)?;
    write::describe_all(tx, &next)?;
    write::count_dismissed_all(tx, &counted)?;
    incidents::tell_all(tx, &joined.told)?;
    left.extend(joined.left);
    incidents::settle_all(tx, &left)?;
    tell_stored(tx, &told)
}
