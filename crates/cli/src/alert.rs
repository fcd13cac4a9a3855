//! `veriboot alert`: what needs attention.

use clap::{Args, Subcommand};
use veriboot_wire::{Alert, AlertChange, AlertReason, AlertState};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, safe, severity_tone};
use crate::vm::NameArgs;

/// Alerts.
#[derive(Subcommand, Debug)]
pub enum AlertCommand {
    /// List alerts, newest first; only open ones unless --all or --state is given
    List(ListArgs),
    /// Show one alert with its findings, remediation and history
    Show {
        /// Id of the alert
        alert: String,
    },
    /// Say that somebody works on an alert
    Acknowledge(ChangeArgs),
    /// Close an alert because its cause is gone
    Resolve(ChangeArgs),
    /// Close an alert on purpose although its cause may remain
    Dismiss(ChangeArgs),
}

/// Filters of `alert list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Also closed alerts
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only this state: active, in-progress, resolved, dismissed
    #[arg(long)]
    state: Option<AlertState>,
    /// Only this reason: baseline-deviation, quote-untrusted, log-mismatch, agent-silent, endorsement-lost
    #[arg(long)]
    reason: Option<AlertReason>,
    /// Only this VM (id or name)
    #[arg(long)]
    vm: Option<String>,
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    /// The most rows to show
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    limit: usize,
}

/// Moves one alert.
#[derive(Args, Debug)]
pub struct ChangeArgs {
    /// Id of the alert
    alert: String,
    /// Why; kept in the alert's timeline and in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Runs `veriboot alert`.
pub fn run(command: AlertCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        AlertCommand::List(args) => list(&args, client, out),
        AlertCommand::Show { alert } => {
            show(&client.get(&format!("/v1/alerts/{}", segment(&alert)), &[])?, out)
        }
        AlertCommand::Acknowledge(args) => change(&args, "acknowledge", client, out),
        AlertCommand::Resolve(args) => change(&args, "resolve", client, out),
        AlertCommand::Dismiss(args) => change(&args, "dismiss", client, out),
    }
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let mut query = Vec::new();
    if let Some(vm) = &args.vm {
        let vm: veriboot_wire::VmDetail =
            client.get(&format!("/v1/vms/{}", segment(vm)), &NameArgs::query(args.group.as_ref()))?;
        query.push(("vm", vm.summary.id));
    }
    query.extend(args.group.clone().map(|v| ("group", v)));
    query.extend(args.reason.map(|v| ("reason", v.to_string())));
    query.extend(args.state.map(|v| ("state", v.to_string())));
    if !args.all && args.state.is_none() {
        query.push(("open", "true".to_owned()));
    }
    let (alerts, more): (Vec<Alert>, bool) = client.list("/v1/alerts", &query, args.limit)?;
    if out.json {
        return out.print_json(&alerts);
    }
    let rows = alerts
        .iter()
        .map(|a| {
            vec![
                a.id.as_str().into(),
                a.vm_name.as_str().into(),
                Styled::new(a.reason.as_str(), severity_tone(a.severity)),
                a.component.as_deref().unwrap_or("-").into(),
                Styled::new(a.state.as_str(), state_tone(a.state)),
                a.count.to_string().into(),
                out.ago(Some(a.last_at)).into(),
                a.message.as_str().into(),
            ]
        })
        .collect();
    out.table(
        &["ALERT", "VM", "REASON", "COMPONENT", "STATE", "COUNT", "LAST", "WHAT HAPPENED"],
        rows,
        "no open alerts",
    )?;
    if more {
        out.line(&format!("… more than {} alerts: raise --limit or filter", args.limit))?;
    }
    Ok(())
}

fn state_tone(state: AlertState) -> Tone {
    match state {
        AlertState::Active => Tone::Bad,
        AlertState::InProgress => Tone::Warn,
        AlertState::Resolved => Tone::Good,
        AlertState::Dismissed => Tone::Dim,
    }
}

fn show(alert: &Alert, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(alert);
    }
    out.line(&format!("{}: {}", safe(&alert.title), safe(&alert.message)))?;
    out.line("")?;
    let mut fields = vec![
        ("alert", alert.id.clone()),
        ("VM", format!("{} ({})", safe(&alert.vm_name), alert.vm_id)),
        ("reason", alert.reason.to_string()),
        ("severity", out.paint(alert.severity.as_str(), severity_tone(alert.severity))),
        ("state", out.paint(alert.state.as_str(), state_tone(alert.state))),
        ("component", alert.component.as_deref().map_or_else(|| "-".to_owned(), safe)),
        ("raised", format!("{} × since {}", alert.count, alert.first_at)),
        ("last", alert.last_at.to_string()),
    ];
    if let Some(id) = &alert.attestation_id {
        fields.push(("attestation", id.clone()));
    }
    out.fields(&fields)?;
    out.line("\nFindings")?;
    out.findings(&alert.findings)?;
    out.line(&format!("\nWhat to do\n  {}", safe(&alert.remediation)))?;
    out.line("\nTimeline")?;
    for event in &alert.timeline {
        let comment = event.comment.as_deref().map(|c| format!(": {}", safe(c))).unwrap_or_default();
        out.line(&format!("  {}  {} by {}{comment}", event.at, event.state, safe(&event.by)))?;
    }
    Ok(())
}

fn change(args: &ChangeArgs, verb: &str, client: &Client, out: Output) -> Result<(), CliError> {
    let path = format!("/v1/alerts/{}/{verb}", segment(&args.alert));
    let alert: Alert = client.post(&path, &AlertChange { comment: args.comment.clone() })?;
    if out.json {
        return out.print_json(&alert);
    }
    out.line(&format!("alert {} on {} is {}", alert.id, safe(&alert.vm_name), alert.state))
}
