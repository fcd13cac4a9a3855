//! `veriboot vm`: the fleet.

use clap::{Args, Subcommand};
use veriboot_wire::{
    AssessmentStatus, ConfiguredSecurity, FactState, ScopeKind, VmDetail, VmSort, VmStatus, VmSummary,
    csv_record,
};

use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::{EtagArg, quoted};
use crate::output::{Output, Styled, Tone, cut, fact_tone, print_csv, safe, severity_tone, status_tone};

/// VMs.
#[derive(Subcommand, Debug)]
pub enum VmCommand {
    /// List VMs with their status
    List(ListArgs),
    /// Show everything about one VM
    Show(NameArgs),
    /// Forget a VM, its history and its alerts for ever; its agent needs a join token to come back
    Delete(DeleteArgs),
}

/// Filters of `vm list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    /// Only members of this scale set
    #[arg(long)]
    scale_set: Option<String>,
    /// Only VMs of this image
    #[arg(long)]
    image: Option<String>,
    /// Only this status: pending, healthy, unhealthy, stale, error, unmonitored
    #[arg(long)]
    status: Option<VmStatus>,
    /// Only names that start with this
    #[arg(long, value_name = "PREFIX")]
    name: Option<String>,
    /// Order: name (group, then name), or enrolled (newest first) [default: name]
    #[arg(long)]
    sort: Option<VmSort>,
    /// CSV for spreadsheets instead of a table
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// The most rows to show
    #[arg(long, default_value_t = 1000, value_name = "ROWS")]
    limit: usize,
}

/// One VM.
#[derive(Args, Debug)]
pub struct NameArgs {
    /// Id or name of the VM
    pub vm: String,
    /// Group, needed when several VMs have the name
    #[arg(long)]
    pub group: Option<String>,
}

/// Arguments of `vm delete`.
#[derive(Args, Debug)]
pub struct DeleteArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    etag: EtagArg,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

impl NameArgs {
    /// The query that goes with a name.
    pub fn query(group: Option<&String>) -> Vec<(&'static str, String)> {
        group.map(|g| ("group", g.clone())).into_iter().collect()
    }
}

/// Runs `veriboot vm`.
pub fn run(command: VmCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        VmCommand::List(args) => list(&args, client, out),
        VmCommand::Show(args) => show(&args, client, out),
        VmCommand::Delete(args) => delete(&args, client, out),
    }
}

fn delete(args: &DeleteArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let vm = fetch(&args.name, client)?;
    let name = safe(&vm.summary.name);
    if !args.yes {
        let what = format!("forget {name} in group {} with its history and alerts", safe(&vm.summary.group));
        crate::alert::confirm(&what, &format!("{name} is kept"))?;
    }
    let looked_at = Some(quoted(&vm.etag)).filter(|_| !vm.etag.is_empty());
    let etag = args.etag.quoted().or(looked_at);
    client.remove(&format!("/v1/vms/{}", segment(&vm.summary.id)), etag.as_deref())?;
    if out.json {
        return out.print_json(&serde_json::json!({ "deleted": vm.summary.id, "name": vm.summary.name }));
    }
    out.line(&format!("{name} is forgotten ({})", vm.summary.id))
}

fn fetch(args: &NameArgs, client: &Client) -> Result<VmDetail, CliError> {
    client.get(&format!("/v1/vms/{}", segment(&args.vm)), &NameArgs::query(args.group.as_ref()))
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let mut query = Vec::new();
    query.extend(args.group.clone().map(|v| ("group", v)));
    query.extend(args.scale_set.clone().map(|v| ("scale_set", v)));
    query.extend(args.image.clone().map(|v| ("image", v)));
    query.extend(args.status.map(|v| ("status", v.to_string())));
    query.extend(args.name.clone().map(|v| ("name_prefix", v)));
    let filtered = !query.is_empty();
    query.extend(args.sort.map(|v| ("sort", v.to_string())));
    let (vms, more): (Vec<VmSummary>, bool) = client.list("/v1/vms", &query, args.limit)?;
    if out.json {
        return out.print_json_list(&vms, more, args.limit, "VM");
    }
    if args.csv {
        return csv(&vms, more, args.limit);
    }
    let rows = vms
        .iter()
        .map(|vm| {
            vec![
                vm.name.as_str().into(),
                Styled::new(&vm.group, Tone::Dim),
                vm.scale_set.as_deref().unwrap_or("-").into(),
                status(vm),
                Styled::new(vm.facts.secure_boot.as_switch(), fact_tone(vm.facts.secure_boot)),
                out.ago(vm.last_attested_at).into(),
                vm.status_detail.as_deref().unwrap_or("").into(),
            ]
        })
        .collect();
    out.table(
        &["NAME", "GROUP", "SCALE SET", "STATUS", "SECURE BOOT", "ATTESTED", "WHY"],
        rows,
        if !filtered {
            "no VMs; `veriboot token create` makes a join token for the first agent"
        } else {
            "no VM matches the filter; `veriboot vm list` without one shows all of them"
        },
    )?;
    out.more(more, args.limit, "VM")
}

