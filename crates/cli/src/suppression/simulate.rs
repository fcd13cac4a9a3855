//! `veriboot suppression simulate`.

use clap::Args;
use veriboot_wire::{SuppressionSimulate, SuppressionSimulated, counted};

use super::{MatchArgs, words};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone};

/// Arguments of `suppression simulate`.
#[derive(Args, Debug)]
pub struct SimulateArgs {
    #[command(flatten)]
    matches: MatchArgs,
    /// Over alerts that were raised since: a time (2026-11-21T18:04:00Z) or an age (12h, 7d) [default: 30d]
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
}

/// Runs it.
pub fn run(args: &SimulateArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let since = args.since.as_deref().map(|since| crate::moment::before(since, out.now)).transpose()?;
    let request = SuppressionSimulate { matches: args.matches.matches(), since };
    let seen: SuppressionSimulated = client.post("/v1/suppressions/simulate", &request)?;
    if out.json {
        return out.print_json(&seen);
    }
    out.line(&format!(
        "A rule for {} would have hidden",
        words(&request.matches, args.matches.vm.as_deref())
    ))?;
    out.line(&format!("  {} of {} since {}", seen.matched, counted(seen.examined, "alert"), seen.since))?;
    out.line(&format!("  {} of them are open now", seen.open))?;
    out.line(&format!("  {} of them somebody took on or resolved by hand", seen.handled))?;
    let attacks = format!("{} of them no routine update explains", seen.attacks);
    out.line(&format!("  {}", out.paint(&attacks, if seen.attacks > 0 { Tone::Bad } else { Tone::Good })))?;
    if seen.truncated {
        out.line("  only the newest were looked at: there are more")?;
    }
    if let Some(broad) = seen.broad {
        out.line(
            &out.paint(&format!("warning: too broad ({broad}); `create` needs --allow-broad"), Tone::Warn),
        )?;
    }
    if !seen.by_class.is_empty() || !seen.by_reason.is_empty() {
        out.line("")?;
        let rows = seen
            .by_reason
            .iter()
            .map(|count| ("reason", count))
            .chain(seen.by_class.iter().map(|count| ("change", count)))
            .map(|(what, count)| {
                let (said, tone) =
                    if count.attack { ("never", Tone::Bad) } else { ("may do this", Tone::Plain) };
                vec![
                    what.into(),
                    count.name.as_str().into(),
                    count.alerts.to_string().into(),
                    Styled::new(said, tone),
                ]
            })
            .collect();
        out.table(&["BY", "NAME", "ALERTS", "ROUTINE UPDATES"], rows, "")?;
    }
    if !seen.sample.is_empty() {
        out.line("")?;
        let rows = seen
            .sample
            .iter()
            .map(|alert| {
                let tone = if alert.attack { Tone::Bad } else { Tone::Plain };
                vec![
                    alert.alert_id.as_str().into(),
                    format!("{}/{}", alert.group, alert.vm_name).into(),
                    Styled::new(alert.reason.as_str(), tone),
                    out.ago(Some(alert.last_at)).into(),
                    alert.message.as_str().into(),
                ]
            })
            .collect();
        out.table(&["ALERT", "VM", "REASON", "LAST", "WHAT HAPPENED"], rows, "")?;
    }
    Ok(())
}
