//! Whom profiles judge: assignments to VMs, scale sets, images and groups.

use axum::Json;
use axum::extract::State;
use serde_json::json;
use veriboot_appraisal::Profile;
use veriboot_store::reappraisals::{self as again, NewReappraisal};
use veriboot_store::{Tx, profiles, vms};
use veriboot_wire::{
    HistoryQuery, Page, Problem, ProfileAssign, ProfileAssigned, ProfileAssignment, ProfileAssignmentStatus,
    ProfileScopeQuery, Reappraisal, Scope, ScopeKind, Time,
};

use crate::api::baselines::apply::resolve;
use crate::api::{audit, check_comment, check_limit, check_name, no_such, vm_name};
use crate::auth::{Caller, Operator, Viewer};
use crate::etag::{ETag, ETagged, IfMatch};
use crate::extract::{Json as Body, Query};
use crate::problem::kinds;
use crate::{ApiError, AppState, reappraisals};

/// Tag of a scope without an assignment of its own.
const NONE: &str = "0";

/// Always there: that a scope has no assignment is a state too.
fn tag(assignment: Option<&ProfileAssignment>) -> ETag {
    ETag::of_state(assignment.map_or(NONE, |assignment| &assignment.etag))
}

/// List the assignments of profiles
///
/// Ordered by group, kind and id. Groups of the setting `measured_only_groups` come first, on the first page, unless
/// something is assigned to the group.
#[utoipa::path(get, path = "/v1/profile-assignments", tag = "profiles", operation_id = "list_profile_assignments",
    params(HistoryQuery), responses((status = 200, body = Page<ProfileAssignment>)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<ProfileAssignment>>, ApiError> {
    check_limit(query.limit)?;
    let configured: Vec<ProfileAssignment> = match query.cursor {
        Some(_) => Vec::new(),
        None => state.attest.measured_only_groups().map(|group| by_configuration(&state, group)).collect(),
    };
    let (mut items, page) = state
        .read(move |tx| {
            let mut items = Vec::new();
            for assignment in &configured {
                if profiles::assignment(tx, &assignment.scope)?.is_none() {
                    items.push(assignment.clone());
                }
            }
            let mut page = profiles::assignments(tx, query.limit, query.cursor.as_deref())?;
            for assignment in &mut page.items {
                assignment.vm_name = vm_name(tx, &assignment.scope)?;
            }
            Ok((items, page))
        })
        .await?;
    items.extend(page.items);
    Ok(Json(Page { items, next_cursor: page.next_cursor }))
}

fn by_configuration(state: &AppState, group: &str) -> ProfileAssignment {
    ProfileAssignment {
        scope: Scope { kind: ScopeKind::Group, group: group.to_owned(), id: String::new() },
        vm_name: None,
        profile: state.attest.default_profile(group).to_owned(),
        assigned_at: None,
        assigned_by: "configuration".to_owned(),
        comment: None,
        etag: NONE.to_owned(),
    }
}

/// Show the assignment of one scope
///
/// What is assigned to exactly this VM, scale set, image or group, and which profile judges it. The answer's `ETag` is that
/// of its own assignment, `"0"` without one.
#[utoipa::path(get, path = "/v1/profile-assignments/status", tag = "profiles",
    operation_id = "show_profile_assignment", params(ProfileScopeQuery),
    responses((status = 200, body = ProfileAssignmentStatus), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<ProfileScopeQuery>,
) -> Result<ETagged<Json<ProfileAssignmentStatus>>, ApiError> {
    let scope = Scope { kind: query.kind, group: query.group, id: query.id };
    let shared = state.clone();
    let status = state
        .read(move |tx| {
            let (scope, _) = resolve(tx, &scope)?;
            let vm_name = vm_name(tx, &scope)?;
            let assignment = profiles::assignment(tx, &scope)?
                .map(|a| ProfileAssignment { vm_name: vm_name.clone(), ..a });
            let profile = match &assignment {
                Some(assignment) => assignment.profile.clone(),
                None => less_specific(tx, &shared, &scope)?,
            };
            let etag = assignment.as_ref().map_or_else(|| NONE.to_owned(), |a| a.etag.clone());
            Ok(ProfileAssignmentStatus { scope, vm_name, assignment, profile, etag })
        })
        .await?;
    Ok(ETagged::new(tag(status.assignment.as_ref()), Json(status)))
}

/// The profile that judges a scope without one of its own.
fn less_specific(tx: &mut dyn Tx, state: &AppState, scope: &Scope) -> Result<String, ApiError> {
    if scope.kind == ScopeKind::Vm
        && let Some(vm) = vms::by_id(tx, &scope.id)?
        && let Some(assigned) = profiles::assigned_for(tx, vm.place())?
    {
        return Ok(assigned.name);
    }
    let group = Scope { kind: ScopeKind::Group, group: scope.group.clone(), id: String::new() };
    let of_group = profiles::assignment(tx, &group)?;
    Ok(of_group.map_or_else(|| state.attest.default_profile(&scope.group).to_owned(), |a| a.profile))
}

/// Assign a profile
///
/// Gives a VM, scale set, image or group a profile, or takes it away, and judges its VMs again. The most specific
/// assignment wins. Names the profile that it replaces, in `expected_profile`; or `If-Match` takes the `ETag` of the scope's
/// assignment, `"0"` when it has none. Taking away what is not there changes nothing (`changed`).
#[utoipa::path(put, path = "/v1/profile-assignments", tag = "profiles", operation_id = "assign_profile",
    request_body = ProfileAssign,
    params(("If-Match" = Option<String>, Header, description = "ETag of the scope's assignment that was looked at")),
    responses((status = 200, body = ProfileAssigned), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn assign(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Body(request): Body<ProfileAssign>,
) -> Result<ETagged<Json<ProfileAssigned>>, ApiError> {
    check_comment(request.comment.as_deref())?;
    if let Some(name) = &request.profile {
        check_name("profile", name)?;
    }
    let now = state.clock.now();
    let by = caller.name.clone();
    let done = state.write(move |tx| in_transaction(tx, &caller, &if_match, &request, now)).await?;
    let (assignment, asked) = match done {
        Done::Changed(assignment, asked) => (assignment, asked),
        Done::Nothing(reappraisal) => {
            let same = ProfileAssigned { assignment: None, reappraisal, changed: false };
            return Ok(ETagged::new(tag(None), Json(same)));
        }
    };
    tracing::info!(because = asked.because, by, "profile assignment changed");
    let reappraisal = reappraisals::drive(&state, asked).await?;
    let done = ProfileAssigned { assignment, reappraisal, changed: true };
    Ok(ETagged::new(tag(done.assignment.as_ref()), Json(done)))
}

/// What a change came to.
enum Done {
    /// The assignment, and whom it is about.
    Changed(Option<ProfileAssignment>, Reappraisal),
    /// There was nothing to take away: nobody is judged again.
    Nothing(Reappraisal),
}

/// The judging of no VM, for answers that say that nothing was changed.
fn nobody(scope: Scope, by: &str, now: Time) -> Reappraisal {
    Reappraisal {
        id: String::new(),
        scope,
        because: "no profile was assigned".to_owned(),
        created_at: now,
        created_by: by.to_owned(),
        vms: 0,
        done: 0,
        turned: 0,
        failed: 0,
        finished_at: Some(now),
    }
}

fn in_transaction(
    tx: &mut dyn Tx,
    caller: &Caller,
    if_match: &IfMatch,
    request: &ProfileAssign,
    now: Time,
) -> Result<Done, ApiError> {
    let ProfileAssign { scope, profile, expected_profile, comment } = request;
    let (scope, _) = resolve(tx, scope)?;
    let present = profiles::assignment(tx, &scope)?;
    if_match.check(Some(&tag(present.as_ref())))?;
    let present = present.map(|assignment| assignment.profile);
    // Who sends a tag need not say the same once more; who sends no tag means "none" by saying nothing.
    if present != *expected_profile && (*if_match == IfMatch::Whatever || expected_profile.is_some()) {
        let word = |name: Option<&String>| name.map_or("none".to_owned(), |name| format!("{name:?}"));
        let message = format!(
            "profile {} was to be replaced, and {} is assigned by now",
            word(expected_profile.as_ref()),
            word(present.as_ref())
        );
        return Err(ApiError::new(&kinds::VERSION_CONFLICT, message));
    }
    if present.is_none() && profile.is_none() {
        return Ok(Done::Nothing(nobody(scope, &caller.name, now)));
    }
    match profile {
        Some(name) => {
            if profiles::current(tx, name)?.is_none() && !Profile::NAMES.contains(&name.as_str()) {
                return Err(no_such("profile", name));
            }
            profiles::assign(tx, &scope, name, &caller.name, comment.as_deref(), now)?;
        }
        None => {
            profiles::unassign(tx, &scope, &caller.name, now)?;
        }
    }
    let action = if profile.is_some() { "profile.assign" } else { "profile.unassign" };
    let detail = json!({ "scope": scope, "profile": profile, "replaces": present, "comment": comment });
    let target = format!("{}:{}/{}", scope.kind, scope.group, scope.id);
    audit(tx, now, caller, action, target.trim_end_matches('/'), &detail)?;
    let because = match profile {
        Some(name) => format!("profile {name} assigned"),
        None => "profile taken away".to_owned(),
    };
    let new = NewReappraisal {
        scope: &scope,
        because: &because,
        always: false,
        created_by: &caller.name,
        created_at: now,
    };
    let vm_name = vm_name(tx, &scope)?;
    let assignment =
        profiles::assignment(tx, &scope)?.map(|assignment| ProfileAssignment { vm_name, ..assignment });
    Ok(Done::Changed(assignment, again::enqueue(tx, &new)?))
}
