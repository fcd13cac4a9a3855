//! Events: what happened, in order.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{Severity, Time};

/// Kinds of events and when each is appended. Their spelling is a contract; `docs/events.md` shows this table.
pub const EVENT_KINDS: &[(&str, &str)] = &[
    ("vm.enrolled", "a VM enrolled for the first time"),
    ("vm.reenrolled", "a VM enrolled again with another attestation key"),
    ("vm.status-changed", "the status of a VM changed"),
    ("vm.deleted", "a VM was removed together with its history"),
    ("alert.opened", "an alert was raised where none was open"),
    ("alert.reopened", "a resolved alert came back"),
    ("alert.changed", "something was found for an open alert that it did not show before"),
    ("alert.acknowledged", "somebody took on an alert"),
    ("alert.resolved", "the cause of an alert is gone"),
    ("alert.dismissed", "somebody closed an alert although its cause may remain"),
    ("alert.suppressed", "an alert was dismissed by a suppression rule when it was raised"),
    ("incident.opened", "several alerts have one cause: they became an incident"),
    ("incident.grown", "an incident has more members"),
    ("incident.closed", "no alert of an incident is open any more"),
    ("suppression.changed", "a suppression rule was made, changed or removed"),
    ("maintenance.declared", "a maintenance window was declared"),
    ("maintenance.ended", "a maintenance window was ended or removed"),
    ("proposal.opened", "a VM booted a change that an operator is asked about"),
    ("proposal.approved", "a proposal was approved"),
    ("proposal.rejected", "a proposal was rejected"),
    ("baseline.changed", "a scope got another baseline, or none"),
    ("profile.changed", "a profile got another version, or a scope another profile"),
    ("assessment.changed", "a check has another result for a VM or an item of the inventory"),
    ("scale-set.changed", "a check has another result for a scale set"),
    ("inventory.synced", "a sync of an inventory source changed something"),
    (
        "inventory.contradicted",
        "evidence or another source says something else of a VM than an item of the inventory",
    ),
    ("inventory.agrees", "nothing contradicts an item of the inventory any more"),
    ("monitoring.changed", "integrity monitoring was switched on or off for a scope"),
];

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Position from 1, in the order of commits, without gaps. It is the id of the event in the stream.
    pub sequence: u64,
    /// When.
    pub at: Time,
    /// What: one of `EVENT_KINDS`.
    pub kind: String,
    /// How much it matters to somebody on call.
    pub severity: Severity,
    /// Group that it concerns; absent when it concerns all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Scale set that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// VM that it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<String>,
    /// Name of that VM, or of the item of the inventory, when it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// Id of the thing that changed: of the alert for `alert.*`, of the proposal for `proposal.*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Details by kind; `message`, where there is one, is one sentence for people.
    pub data: serde_json::Value,
}

/// Kinds whose messages say whom they are about.
const NAMING: [&str; 5] =
    ["assessment.changed", "incident.closed", "incident.grown", "incident.opened", "vm.status-changed"];

impl Event {
    /// One line for people: on whom, and what.
    pub fn summary(&self) -> String {
        let word =
            |name: &str| self.data.get(name).and_then(serde_json::Value::as_str).filter(|w| !w.is_empty());
        let known = EVENT_KINDS.iter().find(|(kind, _)| *kind == self.kind).map(|(_, when)| *when);
        let what = word("message").or(word("title")).or(known).unwrap_or(&self.kind);
        match (&self.vm_name, &self.scale_set) {
            _ if NAMING.contains(&self.kind.as_str()) && word("message").is_some() => what.to_owned(),
            (Some(vm), _) => format!("{vm}: {what}"),
            (None, Some(set)) => format!("{set}: {what}"),
            (None, None) => what.to_owned(),
        }
    }
}

/// Filters of the events. Rows are ordered oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// `json` for a page; the stream (`text/event-stream`) otherwise.
    pub format: Option<String>,
    /// Only events after this sequence number. A stream begins with what comes next when absent; a page with the oldest.
    pub after: Option<u64>,
    /// Only these kinds, separated by commas; `alert.*` stands for all that begin so.
    pub kind: Option<String>,
    /// Only this group.
    pub group: Option<String>,
    /// Only this severity and above.
    pub severity: Option<Severity>,
    /// Only this VM (id).
    pub vm: Option<String>,
    /// Rows of the page, 1 to 1000; 100 when absent. Only with `format=json`.
    pub limit: Option<u32>,
    /// Where the last page ended. Only with `format=json`.
    pub cursor: Option<String>,
}

/// What a stream says when events that it should have sent are gone already (event `gap`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventGap {
    /// The last event that the caller had.
    pub after: u64,
    /// The oldest event that is still there; what lies between is lost to the caller.
    pub oldest: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_kind() {
        let document = include_str!("../../../docs/events.md");
        let listed: Vec<&str> = document.lines().filter(|line| line.starts_with("| `")).collect();
        let known: Vec<String> =
            EVENT_KINDS.iter().map(|(kind, when)| format!("| `{kind}` | {when} |")).collect();
        assert_eq!(listed, known);
    }

    #[test]
    fn an_event_is_summed_up_by_what_it_says_or_by_its_kind() {
        let mut event = Event {
            sequence: 1,
            at: Time::from_unix_ms(0),
            kind: "vm.enrolled".into(),
            severity: Severity::Info,
            group: None,
            scale_set: Some("web".into()),
            vm_id: None,
            vm_name: None,
            subject: None,
            data: serde_json::json!({ "title": "a title" }),
        };
        assert_eq!(event.summary(), "web: a title");
        event.data = serde_json::json!({ "message": "", "title": 7 });
        event.vm_name = Some("web-0".into());
        assert_eq!(event.summary(), "web-0: a VM enrolled for the first time");
        // Who is named in the message is not named twice.
        event.kind = "vm.status-changed".into();
        event.data = serde_json::json!({ "message": "web-0 is stale, was healthy" });
        assert_eq!(event.summary(), "web-0 is stale, was healthy");
        event.data = serde_json::json!({});
        assert!(event.summary().starts_with("web-0: "), "{}", event.summary());
    }
}
