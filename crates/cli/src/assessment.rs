//! `veriboot assessment`: what became of checks on VMs and inventory items.

use clap::{Args, Subcommand};
use veriboot_wire::{Assessment, AssessmentSort, AssessmentStatus, Severity, csv_record};

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, cut, print_csv};
use crate::rows::RowsArgs;

/// Assessments.
#[derive(Subcommand, Debug)]
pub enum AssessmentCommand {
    /// List what became of each check on each VM and inventory item
    List(ListArgs),
}

/// Filters of `assessment list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only this check: secure-boot-enabled
    #[arg(long)]
    check: Option<String>,
    /// Only this status: healthy, unhealthy, not-applicable
    #[arg(long)]
    status: Option<AssessmentStatus>,
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    /// Only members of this scale set
    #[arg(long)]
    scale_set: Option<String>,
    /// Only this VM (id or name) or inventory item (id)
    #[arg(long)]
    vm: Option<String>,
    /// Only checks of this severity: low, medium
    #[arg(long)]
    severity: Option<Severity>,
    /// Only those whose status changed since: a time (2026-11-21T18:04:00Z) or an age (30m, 12h, 7d)
    #[arg(long, value_name = "WHEN", alias = "changed-since")]
    since: Option<String>,
    /// Order: name (group, name, check) or changed (newest first)
    #[arg(long)]
    sort: Option<AssessmentSort>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// Runs `veriboot assessment`.
pub fn run(command: AssessmentCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        AssessmentCommand::List(args) => list(args, client, out),
    }
}

fn list(args: ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let limit = args.rows.limit;
    let since = args.since.as_deref().map(|since| crate::moment::before(since, out.now)).transpose()?;
    let sort = args.sort.map(|sort| match sort {
        AssessmentSort::Name => "name".to_owned(),
        AssessmentSort::Changed => "changed".to_owned(),
    });
    let query: Vec<(&str, String)> = [
        ("check", args.check),
        ("status", args.status.map(|v| v.to_string())),
        ("group", args.group),
        ("scale_set", args.scale_set),
        ("vm", args.vm),
        ("severity", args.severity.map(|v| v.to_string())),
        ("changed_since", since.map(|v| v.to_string())),
        ("sort", sort),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    let (found, more): (Vec<Assessment>, bool) = client.list("/v1/assessments", &query, limit)?;
    if out.json {
        return out.print_json_list(&found, more, limit, "assessment");
    }
    if args.rows.csv {
        let records = found.iter().map(Assessment::csv);
        let text: String = std::iter::once(csv_record(Assessment::CSV_HEADER)).chain(records).collect();
        print_csv(&text)?;
        if more {
            cut(limit, "assessment");
        }
        return Ok(());
    }
    let rows = found
        .iter()
        .map(|a| {
            vec![
                a.name.as_str().into(),
                Styled::new(&a.group, Tone::Dim),
                a.check.as_str().into(),
                Styled::new(a.status.as_str(), assessment_tone(a.status)),
                a.cause.as_deref().unwrap_or("-").into(),
                out.ago(Some(a.last_status_change_at)).into(),
                a.description.as_str().into(),
            ]
        })
        .collect();
    out.table(
        &["VM", "GROUP", "CHECK", "STATUS", "CAUSE", "SINCE", "WHAT WAS FOUND"],
        rows,
        "no assessments match",
    )?;
    out.more(more, limit, "assessment")
}

/// The tone of an outcome.
pub fn assessment_tone(status: AssessmentStatus) -> Tone {
    match status {
        AssessmentStatus::Healthy => Tone::Good,
        AssessmentStatus::Unhealthy => Tone::Warn,
        AssessmentStatus::NotApplicable => Tone::Dim,
    }
}
