//! `veriboot token`: join tokens.

use clap::{Args, Subcommand};
use veriboot_wire::{JoinToken, JoinTokenRequest, NewJoinToken};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, safe};

/// Join tokens.
#[derive(Subcommand, Debug)]
pub enum TokenCommand {
    /// Make a join token and the one-line agent install that uses it
    Create(CreateArgs),
    /// List join tokens (never their secrets)
    List {
        /// The most rows to show
        #[arg(long, default_value_t = 200, value_name = "ROWS")]
        limit: usize,
    },
    /// Make a join token useless
    Revoke {
        /// Id of the token
        token: String,
    },
}

/// Arguments of `token create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Group that VMs join [default: default]
    #[arg(long)]
    group: Option<String>,
    /// Uniform scale set that VMs join: every member is meant to boot the same
    #[arg(long)]
    scale_set: Option<String>,
    /// Image that VMs are made from: a word of your own, which baselines and profiles can be of
    #[arg(long)]
    image: Option<String>,
    /// How many VMs may join
    #[arg(long, default_value_t = 1)]
    uses: u32,
    /// Lifetime: 90s, 30m, 12h or 7d
    #[arg(long, default_value = "24h", value_parser = seconds, value_name = "TIME")]
    expires: u32,
    /// What it is for
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Parses `90s`, `30m`, `12h`, `7d`.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let unit = text.chars().last().ok_or("empty")?;
    let factor: u32 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err("give a number and s, m, h or d: 90s, 30m, 12h, 7d".to_owned()),
    };
    let number: u32 = text.trim_end_matches(unit).parse().map_err(|e| format!("{e}"))?;
    number.checked_mul(factor).ok_or_else(|| "too long".to_owned())
}

/// Runs `veriboot token`.
pub fn run(command: TokenCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        TokenCommand::Create(args) => create(args, client, out),
        TokenCommand::List { limit } => list(limit, client, out),
        TokenCommand::Revoke { token } => {
            client.delete(&format!("/v1/join-tokens/{}", segment(&token)))?;
            if out.json {
                return out.print_json(&serde_json::json!({ "revoked": token }));
            }
            out.line(&format!("join token {} is revoked", safe(&token)))
        }
    }
}

fn create(args: CreateArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let request = JoinTokenRequest {
        group: args.group,
        scale_set: args.scale_set,
        image: args.image,
        uses: Some(args.uses),
        expires_in_s: Some(args.expires),
        comment: args.comment,
    };
    let made: NewJoinToken = client.post("/v1/join-tokens", &request)?;
    if out.json {
        return out.print_json(&made);
    }
    let token = &made.token;
    let into = match &token.scale_set {
        Some(set) => format!("group {}, scale set {set}", token.group),
        None => format!("group {}", token.group),
    };
    let into = match &token.image {
        Some(image) => format!("{into}, image {image}"),
        None => into,
    };
    out.fields(&[
        ("join token", made.secret.clone()),
        ("for", into),
        ("uses", token.uses_left.to_string()),
        ("expires", token.expires_at.to_string()),
        ("id", token.id.clone()),
    ])?;
    out.line("\nThe token is shown this once. Install the agent on a Linux VM with")?;
    out.line(&format!("  {}", made.install))
}

fn list(limit: usize, client: &Client, out: Output) -> Result<(), CliError> {
    let (tokens, more): (Vec<JoinToken>, bool) = client.list("/v1/join-tokens", &[], limit)?;
    if out.json {
        return out.print_json_list(&tokens, more, limit, "token");
    }
    let rows = tokens
        .iter()
        .map(|t| {
            let state = if t.revoked {
                Styled::new("revoked", Tone::Dim)
            } else if t.expires_at <= out.now {
                Styled::new("expired", Tone::Dim)
            } else if t.uses_left == 0 {
                Styled::new("used up", Tone::Dim)
            } else {
                Styled::new("valid", Tone::Good)
            };
            vec![
                t.id.as_str().into(),
                t.group.as_str().into(),
                t.scale_set.as_deref().unwrap_or("-").into(),
                t.image.as_deref().unwrap_or("-").into(),
                state,
                t.uses_left.to_string().into(),
                t.expires_at.to_string().into(),
                t.created_by.as_str().into(),
                t.comment.as_deref().unwrap_or("").into(),
            ]
        })
        .collect();
    out.table(
        &["ID", "GROUP", "SCALE SET", "IMAGE", "STATE", "USES LEFT", "EXPIRES", "BY", "COMMENT"],
        rows,
        "no join tokens",
    )?;
    out.more(more, limit, "token")
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn lifetimes() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("7d"), Ok(604_800));
        assert!(seconds("7").is_err());
        assert!(seconds("").is_err());
        assert!(seconds("99999999d").is_err());
        assert!(seconds("-1h").is_err());
    }
}
