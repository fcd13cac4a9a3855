//! `veriboot notify deliveries` and `veriboot notify replay`.

use clap::Args;
use veriboot_wire::{Delivery, DeliveryState, Replay, Replayed, counted};

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, cell, print_csv_list};
use crate::rows::RowsArgs;

/// Filters of `notify deliveries`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only what was given up
    #[arg(long, conflicts_with = "state")]
    dead: bool,
    /// Only this state: waiting, delivered, dead
    #[arg(long)]
    state: Option<DeliveryState>,
    /// Only this target
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// What `notify replay` queues again.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Only of this target [default: of all]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only this event, by its sequence number [default: all]
    #[arg(long, value_name = "SEQUENCE")]
    event: Option<u64>,
}

fn tone(state: DeliveryState) -> Tone {
    match state {
        DeliveryState::Delivered => Tone::Good,
        DeliveryState::Waiting => Tone::Warn,
        DeliveryState::Dead => Tone::Bad,
    }
}

/// Runs `notify deliveries`.
pub fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let state = if args.dead { Some(DeliveryState::Dead) } else { args.state };
    let mut query = Vec::new();
    query.extend(state.map(|v| ("state", v.to_string())));
    query.extend(args.target.clone().map(|v| ("target", v)));
    let (rows, more): (Vec<Delivery>, bool) =
        client.list("/v1/notification-deliveries", &query, args.rows.limit)?;
    if out.json {
        return out.print_json_list(&rows, more, args.rows.limit, "delivery");
    }
    if args.rows.csv {
        let rows = rows.into_iter().map(|d| {
            let what = d.event.summary();
            let event = [d.event.sequence.to_string(), d.event.at.to_string(), d.event.kind];
            let told = [d.target, d.state.to_string(), d.attempts.to_string(), d.queued_at.to_string()];
            event.into_iter().chain(told).chain([cell(d.last_at), cell(d.last_error), what]).collect()
        });
        let header = [
            "event",
            "at",
            "kind",
            "target",
            "state",
            "attempts",
            "queued_at",
            "last_at",
            "last_error",
            "what",
        ];
        return print_csv_list(&header, rows, more, args.rows.limit, "delivery");
    }
    let shown = rows
        .iter()
        .map(|d| {
            let what = match (&d.last_error, d.state) {
                (Some(error), DeliveryState::Waiting | DeliveryState::Dead) => {
                    format!("{} — {error}", d.event.summary())
                }
                _ => d.event.summary(),
            };
            vec![
                d.event.sequence.to_string().into(),
                d.target.as_str().into(),
                Styled::new(d.state.as_str(), tone(d.state)),
                d.attempts.to_string().into(),
                out.ago(d.last_at).into(),
                d.event.kind.as_str().into(),
                what.into(),
            ]
        })
        .collect();
    let empty = match (state, query.is_empty()) {
        (Some(DeliveryState::Dead), _) => "nothing was given up",
        (_, true) => "no deliveries",
        (_, false) => "no deliveries match",
    };
    out.table(&["EVENT", "TARGET", "STATE", "ATTEMPTS", "LAST", "KIND", "WHAT"], shown, empty)?;
    out.more(more, args.rows.limit, "delivery")
}

/// Runs `notify replay`.
pub fn replay(args: ReplayArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let request = Replay { target: args.target, sequence: args.event };
    let replayed: Replayed = client.post("/v1/notification-deliveries/replay", &request)?;
    if out.json {
        return out.print_json(&replayed);
    }
    match replayed.queued {
        0 => out.line("nothing was given up that could be told again"),
        n => out.line(&format!("{} queued again", counted(n, "delivery"))),
    }
}
