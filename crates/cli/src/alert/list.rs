//! `veriboot alert list`.

use clap::Args;
use veriboot_wire::{
    Alert, AlertReason, AlertSort, AlertState, ChangeClass, MAX_EXPORT_ROWS, Severity, Time, VmDetail,
};

use super::state_tone;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Styled, severity_tone};
use crate::rows::RowsArgs;
use crate::vm::NameArgs;

/// Which alerts.
#[derive(Args, Debug, Default)]
pub struct FilterArgs {
    /// Only this type: vm-attestation-failed, vm-appraisal-failed
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Only this reason: baseline-deviation, quote-untrusted, log-mismatch, agent-silent, endorsement-lost, appraisal-failed
    #[arg(long, alias = "alert-reason")]
    pub reason: Option<AlertReason>,
    /// Only this severity and above: info, low, medium, high, critical
    #[arg(long)]
    pub severity: Option<Severity>,
    /// Only alerts with a change of this class: kernel-update, cmdline-change, secure-boot-disabled, …
    #[arg(long)]
    pub class: Option<ChangeClass>,
    /// Only this VM (id or name)
    #[arg(long)]
    pub vm: Option<String>,
    /// Only members of this scale set
    #[arg(long, value_name = "NAME")]
    pub scale_set: Option<String>,
    /// Only this group
    #[arg(long)]
    pub group: Option<String>,
    /// Only members of this incident
    #[arg(long, value_name = "ID")]
    pub incident: Option<String>,
    /// Only alerts that were raised since: a time (2026-11-21T18:04:00Z) or an age (30m, 12h, 7d)
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
}

impl FilterArgs {
    /// Names and values of a query. A VM is looked up, as lists take its id.
    pub fn query(&self, client: &Client, now: Time) -> Result<Vec<(&'static str, String)>, CliError> {
        let mut query = Vec::new();
        if let Some(vm) = &self.vm {
            let vm: VmDetail =
                client.get(&format!("/v1/vms/{}", segment(vm)), &NameArgs::query(self.group.as_ref()))?;
            query.push(("vm", vm.summary.id));
        }
        query.extend(self.kind.clone().map(|v| ("kind", v)));
        query.extend(self.reason.map(|v| ("reason", v.to_string())));
        query.extend(self.severity.map(|v| ("severity", v.to_string())));
        query.extend(self.class.map(|v| ("class", v.to_string())));
        query.extend(self.scale_set.clone().map(|v| ("scale_set", v)));
        query.extend(self.group.clone().map(|v| ("group", v)));
        query.extend(self.incident.clone().map(|v| ("incident", v)));
        if let Some(since) = &self.since {
            query.push(("since", crate::moment::before(since, now)?.to_string()));
        }
        Ok(query)
    }
}

/// Arguments of `alert list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Also closed alerts
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only this state: active, in-progress, resolved, dismissed
    #[arg(long)]
    state: Option<AlertState>,
    /// What suppression rules dismissed
    #[arg(long, conflicts_with_all = ["all", "state"])]
    suppressed: bool,
    /// What this suppression rule dismissed
    #[arg(long, value_name = "RULE")]
    suppressed_by: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Order: newest, severity, count
    #[arg(long)]
    sort: Option<AlertSort>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// Runs it.
pub fn run(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let mut query = args.filter.query(client, out.now)?;
    query.extend(args.state.map(|v| ("state", v.to_string())));
    query.extend(args.sort.map(|v| ("sort", v.to_string())));
    query.extend(args.suppressed_by.clone().map(|v| ("suppressed_by", v)));
    if args.suppressed {
        query.push(("suppressed", "true".to_owned()));
    }
    let hidden = args.suppressed || args.suppressed_by.is_some();
    if !args.all && args.state.is_none() && !hidden {
        query.push(("open", "true".to_owned()));
    }
    if args.rows.csv {
        let limit = args.rows.limit.clamp(1, MAX_EXPORT_ROWS);
        return client.print_csv("/v1/alerts.csv", &query, limit, "alert");
    }
    let (alerts, more): (Vec<Alert>, bool) = client.list("/v1/alerts", &query, args.rows.limit)?;
    if out.json {
        return out.print_json_list(&alerts, more, args.rows.limit, "alert");
    }
    let rows = alerts.iter().map(|a| row(a, hidden, out)).collect();
    let state = if hidden { "RULE" } else { "STATE" };
    let empty = match (hidden, args.all, query.iter().all(|(name, _)| *name == "open")) {
        (true, ..) => "no suppressed alerts match",
        (false, _, false) => "no alerts match; closed ones need --all",
        (false, true, true) => "no alerts",
        (false, false, true) => "no open alerts",
    };
    out.table(&["ALERT", "VM", "REASON", "COMPONENT", state, "COUNT", "LAST", "WHAT HAPPENED"], rows, empty)?;
    let incidents: std::collections::BTreeSet<_> =
        alerts.iter().filter_map(|alert| alert.incident_id.as_deref()).collect();
    if !incidents.is_empty() && incidents.len() < alerts.len() && !hidden {
        let hint = "members of one scale set that fail alike are one incident: `veriboot incident list`";
        out.sentence("", hint)?;
    }
    out.more(more, args.rows.limit, "alert")
}

fn row(a: &Alert, hidden: bool, out: Output) -> Vec<Styled> {
    let count = match a.reopened {
        0 => a.count.to_string(),
        again => format!("{} (back {again}×)", a.count),
    };
    let state = match (&a.suppressed_by, hidden) {
        (Some(rule), true) => rule.as_str().into(),
        _ => Styled::new(a.state.as_str(), state_tone(a.state)),
    };
    vec![
        a.id.as_str().into(),
        a.vm_name.as_str().into(),
        Styled::new(a.reason.as_str(), severity_tone(a.severity)),
        a.component.as_deref().unwrap_or("-").into(),
        state,
        count.into(),
        out.ago(Some(a.last_at)).into(),
        a.message.as_str().into(),
    ]
}
