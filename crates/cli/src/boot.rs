//! `veriboot boot`: what a VM booted, and what changed between two boots.

use clap::{Args, Subcommand};
use veriboot_wire::{Boot, BootDiff, VmDetail};

use crate::client::{Client, segment};
use crate::error::{CliError, EXIT_NEGATIVE};
use crate::output::{Output, Styled, safe, short, verdict_tone};
use crate::vm::NameArgs;

/// Boots.
#[derive(Subcommand, Debug)]
pub enum BootCommand {
    /// List the boots of a VM, newest first
    List(ListArgs),
    /// Show what one boot consisted of
    Show {
        /// Id of the boot
        boot: String,
    },
    /// Explain what differs between two boots (exit code 1 when something does)
    Diff(DiffArgs),
}

/// Arguments of `boot list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    vm: NameArgs,
    /// The most rows to show
    #[arg(long, default_value_t = 20, value_name = "ROWS")]
    limit: usize,
}

/// Arguments of `boot diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// Id of the earlier boot, or a VM whose last two boots are compared
    from: String,
    /// Id of the later boot
    to: Option<String>,
    /// Group, needed when several VMs have the name
    #[arg(long)]
    group: Option<String>,
}

/// Runs `veriboot boot`. Gives the exit code.
pub fn run(command: BootCommand, client: &Client, out: Output) -> Result<u8, CliError> {
    match command {
        BootCommand::List(args) => list(&args, client, out).map(|()| 0),
        BootCommand::Show { boot } => show(&boot, client, out).map(|()| 0),
        BootCommand::Diff(args) => diff(&args, client, out),
    }
}

fn boots_of(
    vm: &str,
    group: Option<&String>,
    limit: usize,
    client: &Client,
) -> Result<(VmDetail, Vec<Boot>, bool), CliError> {
    let vm: VmDetail = client.get(&format!("/v1/vms/{}", segment(vm)), &NameArgs::query(group))?;
    let (boots, more) = client.list(&format!("/v1/vms/{}/boots", segment(&vm.summary.id)), &[], limit)?;
    Ok((vm, boots, more))
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let (vm, boots, more) = boots_of(&args.vm.vm, args.vm.group.as_ref(), args.limit, client)?;
    if out.json {
        return out.print_json_list(&boots, more, args.limit, "boot");
    }
    let rows = boots
        .iter()
        .map(|boot| {
            vec![
                boot.id.as_str().into(),
                out.ago(Some(boot.first_attested_at)).into(),
                out.ago(Some(boot.last_attested_at)).into(),
                Styled::new(boot.verdict.as_str(), verdict_tone(boot.verdict)),
                boot.attestations.to_string().into(),
                boot.log_sha256.as_deref().map_or_else(|| "none".to_owned(), short).into(),
            ]
        })
        .collect();
    let empty = format!("{} has not been attested yet", vm.summary.name);
    out.table(&["BOOT", "FIRST ATTESTED", "LAST ATTESTED", "VERDICT", "ATTESTATIONS", "LOG"], rows, &empty)?;
    out.more(more, args.limit, "boot")
}

fn show(boot: &str, client: &Client, out: Output) -> Result<(), CliError> {
    let boot: Boot = client.get(&format!("/v1/boots/{}", segment(boot)), &[])?;
    if out.json {
        return out.print_json(&boot);
    }
    out.fields(&[
        ("boot", boot.id.clone()),
        ("VM", boot.vm_id.clone()),
        ("verdict", out.paint(boot.verdict.as_str(), verdict_tone(boot.verdict))),
        ("first attested", boot.first_attested_at.to_string()),
        ("last attested", boot.last_attested_at.to_string()),
        ("attestations", boot.attestations.to_string()),
        ("resetCount", boot.reset_count.to_string()),
        ("restartCount", boot.restart_count.to_string()),
        ("event log", boot.log_sha256.clone().unwrap_or_else(|| "none".to_owned())),
    ])?;
    out.line("\nComponents")?;
    let components: Vec<(&str, String)> =
        boot.components.iter().map(|(name, value)| (name.as_str(), safe(value))).collect();
    out.fields(&components)
}

/// Boots that are looked through for two with a log.
const MAX_BOOTS_SEARCHED: usize = 50;

/// The boot that was attested last and the one that was attested before it, of those with a log.
fn last_two(boots: &[Boot]) -> Option<(String, String)> {
    let mut with_log: Vec<&Boot> = boots.iter().filter(|boot| boot.log_sha256.is_some()).collect();
    with_log.sort_by_key(|boot| std::cmp::Reverse(boot.last_attested_at));
    match with_log.as_slice() {
        [later, earlier, ..] => Some((earlier.id.clone(), later.id.clone())),
        _ => None,
    }
}

fn diff(args: &DiffArgs, client: &Client, out: Output) -> Result<u8, CliError> {
    let (from, to) = match &args.to {
        Some(to) => (args.from.clone(), to.clone()),
        None => {
            let (vm, boots, _) = boots_of(&args.from, args.group.as_ref(), MAX_BOOTS_SEARCHED, client)?;
            last_two(&boots).ok_or_else(|| {
                let name = safe(&vm.summary.name);
                CliError::usage("one-boot", format!("{name} has no two boots on record whose logs are kept"))
                    .hint("give two boot ids (`veriboot boot list` shows them), or wait for its next boot")
            })?
        }
    };
    let diff: BootDiff = client.get(&format!("/v1/boots/{}/diff/{}", segment(&from), segment(&to)), &[])?;
    let code = if diff.changes.is_empty() { 0 } else { EXIT_NEGATIVE };
    if out.json {
        out.print_json(&diff)?;
    } else if diff.changes.is_empty() {
        out.line("both boots measured the same")?;
    } else {
        out.line(&format!("{} → {}", diff.from, diff.to))?;
        out.findings(&diff.changes)?;
    }
    Ok(code)
}