fn csv(vms: &[VmSummary], more: bool, limit: usize) -> Result<(), CliError> {
    let mut text = csv_record(VmSummary::CSV_HEADER);
    vms.iter().for_each(|vm| text.push_str(&vm.csv()));
    print_csv(&text)?;
    if more {
        cut(limit, "VM");
    }
    Ok(())
}

/// The status, marked when a change that the VM booted waits for a decision.
fn status(vm: &VmSummary) -> Styled {
    match vm.open_proposals {
        0 => Styled::new(vm.status.as_str(), status_tone(vm.status)),
        _ => Styled::new(format!("{}, proposes", vm.status), Tone::Warn),
    }
}

/// What a source says about the VM, on one line.
fn listed(row: &veriboot_wire::InventoryRow, out: Output) -> String {
    let f = &row.item.facts;
    let gone = row.item.gone_at.map(|at| format!(", gone since {at}")).unwrap_or_default();
    let said = format!(
        "{}: {}, {}, Secure Boot {}, vTPM {}{gone}",
        safe(&row.item.source),
        f.power,
        f.security_type,
        f.secure_boot,
        f.vtpm
    );
    if row.disagreements.is_empty() && gone.is_empty() { said } else { out.paint(&said, Tone::Warn) }
}

fn show(args: &NameArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let vm = fetch(args, client)?;
    if out.json {
        return out.print_json(&vm);
    }
    let s = &vm.summary;
    let fact = |f: FactState| out.paint(f.as_str(), fact_tone(f));
    let time = |t: Option<veriboot_wire::Time>| match t {
        Some(at) => format!("{at} ({})", out.ago(t)),
        None => "never".to_owned(),
    };
    let place = match &s.scale_set {
        Some(set) => format!("group {}, scale set {}", safe(&s.group), safe(set)),
        None => format!("group {}", safe(&s.group)),
    };
    let headline = format!(
        "{}  {}  {}",
        safe(&s.name),
        out.paint(s.status.as_str(), status_tone(s.status)),
        s.status_detail.as_deref().map(safe).unwrap_or_default()
    );
    out.sentence("", &headline)?;
    out.line("")?;
    let mut fields = vec![
        ("id", s.id.clone()),
        ("place", place),
        ("image", s.image.as_deref().map_or_else(|| "-".to_owned(), safe)),
        ("security type", security(&vm)),
        ("machine", machine(&vm)),
        ("agent", safe(&vm.machine.agent_version)),
        ("running kernel", crate::kernel::words(vm.kernel.as_ref())),
        ("last attested", time(s.last_attested_at)),
        ("last seen", time(s.last_seen_at)),
        ("this boot since", time(s.last_boot_at)),
        ("enrolled", time(Some(s.enrolled_at))),
        ("integrity monitoring", safe(&vm.monitoring.text)),
        ("baseline", judged_by(&vm)),
        ("profile", vm.profile.as_deref().map_or_else(|| "-".to_owned(), safe)),
        ("secure boot", fact(s.facts.secure_boot)),
        ("vTPM", fact(s.facts.vtpm)),
        ("quote", fact(s.facts.quote)),
        ("event log", fact(s.facts.log)),
        ("baseline match", fact(s.facts.baseline)),
        ("endorsement", endorsement(fact(s.facts.endorsement), &vm)),
        ("hardware TEE", fact(s.facts.tee)),
        ("EK (SHA-256)", vm.ek_sha256.clone()),
        ("AK name", vm.ak_name.clone()),
        ("open alerts", s.open_alerts.to_string()),
    ];
    if let Some(proposal) = &vm.proposal_id {
        let state = if s.open_proposals > 0 { "waits for a decision" } else { "was rejected" };
        fields.push(("proposal", out.paint(&format!("{} {state}", safe(proposal)), Tone::Warn)));
    }
    for row in &vm.inventory.items {
        fields.push(("inventory", listed(row, out)));
    }
    if vm.inventory.items.is_empty() {
        fields.push(("inventory", out.paint("not listed by any source", Tone::Dim)));
    }
    if let Some(odd) = &vm.odd_one_out {
        fields.push(("scale set", out.paint(&safe(&odd.message), Tone::Warn)));
    }
    if let Some(fault) = &vm.fault {
        fields.push(("fault", out.paint(&safe(fault), Tone::Bad)));
    }
    out.fields(&fields)?;
    let contradictions: Vec<_> =
        vm.inventory.items.iter().flat_map(|row| row.disagreements.clone()).collect();
    if !contradictions.is_empty() {
        out.line("\nContradictions of the inventory")?;
        crate::inventory::disagreements(&contradictions, out)?;
    }
    if !vm.inventory.suggestions.is_empty() {
        out.line("\nItems of the inventory that may be this VM")?;
        for s in &vm.inventory.suggestions {
            out.line(&format!("  {}", crate::inventory::candidate(s)))?;
        }
    }
    if !vm.findings.is_empty() {
        out.line("\nFindings of the last attestation")?;
        out.findings(&vm.findings)?;
    }
    recommendations(&vm, out)
}

