//! `veriboot monitoring`: where integrity monitoring is on.

use clap::{Args, Subcommand};
use veriboot_wire::{
    MonitoringChanged, MonitoringPut, MonitoringSetting, MonitoringStatus, MonitoringSwitch, Scope,
    ScopeKind, counted,
};

use crate::baseline::scope::words;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::etag::EtagArg;
use crate::output::{Output, Styled, Tone, safe};
use crate::vm::NameArgs;

/// Switches of integrity monitoring.
#[derive(Subcommand, Debug)]
pub enum MonitoringCommand {
    /// Monitor a VM, a scale set or a group
    Enable(ChangeArgs),
    /// Stop monitoring: no status, no alerts; agents may still attest
    Disable(ChangeArgs),
    /// Remove a setting: the scope takes what its scale set or group says
    Clear(ChangeArgs),
    /// Show what holds for a VM, a scale set or a group
    Status(WhichArgs),
    /// List all settings
    List(ListArgs),
}

/// A VM, a scale set or a group.
#[derive(Args, Debug)]
pub struct WhichArgs {
    /// One VM, by id or name
    #[arg(long, conflicts_with = "scale_set")]
    vm: Option<String>,
    /// A scale set
    #[arg(long, value_name = "NAME")]
    scale_set: Option<String>,
    /// The group of these, or, alone, all of its VMs [default with the others: default]
    #[arg(long)]
    group: Option<String>,
}

/// Arguments of a change.
#[derive(Args, Debug)]
pub struct ChangeArgs {
    #[command(flatten)]
    which: WhichArgs,
    #[command(flatten)]
    etag: EtagArg,
    /// Why; kept with the setting and in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Arguments of `monitoring list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only this group, its scale sets and VMs
    #[arg(long)]
    group: Option<String>,
    /// The most rows to show
    #[arg(long, default_value_t = 1000, value_name = "ROWS")]
    limit: usize,
}

impl WhichArgs {
    /// The scope; a VM is looked up, so that its group is known.
    pub fn scope(&self, client: &Client) -> Result<Scope, CliError> {
        let group = self.group.clone().unwrap_or_else(|| "default".to_owned());
        if let Some(name) = &self.vm {
            let query = NameArgs::query(self.group.as_ref());
            let vm: veriboot_wire::VmDetail = client.get(&format!("/v1/vms/{}", segment(name)), &query)?;
            return Ok(Scope { kind: ScopeKind::Vm, group: vm.summary.group, id: vm.summary.id });
        }
        match (&self.scale_set, &self.group) {
            (Some(set), _) => Ok(Scope { kind: ScopeKind::ScaleSet, group, id: set.clone() }),
            (None, Some(_)) => Ok(Scope { kind: ScopeKind::Group, group, id: String::new() }),
            (None, None) => Err(CliError::usage("no-scope", "nothing says which VMs this is about")
                .hint("give --vm, --scale-set or --group")),
        }
    }
}

/// Runs `veriboot monitoring`.
pub fn run(command: MonitoringCommand, client: &Client, out: Output) -> Result<(), CliError> {
    match command {
        MonitoringCommand::Enable(args) => set(args, true, client, out),
        MonitoringCommand::Disable(args) => set(args, false, client, out),
        MonitoringCommand::Clear(args) => clear(&args, client, out),
        MonitoringCommand::Status(args) => status(&args, client, out),
        MonitoringCommand::List(args) => list(&args, client, out),
    }
}

fn set(args: ChangeArgs, enabled: bool, client: &Client, out: Output) -> Result<(), CliError> {
    let scope = args.which.scope(client)?;
    let if_match = args.etag.quoted();
    let request = MonitoringPut { scope, enabled, comment: args.comment };
    let changed: MonitoringChanged = client.put_if_match("/v1/monitoring", &request, if_match.as_deref())?;
    told(&changed, out)
}

