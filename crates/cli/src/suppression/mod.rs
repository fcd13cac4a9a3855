//! `veriboot suppression`: rules that dismiss alerts. One file per question.

mod create;
mod list;
mod simulate;

use clap::{Args, Subcommand};
use veriboot_wire::{
    AlertReason, ChangeClass, Suppression, SuppressionEnd, SuppressionMatch, SuppressionState, counted,
};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::EtagArg;
use crate::output::{Output, Tone, safe};

/// Suppression rules.
#[derive(Subcommand, Debug)]
pub enum SuppressionCommand {
    /// List rules, newest first; active and expired ones unless --all or --state is given
    List(list::ListArgs),
    /// Show one rule
    Show {
        /// Id of the rule
        rule: String,
    },
    /// Make a rule; try it with `suppression simulate` first
    Create(create::CreateArgs),
    /// Ask what a rule would have hidden in the last weeks
    Simulate(simulate::SimulateArgs),
    /// End a rule: where the cause persists, the next failing attestation opens the alert again
    End(EndArgs),
}

/// Arguments of `suppression end`.
#[derive(Args, Debug)]
pub struct EndArgs {
    /// Id of the rule
    rule: String,
    #[command(flatten)]
    etag: EtagArg,
    /// Why; kept in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// What a rule matches: everything that is given must hold.
#[derive(Args, Debug)]
pub struct MatchArgs {
    /// Alerts of this type: vm-attestation-failed, vm-appraisal-failed
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Alerts with this reason: baseline-deviation, quote-untrusted, log-mismatch, agent-silent, endorsement-lost, appraisal-failed
    #[arg(long, value_name = "REASON")]
    alert_reason: Option<AlertReason>,
    /// Only changes of this class; may be given several times. An alert that shows anything beside them is not hidden
    #[arg(long = "class", value_name = "CLASS")]
    classes: Vec<ChangeClass>,
    /// One VM, by id or name
    #[arg(long)]
    vm: Option<String>,
    /// Members of this scale set
    #[arg(long, value_name = "NAME")]
    scale_set: Option<String>,
    /// VMs of this group
    #[arg(long)]
    group: Option<String>,
}

impl MatchArgs {
    fn matches(&self) -> SuppressionMatch {
        SuppressionMatch {
            kind: self.kind.clone(),
            reason: self.alert_reason,
            classes: self.classes.clone(),
            vm: self.vm.clone(),
            scale_set: self.scale_set.clone(),
            group: self.group.clone(),
        }
    }
}

/// Runs `veriboot suppression`.
pub fn run(command: SuppressionCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        SuppressionCommand::List(args) => list::run(&args, client, out),
        SuppressionCommand::Show { rule } => {
            let rule: Suppression = client.get(&format!("/v1/suppressions/{}", segment(&rule)), &[])?;
            show(&rule, out)
        }
        SuppressionCommand::Create(args) => create::run(&args, client, out),
        SuppressionCommand::Simulate(args) => simulate::run(&args, client, out),
        SuppressionCommand::End(args) => {
            let path = format!("/v1/suppressions/{}/end", segment(&args.rule));
            let (request, tag) = (SuppressionEnd { comment: args.comment }, args.etag.quoted());
            let rule: Suppression = client.post_if_match(&path, &request, tag.as_deref())?;
            if out.json {
                return out.print_json(&rule);
            }
            out.line(&format!("rule {} is ended; what it hid stays dismissed until it fails again", rule.id))
        }
    }
}

const fn tone(state: SuppressionState) -> Tone {
    match state {
        SuppressionState::Active => Tone::Good,
        SuppressionState::Expired => Tone::Warn,
        SuppressionState::Ended => Tone::Dim,
    }
}

/// What a rule matches, in words.
fn words(matches: &SuppressionMatch, vm_name: Option<&str>) -> String {
    let mut said = Vec::new();
    said.extend(matches.kind.as_deref().map(|kind| format!("type {}", safe(kind))));
    said.extend(matches.reason.map(|reason| reason.to_string()));
    if !matches.classes.is_empty() {
        let classes: Vec<_> = matches.classes.iter().map(|class| class.as_str()).collect();
        said.push(format!("only {}", classes.join(", ")));
    }
    said.extend(matches.vm.as_deref().map(|id| format!("VM {}", safe(vm_name.unwrap_or(id)))));
    said.extend(matches.scale_set.as_deref().map(|set| format!("scale set {}", safe(set))));
    said.extend(matches.group.as_deref().map(|group| format!("group {}", safe(group))));
    if said.is_empty() { "everything".to_owned() } else { said.join(" · ") }
}

fn show(rule: &Suppression, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(rule);
    }
    let until = match rule.expires_at {
        Some(at) => at.to_string(),
        None => "somebody ends it".to_owned(),
    };
    let mut fields = vec![
        ("rule", rule.id.clone()),
        ("state", out.paint(rule.state.as_str(), tone(rule.state))),
        ("hides", words(&rule.matches, rule.vm_name.as_deref())),
        ("why", safe(&rule.reason)),
    ];
    fields.extend(rule.comment.as_deref().map(|comment| ("comment", safe(comment))));
    fields.push(("until", until));
    fields.push(("made", format!("{} by {}", rule.created_at, safe(&rule.created_by))));
    fields.extend(
        rule.ended_at
            .map(|at| ("ended", format!("{at} by {}", safe(rule.ended_by.as_deref().unwrap_or("-"))))),
    );
    let last = rule.last_matched_at.map(|at| format!(", last {}", out.ago(Some(at)))).unwrap_or_default();
    fields.push(("hid", format!("{}{last}", counted(rule.alerts, "alert"))));
    out.fields(&fields)?;
    for warning in &rule.warnings {
        out.line(&out.paint(&format!("warning: {}", safe(warning)), Tone::Warn))?;
    }
    if rule.alerts > 0 {
        out.line(&format!("\n`veriboot alert list --suppressed-by {}` shows what it hid", rule.id))?;
    }
    Ok(())
}
