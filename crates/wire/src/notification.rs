//! Notification targets, and what became of what they were told.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{AlertReason, DeliveryState, Event, Severity, TargetKind, Time};

/// Most groups, kinds, types or reasons that one route names.
pub const MAX_ROUTE_WORDS: usize = 64;

/// Which events a target is told, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// Only this severity and above.
    pub min_severity: Severity,
    /// Only these groups; all when empty. Events that concern all groups are then left out.
    pub groups: Vec<String>,
    /// Only these kinds; `alert.*` stands for all that begin so. All that the target can be told when empty.
    pub kinds: Vec<String>,
    /// Only alerts and incidents of these types (docs/alerts.md), and nothing else; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alert_types: Vec<String>,
    /// Only alerts and incidents with these reasons, and nothing else; all when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<AlertReason>,
    /// Of alerts that are members of an incident only the incident is told. E-mail does so always; not for `alertmanager` and
    /// `ocsf`, which are told of alerts alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub grouped: bool,
    /// Seconds over which events are collected into one message; at once when absent. Only for `webhook` and `email`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest_s: Option<u32>,
}

impl Default for Route {
    fn default() -> Self {
        Self {
            min_severity: Severity::Info,
            groups: Vec::new(),
            kinds: Vec::new(),
            alert_types: Vec::new(),
            reasons: Vec::new(),
            grouped: false,
            digest_s: None,
        }
    }
}

/// What a route asks of an event.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'a> {
    /// Kind of the event.
    pub kind: &'a str,
    /// How much it matters.
    pub severity: Severity,
    /// Group that it concerns; absent when it concerns all.
    pub group: Option<&'a str>,
    /// The alert or incident that it is about: its type and its reason.
    pub alert: Option<(&'a str, AlertReason)>,
}

impl Route {
    /// Whether an event goes this way.
    pub fn takes(&self, event: &Routed<'_>) -> bool {
        let Routed { kind, severity, group, alert } = *event;
        severity >= self.min_severity
            && (self.groups.is_empty() || group.is_some_and(|group| self.groups.iter().any(|g| g == group)))
            && (self.kinds.is_empty() || self.kinds.iter().any(|pattern| kind_matches(pattern, kind)))
            && (self.alert_types.is_empty()
                || alert.is_some_and(|(alert_type, _)| self.alert_types.iter().any(|t| t == alert_type)))
            && (self.reasons.is_empty() || alert.is_some_and(|(_, reason)| self.reasons.contains(&reason)))
    }
}

/// The type and the reason of the alert or incident that an event of this kind is about, out of its data.
pub fn alert_of<'a>(kind: &str, data: &'a serde_json::Value) -> Option<(&'a str, AlertReason)> {
    if !kind_matches("alert.*", kind) && !kind_matches("incident.*", kind) {
        return None;
    }
    let word = |name: &str| data.get(name).and_then(serde_json::Value::as_str);
    Some((word("kind")?, word("reason")?.parse().ok()?))
}

/// Whether a kind is the one that `pattern` names, or begins as `alert.*` says.
pub fn kind_matches(pattern: &str, kind: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(family) => kind.strip_prefix(family).is_some_and(|rest| rest.starts_with('.')),
        None => pattern == kind,
    }
}

impl TargetKind {
    /// Whether this kind of target can be told of such an event at all.
    pub fn speaks_of(self, event_kind: &str) -> bool {
        match self {
            Self::Webhook | Self::Email | Self::Syslog => true,
            Self::Alertmanager => kind_matches("alert.*", event_kind),
            Self::Ocsf => kind_matches("alert.*", event_kind) || kind_matches("assessment.*", event_kind),
        }
    }
}

/// Where and how a target is told. Which members a kind needs is in `docs/notifications.md`; others are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TargetSettings {
    /// `webhook`, `alertmanager`, `ocsf`: where to POST, `http` or `https`. Alertmanager: its base, without `/api/v2`. Path
    /// and query may be secret: `https://HOST[:PORT]/…` is shown to those that are no admin, and in the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `ocsf`: name of a file in the service's folder for exports, instead of `url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// `email`, `syslog`: the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `email`, `syslog`: its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `email`: `starttls` (default), `tls`, `none`. `syslog`: `tls` (default), `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// `email`: user for SMTP authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// `email`: address of the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `email`: addresses of the receivers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Certificates, PEM, that vouch for the server instead of those that the system trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Permits addresses of this machine, link-local addresses and those of cloud metadata.
    pub allow_local: bool,
}

/// Secrets of a target. They are written and never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TargetSecrets {
    /// `webhook`: the key that signs, `whsec_` and base64 of 24 to 64 bytes. Made by the service when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
    /// HTTP: value of the `Authorization` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
    /// `email`: password for SMTP authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl std::fmt::Debug for TargetSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TargetSecrets(..)")
    }
}

/// A target to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTarget {
    /// Unique name: lower-case letters, digits, `-`, `_` and `.`, at most 63.
    pub name: String,
    /// How it is told.
    pub kind: TargetKind,
    /// Where and how.
    #[serde(default)]
    pub settings: TargetSettings,
    /// Its secrets.
    #[serde(default)]
    pub secrets: TargetSecrets,
    /// What it is told.
    #[serde(default)]
    pub route: Route,
    /// Whether it is told anything.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn yes() -> bool {
    true
}

