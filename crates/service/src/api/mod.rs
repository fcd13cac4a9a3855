//! The operator's REST API: one file per kind of thing, all below `/v1`.

pub(crate) mod alerts;
pub(crate) mod api_tokens;
pub(crate) mod attestations;
pub(crate) mod audit;
pub(crate) mod baselines;
pub(crate) mod boots;
pub(crate) mod csv;
pub(crate) mod events;
pub(crate) mod inventory;
pub(crate) mod join_tokens;
pub(crate) mod maintenance;
pub(crate) mod monitoring;
pub(crate) mod notifications;
pub(crate) mod policies;
pub(crate) mod posture;
pub(crate) mod profiles;
pub(crate) mod proposals;
pub(crate) mod replaces;
pub(crate) mod scale_sets;
pub(crate) mod summary;
pub(crate) mod vms;

use axum::extract::DefaultBodyLimit;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use veriboot_store::{Tx, vms::VmRow};
use veriboot_wire::{Scope, ScopeKind, Time};

use crate::auth::Caller;
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// Routes of the operator's API.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(summary::show))
        .routes(routes!(summary::version))
        .routes(routes!(vms::list))
        .routes(routes!(vms::export))
        .routes(routes!(vms::show, vms::delete))
        .routes(routes!(attestations::list))
        .routes(routes!(attestations::show))
        .routes(routes!(attestations::token))
        .routes(routes!(attestations::evidence))
        .routes(routes!(boots::list))
        .routes(routes!(boots::show))
        .routes(routes!(boots::log))
        .routes(routes!(boots::diff))
        .merge(alerts::routes())
        .merge(maintenance::routes())
        .merge(documents())
        .merge(inventory::routes())
        .routes(routes!(baselines::show, baselines::retire::retire))
        .routes(routes!(baselines::export::export))
        .routes(routes!(baselines::export::keys))
        .routes(routes!(baselines::compare::diff))
        .routes(routes!(baselines::accept::accept))
        .routes(routes!(baselines::accept_preview::preview))
        .routes(routes!(baselines::reappraisals::list))
        .routes(routes!(baselines::reappraisals::show))
        .routes(routes!(profiles::list))
        .routes(routes!(profiles::show))
        .routes(routes!(profiles::versions))
        .routes(routes!(profiles::assignments::list, profiles::assignments::assign))
        .routes(routes!(profiles::assignments::show))
        .routes(routes!(monitoring::list, monitoring::put, monitoring::remove))
        .routes(routes!(monitoring::show))
        .routes(routes!(policies::list_variables))
        .routes(routes!(policies::check))
        .routes(routes!(policies::test))
        .routes(routes!(proposals::list))
        .routes(routes!(proposals::show))
        .routes(routes!(proposals::members))
        .routes(routes!(proposals::approve))
        .routes(routes!(proposals::approve_several))
        .routes(routes!(proposals::reject))
        .routes(routes!(proposals::reopen))
        .merge(posture::routes())
        .routes(routes!(scale_sets::list))
        .routes(routes!(scale_sets::show))
        .routes(routes!(join_tokens::list, join_tokens::create))
        .routes(routes!(join_tokens::revoke))
        .routes(routes!(api_tokens::list, api_tokens::create))
        .routes(routes!(api_tokens::revoke))
        .routes(routes!(events::list))
        .routes(routes!(notifications::list, notifications::create))
        .routes(routes!(notifications::show, notifications::change, notifications::remove))
        .routes(routes!(notifications::test))
        .routes(routes!(notifications::deliveries))
        .routes(routes!(notifications::replay))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(audit::verify))
}

/// Routes that take whole documents, which are larger than other bodies.
fn documents() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(baselines::list, baselines::apply::apply))
        .routes(routes!(baselines::import::import))
        .routes(routes!(baselines::preview::ask))
        .routes(routes!(profiles::put))
        .layer(DefaultBodyLimit::max(baselines::DOCUMENT_LIMIT_BYTES))
}

/// The longest comment that is kept, in characters.
const MAX_COMMENT_CHARS: usize = 1000;

