//! `veriboot maintenance`: times in which VMs may be silent.

use clap::{Args, Subcommand};
use veriboot_wire::{Maintenance, MaintenanceDeclare, MaintenanceState, Scope};

use crate::baseline::scope::words;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::EtagArg;
use crate::monitoring::{WhichArgs, nobody_yet};
use crate::output::{Output, Styled, Tone, cell, print_csv_list, safe};
use crate::rows::RowsArgs;

/// Maintenance windows.
#[derive(Subcommand, Debug)]
pub enum MaintenanceCommand {
    /// Say that VMs may be silent for a while: no alert `agent-silent`
    Declare(DeclareArgs),
    /// List windows, the one that was declared last first; planned and active ones unless --all or --state is given
    List(ListArgs),
    /// End a window before its time
    End {
        /// Id of the window
        window: String,
        #[command(flatten)]
        etag: EtagArg,
    },
    /// Show one window
    Show {
        /// Id of the window
        window: String,
    },
}

/// Arguments of `maintenance declare`.
#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("end").required(true).args(["length", "until"])))]
pub struct DeclareArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// When it begins: a time (2026-11-21T18:04:00Z), or how long from now (30m, 12h) [default: now]
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// How long it lasts: 30m, 2h, 3d
    #[arg(long = "for", value_name = "LENGTH", id = "length")]
    length: Option<String>,
    /// When it ends: a time (2026-11-21T18:04:00Z)
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Why
    #[arg(long, short = 'm')]
    comment: String,
}

/// Filters of `maintenance list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Also windows that are over
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// Only this state: planned, active, over
    #[arg(long)]
    state: Option<MaintenanceState>,
    /// Only windows of this group, its scale sets and its VMs
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// Runs `veriboot maintenance`.
pub fn run(command: MaintenanceCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        MaintenanceCommand::Declare(args) => declare(&args, client, out),
        MaintenanceCommand::List(args) => list(&args, client, out),
        MaintenanceCommand::End { window, etag } => {
            let path = format!("/v1/maintenance/{}/end", segment(&window));
            let nothing = serde_json::json!({});
            let window: Maintenance = client.post_if_match(&path, &nothing, etag.quoted().as_deref())?;
            said(&window, out)
        }
        MaintenanceCommand::Show { window } => {
            show(&client.get(&format!("/v1/maintenance/{}", segment(&window)), &[])?, out)
        }
    }
}

fn declare(args: &DeclareArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let scope = args.which.scope(client)?;
    let from = args.from.as_deref().map(|from| crate::moment::after(from, out.now)).transpose()?;
    let until = match (&args.length, &args.until) {
        (Some(length), _) => {
            let seconds = crate::moment::duration_s(length).ok_or_else(|| {
                CliError::usage("bad-time", format!("{length:?} is no length of time"))
                    .hint("give 30m, 2h or 3d")
            })?;
            from.unwrap_or(out.now).plus_s(seconds)
        }
        (None, until) => crate::moment::after(until.as_deref().unwrap_or_default(), out.now)?,
    };
    let request = MaintenanceDeclare { scope, from, until, comment: args.comment.clone() };
    let window: Maintenance = client.post("/v1/maintenance", &request)?;
    said(&window, out)
}

fn said(window: &Maintenance, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(window);
    }
    let what = safe(&words(&window.scope, window.vm_name.as_deref()));
    out.line(&match window.state {
        MaintenanceState::Over => match window.ended_at {
            Some(at) if at < window.from => {
                format!("maintenance of {what} from {} is called off", window.from)
            }
            _ => format!("maintenance of {what} ended at {}: silence counts again", window.until),
        },
        MaintenanceState::Active | MaintenanceState::Planned => format!(
            "{what} may be silent from {} until {}, and for one silence limit after that ({})",
            window.from, window.until, window.id
        ),
    })?;
    match window.vms {
        Some(0) => out.line(&nobody_yet(&window.scope)),
        _ => Ok(()),
    }
}

fn show(window: &Maintenance, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(window);
    }
    let mut fields = vec![
        ("window", safe(&window.id)),
        ("state", out.paint(window.state.as_str(), tone(window.state))),
        ("of", safe(&words(&window.scope, window.vm_name.as_deref()))),
        ("from", window.from.to_string()),
        ("until", window.until.to_string()),
        ("why", safe(&window.comment)),
        ("declared", format!("{} by {}", window.created_at, safe(&window.created_by))),
    ];
    fields.extend(
        window
            .ended_at
            .map(|at| ("ended", format!("{at} by {}", safe(window.ended_by.as_deref().unwrap_or("-"))))),
    );
    out.fields(&fields)
}

const fn tone(state: MaintenanceState) -> Tone {
    match state {
        MaintenanceState::Planned => Tone::Plain,
        MaintenanceState::Active => Tone::Warn,
        MaintenanceState::Over => Tone::Dim,
    }
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let mut query = Vec::new();
    query.extend(args.state.map(|v| ("state", v.to_string())));
    query.extend(args.group.clone().map(|v| ("group", v)));
    let over_too = args.all || args.state.is_some();
    let (windows, more) =
        client.list_where("/v1/maintenance", &query, args.rows.limit, |window: &Maintenance| {
            over_too || window.state != MaintenanceState::Over
        })?;
    if out.json {
        return out.print_json_list(&windows, more, args.rows.limit, "window");
    }
    if args.rows.csv {
        let rows = windows.into_iter().map(|w| {
            let Scope { kind, group, id } = w.scope;
            let (from, until) = (w.from.to_string(), w.until.to_string());
            let made = [w.created_by, w.created_at.to_string(), cell(w.ended_by), cell(w.ended_at)];
            let what = [
                w.id,
                w.state.to_string(),
                kind.to_string(),
                group,
                id,
                cell(w.vm_name),
                from,
                until,
                w.comment,
            ];
            what.into_iter().chain(made).collect()
        });
        let header = [
            "id",
            "state",
            "kind",
            "group",
            "scope_id",
            "vm",
            "from",
            "until",
            "comment",
            "created_by",
            "created_at",
            "ended_by",
            "ended_at",
        ];
        return print_csv_list(&header, rows, more, args.rows.limit, "window");
    }
    let rows = windows
        .iter()
        .map(|window| {
            vec![
                window.id.as_str().into(),
                Styled::new(window.state.as_str(), tone(window.state)),
                words(&window.scope, window.vm_name.as_deref()).into(),
                window.from.to_string().into(),
                window.until.to_string().into(),
                window.created_by.as_str().into(),
                window.comment.as_str().into(),
            ]
        })
        .collect();
    let empty = if query.is_empty() { "no maintenance is declared" } else { "no maintenance window matches" };
    out.table(&["WINDOW", "STATE", "OF", "FROM", "UNTIL", "BY", "WHY"], rows, empty)?;
    out.more(more, args.rows.limit, "window")
}
