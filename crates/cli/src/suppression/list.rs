//! `veriboot suppression list`.

use clap::Args;
use veriboot_wire::{Suppression, SuppressionState, csv_record};

use super::{tone, words};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, cut, print_csv};
use crate::rows::RowsArgs;

/// Filters of `suppression list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Also rules that were ended
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only this state: active, expired, ended
    #[arg(long)]
    state: Option<SuppressionState>,
    /// Only rules that name this group
    #[arg(long)]
    group: Option<String>,
    /// Only rules that hide more than they should
    #[arg(long)]
    broad: bool,
    #[command(flatten)]
    rows: RowsArgs,
}

/// Runs it.
pub fn run(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let mut query = Vec::new();
    query.extend(args.state.map(|v| ("state", v.to_string())));
    query.extend(args.group.clone().map(|v| ("group", v)));
    if args.broad {
        query.push(("broad", "true".to_owned()));
    }
    let ended_too = args.all || args.state.is_some();
    let (rules, more) =
        client.list_where("/v1/suppressions", &query, args.rows.limit, |rule: &Suppression| {
            ended_too || rule.state != SuppressionState::Ended
        })?;
    if out.json {
        return out.print_json_list(&rules, more, args.rows.limit, "rule");
    }
    if args.rows.csv {
        csv(&rules)?;
        if more {
            cut(args.rows.limit, "rule");
        }
        return Ok(());
    }
    let rows = rules
        .iter()
        .map(|rule| {
            let until = match (rule.state, rule.expires_at) {
                (SuppressionState::Active, Some(at)) => at.to_string(),
                (SuppressionState::Active, None) => "for ever".to_owned(),
                (_, _) => "-".to_owned(),
            };
            let warned = if rule.warnings.is_empty() { Tone::Plain } else { Tone::Warn };
            let why = match rule.warnings.is_empty() {
                true => rule.reason.clone(),
                false => format!("{} (! {})", rule.reason, rule.warnings.join("; ")),
            };
            vec![
                rule.id.as_str().into(),
                Styled::new(rule.state.as_str(), tone(rule.state)),
                words(&rule.matches, rule.vm_name.as_deref()).into(),
                until.into(),
                rule.alerts.to_string().into(),
                rule.created_by.as_str().into(),
                Styled::new(why, warned),
            ]
        })
        .collect();
    let empty = if query.is_empty() { "no suppression rules" } else { "no suppression rules match" };
    out.table(&["RULE", "STATE", "HIDES", "UNTIL", "HID", "BY", "WHY"], rows, empty)?;
    out.more(more, args.rows.limit, "rule")
}

fn csv(rules: &[Suppression]) -> Result<(), CliError> {
    let mut text = csv_record([
        "id",
        "state",
        "type",
        "alert_reason",
        "classes",
        "vm",
        "vm_id",
        "scale_set",
        "group",
        "reason",
        "comment",
        "broad",
        "created_by",
        "created_at",
        "expires_at",
        "ended_by",
        "ended_at",
        "alerts",
    ]);
    for rule in rules {
        let m = &rule.matches;
        let time = |at: Option<veriboot_wire::Time>| at.map(|at| at.to_string()).unwrap_or_default();
        let text_of = |text: &Option<String>| text.clone().unwrap_or_default();
        let cells = [
            rule.id.clone(),
            rule.state.to_string(),
            text_of(&m.kind),
            m.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            m.classes.iter().map(|class| class.as_str()).collect::<Vec<_>>().join(" "),
            text_of(&rule.vm_name),
            text_of(&m.vm),
            text_of(&m.scale_set),
            text_of(&m.group),
            rule.reason.clone(),
            text_of(&rule.comment),
            rule.broad.map(|broad| broad.to_string()).unwrap_or_default(),
            rule.created_by.clone(),
            rule.created_at.to_string(),
            time(rule.expires_at),
            text_of(&rule.ended_by),
            time(rule.ended_at),
            rule.alerts.to_string(),
        ];
        text.push_str(&csv_record(cells.iter().map(String::as_str)));
    }
    print_csv(&text)
}