/// Appends to the audit log in the transaction of the change itself.
pub(crate) fn audit(
    tx: &mut dyn Tx,
    at: Time,
    caller: &Caller,
    action: &str,
    target: &str,
    detail: &Value,
) -> Result<(), ApiError> {
    let entry = veriboot_store::audit::NewEntry { at, actor: &caller.name, action, target, detail };
    veriboot_store::audit::append(tx, &entry)?;
    Ok(())
}

pub(crate) fn not_found(kind: &str) -> ApiError {
    ApiError::new(&kinds::NOT_FOUND, format!("there is no such {kind}"))
}

/// Characters of a name that an answer repeats.
const MAX_REPEATED_CHARS: usize = 128;

/// [`not_found`] of what a request named: said again in quotes, bounded, and with nothing that steers a terminal.
pub(crate) fn no_such(kind: &str, named: &str) -> ApiError {
    let named = crate::attest::text::plain(named, MAX_REPEATED_CHARS);
    ApiError::new(&kinds::NOT_FOUND, format!("there is no such {kind}: {named:?}"))
}

/// The VM that a path or a body names: its id, or its name where only one VM has it.
pub(crate) fn find_vm(tx: &mut dyn Tx, key: &str, group: Option<&str>) -> Result<VmRow, ApiError> {
    if let Some(vm) = veriboot_store::vms::by_id(tx, key)? {
        return match group {
            Some(group) if group != vm.group => Err(no_such("VM in this group", key)),
            _ => Ok(vm),
        };
    }
    if let Some(group) = group {
        return veriboot_store::vms::by_name(tx, group, key)?.ok_or_else(|| no_such("VM in this group", key));
    }
    let mut found = veriboot_store::vms::by_name_in_any_group(tx, key, 10)?;
    if found.len() > 1 {
        let which: Vec<_> = found.iter().map(|vm| format!("{} ({})", vm.group, vm.id)).collect();
        let message = format!("VMs in several groups have this name: {}", which.join(", "));
        return Err(ApiError::new(&kinds::AMBIGUOUS_NAME, message));
    }
    found.pop().ok_or_else(|| no_such("VM", key))
}

/// The name of the VM that a scope is of; `None` of others, and of one that is gone.
pub(crate) fn vm_name(tx: &mut dyn Tx, scope: &Scope) -> Result<Option<String>, ApiError> {
    match scope.kind {
        ScopeKind::Vm => Ok(veriboot_store::vms::by_id(tx, &scope.id)?.map(|vm| vm.name)),
        ScopeKind::ScaleSet | ScopeKind::Image | ScopeKind::Group => Ok(None),
    }
}

pub(crate) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(&kinds::INVALID_VALUE, message)
}

/// Whether a token, group or scale set can have this name.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Names of tokens, groups and scale sets.
pub(crate) fn check_name(member: &str, name: &str) -> Result<(), ApiError> {
    if is_name(name) {
        Ok(())
    } else {
        Err(invalid(format!("{member} must be 1 to 63 characters of A-Z a-z 0-9 . _ -")))
    }
}

/// Comments end up in lists, logs and terminals: bounded, no control characters.
pub(crate) fn check_comment(comment: Option<&str>) -> Result<(), ApiError> {
    match comment {
        Some(text) if text.chars().count() > MAX_COMMENT_CHARS => {
            Err(invalid(format!("comment must have at most {MAX_COMMENT_CHARS} characters")))
        }
        Some(text) if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') => {
            Err(invalid("comment must not hold control characters"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_range(member: &str, value: u32, least: u32, most: u32) -> Result<u32, ApiError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(invalid(format!("{member} must be {least} to {most}")))
    }
}

/// `limit` of a page: absent, or 1 to [`veriboot_wire::MAX_PAGE_ROWS`].
pub(crate) fn check_limit(limit: Option<u32>) -> Result<(), ApiError> {
    match limit {
        Some(rows) if !(1..=veriboot_wire::MAX_PAGE_ROWS).contains(&rows) => Err(ApiError::new(
            &kinds::INVALID_QUERY,
            format!("limit must be 1 to {}", veriboot_wire::MAX_PAGE_ROWS),
        )),
        _ => Ok(()),
    }
}
