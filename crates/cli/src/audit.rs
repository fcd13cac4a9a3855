//! `veriboot audit`: who changed what.

use clap::Subcommand;
use veriboot_wire::{AuditEntry, AuditVerification};

use crate::client::Client;
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Tone, short};

/// The audit log.
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// List entries, newest first
    List {
        /// The most rows to show
        #[arg(long, default_value_t = 50, value_name = "ROWS")]
        limit: usize,
    },
    /// Walk the hash chain (exit code 1 when an entry was changed or removed)
    Verify,
}

/// Runs `veriboot audit`. Gives the exit code.
pub fn run(command: AuditCommand, client: &Client, out: Output) -> Result<u8, CliError> {
    match command {
        AuditCommand::List { limit } => list(limit, client, out).map(|()| 0),
        AuditCommand::Verify => verify(client, out),
    }
}

fn list(limit: usize, client: &Client, out: Output) -> Result<(), CliError> {
    let (entries, more): (Vec<AuditEntry>, bool) = client.list("/v1/audit", &[], limit)?;
    if out.json {
        return out.print_json_list(&entries, more, limit, "entries");
    }
    let rows = entries
        .iter()
        .map(|e| {
            let detail = if e.detail.is_null() { String::new() } else { e.detail.to_string() };
            vec![
                e.sequence.to_string().into(),
                e.at.to_string().into(),
                e.actor.as_str().into(),
                e.action.as_str().into(),
                e.target.as_str().into(),
                short(&e.hash).into(),
                detail.into(),
            ]
        })
        .collect();
    out.table(&["#", "AT", "WHO", "DID", "ON", "HASH", "DETAIL"], rows, "no entries")?;
    out.more(more, limit, "entries")
}

fn verify(client: &Client, out: Output) -> Result<u8, CliError> {
    let answer: AuditVerification = client.get("/v1/audit/verify", &[])?;
    let code = if answer.intact { 0 } else { EXIT_NEGATIVE };
    if out.json {
        out.print_json(&answer)?;
        return Ok(code);
    }
    match (answer.intact, answer.broken_at) {
        (true, _) => out.line(&format!(
            "{}: {} entries, head {}",
            out.paint("intact", Tone::Good),
            answer.entries,
            answer.head.as_deref().unwrap_or("-")
        ))?,
        (false, at) => out.line(&format!(
            "{}: entry {} does not follow from the one before it",
            out.paint("broken", Tone::Bad),
            at.map_or_else(|| "?".to_owned(), |n| n.to_string())
        ))?,
    }
    Ok(code)
}
