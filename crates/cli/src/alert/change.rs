//! `veriboot alert acknowledge|resolve|dismiss`: one alert, several, or all that a filter finds.

use std::io::IsTerminal as _;

use clap::Args;
use veriboot_wire::{Alert, AlertAction, AlertBulk, AlertChange, AlertFilter, AlertsChanged, counted};

use super::list::FilterArgs;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::quoted;
use crate::output::{Output, safe};

/// Moves alerts.
#[derive(Args, Debug)]
pub struct ChangeArgs {
    /// Ids of the alerts; without any, --all and filters say which
    #[arg(value_name = "ALERT", required_unless_present = "all", conflicts_with = "all")]
    alerts: Vec<String>,
    /// All open alerts that the filters find; says first how many they are
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    /// Why; kept in the alerts' timelines and in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
    /// Change nothing, and say how many it would be
    #[arg(long)]
    dry_run: bool,
    /// What you looked at, for one alert: `revision` of --json; refused when it changed since
    #[arg(long, value_name = "ETAG", conflicts_with_all = ["all", "dry_run"])]
    etag: Option<String>,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Runs it.
pub fn run(args: &ChangeArgs, action: AlertAction, client: &Client, out: Output) -> Result<(), CliError> {
    match args.alerts.as_slice() {
        [one] if !args.dry_run => single(one, args, action, client, out),
        _ if args.etag.is_some() => {
            Err(CliError::usage("one-alert", "--etag is for one alert")
                .hint("change them one after the other"))
        }
        [] => by_filter(args, action, client, out),
        several => {
            let bulk = bulk(action, args, Some(several.to_vec()), None);
            report(&client.post("/v1/alerts/bulk", &bulk)?, action, out)
        }
    }
}

fn single(
    id: &str,
    args: &ChangeArgs,
    action: AlertAction,
    client: &Client,
    out: Output,
) -> Result<(), CliError> {
    let path = format!("/v1/alerts/{}/{action}", segment(id));
    let body = AlertChange { comment: args.comment.clone() };
    let alert: Alert = client.post_if_match(&path, &body, args.etag.as_deref().map(quoted).as_deref())?;
    if out.json {
        return out.print_json(&alert);
    }
    out.line(&format!("alert {} on {} is {}", alert.id, safe(&alert.vm_name), alert.state))
}

fn bulk(
    action: AlertAction,
    args: &ChangeArgs,
    ids: Option<Vec<String>>,
    filter: Option<AlertFilter>,
) -> AlertBulk {
    let comment = args.comment.clone();
    AlertBulk { action, ids, filter, comment, dry_run: args.dry_run, expected: None }
}

fn by_filter(args: &ChangeArgs, action: AlertAction, client: &Client, out: Output) -> Result<(), CliError> {
    let query = args.filter.query(client, out.now)?;
    if query.is_empty() {
        return Err(CliError::usage("no-filter", "--all needs a filter that says which alerts")
            .hint("give --reason, --scale-set, --group, --incident or another one"));
    }
    let members = query.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    let filter: AlertFilter = serde_json::from_value(serde_json::Value::Object(members.collect()))
        .map_err(|e| CliError::usage("cannot-encode", format!("the filter cannot be sent: {e}")))?;
    let dry = AlertBulk { dry_run: true, ..bulk(action, args, None, Some(filter.clone())) };
    let found: AlertsChanged = client.post("/v1/alerts/bulk", &dry)?;
    if args.dry_run || found.matched == 0 {
        return report(&found, action, out);
    }
    if !args.yes {
        for line in &found.sample {
            eprintln!("  {}", safe(line));
        }
        confirm(&format!("{action} {}", counted(found.matched, "alert")), "nothing was changed")?;
    }
    // Exactly as many as were shown.
    let bulk = AlertBulk { expected: Some(found.matched), ..bulk(action, args, None, Some(filter)) };
    report(&client.post("/v1/alerts/bulk", &bulk)?, action, out)
}

/// Asks on a terminal; `what` is the question without its mark, in the imperative.
pub fn confirm(what: &str, otherwise: &str) -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(
            CliError::usage("not-confirmed", format!("it has to be confirmed: {what}")).hint("give --yes")
        );
    }
    eprint!("{what}? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" if read.is_ok() => Ok(()),
        _ => Err(CliError::usage("not-confirmed", otherwise.to_owned())),
    }
}

/// Says what a bulk action came to.
pub fn report(done: &AlertsChanged, action: AlertAction, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(done);
    }
    if done.dry_run {
        out.line(&format!("{} would be changed ({action})", counted(done.matched, "open alert")))?;
        for line in &done.sample {
            out.line(&format!("  {}", safe(line)))?;
        }
    } else {
        let past = match action {
            AlertAction::Acknowledge => "in progress",
            AlertAction::Resolve => "resolved",
            AlertAction::Dismiss => "dismissed",
        };
        out.line(&format!("{} {past}", counted(done.changed, "alert")))?;
    }
    if !done.skipped.is_empty() {
        let ids: Vec<_> = done.skipped.iter().map(|id| safe(id)).collect();
        out.line(&format!("no alerts, or closed already: {}", ids.join(", ")))?;
    }
    Ok(())
}
