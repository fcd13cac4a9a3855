//! `veriboot baseline accept`.

use clap::Args;
use veriboot_wire::{
    AlertReason, Attestation, BaselineAccept, BaselineSummary, FactState, Finding, MonitoringStatus, Scope,
    ScopeKind, VmDetail,
};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::quoted;
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
    /// Version of the baseline that you looked at; refused when another one judges by now
    #[arg(long, value_name = "ETAG")]
    etag: Option<String>,
    /// Why; kept in the baseline and in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
    /// Only say what would be trusted, and which VMs it would judge
    #[arg(long, conflicts_with_all = ["comment", "etag"])]
    dry_run: bool,
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
    if args.dry_run {
        let scope = next_scope(&vm);
        if out.json {
            let judges = members(&scope, client)?;
            let refused = refusal(last.as_ref(), &boot_id);
            return out.print_json(&serde_json::json!({
                "vm": id, "boot_id": boot_id, "scope": scope, "vms": judges, "refused": refused,
                "differences": last.map(|last| differences(last.findings)),
            }));
        }
        if let Some(why) = refusal(last.as_ref(), &boot_id) {
            out.line(&format!("{}: boot {}", safe(&vm.summary.name), safe(&boot_id)))?;
            return out.sentence("", &format!("would be refused: {}", safe(&why)));
        }
        trusted(&vm, &boot_id, booted.as_ref(), last, "Would be trusted", out)?;
        return out.line(&format!("would judge {}", judged(&scope, &vm, client)?));
    }
    // Exactly what is shown: a boot that came meanwhile is refused.
    let request =
        BaselineAccept { vm: id.clone(), group: None, boot_id: boot_id.clone(), comment: args.comment };
    let baseline: BaselineSummary = client.post_if_match(
        "/v1/baselines/accept",
        &request,
        args.etag.as_deref().map(quoted).as_deref(),
    )?;
    if out.json {
        return out.print_json(&baseline);
    }
    trusted(&vm, &boot_id, booted.as_ref(), last, "Trusted from now on", out)?;
    let who = match baseline.scope.kind {
        ScopeKind::Vm => String::new(),
        _ => format!(": {}", judged(&baseline.scope, &vm, client)?),
    };
    out.line(&format!("{}@{} judges from now on{who}", safe(&baseline.name), baseline.version))
}

/// Why the service would refuse to learn from this boot: only deviations can be accepted, and only those of the last boot.
fn refusal(last: Option<&Attestation>, boot_id: &String) -> Option<String> {
    let last = last?;
    if last.boot_id.as_ref().is_some_and(|booted| booted != boot_id) {
        return Some("the VM's last boot is another one by now".to_owned());
    }
    let blocks = |f: &&Finding| f.fails() && f.reason != Some(AlertReason::BaselineDeviation);
    if let Some(finding) = last.findings.iter().find(blocks) {
        return Some(format!("the last attestation cannot be learned from: {}", finding.message));
    }
    let believed = last.facts.quote == FactState::Valid && last.facts.log == FactState::Valid;
    (!believed)
        .then(|| "the last attestation does not show a valid quote and a log that replays to it".to_owned())
}

/// Says what is trusted, or would be.
fn trusted(
    vm: &VmDetail,
    boot_id: &String,
    booted: Option<&String>,
    last: Option<Attestation>,
    title: &str,
    out: Output,
) -> Result<(), CliError> {
    out.line(&format!("{}: boot {}", safe(&vm.summary.name), safe(boot_id)))?;
    // Findings of another boot say nothing about this one, which the service refuses.
    if let Some(last) = last.filter(|_| booted == Some(boot_id)) {
        let trusted = differences(last.findings);
        if trusted.is_empty() {
            out.line("differs in nothing from the baseline that judged it")?;
        } else {
            out.line(title)?;
            out.findings(&trusted)?;
        }
    }
    out.line("")
}

/// What the next version applies to: as the service decides it.
fn next_scope(vm: &VmDetail) -> Scope {
    let s = &vm.summary;
    let otherwise = if s.scale_set.is_some() { ScopeKind::ScaleSet } else { ScopeKind::Vm };
    let kind = vm.baseline_scope.unwrap_or(otherwise);
    let id = match kind {
        ScopeKind::Vm => s.id.clone(),
        ScopeKind::ScaleSet => s.scale_set.clone().unwrap_or_default(),
        ScopeKind::Image => s.image.clone().unwrap_or_default(),
        ScopeKind::Group => String::new(),
    };
    Scope { kind, group: s.group.clone(), id }
}

/// VMs of a scope; `None` where nobody counts them.
fn members(scope: &Scope, client: &Client) -> Result<Option<u64>, CliError> {
    match scope.kind {
        ScopeKind::Vm => Ok(Some(1)),
        ScopeKind::Image => Ok(None),
        ScopeKind::ScaleSet | ScopeKind::Group => {
            let query =
                [("kind", scope.kind.to_string()), ("group", scope.group.clone()), ("id", scope.id.clone())];
            let status: MonitoringStatus = client.get("/v1/monitoring/status", &query)?;
            Ok(Some(status.vms))
        }
    }
}

/// Which VMs a baseline of this scope judges, in words: one that is accepted for a member judges all of its set.
fn judged(scope: &Scope, vm: &VmDetail, client: &Client) -> Result<String, CliError> {
    let (group, id) = (safe(&scope.group), safe(&scope.id));
    let of = match scope.kind {
        ScopeKind::Vm => return Ok(safe(&vm.summary.name)),
        ScopeKind::ScaleSet => format!("scale set {id} in group {group}"),
        ScopeKind::Image => format!("image {id} in group {group}"),
        ScopeKind::Group => format!("group {group}"),
    };
    let vms = match members(scope, client)? {
        Some(1) => return Ok(format!("the VM of {of}, unless it has a baseline of its own")),
        Some(count) => format!("the {count} VMs"),
        None => "the VMs".to_owned(),
    };
    Ok(format!("{vms} of {of} that have no baseline of their own"))
}

/// What makes a boot differ from its baseline.
fn differences(findings: Vec<Finding>) -> Vec<Finding> {
    findings
        .into_iter()
        .filter(|f| f.change.is_some() || f.fails() && f.reason == Some(AlertReason::BaselineDeviation))
        .collect()
}
