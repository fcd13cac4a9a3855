//! `veriboot incident`: members of a scale set that fail alike.

use clap::{Args, Subcommand};
use veriboot_wire::{
    AlertAction, AlertChange, AlertReason, AlertsChanged, ChangeClass, Incident, IncidentMember,
    IncidentSort, IncidentState, counted, csv_record,
};

use crate::alert::{confirm, report, state_tone};
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::{EtagArg, quoted};
use crate::output::{Output, Styled, Tone, cut, print_csv, safe, severity_tone};
use crate::rows::RowsArgs;

/// Incidents.
#[derive(Subcommand, Debug)]
pub enum IncidentCommand {
    /// List incidents; only open ones unless --all or --state is given
    List(ListArgs),
    /// Show one incident with its members
    Show(ShowArgs),
    /// Say that somebody works on all of its alerts
    #[command(alias = "ack")]
    Acknowledge(ChangeArgs),
    /// Close all of its alerts because their cause is gone
    Resolve(ChangeArgs),
    /// Close all of its alerts on purpose although their cause may remain
    Dismiss(ChangeArgs),
}

/// Filters of `incident list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Also closed incidents
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only this state: open, closed
    #[arg(long)]
    state: Option<IncidentState>,
    /// Only this reason: baseline-deviation, quote-untrusted, log-mismatch, agent-silent, endorsement-lost, appraisal-failed
    #[arg(long, alias = "alert-reason")]
    reason: Option<AlertReason>,
    /// Only changes of this class: kernel-update, cmdline-change, …
    #[arg(long)]
    class: Option<ChangeClass>,
    /// Only this scale set
    #[arg(long, value_name = "NAME")]
    scale_set: Option<String>,
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    /// Only incidents that began since: a time (2026-11-21T18:04:00Z) or an age (30m, 12h, 7d)
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Order: newest (by when it began), or active (by when one of its alerts was raised last) [default: newest]
    #[arg(long)]
    sort: Option<IncidentSort>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// Arguments of `incident show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Id of the incident
    incident: String,
    /// The most members to show
    #[arg(long, default_value_t = 50, value_name = "ROWS")]
    limit: usize,
}

/// Moves all alerts of one incident.
#[derive(Args, Debug)]
pub struct ChangeArgs {
    /// Id of the incident
    incident: String,
    /// Why; kept in the alerts' timelines and in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
    #[command(flatten)]
    etag: EtagArg,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Runs `veriboot incident`.
pub fn run(command: IncidentCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        IncidentCommand::List(args) => list(&args, client, out),
        IncidentCommand::Show(args) => show(&args, client, out),
        IncidentCommand::Acknowledge(args) => change(&args, AlertAction::Acknowledge, client, out),
        IncidentCommand::Resolve(args) => change(&args, AlertAction::Resolve, client, out),
        IncidentCommand::Dismiss(args) => change(&args, AlertAction::Dismiss, client, out),
    }
}

const fn tone(state: IncidentState) -> Tone {
    match state {
        IncidentState::Open => Tone::Bad,
        IncidentState::Closed => Tone::Good,
    }
}

fn classes(incident: &Incident) -> String {
    incident.classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(", ")
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let state = args.state.or((!args.all).then_some(IncidentState::Open));
    let mut query = Vec::new();
    query.extend(state.map(|v| ("state", v.to_string())));
    query.extend(args.reason.map(|v| ("reason", v.to_string())));
    query.extend(args.class.map(|v| ("class", v.to_string())));
    query.extend(args.scale_set.clone().map(|v| ("scale_set", v)));
    query.extend(args.group.clone().map(|v| ("group", v)));
    if let Some(since) = &args.since {
        query.push(("since", crate::moment::before(since, out.now)?.to_string()));
    }
    query.extend(args.sort.map(|v| ("sort", v.to_string())));
    let (incidents, more): (Vec<Incident>, bool) = client.list("/v1/incidents", &query, args.rows.limit)?;
    if out.json {
        return out.print_json_list(&incidents, more, args.rows.limit, "incident");
    }
    if args.rows.csv {
        csv(&incidents)?;
        if more {
            cut(args.rows.limit, "incident");
        }
        return Ok(());
    }
    let rows = incidents
        .iter()
        .map(|i| {
            vec![
                i.id.as_str().into(),
                Styled::new(i.state.as_str(), tone(i.state)),
                format!("{}/{}", i.group, i.scale_set).into(),
                Styled::new(i.reason.as_str(), severity_tone(i.severity)),
                format!("{} of {}", i.open, i.members).into(),
                out.ago(Some(i.first_at)).into(),
                i.message.as_str().into(),
            ]
        })
        .collect();
    out.table(
        &["INCIDENT", "STATE", "SCALE SET", "REASON", "OPEN", "SINCE", "WHAT HAPPENED"],
        rows,
        match (query.iter().all(|(name, _)| ["state", "sort"].contains(name)), state) {
            (true, Some(IncidentState::Open)) => "no open incidents",
            (true, _) => "no incidents",
            (false, Some(IncidentState::Open)) => "no incidents match; closed ones need --all",
            (false, _) => "no incidents match",
        },
    )?;
    out.more(more, args.rows.limit, "incident")
}

