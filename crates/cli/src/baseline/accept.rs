//! `veriboot baseline accept`.

use clap::Args;
use veriboot_wire::{
    BaselineAccept, BaselineAcceptAsk, BaselineAcceptPreview, BaselineSummary, ScopeKind, counted,
};

use crate::client::Client;
use crate::error::CliError;
use crate::etag::quoted;
use crate::output::{Output, safe};

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
    /// Baseline that you looked at, NAME@VERSION, as `vm show` and --dry-run say it; refused when another one judges by now
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
    let ask = BaselineAcceptAsk { vm: args.vm.clone(), group: args.group, boot_id: args.boot };
    let no_boot = || {
        CliError::usage("no-boot", format!("there is no boot of {} that could be trusted", safe(&args.vm)))
            .hint("`veriboot vm show VM` says why")
    };
    let preview: BaselineAcceptPreview = client
        .post("/v1/baselines/accept/preview", &ask)
        .map_err(|error: CliError| if error.code == "no-boot" { no_boot() } else { error })?;
    if args.dry_run {
        return tried(&preview, out);
    }
    let boot_id = preview.boot_id.clone().ok_or_else(no_boot)?;
    // Exactly what is shown: a boot or a baseline that came meanwhile is refused.
    let request = BaselineAccept { vm: preview.vm.clone(), group: None, boot_id, comment: args.comment };
    let path = "/v1/baselines/accept";
    let baseline: BaselineSummary = match args.etag.as_deref().or(preview.etag.as_deref()) {
        Some(etag) => client.post_if_match(path, &request, Some(&quoted(etag)))?,
        None => client.post_first(path, &request)?,
    };
    if out.json {
        return out.print_json(&baseline);
    }
    trusted(&preview, "Trusted from now on", out)?;
    let who = match baseline.scope.kind {
        ScopeKind::Vm => String::new(),
        _ => format!(": {}", judged(&preview)),
    };
    out.line(&format!("{}@{} judges from now on{who}", safe(&baseline.name), baseline.version))
}

/// `baseline accept --dry-run`.
fn tried(preview: &BaselineAcceptPreview, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(preview);
    }
    if let Some(why) = &preview.refused {
        out.line(&headline(preview))?;
        return out.sentence("", &format!("would be refused: {}", safe(why)));
    }
    trusted(preview, "Would be trusted", out)?;
    out.line(&format!("would judge {}", judged(preview)))?;
    match &preview.etag {
        Some(etag) => out.line(&format!("would follow {}", safe(etag))),
        None => Ok(()),
    }
}

fn headline(preview: &BaselineAcceptPreview) -> String {
    let boot = preview.boot_id.as_deref().map_or("-".to_owned(), safe);
    format!("{}: boot {boot}", safe(&preview.vm_name))
}

/// Says what is trusted, or would be.
fn trusted(preview: &BaselineAcceptPreview, title: &str, out: Output) -> Result<(), CliError> {
    out.line(&headline(preview))?;
    if preview.differences.is_empty() {
        out.line("differs in nothing from the baseline that judged it")?;
    } else {
        out.line(title)?;
        out.findings(&preview.differences)?;
    }
    out.line("")
}

/// Which VMs a baseline of this scope judges, in words: one that is accepted for a member judges all of its set.
fn judged(preview: &BaselineAcceptPreview) -> String {
    let scope = &preview.scope;
    let (group, id) = (safe(&scope.group), safe(&scope.id));
    let of = match scope.kind {
        ScopeKind::Vm => return safe(&preview.vm_name),
        ScopeKind::ScaleSet => format!("scale set {id} in group {group}"),
        ScopeKind::Image => format!("image {id} in group {group}"),
        ScopeKind::Group => format!("group {group}"),
    };
    let vms = match preview.vms {
        Some(1) => return format!("the VM of {of}, unless it has a baseline of its own"),
        Some(count) => format!("the {}", counted(count, "VM")),
        None => "the VMs".to_owned(),
    };
    format!("{vms} of {of} that have no baseline of their own")
}
