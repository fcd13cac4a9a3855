//! `veriboot inventory list` and `unlisted`.

use clap::Args;
use veriboot_wire::{
    Configured, ConfiguredSecurity, InventoryRow, InventorySort, MatchedBy, PowerState, UnlistedVm,
};

use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, cell, print_csv_list, status_tone};
use crate::rows::RowsArgs;

/// Filters of `inventory list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    /// Only members of this scale set
    #[arg(long, value_name = "NAME")]
    scale_set: Option<String>,
    /// Only this platform: azure, gcp, aws, proxmox, libvirt, …
    #[arg(long)]
    platform: Option<String>,
    /// Only names that start with this
    #[arg(long, value_name = "PREFIX")]
    name: Option<String>,
    /// Only VMs that are enrolled
    #[arg(long, conflicts_with = "without_agent")]
    matched: bool,
    /// Only VMs without an agent
    #[arg(long)]
    without_agent: bool,
    /// Only VMs that are gone
    #[arg(long, conflicts_with = "all")]
    gone: bool,
    /// Also VMs that are gone
    #[arg(long)]
    all: bool,
    /// Only this power state: running, stopped, unknown
    #[arg(long)]
    power: Option<PowerState>,
    /// Only this configured security type: standard, trusted-launch, confidential, unknown
    #[arg(long, value_name = "TYPE")]
    security_type: Option<ConfiguredSecurity>,
    /// Order: name (group, then name), or changed (what the source said last, newest first) [default: name]
    #[arg(long)]
    sort: Option<InventorySort>,
    /// Only this configured Secure Boot: on, off, unsupported, unknown
    #[arg(long, value_name = "STATE")]
    secure_boot: Option<Configured>,
    /// Only this configured vTPM: on, off, unsupported, unknown
    #[arg(long, value_name = "STATE")]
    vtpm: Option<Configured>,
    /// Only VMs that something contradicts
    #[arg(long)]
    disagrees: bool,
    #[command(flatten)]
    rows: RowsArgs,
}

impl ListArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        query.extend(self.source.clone().map(|v| ("source", v)));
        query.extend(self.group.clone().map(|v| ("group", v)));
        query.extend(self.scale_set.clone().map(|v| ("scale_set", v)));
        query.extend(self.platform.clone().map(|v| ("platform", v)));
        query.extend(self.name.clone().map(|v| ("name_prefix", v)));
        query.extend((self.matched || self.without_agent).then(|| ("matched", self.matched.to_string())));
        query.extend(self.gone.then(|| ("gone", "true".to_owned())));
        query.extend(self.all.then(|| ("all", "true".to_owned())));
        query.extend(self.power.map(|v| ("power", v.to_string())));
        query.extend(self.sort.map(|v| ("sort", v.to_string())));
        query.extend(self.security_type.map(|v| ("security_type", v.to_string())));
        query.extend(self.secure_boot.map(|v| ("secure_boot", v.to_string())));
        query.extend(self.vtpm.map(|v| ("vtpm", v.to_string())));
        query.extend(self.disagrees.then(|| ("disagrees", "true".to_owned())));
        query
    }
}

/// Runs `inventory list`.
pub fn run(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let query = args.query();
    if args.rows.csv {
        return client.print_csv("/v1/inventory/items.csv", &query, args.rows.limit.clamp(1, 200_000), "VM");
    }
    let (items, more): (Vec<InventoryRow>, bool) =
        client.list("/v1/inventory/items", &query, args.rows.limit)?;
    if out.json {
        return out.print_json_list(&items, more, args.rows.limit, "VM");
    }
    out.table(
        &["NAME", "GROUP", "SCALE SET", "SOURCE", "POWER", "SECURITY", "SECURE BOOT", "VTPM", "AGENT", ""],
        items.iter().map(row).collect(),
        match query.iter().all(|(name, _)| ["all", "sort"].contains(name)) {
            true => "no VMs; `veriboot inventory sync --source NAME FILE` reads an export",
            false => "no VMs match",
        },
    )?;
    out.more(more, args.rows.limit, "VM")
}

/// What is configured, in its colour.
pub fn configured(value: Configured) -> Styled {
    let tone = match value {
        Configured::On => Tone::Good,
        Configured::Off => Tone::Warn,
        Configured::Unsupported | Configured::Unknown => Tone::Dim,
    };
    Styled::new(value.as_str(), tone)
}

fn row(row: &InventoryRow) -> Vec<Styled> {
    let f = &row.item.facts;
    let agent = match (&row.vm_status, row.item.matched_by) {
        (Some(status), Some(MatchedBy::Link | MatchedBy::Suggestion)) => {
            Styled::new(format!("{status} (linked)"), status_tone(*status))
        }
        (Some(status), _) => Styled::new(status.as_str(), status_tone(*status)),
        (None, _) => Styled::new("no agent", Tone::Dim),
    };
    let notes: Vec<String> = row
        .item
        .gone_at
        .map(|at| format!("gone since {at}"))
        .into_iter()
        .chain(row.disagreements.iter().map(|d| d.message.clone()))
        .collect();
    vec![
        f.name.as_str().into(),
        Styled::new(&f.group, Tone::Dim),
        f.scale_set.as_deref().unwrap_or("-").into(),
        Styled::new(&row.item.source, Tone::Dim),
        f.power.as_str().into(),
        f.security_type.as_str().into(),
        configured(f.secure_boot),
        configured(f.vtpm),
        agent,
        Styled::new(notes.join("; "), Tone::Warn),
    ]
}

/// Filters of `inventory unlisted`.
#[derive(Args, Debug)]
pub struct UnlistedArgs {
    /// Only this group
    #[arg(long)]
    group: Option<String>,
    #[command(flatten)]
    rows: RowsArgs,
}

/// Runs `inventory unlisted`.
pub fn unlisted(args: &UnlistedArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let query: Vec<_> = args.group.clone().map(|v| ("group", v)).into_iter().collect();
    let (vms, more): (Vec<UnlistedVm>, bool) =
        client.list("/v1/inventory/unlisted", &query, args.rows.limit)?;
    if out.json {
        return out.print_json_list(&vms, more, args.rows.limit, "VM");
    }
    if args.rows.csv {
        let rows = vms.into_iter().map(|vm| {
            let place = [vm.vm_id, vm.name, vm.group, cell(vm.scale_set), vm.status.to_string()];
            place.into_iter().chain([cell(vm.last_attested_at), cell(vm.gone_at)]).collect()
        });
        let header = ["vm_id", "name", "group", "scale_set", "status", "last_attested_at", "gone_at"];
        return print_csv_list(&header, rows, more, args.rows.limit, "VM");
    }
    let rows = vms
        .iter()
        .map(|vm| {
            vec![
                vm.name.as_str().into(),
                Styled::new(&vm.group, Tone::Dim),
                vm.scale_set.as_deref().unwrap_or("-").into(),
                Styled::new(vm.status.as_str(), status_tone(vm.status)),
                out.ago(vm.last_attested_at).into(),
                match vm.gone_at {
                    Some(_) => Styled::new(format!("was listed until {}", out.ago(vm.gone_at)), Tone::Warn),
                    None => Styled::new("never listed", Tone::Dim),
                },
            ]
        })
        .collect();
    out.table(
        &["NAME", "GROUP", "SCALE SET", "STATUS", "ATTESTED", "INVENTORY"],
        rows,
        "every enrolled VM is in the inventory",
    )?;
    out.more(more, args.rows.limit, "VM")
}
