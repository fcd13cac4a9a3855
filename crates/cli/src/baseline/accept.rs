//! `veriboot baseline accept`.

use clap::Args;
use veriboot_wire::{AlertReason, Attestation, BaselineAccept, BaselineSummary, Finding, VmDetail};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Output, safe};
use crate::vm::NameArgs;

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

/// Runs it.
pub fn run(args: AcceptArgs, client: &Client, out: Output) -> Result<(), CliError> {
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
    // Exactly what is shown: a boot that came meanwhile is refused.
    let request =
        BaselineAccept { vm: id.clone(), group: None, boot_id: boot_id.clone(), comment: args.comment };
    let baseline: BaselineSummary = client.post("/v1/baselines/accept", &request)?;
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
