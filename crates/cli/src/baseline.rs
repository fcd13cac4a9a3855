//! `veriboot baseline`: what is trusted.

use clap::{Args, Subcommand};
use veriboot_wire::{
    AlertReason, Attestation, BaselineAccept, BaselineDetail, BaselineSummary, Finding, VmDetail,
};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, safe};
use crate::vm::NameArgs;

/// Baselines.
#[derive(Subcommand, Debug)]
pub enum BaselineCommand {
    /// List baselines
    List {
        /// Also versions that no longer judge
        #[arg(long)]
        all: bool,
        /// The most rows to show
        #[arg(long, default_value_t = 200, value_name = "ROWS")]
        limit: usize,
    },
    /// Show one baseline
    Show {
        /// Id, or name for its current version (scale-set/default/web)
        baseline: String,
    },
    /// Trust what a VM booted last, as the next version of the baseline that judges it, and show what that is
    Accept(AcceptArgs),
}

/// Arguments of `baseline accept`.
#[derive(Args, Debug)]
pub struct AcceptArgs {
    /// Id or name of the VM
    vm: String,
    /// Group, needed when several VMs have the name
    #[arg(long)]
    group: Option<String>,
    /// The boot that is to be trusted, when you looked at it before; refused when the VM has booted since
    #[arg(long, value_name = "ID")]
    boot: Option<String>,
    /// Why; kept in the baseline and in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Runs `veriboot baseline`.
pub fn run(command: BaselineCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        BaselineCommand::List { all, limit } => list(all, limit, client, out),
        BaselineCommand::Show { baseline } => show(&baseline, client, out),
        BaselineCommand::Accept(args) => accept(args, client, out),
    }
}

fn list(all: bool, limit: usize, client: &Client, out: Output) -> Result<(), CliError> {
    let query = if all { vec![("all_versions", "true".to_owned())] } else { Vec::new() };
    let (baselines, more): (Vec<BaselineSummary>, bool) = client.list("/v1/baselines", &query, limit)?;
    if out.json {
        return out.print_json(&baselines);
    }
    let rows = baselines
        .iter()
        .map(|b| {
            vec![
                b.name.as_str().into(),
                b.version.to_string().into(),
                if b.current { Styled::new("yes", Tone::Good) } else { Styled::new("no", Tone::Dim) },
                b.components.to_string().into(),
                out.ago(Some(b.created_at)).into(),
                b.created_by.as_str().into(),
                b.comment.as_deref().unwrap_or("").into(),
            ]
        })
        .collect();
    out.table(
        &["NAME", "VERSION", "CURRENT", "COMPONENTS", "MADE", "BY", "COMMENT"],
        rows,
        "no baselines; the first healthy boot of a VM or scale set makes one",
    )?;
    if more {
        out.line(&format!("… more than {limit} baselines: raise --limit"))?;
    }
    Ok(())
}

fn show(name: &str, client: &Client, out: Output) -> Result<(), CliError> {
    let id = if name.contains('/') {
        let query = [("name", name.to_owned())];
        let (rows, _): (Vec<BaselineSummary>, bool) = client.list("/v1/baselines", &query, 1)?;
        rows.into_iter().next().map(|b| b.id).ok_or_else(|| {
            CliError::usage("baseline-unknown", format!("there is no baseline {:?}", safe(name)))
                .hint("`veriboot baseline list` shows all of them")
        })?
    } else {
        name.to_owned()
    };
    let baseline: BaselineDetail = client.get(&format!("/v1/baselines/{}", segment(&id)), &[])?;
    if out.json {
        return out.print_json(&baseline);
    }
    let s = &baseline.summary;
    out.fields(&[
        ("baseline", format!("{}@{}", safe(&s.name), s.version)),
        ("id", s.id.clone()),
        ("current", if s.current { "yes" } else { "no" }.to_owned()),
        ("made", format!("{} by {}", s.created_at, safe(&s.created_by))),
        ("learned from boot", s.boot_id.clone().unwrap_or_else(|| "-".to_owned())),
        ("comment", s.comment.as_deref().map_or_else(|| "-".to_owned(), safe)),
    ])?;
    out.line("")?;
    let rows = crate::baseline_rows::rows(&baseline.document);
    out.table(&["PCR", "COMPONENT", "NAME", "VALUE OR DIGEST", "SIGNER"], rows, "no components")
}

fn accept(args: AcceptArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let vm: VmDetail =
        client.get(&format!("/v1/vms/{}", segment(&args.vm)), &NameArgs::query(args.group.as_ref()))?;
    let id = &vm.summary.id;
    let path = format!("/v1/vms/{}/attestations", segment(id));
    let (attestations, _): (Vec<Attestation>, bool) = client.list(&path, &[], 1)?;
    let last = attestations.into_iter().next();
    let booted = last.as_ref().and_then(|last| last.boot_id.clone());
    let boot_id = args.boot.or_else(|| booted.clone()).ok_or_else(|| {
        CliError::usage("no-boot", format!("there is no boot of {} that could be trusted", safe(&args.vm)))
            .hint("`veriboot vm show VM` says why")
    })?;
    if !out.json {
        out.line(&format!("{}: boot {}", safe(&vm.summary.name), safe(&boot_id)))?;
        // Findings of another boot say nothing about this one, which the service refuses.
        if let Some(last) = last.filter(|_| booted.as_ref() == Some(&boot_id)) {
            let trusted = differences(last.findings);
            if trusted.is_empty() {
                out.line("differs in nothing from the baseline that judged it")?;
            } else {
                out.line("Trusted from now on")?;
                out.findings(&trusted)?;
            }
        }
        out.line("")?;
    }
    // Exactly what was shown: a boot that came meanwhile is refused.
    let request = BaselineAccept { vm: id.clone(), group: None, boot_id, comment: args.comment };
    let baseline: BaselineSummary = client.post("/v1/baselines/accept", &request)?;
    if out.json {
        return out.print_json(&baseline);
    }
    out.line(&format!("{}@{} judges from now on", safe(&baseline.name), baseline.version))
}

/// What makes a boot differ from its baseline.
fn differences(findings: Vec<Finding>) -> Vec<Finding> {
    findings
        .into_iter()
        .filter(|f| f.change.is_some() || f.fails() && f.reason == Some(AlertReason::BaselineDeviation))
        .collect()
}
