//! `veriboot recommendation`: checks that do not hold somewhere, and what to do.

use clap::{Args, Subcommand};
use veriboot_wire::{Assessment, Recommendation, RecommendationDetail};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, print_csv_list, safe, severity_tone};

/// Recommendations.
#[derive(Subcommand, Debug)]
pub enum RecommendationCommand {
    /// List checks that do not hold somewhere, most important first
    List(ListArgs),
    /// Show one: why it matters, what to do, and the VMs that it is about
    Show(ShowArgs),
}

/// Arguments of `recommendation list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    place: Place,
    /// CSV for spreadsheets instead of a table
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// Whose recommendations.
#[derive(Args, Debug)]
pub struct Place {
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    /// Only members of this scale set of the group
    #[arg(long, requires = "group")]
    scale_set: Option<String>,
}

impl Place {
    fn query(&self) -> Vec<(&'static str, String)> {
        let group = self.group.clone().map(|v| ("group", v));
        group.into_iter().chain(self.scale_set.clone().map(|v| ("scale_set", v))).collect()
    }
}

/// One recommendation.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Id of the check: secure-boot-enabled
    check: String,
    #[command(flatten)]
    place: Place,
    /// Only commands of this platform: azure, gcp, aws, libvirt, proxmox, hyper-v, linux, windows, veriboot
    #[arg(long, value_parser = platform)]
    platform: Option<String>,
    /// The most VMs to show
    #[arg(long, default_value_t = 200, value_name = "ROWS")]
    limit: usize,
}

/// A platform that some check has a command for.
fn platform(text: &str) -> Result<String, String> {
    let checks = veriboot_posture::checks().iter();
    let mut known: Vec<&str> =
        checks.flat_map(|c| &c.remediation.commands).map(|command| command.platform.as_str()).collect();
    known.sort_unstable();
    known.dedup();
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("no check has commands of this platform; there are {}", known.join(", ")))
}

/// Runs `veriboot recommendation`.
pub fn run(command: RecommendationCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        RecommendationCommand::List(args) => list(&args, client, out),
        RecommendationCommand::Show(args) => show(&args, client, out),
    }
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let place = &args.place;
    let found: Vec<Recommendation> = client.get("/v1/recommendations", &place.query())?;
    if out.json {
        return out.print_json(&found);
    }
    if args.csv {
        let count = found.len();
        let rows = found.into_iter().map(|r| {
            let causes: Vec<String> = r.causes.iter().map(|c| format!("{} {}", c.count, c.cause)).collect();
            let counts = [r.counts.unhealthy, r.counts.healthy, r.counts.not_applicable]
                .map(|count| count.to_string());
            let head = [r.check, r.severity.to_string(), r.weight.to_string()];
            head.into_iter().chain(counts).chain([causes.join(", "), r.title]).collect()
        });
        let header =
            ["check", "severity", "weight", "unhealthy", "healthy", "not_applicable", "causes", "title"];
        return print_csv_list(&header, rows, false, count, "recommendation");
    }
    let empty = match (&place.group, &place.scale_set) {
        (None, _) => "no recommendations: every check that applies holds".to_owned(),
        (Some(group), None) => format!(
            "no recommendations in group {}: every check that applies holds, or nothing there was assessed",
            safe(group)
        ),
        (Some(group), Some(set)) => format!(
            "no recommendations for scale set {} of group {}: every check that applies holds, or nothing there was assessed",
            safe(set),
            safe(group)
        ),
    };
    let rows = found
        .iter()
        .map(|r| {
            let applies = r.counts.unhealthy + r.counts.healthy;
            let causes: Vec<String> = r.causes.iter().map(|c| format!("{} {}", c.count, c.cause)).collect();
            vec![
                r.check.as_str().into(),
                Styled::new(r.severity.as_str(), severity_tone(r.severity)),
                format!("{} of {applies}", r.counts.unhealthy).into(),
                Styled::new(causes.join(", "), Tone::Dim),
                r.title.as_str().into(),
            ]
        })
        .collect();
    out.table(&["CHECK", "SEVERITY", "UNHEALTHY", "BECAUSE", "WHAT IT WANTS"], rows, &empty)
}

fn show(args: &ShowArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let path = format!("/v1/recommendations/{}", segment(&args.check));
    let mut detail: RecommendationDetail = page(args, &path, None, args.limit, client)?;
    while let Some(cursor) = detail.resources.next_cursor.take() {
        let left = args.limit.saturating_sub(detail.resources.items.len());
        if left == 0 {
            detail.resources.next_cursor = Some(cursor);
            break;
        }
        let more = page(args, &path, Some(cursor), left, client)?;
        detail.resources.items.extend(more.resources.items);
        detail.resources.next_cursor = more.resources.next_cursor;
    }
    if out.json {
        return out.print_json(&detail);
    }
    people(args, &detail, out)
}

fn page(
    args: &ShowArgs,
    path: &str,
    cursor: Option<String>,
    rows: usize,
    client: &Client,
) -> Result<RecommendationDetail, CliError> {
    let mut query = args.place.query();
    query.push(("limit", rows.clamp(1, 1000).to_string()));
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    client.get(path, &query)
}

fn people(args: &ShowArgs, detail: &RecommendationDetail, out: Output) -> Result<(), CliError> {
    let (recommendation, check) = (&detail.recommendation, &detail.document);
    let counts = &recommendation.counts;
    let severity = out.paint(check.severity.as_str(), severity_tone(check.severity));
    out.line(&format!("{}: {}", check.id, safe(&check.title)))?;
    out.sentence("", &safe(&check.description))?;
    out.line("")?;
    out.fields(&[
        ("severity", severity),
        ("applies to", safe(&check.applies_to)),
        ("unhealthy", format!("{} of {}", counts.unhealthy, counts.unhealthy + counts.healthy)),
        ("not applicable", counts.not_applicable.to_string()),
    ])?;
    out.line("\nWhat to do")?;
    out.sentence("  ", &safe(&check.remediation.text))?;
    let wanted = |platform: &str| args.platform.as_deref().is_none_or(|p| p == platform);
    let mut commands = check.remediation.commands.iter().filter(|c| wanted(&c.platform)).peekable();
    if let (None, Some(platform)) = (commands.peek(), &args.platform) {
        out.line(&format!("  there is no command of {} for this check", safe(platform)))?;
    }
    for command in commands {
        out.line(&format!("  {:<9} {}", command.platform, safe(&command.command)))?;
    }
    out.line("")?;
    let empty = match counts.unhealthy + counts.healthy {
        0 => "it applies to nothing here",
        _ => "it holds wherever it applies",
    };
    table(&detail.resources.items, empty, out)?;
    if detail.resources.next_cursor.is_some() {
        out.line(&format!("… more than {}: raise --limit or filter", args.limit))?;
    }
    Ok(())
}

fn table(affected: &[Assessment], empty: &str, out: Output) -> Result<(), CliError> {
    let rows = affected
        .iter()
        .map(|a| {
            vec![
                a.name.as_str().into(),
                Styled::new(&a.group, Tone::Dim),
                a.resource_kind.as_str().into(),
                a.cause.as_deref().unwrap_or("-").into(),
                out.ago(Some(a.last_status_change_at)).into(),
                a.description.as_str().into(),
            ]
        })
        .collect();
    out.table(&["VM", "GROUP", "KIND", "CAUSE", "SINCE", "WHAT WAS FOUND"], rows, empty)
}