fn csv(incidents: &[Incident]) -> Result<(), CliError> {
    let mut text = csv_record(Incident::CSV_HEADER);
    incidents.iter().for_each(|incident| text.push_str(&incident.csv()));
    print_csv(&text)
}

fn show(args: &ShowArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let path = format!("/v1/incidents/{}", segment(&args.incident));
    let i: Incident = client.get(&path, &[])?;
    let (members, more): (Vec<IncidentMember>, bool) =
        client.list(&format!("{path}/members"), &[], args.limit)?;
    if out.json {
        return out.print_json(&serde_json::json!({ "incident": i, "members": members, "more": more }));
    }
    out.sentence("", &format!("{}: {}", safe(&i.title), safe(&i.message)))?;
    out.line("")?;
    let mut fields = vec![
        ("incident", i.id.clone()),
        ("scale set", format!("{} in group {}", safe(&i.scale_set), safe(&i.group))),
        ("state", out.paint(i.state.as_str(), tone(i.state))),
        ("reason", i.reason.to_string()),
        ("severity", out.paint(i.severity.as_str(), severity_tone(i.severity))),
        ("alerts", format!("{} open of {}", i.open, i.members)),
        ("findings", i.codes.iter().map(|code| safe(code)).collect::<Vec<_>>().join(", ")),
    ];
    if !i.classes.is_empty() {
        fields.push(("changes", classes(&i)));
    }
    let techniques = i.techniques.iter().map(|t| format!("{} {}", safe(&t.id), safe(&t.name)));
    fields.push(("ATT&CK", techniques.collect::<Vec<_>>().join("; ")));
    fields.push(("first", format!("{} ({})", i.first_at, out.ago(Some(i.first_at)))));
    fields.push(("last member", format!("{} ({})", i.last_at, out.ago(Some(i.last_at)))));
    fields.extend(i.closed_at.map(|at| ("closed", at.to_string())));
    fields.retain(|(_, value)| !value.is_empty());
    out.fields(&fields)?;
    out.line("")?;
    let rows = members
        .iter()
        .map(|m| {
            vec![
                m.vm_name.as_str().into(),
                Styled::new(m.state.as_str(), state_tone(m.state)),
                m.count.to_string().into(),
                out.ago(Some(m.last_at)).into(),
                m.alert_id.as_str().into(),
            ]
        })
        .collect();
    out.table(&["VM", "STATE", "COUNT", "LAST", "ALERT"], rows, "no members: their VMs were deleted")?;
    if more {
        out.line(&format!("… more than {}: raise --limit", counted(args.limit, "member")))?;
    }
    out.line("\n`veriboot alert show ALERT` says what to do; `incident acknowledge|resolve|dismiss` acts on all of them")
}

fn change(args: &ChangeArgs, action: AlertAction, client: &Client, out: Output) -> Result<(), CliError> {
    let path = format!("/v1/incidents/{}", segment(&args.incident));
    let mut etag = args.etag.quoted();
    if !args.yes {
        let i: Incident = client.get(&path, &[])?;
        // What is asked about is what is changed.
        etag = etag.or(i.etag.as_deref().map(quoted));
        let what = format!("{action} {} of {}", counted(i.open, "open alert"), safe(&i.scale_set));
        confirm(&what, "nothing was changed")?;
    }
    let body = AlertChange { comment: args.comment.clone() };
    let done: AlertsChanged = client.post_if_match(&format!("{path}/{action}"), &body, etag.as_deref())?;
    report(&done, action, out)
}
