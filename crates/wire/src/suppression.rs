//! Suppression rules: alerts that are dismissed when they are raised.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{AlertReason, ChangeClass, SuppressionBreadth, SuppressionState, Time};

/// How far ahead the end of a rule may be, days. One that shall hold longer is made without an end, which warns.
pub const MAX_SUPPRESSION_DAYS: u32 = 366;

/// What a rule matches: everything that is given must hold. Nothing given matches every alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressionMatch {
    /// Type id of the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Reason of the alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<AlertReason>,
    /// Classes of changes: an alert matches when every failing finding behind it is a change of one of these. One that
    /// shows anything beside them is not hidden.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ChangeClass>,
    /// The VM, by id or name; shown as its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// The scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<String>,
    /// The group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl SuppressionMatch {
    /// Why this hides more than one should; `None` when it is narrow enough.
    pub fn breadth(&self) -> Option<SuppressionBreadth> {
        let narrow = self.vm.is_some() || self.scale_set.is_some() || !self.classes.is_empty();
        match (narrow, self.reason, &self.group) {
            (true, _, _) | (false, Some(_), Some(_)) => None,
            (false, Some(_), None) => Some(SuppressionBreadth::WholeReason),
            (false, None, Some(_)) => Some(SuppressionBreadth::WholeGroup),
            (false, None, None) => Some(SuppressionBreadth::Everything),
        }
    }
}

/// A suppression rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suppression {
    /// UUIDv7.
    pub id: String,
    /// What it matches.
    #[serde(rename = "match")]
    pub matches: SuppressionMatch,
    /// Name of the VM, for a rule of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// Why it was made.
    pub reason: String,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether it holds.
    pub state: SuppressionState,
    /// That it hides more than one should, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broad: Option<SuppressionBreadth>,
    /// What to look at about it, in sentences: too broad, no expiry, expired and not cleared away.
    pub warnings: Vec<String>,
    /// Who made it: the name of a token.
    pub created_by: String,
    /// When.
    pub created_at: Time,
    /// Until when it holds; absent for a rule without expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Who ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// 1, and 2 once somebody has ended it; the number in the `ETag`. 0 of a service that does not say it.
    #[serde(default)]
    pub revision: u64,
    /// Alerts that it dismisses or dismissed and that are still kept.
    pub alerts: u64,
    /// When it dismissed the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_matched_at: Option<Time>,
}

/// Makes a suppression rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressionCreate {
    /// What it matches.
    #[serde(rename = "match", default)]
    pub matches: SuppressionMatch,
    /// Why.
    pub reason: String,
    /// More about it.
    #[serde(default)]
    pub comment: Option<String>,
    /// Until when it holds, at most 366 days from now. Needed, unless `no_expiry` is given.
    #[serde(default)]
    pub expires_at: Option<Time>,
    /// It shall hold until somebody ends it.
    #[serde(default)]
    pub no_expiry: bool,
    /// It is meant to be as broad as it is.
    #[serde(default)]
    pub allow_broad: bool,
}

/// Ends a suppression rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressionEnd {
    /// Why; kept in the audit log.
    #[serde(default)]
    pub comment: Option<String>,
}

/// Filters of the list of suppression rules. Rows are ordered newest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SuppressionQuery {
    /// Only rules in this state.
    pub state: Option<SuppressionState>,
    /// Only rules that name this group.
    pub group: Option<String>,
    /// Only rules that hide more than they should (true).
    pub broad: Option<bool>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Asks what a rule would have matched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressionSimulate {
    /// What the rule would match.
    #[serde(rename = "match", default)]
    pub matches: SuppressionMatch,
    /// Over alerts that were last raised at this time or later; the last 30 days when absent.
    #[serde(default)]
    pub since: Option<Time>,
}

/// What a rule would have matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuppressionSimulated {
    /// Alerts that were looked at, newest first.
    pub examined: u64,
    /// Whether there were more than that many.
    pub truncated: bool,
    /// Since when they were last raised.
    pub since: Time,
    /// Alerts that it would have hidden.
    pub matched: u64,
    /// Of them, those that are open now.
    pub open: u64,
    /// Of them, those that no routine update explains: evidence that cannot be believed, or a change of a class that
    /// attacks make.
    pub attacks: u64,
    /// Of them, those that somebody took on or resolved by hand: they mattered to somebody.
    pub handled: u64,
    /// Matched alerts by reason.
    pub by_reason: Vec<SuppressionCount>,
    /// Matched alerts by class of change; one with several counts in each.
    pub by_class: Vec<SuppressionCount>,
    /// Some of them, those that look like attacks first.
    pub sample: Vec<SuppressionSample>,
    /// That the rule would hide more than it should, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broad: Option<SuppressionBreadth>,
}

/// How often something was matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuppressionCount {
    /// Reason or class.
    pub name: String,
    /// Alerts.
    pub alerts: u64,
    /// Whether no routine update explains it.
    pub attack: bool,
}

/// An alert that a rule would have matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuppressionSample {
    /// The alert.
    pub alert_id: String,
    /// Name of its VM.
    pub vm_name: String,
    /// Group of the VM.
    pub group: String,
    /// Its reason.
    pub reason: AlertReason,
    /// What happened.
    pub message: String,
    /// Whether no routine update explains it.
    pub attack: bool,
    /// Last time it was raised.
    pub last_at: Time,
}
