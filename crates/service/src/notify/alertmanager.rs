//! Alerts to a Prometheus Alertmanager, API v2.
//!
//! An Alertmanager forgets what nobody repeats: each firing alert is told with an end in the near future, and all open
//! alerts are told again every [`REPEAT_S`]. Labels are the identity of an alert there: those of one Veriboot alert stay
//! the same for as long as its severity does.
//!
//! It counts by its own clock: what ends before its now is resolved, and what starts after it does not fire yet. It is told
//! every time on its clock, as its answers show it, so that clocks that differ resolve nothing. An answer whose time cannot
//! be is that of something in between, or of a broken clock: then it is told on ours.

use std::time::Instant;

use serde_json::{Map, Value, json};
use veriboot_store::targets::TargetRow;
use veriboot_wire::{Event, Severity, Time};

use super::clocks::Clocks;
use super::http::{self, Post};
use super::tell::SendError;
use super::words;

/// Seconds between two repetitions of what is open.
pub(super) const REPEAT_S: i64 = 60;
/// How long a firing alert lasts there without a repetition, seconds: four may be missed.
const HOLD_S: i64 = 5 * REPEAT_S;

/// What ended did so this long before its now, at least, seconds: its clock is known to a few seconds only.
const PAST_S: i64 = 5;
/// Its clock may show another time than it was told for by this, milliseconds; beyond, it is told once more.
const AGREES_MS: i64 = 30_000;
/// The furthest that its clock may be away, seconds. What shows one that is further away is not believed.
const MAX_AHEAD_S: i64 = 7 * 86_400;
/// Where it is asked for the time.
const STATUS: &str = "/api/v2/status";

/// An alert in the words of its event's data.
pub(super) struct Fact<'a> {
    pub data: &'a Value,
    pub severity: Severity,
    pub group: Option<&'a str>,
    pub at: Time,
}

impl<'a> Fact<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        Self { data: &event.data, severity: event.severity, group: event.group.as_deref(), at: event.at }
    }
}