/// Checks that do not hold on this VM, in the words of their document.
fn recommendations(vm: &VmDetail, out: Output) -> Result<(), CliError> {
    let unhealthy: Vec<_> =
        vm.assessments.iter().filter(|a| a.status == AssessmentStatus::Unhealthy).collect();
    if unhealthy.is_empty() {
        return Ok(());
    }
    out.line("\nRecommendations")?;
    for assessment in unhealthy {
        let severity = out.paint(assessment.severity.as_str(), severity_tone(assessment.severity));
        let found = format!("{}  {severity}  {}", safe(&assessment.check), safe(&assessment.description));
        out.sentence("  ", &found)?;
        if let Some(check) = veriboot_posture::check(&assessment.check) {
            out.sentence("    ", &check.remediation.text)?;
            let in_guest = check.remediation.commands.iter().find(|c| c.platform == vm.machine.os);
            if let Some(command) = in_guest {
                out.line(&format!("    {}", command.command))?;
            }
        }
    }
    Ok(())
}

/// `trusted-launch, by its TPM`. A source that says more of it is named.
fn security(vm: &VmDetail) -> String {
    let shown = format!("{}, by its TPM", vm.summary.security_type);
    let confidential =
        vm.inventory.items.iter().map(|row| &row.item).find(|item| {
            item.gone_at.is_none() && item.facts.security_type == ConfiguredSecurity::Confidential
        });
    match confidential {
        Some(item) if vm.summary.facts.tee != FactState::Valid => {
            format!("{shown}; {} says confidential, which no hardware evidence shows", safe(&item.source))
        }
        _ => shown,
    }
}

/// `valid (its certificate leads to CN=Maker)`.
fn endorsement(fact: String, vm: &VmDetail) -> String {
    match &vm.endorsement_detail {
        Some(detail) => format!("{fact} ({})", safe(detail)),
        None => fact,
    }
}

/// `scale-set/default/web@3 (of the scale set)`.
fn judged_by(vm: &VmDetail) -> String {
    let whose = match vm.baseline_scope {
        Some(ScopeKind::Vm) => " (of the VM itself)",
        Some(ScopeKind::ScaleSet) => " (of its scale set)",
        Some(ScopeKind::Image) => " (of its image)",
        Some(ScopeKind::Group) => " (of its group)",
        None => "",
    };
    vm.baseline.as_deref().map_or_else(|| "none yet".to_owned(), |name| safe(name) + whose)
}

fn machine(vm: &VmDetail) -> String {
    let m = &vm.machine;
    let parts = [&m.hostname, &m.os_version, &m.kernel, &m.arch, &m.platform];
    parts.iter().filter(|p| !p.is_empty()).map(|p| safe(p)).collect::<Vec<_>>().join(" · ")
}
