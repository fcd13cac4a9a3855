//! `veriboot policy test`: what conditions would say before they judge.

use std::path::PathBuf;

use clap::Args;
use veriboot_policy::{Policy, Vm, lint};
use veriboot_wire::{PolicyCondition, PolicyTest, PolicyTested};

use super::{offline, problems};
use crate::client::Client;
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Tone, safe};

/// VMs that the service is asked for at once.
const VMS_AT_ONCE: u32 = 50;

/// Arguments of `policy test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    /// File with conditions: a profile, or `conditions` alone, TOML or JSON
    file: PathBuf,
    /// Event logs to try them on instead of what VMs attested
    #[arg(long = "log", value_name = "FILE")]
    logs: Vec<PathBuf>,
    /// Folder with event logs to try them on
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Only VMs of this group; with event logs, what `vm.group` is
    #[arg(long)]
    group: Option<String>,
    /// Only members of this scale set; with event logs, what `vm.scale_set` is
    #[arg(long, value_name = "NAME")]
    scale_set: Option<String>,
    /// With event logs, what `vm.name` is
    #[arg(long, value_name = "NAME")]
    vm_name: Option<String>,
    /// Attestations of each VM, newest first
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20))]
    last: u32,
    /// The most VMs to look at
    #[arg(long, default_value_t = 1000, value_name = "VMS")]
    limit: u32,
}

/// Runs it. Exit code 1 when a condition does not hold somewhere.
pub fn run(
    args: &TestArgs,
    connect: impl FnOnce() -> Result<Client, CliError>,
    out: Output,
) -> Result<u8, CliError> {
    let conditions = super::conditions(&args.file)?;
    let linted = lint(&conditions);
    problems::refuse_errors(&linted.problems, out)?;
    if !args.logs.is_empty() || args.corpus.is_some() {
        let (policy, _) = Policy::compile(&conditions).unwrap_or_default();
        let vm = Vm {
            name: args.vm_name.as_deref(),
            group: args.group.as_deref(),
            scale_set: args.scale_set.as_deref(),
            os: None,
        };
        let trial = offline::Trial { policy: &policy, problems: linted.problems, vm };
        return offline::run(trial, &args.logs, args.corpus.as_deref(), out);
    }
    let request = PolicyTest {
        conditions: conditions
            .into_iter()
            .map(|c| PolicyCondition {
                id: c.id,
                expression: c.expression,
                severity: c.severity,
                message: c.message,
                hint: c.hint,
            })
            .collect(),
        group: args.group.clone(),
        scale_set: args.scale_set.clone(),
        last: Some(args.last),
        limit: None,
        cursor: None,
    };
    let tested = all_pages(request, args.limit, &connect()?)?;
    if tested.vms == 0 {
        return Err(CliError::usage("nothing-to-judge", "there is no VM with these filters")
            .hint("`veriboot vm list` shows all VMs; with --log conditions are tried on event logs"));
    }
    let exit = if tested.items.iter().any(|item| !item.findings.is_empty()) { EXIT_NEGATIVE } else { 0 };
    match out.json {
        true => out.print_json(&tested)?,
        false => show(&tested, out)?,
    }
    Ok(exit)
}

/// Asks for pages until there are no more or enough VMs were looked at.
fn all_pages(mut request: PolicyTest, limit: u32, client: &Client) -> Result<PolicyTested, CliError> {
    let mut all: Option<PolicyTested> = None;
    loop {
        let seen = all.as_ref().map_or(0, |all| all.vms);
        request.limit = Some(limit.saturating_sub(seen).clamp(1, VMS_AT_ONCE));
        let page: PolicyTested = client.post("/v1/policies/test", &request)?;
        let next = page.next_cursor.clone();
        let all = match &mut all {
            None => all.insert(page),
            Some(all) => {
                all.vms = all.vms.saturating_add(page.vms);
                all.attestations = all.attestations.saturating_add(page.attestations);
                all.failing_vms = all.failing_vms.saturating_add(page.failing_vms);
                all.items.extend(page.items);
                all.next_cursor = page.next_cursor;
                all
            }
        };
        if next.is_none() || all.vms >= limit {
            return Ok(all.clone());
        }
        request.cursor = next;
    }
}

fn show(tested: &PolicyTested, out: Output) -> Result<(), CliError> {
    for item in &tested.items {
        let (word, tone) = match (&item.not_tried, item.would_fail) {
            (Some(_), _) => ("not tried", Tone::Dim),
            (None, true) => ("would fail", Tone::Bad),
            (None, false) => ("noted", Tone::Warn),
        };
        let name = format!("{}/{}", safe(&item.group), safe(&item.vm_name));
        out.line(&format!(
            "{:<10} {name}, attested {}, {} then",
            out.paint(word, tone),
            item.at,
            item.verdict.as_str()
        ))?;
        if let Some(why) = &item.not_tried {
            out.line(&format!("  {}", safe(why)))?;
        }
        for finding in &item.findings {
            let seen = finding.seen.as_deref().map_or(String::new(), |seen| format!(": {seen}"));
            let condition = finding.component.as_deref().unwrap_or_default();
            out.line(&format!("  {}: {}{}", safe(condition), safe(&finding.message), safe(&seen)))?;
        }
    }
    out.line(&format!(
        "VMs that would fail: {} of {} (attestations looked at: {})",
        tested.failing_vms, tested.vms, tested.attestations
    ))?;
    if tested.next_cursor.is_some() {
        out.line("… there are more VMs: raise --limit")?;
    }
    Ok(())
}