/// Tells how alerts are. What was taken once is delivered, whatever its answer says about the time.
pub(super) fn send(
    target: &TargetRow,
    facts: &[Fact<'_>],
    public_url: &str,
    clocks: &Clocks,
    began: Time,
) -> Result<(), SendError> {
    let started = Instant::now();
    let now = || began.plus_ms(i64::try_from(started.elapsed().as_millis()).unwrap_or(0));
    let mut headers = Vec::new();
    if let Some(value) = &target.secrets.authorization {
        headers.push(("authorization", value.clone()));
    }
    let of = (target.id.as_str(), target.name.as_str());
    let shown = match clocks.known(&target.id, began) {
        Some(known) => known,
        None => {
            let date = http::date(target, STATUS, &headers)?;
            clocks.measure(of, date, began, started.elapsed())
        }
    };
    headers.push(("content-type", "application/json".to_owned()));
    let tell = |ahead_ms: i64| -> Result<i64, SendError> {
        let (asked, begun) = (now(), Instant::now());
        let clock = Clock { now: asked.plus_ms(ahead_ms), ahead_ms };
        let alerts: Vec<Value> = facts.iter().map(|fact| alert(fact, public_url, clock)).collect();
        let body = serde_json::to_vec(&alerts).map_err(|error| SendError::refused(error.to_string()))?;
        let post = Post { target, path: "/api/v2/alerts", headers: headers.clone(), body, now: asked };
        let date = http::post(post)?;
        Ok(clocks.measure(of, date, asked, begun.elapsed()))
    };
    let told = believed(shown).unwrap_or(0);
    // Once more where its answer shows that its clock was set. If that fails, what is open is repeated soon.
    if let Some(set) = believed(tell(told)?).filter(|now| now.abs_diff(told) > AGREES_MS.unsigned_abs())
        && let Err(error) = tell(set)
    {
        tracing::warn!(
            target = target.name,
            error = error.message(),
            "alerts were taken, and not once more with the time that the receiver shows"
        );
    }
    Ok(())
}

/// How far the clock is ahead, milliseconds, if an answer that shows it so far ahead is to be believed.
fn believed(ahead_ms: i64) -> Option<i64> {
    (ahead_ms.unsigned_abs() <= MAX_AHEAD_S.unsigned_abs() * 1000).then_some(ahead_ms)
}

/// The clock that an Alertmanager counts by.
#[derive(Clone, Copy)]
struct Clock {
    /// Its now.
    now: Time,
    /// How far it is ahead of ours, milliseconds.
    ahead_ms: i64,
}

fn alert(fact: &Fact<'_>, public_url: &str, clock: Clock) -> Value {
    let text = |name: &str| fact.data.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut labels = Map::new();
    let mut label = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            labels.insert(name.to_owned(), words::one_line(value).into());
        }
    };
    label("alertname", Some(text("kind").unwrap_or("veriboot-alert")));
    label("service", Some("veriboot"));
    label("severity", Some(fact.severity.as_str()));
    label("reason", text("reason"));
    label("group", fact.group);
    label("scale_set", text("scale_set"));
    label("vm", text("vm_name"));
    label("vm_id", text("vm_id"));
    let mut annotations = Map::new();
    for (name, member) in [
        ("summary", "title"),
        ("description", "message"),
        ("remediation", "remediation"),
        ("component", "component"),
    ] {
        if let Some(value) = text(member) {
            annotations.insert(name.to_owned(), words::one_line(value).into());
        }
    }
    let open = matches!(text("state"), None | Some("active" | "in-progress"));
    let at = |name: &str| {
        let at = text(name).and_then(|at| Time::try_from(at.to_owned()).ok()).unwrap_or(fact.at);
        at.plus_ms(clock.ahead_ms)
    };
    let since = at("first_at").min(clock.now);
    let ends = match open {
        true => clock.now.plus_s(HOLD_S),
        false => at("closed_at").min(clock.now.plus_s(-PAST_S)),
    };
    let mut alert = json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": since.min(ends),
        "endsAt": ends,
    });
    if let (Some(id), Some(members)) = (text("id"), alert.as_object_mut()) {
        members.insert("generatorURL".to_owned(), format!("{public_url}/v1/alerts/{id}").into());
    }
    alert
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(data: &Value, ahead_s: i64) -> [i64; 2] {
        let ours = Time::from_unix_ms(1_000_000_000_000);
        let fact = Fact { data, severity: Severity::High, group: None, at: ours };
        let clock = Clock { now: ours.plus_s(ahead_s), ahead_ms: ahead_s * 1000 };
        let told = alert(&fact, "https://veriboot", clock);
        ["startsAt", "endsAt"].map(|name| {
            let at = Time::try_from(told[name].as_str().unwrap().to_owned()).unwrap();
            (at.unix_ms() - clock.now.unix_ms()) / 1000
        })
    }

    #[test]
    fn a_time_that_cannot_be_is_not_believed() {
        let week_ms = MAX_AHEAD_S * 1000;
        for shown in [0, week_ms, -week_ms] {
            assert_eq!(believed(shown), Some(shown));
        }
        for shown in [week_ms + 1, -week_ms - 1, i64::MAX, i64::MIN] {
            assert_eq!(believed(shown), None);
        }
    }

    /// Seconds from its now, the same however far its clock is away.
    #[test]
    fn what_is_told_is_so_by_the_clock_of_the_receiver() {
        let at = |s: i64| Time::from_unix_ms(1_000_000_000_000).plus_s(s).to_string();
        for ahead_s in [0, 600, -600, 86_400, -86_400] {
            let told = |state: &str, first: i64, closed: i64| {
                times(&json!({ "state": state, "first_at": at(first), "closed_at": at(closed) }), ahead_s)
            };
            assert_eq!(told("active", -90, 0), [-90, 300]);
            assert_eq!(told("active", 90, 0), [0, 300], "nothing starts in its future");
            assert_eq!(told("resolved", -90, -30), [-90, -30]);
            assert_eq!(told("resolved", -90, 0), [-90, -5], "what ended is past for sure");
            assert_eq!(told("resolved", -1, 0), [-5, -5], "and does not start after it");
            assert_eq!(told("dismissed", 40, 50), [-5, -5]);
        }
    }
}
