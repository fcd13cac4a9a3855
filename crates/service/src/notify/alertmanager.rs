//! Alerts to a Prometheus Alertmanager, API v2.
//!
//! An Alertmanager forgets what nobody repeats: each firing alert is told with an end in the near future, and all open
//! alerts are told again every [`REPEAT_S`]. Labels are the identity of an alert there: those of one Veriboot alert stay
//! the same for as long as its severity does.

use serde_json::{Map, Value, json};
use veriboot_store::targets::TargetRow;
use veriboot_wire::{Event, Severity, Time};

use super::http::{self, Post};
use super::tell::SendError;
use super::words;

/// Seconds between two repetitions of what is open.
pub(super) const REPEAT_S: i64 = 60;
/// How long a firing alert lasts there without a repetition, seconds: four may be missed.
const HOLD_S: i64 = 5 * REPEAT_S;

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

/// Tells how alerts are.
pub(super) fn send(
    target: &TargetRow,
    facts: &[Fact<'_>],
    public_url: &str,
    now: Time,
) -> Result<(), SendError> {
    let alerts: Vec<Value> = facts.iter().map(|fact| alert(fact, public_url, now)).collect();
    let body = serde_json::to_vec(&alerts).map_err(|error| SendError::refused(error.to_string()))?;
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if let Some(value) = &target.secrets.authorization {
        headers.push(("authorization", value.clone()));
    }
    http::post(Post { target, path: "/api/v2/alerts", headers, body, now })
}

fn alert(fact: &Fact<'_>, public_url: &str, now: Time) -> Value {
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
    let since = text("first_at").and_then(|at| Time::try_from(at.to_owned()).ok()).unwrap_or(fact.at);
    let ends = if open {
        now.plus_s(HOLD_S)
    } else {
        text("closed_at").and_then(|at| Time::try_from(at.to_owned()).ok()).unwrap_or(fact.at)
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