fn clear(args: &ChangeArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let scope = args.which.scope(client)?;
    let query = query(&scope, args.comment.as_deref());
    let changed: MonitoringChanged =
        client.delete_if_match("/v1/monitoring", &query, args.etag.quoted().as_deref())?;
    told(&changed, out)
}

fn query(scope: &Scope, comment: Option<&str>) -> Vec<(&'static str, String)> {
    let mut query =
        vec![("kind", scope.kind.to_string()), ("group", scope.group.clone()), ("id", scope.id.clone())];
    query.extend(comment.map(|comment| ("comment", comment.to_owned())));
    query
}

fn told(changed: &MonitoringChanged, out: Output) -> Result<(), CliError> {
    if out.json {
        return out.print_json(changed);
    }
    line(&changed.status, out)?;
    if changed.status.vms == 0 {
        return out.line(&nobody_yet(&changed.status.scope));
    }
    out.line(&progress(&changed.switch))
}

/// That a change is for VMs to come, or for a scope that was mistyped.
pub fn nobody_yet(scope: &Scope) -> String {
    format!("no VM is in this scope yet ({}): it holds for those that enrol later", safe(&words(scope, None)))
}

fn progress(switch: &MonitoringSwitch) -> String {
    let MonitoringSwitch { vms, done, switched, finished_at, .. } = switch;
    match finished_at {
        Some(_) => format!("{switched} of {} switched", counted(*vms, "VM")),
        None => format!(
            "{done} of {} looked at, {switched} switched; the rest follows in the background",
            counted(*vms, "VM")
        ),
    }
}

fn line(status: &MonitoringStatus, out: Output) -> Result<(), CliError> {
    let tone = if status.monitoring.enabled { Tone::Good } else { Tone::Warn };
    let text = out.paint(&safe(&status.monitoring.text), tone);
    let whom = words(&status.scope, status.vm_name.as_deref());
    out.line(&format!("integrity monitoring of {}: {text}", safe(&whom)))
}

fn status(args: &WhichArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let scope = args.scope(client)?;
    let status: MonitoringStatus = client.get("/v1/monitoring/status", &query(&scope, None))?;
    if out.json {
        return out.print_json(&status);
    }
    line(&status, out)?;
    let mut fields = vec![("monitored", format!("{} of {}", status.monitored, counted(status.vms, "VM")))];
    if let Some(MonitoringSetting { set_at, set_by, comment, .. }) = &status.setting {
        fields.push(("set", format!("{set_at} ({}) by {}", out.ago(Some(*set_at)), safe(set_by))));
        fields.extend(comment.as_deref().map(|comment| ("because", safe(comment))));
    }
    if let Some(switch) = &status.switch {
        fields.push(("on its way", progress(switch)));
    }
    out.fields(&fields)
}

fn list(args: &ListArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let query: Vec<_> = args.group.clone().map(|group| ("group", group)).into_iter().collect();
    let (settings, more): (Vec<MonitoringSetting>, bool) =
        client.list("/v1/monitoring", &query, args.limit)?;
    if out.json {
        return out.print_json_list(&settings, more, args.limit, "setting");
    }
    let rows = settings
        .iter()
        .map(|setting| {
            let (word, tone) = match setting.enabled {
                true => ("enabled", Tone::Good),
                false => ("disabled", Tone::Warn),
            };
            vec![
                words(&setting.scope, setting.vm_name.as_deref()).into(),
                Styled::new(word, tone),
                out.ago(Some(setting.set_at)).into(),
                setting.set_by.as_str().into(),
                setting.comment.as_deref().unwrap_or_default().into(),
            ]
        })
        .collect();
    out.table(
        &["SCOPE", "MONITORING", "SINCE", "BY", "COMMENT"],
        rows,
        match query.is_empty() {
            true => "nothing is set: every VM is monitored",
            false => "nothing is set in this group: its VMs are monitored",
        },
    )?;
    out.more(more, args.limit, "setting")
}
