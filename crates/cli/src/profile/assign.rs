//! `veriboot profile assign` and `unassign`.

use clap::Args;
use veriboot_wire::{ProfileAssign, ProfileAssigned, ProfileAssignment, ProfileAssignmentStatus, Scope};

use crate::baseline::changed::progress;
use crate::baseline::scope::{ScopeArgs, words};
use crate::client::Client;
use crate::error::CliError;
use crate::etag::{EtagArg, quoted};
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
    #[arg(long, value_name = "NAME", conflicts_with = "etag")]
    replaces: Option<String>,
    #[command(flatten)]
    etag: EtagArg,
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
    let present = present(&scope, client)?;
    let had_none = present.assignment.is_none();
    // What is there now, unless somebody says what they looked at.
    let if_match = change.etag.quoted().or_else(|| change.replaces.is_none().then(|| quoted(&present.etag)));
    let expected_profile = change.replaces;
    let request = ProfileAssign { scope: scope.clone(), profile, expected_profile, comment: change.comment };
    let done: ProfileAssigned =
        client.put_if_match("/v1/profile-assignments", &request, if_match.as_deref())?;
    if out.json {
        return out.print_json(&done);
    }
    let whom = safe(&words(&scope, present.vm_name.as_deref()));
    let nothing = !done.changed || had_none && done.assignment.is_none();
    out.line(&match &done.assignment {
        Some(assignment) => format!("{} judges {whom}", safe(&assignment.profile)),
        None if nothing => format!("{whom} had no profile of its own: nothing is changed"),
        None => format!("{whom} has no profile of its own"),
    })?;
    if nothing { Ok(()) } else { out.line(&progress(&done.reappraisal)) }
}

/// What exactly this scope has now.
fn present(scope: &Scope, client: &Client) -> Result<ProfileAssignmentStatus, CliError> {
    let query = [("kind", scope.kind.to_string()), ("group", scope.group.clone()), ("id", scope.id.clone())];
    client.get("/v1/profile-assignments/status", &query)
}

fn list(limit: usize, client: &Client, out: Output) -> Result<(), CliError> {
    let (all, more): (Vec<ProfileAssignment>, bool) = client.list("/v1/profile-assignments", &[], limit)?;
    if out.json {
        return out.print_json_list(&all, more, limit, "assignment");
    }
    let rows = all
        .iter()
        .map(|a| {
            vec![
                a.profile.as_str().into(),
                words(&a.scope, a.vm_name.as_deref()).into(),
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
    out.more(more, limit, "assignment")
}