/// A change of a target; what is absent stays. The kind of a target never changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetChange {
    /// All settings anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<TargetSettings>,
    /// Secrets to replace; those that are absent stay. An empty text removes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<TargetSecrets>,
    /// The whole route anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// Whether it is told anything. What waits stays while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A target as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Target {
    /// UUIDv7.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// How it is told.
    pub kind: TargetKind,
    /// Where and how.
    pub settings: TargetSettings,
    /// Which secrets it has, by name.
    pub secrets: Vec<String>,
    /// What it is told.
    pub route: Route,
    /// Whether it is told anything.
    pub enabled: bool,
    /// Counts changes; the `ETag` of the target.
    pub revision: u64,
    /// When it was made.
    pub created_at: Time,
    /// Who made it.
    pub created_by: String,
    /// Last change.
    pub changed_at: Time,
    /// How telling it goes.
    pub health: TargetHealth,
}

/// How telling a target goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetHealth {
    /// Events that wait.
    pub waiting: u64,
    /// Events that were given up.
    pub dead: u64,
    /// Since when the oldest of those that wait does so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_waiting_at: Option<Time>,
    /// Attempts in a row that failed.
    pub failures: u64,
    /// When the next attempt is made, after one that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<Time>,
    /// Last time that it took something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_delivered_at: Option<Time>,
    /// Last time that an attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failed_at: Option<Time>,
    /// How far the clock of an Alertmanager is ahead of ours, in seconds, as its answers show it; less than 0 when it is
    /// behind. It is told every time on its own clock; one that shows more than a week is not believed, and told on ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ahead_s: Option<i64>,
    /// Why the last attempt that failed did so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A target that was just made or changed, with the secret that the service made for it: shown this once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetMade {
    /// The target.
    #[serde(flatten)]
    pub target: Target,
    /// The key that signs, when the service made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<String>,
}

/// Outcome of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TargetTest {
    /// Whether the target took the test message.
    pub delivered: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// One event for one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Name of the target.
    pub target: String,
    /// The event.
    pub event: Event,
    /// What became of it.
    pub state: DeliveryState,
    /// When it was queued, or queued again by a replay.
    pub queued_at: Time,
    /// Attempts so far.
    pub attempts: u64,
    /// Last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Time>,
    /// Why the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Filters of the deliveries. Rows are ordered newest event first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveryQuery {
    /// Only this target (name).
    pub target: Option<String>,
    /// Only this state.
    pub state: Option<DeliveryState>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Which dead deliveries to queue again: all of them when nothing is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// Only of this target (name).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
}

/// How many were queued again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// Deliveries that wait again.
    pub queued: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_takes_what_it_names_and_nothing_else() {
        let all = Route::default();
        assert!(all.takes(&Routed {
            kind: "vm.enrolled",
            severity: Severity::Info,
            group: None,
            alert: None
        }));
        let some = Route {
            min_severity: Severity::Medium,
            groups: vec!["prod".into()],
            kinds: vec!["alert.*".into(), "vm.enrolled".into()],
            ..Route::default()
        };
        let event = |kind, severity, group| Routed { kind, severity, group, alert: None };
        assert!(some.takes(&event("alert.opened", Severity::Medium, Some("prod"))));
        assert!(some.takes(&event("vm.enrolled", Severity::High, Some("prod"))));
        for (kind, severity, group) in [
            ("alert.opened", Severity::Low, Some("prod")),
            ("alert.opened", Severity::High, Some("test")),
            ("alert.opened", Severity::High, None),
            ("alerts.opened", Severity::High, Some("prod")),
            ("alert", Severity::High, Some("prod")),
            ("vm.enrolled.twice", Severity::High, Some("prod")),
        ] {
            assert!(!some.takes(&event(kind, severity, group)), "{kind} {severity} {group:?}");
        }
    }

    #[test]
    fn a_route_of_types_or_reasons_takes_alerts_and_incidents_alone() {
        let pager = Route { reasons: vec![AlertReason::QuoteUntrusted], ..Route::default() };
        let faults = Route { alert_types: vec![crate::ALERT_APPRAISAL_FAILED.into()], ..Route::default() };
        let event = |kind, alert| Routed { kind, severity: Severity::High, group: None, alert };
        let quote = Some((crate::ALERT_ATTESTATION_FAILED, AlertReason::QuoteUntrusted));
        let silent = Some((crate::ALERT_ATTESTATION_FAILED, AlertReason::AgentSilent));
        let broken = Some((crate::ALERT_APPRAISAL_FAILED, AlertReason::AppraisalFailed));
        for (alert, paged, fault) in
            [(quote, true, false), (silent, false, false), (broken, false, true), (None, false, false)]
        {
            for kind in ["alert.opened", "incident.opened"] {
                assert_eq!(pager.takes(&event(kind, alert)), paged, "{alert:?}");
                assert_eq!(faults.takes(&event(kind, alert)), fault, "{alert:?}");
            }
        }
        let data = serde_json::json!({ "kind": "vm-attestation-failed", "reason": "quote-untrusted" });
        assert_eq!(alert_of("alert.resolved", &data), quote);
        assert_eq!(alert_of("incident.grown", &data), quote);
        // Other events have reasons too, and they are others.
        assert_eq!(alert_of("suppression.created", &data), None);
        assert_eq!(alert_of("alert.opened", &serde_json::json!({ "kind": "x", "reason": "y" })), None);
    }
}
