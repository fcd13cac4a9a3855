//! `veriboot profile assign` and `unassign`.

use clap::Args;
use veriboot_wire::{ProfileAssign, ProfileAssigned, ProfileAssignment, Scope};

use crate::baseline::changed::progress;
use crate::baseline::scope::{ScopeArgs, words};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Styled, Tone, safe};

/// Arguments of `profile assign`.
#[derive(Args, Debug)]
pub struct AssignArgs {
    /// Name of the profile
    name: Option<String>,
    #[command(flatten)]
    scope: OptionalScope,
    #[command(flatten)]
    change: ChangeArgs,
    /// The most assignments to list
    #[arg(long, default_value_t = 1000, value_name = "ROWS")]
    limit: usize,
}

/// The scope, which only a listing does without.
#[derive(Args, Debug)]
struct OptionalScope {
    /// One VM, by id or name
    #[arg(long, requires = "name", conflicts_with_all = ["scale_set", "image"])]
    vm: Option<String>,
    /// A scale set
    #[arg(long, requires = "name", value_name = "NAME", conflicts_with = "image")]
    scale_set: Option<String>,
    /// The VMs of an image
    #[arg(long, requires = "name", value_name = "NAME")]
    image: Option<String>,
    /// The group of these, or, alone, all of its VMs
    #[arg(long, requires = "name")]
    group: Option<String>,
}

/// Arguments of `profile unassign`.
#[derive(Args, Debug)]
pub struct UnassignArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    change: ChangeArgs,
}

/// What goes with both.
#[derive(Args, Debug)]
struct ChangeArgs {
    /// Profile that you saw assigned; refused when it is another one by now [default: the present one]
    #[arg(long, value_name = "NAME")]
    replaces: Option<String>,
    /// Why; kept with the assignment and in the audit log
    #[arg(long, short = 'm')]
    comment: Option<String>,
}

/// Runs `profile assign`.
pub fn assign(args: AssignArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let Some(name) = args.name else { return list(args.limit, client, out) };
    let OptionalScope { vm, scale_set, image, group } = args.scope;
    let scope = ScopeArgs { vm, scale_set, image, group }.resolve(client)?;
    change(scope, Some(name), args.change, client, out)
}

/// Runs `profile unassign`.
pub fn unassign(args: UnassignArgs, client: &Client, out: Output) -> Result<(), CliError> {
    let scope = args.scope.resolve(client)?;
    change(scope, None, args.change, client, out)
}

fn change(
    scope: Scope,
    profile: Option<String>,
    change: ChangeArgs,
    client: &Client,
    out: Output,
) -> Result<(), CliError> {
    let expected_profile = match change.replaces {
        Some(name) => Some(name),
        None => present(&scope, client)?,
    };
    let had_none = expected_profile.is_none();
    let request = ProfileAssign { scope: scope.clone(), profile, expected_profile, comment: change.comment };
    let done: ProfileAssigned = client.put("/v1/profile-assignments", &request)?;
    if out.json {
        return out.print_json(&done);
    }
    let whom = safe(&words(&scope, None));
    out.line(&match &done.assignment {
        Some(assignment) => format!("{} judges {whom}", safe(&assignment.profile)),
        None if had_none => format!("{whom} had no profile of its own: nothing is changed"),
        None => format!("{whom} has no profile of its own"),
    })?;
    out.line(&progress(&done.reappraisal))
}

/// The profile that exactly this scope has now.
fn present(scope: &Scope, client: &Client) -> Result<Option<String>, CliError> {
    let (all, _): (Vec<ProfileAssignment>, bool) = client.list("/v1/profile-assignments", &[], 100_000)?;
    // Those of the configuration are not assigned: they have no time.
    let found = all.into_iter().find(|a| a.scope == *scope && a.assigned_at.is_some());
    Ok(found.map(|assignment| assignment.profile))
}

fn list(limit: usize, client: &Client, out: Output) -> Result<(), CliError> {
    let (all, more): (Vec<ProfileAssignment>, bool) = client.list("/v1/profile-assignments", &[], limit)?;
    if out.json {
        return out.print_json(&all);
    }
    let rows = all
        .iter()
        .map(|a| {
            vec![
                a.profile.as_str().into(),
                words(&a.scope, None).into(),
                out.ago(a.assigned_at).into(),
                Styled::new(&a.assigned_by, Tone::Plain),
                a.comment.as_deref().unwrap_or_default().into(),
            ]
        })
        .collect();
    out.table(
        &["PROFILE", "JUDGES", "SINCE", "BY", "COMMENT"],
        rows,
        "no profile is assigned: secure-boot-required judges every VM",
    )?;
    if more {
        out.line(&format!("… more than {limit} assignments: raise --limit"))?;
    }
    Ok(())
}
