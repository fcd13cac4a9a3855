//! `veriboot audit`: who changed what.

use clap::{Args, Subcommand};
use serde_json::Value;
use veriboot_wire::{AuditEntry, AuditVerification, counted};

use crate::client::Client;
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Tone, short};

/// The audit log.
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// List entries, newest first
    List(ListArgs),
    /// Walk the hash chain (exit code 1 when an entry was changed or removed)
    Verify,
}

/// Filters of `audit list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only what this one did: the name of a token, vm:ID, or service
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only this action; 'alert.*' for all that begin so
    #[arg(long)]
    action: Option<String>,
    /// Only on exactly this: an id, or a name where things have no ids
    #[arg(long, value_name = "ID|NAME")]
    target: Option<String>,
    /// Only entries since: a time (2026-11-21T18:04:00Z) or an age (30m, 12h, 7d)
    #[arg(long, value_name = "WHEN")]
    from: Option<String>,
    /// Only entries before: a time or an age
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// CSV for spreadsheets instead of a table
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// The most rows to show
    #[arg(long, default_value_t = 50, value_name = "ROWS")]
    limit: usize,
}

/// The most rows that one export holds.
const MAX_EXPORT_ROWS: usize = 100_000;

/// Runs `veriboot audit`. Gives the exit code.
pub fn run(command: AuditCommand, client: &Client, out: Output) -> Result<u8, CliError> {
    match command {
        AuditCommand::List(args) => list(&args, client, out).map(|()| 0),
        AuditCommand::Verify => verify(client, out),
    }
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let ListArgs { actor, action, target, from, until, csv, limit } = args;
    let limit = *limit;
    let mut query: Vec<(&str, String)> = Vec::new();
    query.extend(actor.clone().map(|v| ("actor", v)));
    query.extend(action.clone().map(|v| ("action", v)));
    query.extend(target.clone().map(|v| ("target", v)));
    for (name, when) in [("from", from), ("until", until)] {
        if let Some(when) = when {
            query.push((name, crate::moment::before(when, out.now)?.to_string()));
        }
    }
    if *csv {
        return client.print_csv("/v1/audit.csv", &query, limit.clamp(1, MAX_EXPORT_ROWS), "entry");
    }
    let (entries, more): (Vec<AuditEntry>, bool) = client.list("/v1/audit", &query, limit)?;
    if out.json {
        return out.print_json_list(&entries, more, limit, "entry");
    }
    let rows = entries
        .iter()
        .map(|e| {
            let detail = words("", &e.detail).join(", ");
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
    out.table(
        &["#", "AT", "WHO", "DID", "ON", "HASH", "DETAIL"],
        rows,
        if query.is_empty() { "no entries" } else { "no entries match" },
    )?;
    out.more(more, limit, "entry")
}

/// What a detail says, member by member: JSON without spaces fits no terminal. `--json` has it as it was hashed.
fn words(name: &str, detail: &Value) -> Vec<String> {
    let said = |value: &str| if name.is_empty() { value.to_owned() } else { format!("{name} {value}") };
    match detail {
        Value::Null => Vec::new(),
        Value::Object(members) => {
            let of =
                |member: &str| if name.is_empty() { member.to_owned() } else { format!("{name}.{member}") };
            members.iter().flat_map(|(member, value)| words(&of(member), value)).collect()
        }
        Value::Array(items) if items.is_empty() => Vec::new(),
        Value::Array(items) => vec![said(&items.iter().map(plain).collect::<Vec<_>>().join(" "))],
        Value::String(text) if text.is_empty() => Vec::new(),
        scalar => vec![said(&plain(scalar))],
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
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
            "{}: {}, head {}",
            out.paint("intact", Tone::Good),
            counted(answer.entries, "entry"),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::words;

    #[test]
    fn details_are_said_member_by_member() {
        let detail = json!({
            "comment": "patch", "scope": { "group": "shop", "id": "", "kind": "group" }, "until": null,
            "classes": ["dbx-update", "kernel-update"], "count": 3, "none": [],
        });
        let said = words("", &detail).join(", ");
        let expected =
            "classes dbx-update kernel-update, comment patch, count 3, scope.group shop, scope.kind group";
        assert_eq!(said, expected);
        assert!(words("", &json!(null)).is_empty());
        assert_eq!(words("", &json!("text")), ["text"]);
    }
}
