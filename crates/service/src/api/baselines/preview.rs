//! What verdicts would be under another baseline or profile.

use axum::Json;
use axum::extract::State;
use veriboot_store::baselines::CurrentBaseline;
use veriboot_store::reappraisals::{self, VmInScope};
use veriboot_wire::{
    DocumentFormat, Page, PreviewCounts, Problem, ReappraisePreview, ReappraiseRequest, Scope, ScopeKind,
    Verdict,
};

use super::apply::{off_the_network, read};
use super::find;
use crate::api::{check_name, check_range, find_vm, invalid, no_such};
use crate::attest::{Against, Judging, content_of, named_profile, preview};
use crate::auth::Viewer;
use crate::extract::Json as Body;
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// VMs of a page when nobody says.
const DEFAULT_VMS: u32 = 50;
/// VMs of a page at most: each may need a log to be examined.
const MAX_VMS: u32 = 200;

/// Ask what verdicts would be
///
/// Holds the stored evidence of a VM, a scale set, an image or a group against another version of a baseline, against a
/// document that is not applied yet, or against another profile, and says what would become of the verdicts. Nothing is
/// written.
#[utoipa::path(post, path = "/v1/reappraise", tag = "baselines", operation_id = "preview_reappraisal",
    request_body = ReappraiseRequest,
    responses((status = 200, body = ReappraisePreview), (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn ask(
    _: Viewer,
    State(state): State<AppState>,
    Body(request): Body<ReappraiseRequest>,
) -> Result<Json<ReappraisePreview>, ApiError> {
    let limit = check_range("limit", request.limit.unwrap_or(DEFAULT_VMS), 1, MAX_VMS)?;
    let page = vms(&state, &request, limit).await?;
    let (named, against) = against(&state, request).await?;
    let mut answer = ReappraisePreview {
        baseline: named,
        counts: PreviewCounts::default(),
        vms: Vec::with_capacity(page.items.len()),
        next_cursor: page.next_cursor,
    };
    for vm in page.items {
        // Gone since the page was read.
        let Some(vm) = preview(&state, &vm.id, &against).await? else { continue };
        let counts = &mut answer.counts;
        let count = match (vm.before, vm.after) {
            (Some(Verdict::Healthy), Some(Verdict::Healthy)) => &mut counts.stay_healthy,
            (Some(Verdict::Unhealthy), Some(Verdict::Unhealthy)) => &mut counts.stay_unhealthy,
            (Some(Verdict::Unhealthy), Some(Verdict::Healthy)) => &mut counts.turn_healthy,
            (Some(Verdict::Healthy), Some(Verdict::Unhealthy)) => &mut counts.turn_unhealthy,
            _ => &mut counts.without_evidence,
        };
        *count += 1;
        answer.vms.push(vm);
    }
    Ok(Json(answer))
}

/// The VMs of a page, by name. The cursor is the name of the last one.
async fn vms(state: &AppState, request: &ReappraiseRequest, limit: u32) -> Result<Page<VmInScope>, ApiError> {
    let ReappraiseRequest { vm, group, scale_set, image, cursor, .. } = request.clone();
    let asked =
        [vm.is_some(), scale_set.is_some(), image.is_some()].into_iter().filter(|given| *given).count();
    if asked > 1 {
        return Err(invalid("name one of vm, scale_set and image, or only a group"));
    }
    for (member, name) in [("group", &group), ("scale_set", &scale_set), ("image", &image)] {
        if let Some(name) = name {
            check_name(member, name)?;
        }
    }
    let after = match cursor {
        Some(cursor) => hex::decode(&cursor)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .filter(|name| name.len() <= 256)
            .ok_or_else(|| ApiError::new(&kinds::INVALID_CURSOR, "the cursor is not one of this list"))?,
        None => String::new(),
    };
    let in_group = group.clone().unwrap_or_else(|| "default".to_owned());
    let (kind, id) = match (&scale_set, image) {
        (Some(set), _) => (ScopeKind::ScaleSet, set.clone()),
        (None, Some(image)) => (ScopeKind::Image, image),
        (None, None) => (ScopeKind::Group, String::new()),
    };
    let scope = Scope { kind, group: in_group, id };
    let mut items = state
        .read(move |tx| {
            if let Some(vm) = &vm {
                let vm = find_vm(tx, vm, group.as_deref())?;
                return Ok(vec![VmInScope { id: vm.id, name: vm.name }]);
            }
            Ok(reappraisals::vms_after(tx, &scope, &after, limit.saturating_add(1))?)
        })
        .await?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > size;
    items.truncate(size);
    let next_cursor = if more { items.last().map(|vm| hex::encode(&vm.name)) } else { None };
    Ok(Page { items, next_cursor })
}

/// What the evidence is held against, and how it is called.
async fn against(state: &AppState, request: ReappraiseRequest) -> Result<(String, Against), ApiError> {
    let ReappraiseRequest { baseline, document, format, profile, .. } = request;
    let profile = match profile {
        Some(name) => Some(named_profile(state, &name).await?.ok_or_else(|| no_such("profile", &name))?),
        None => None,
    };
    let (name, baseline) = match (baseline, document) {
        (Some(_), Some(_)) => return Err(invalid("name a baseline or give a document, not both")),
        (None, None) if profile.is_none() => {
            return Err(invalid("name a baseline, give a document, or name a profile"));
        }
        (None, None) => ("the present one".to_owned(), None),
        (Some(key), None) => {
            let row = state.read(move |tx| find(tx, &key)?.ok_or_else(|| no_such("baseline", &key))).await?;
            let reference = row.reference();
            let current = CurrentBaseline {
                id: row.summary.id,
                reference: reference.clone(),
                scope: row.summary.scope.kind,
            };
            let judging = content_of(state, current).await?;
            if let Err(broken) = &judging.content {
                let error = ApiError::new(&kinds::BASELINE_BROKEN, "the stored baseline cannot be used");
                return Err(error.cause(broken.to_string()));
            }
            (reference, Some(judging))
        }
        (None, Some(document)) => {
            let format = format.unwrap_or(DocumentFormat::Json);
            let compiled = off_the_network(move || Ok(read(&document, format)?.compile())).await?;
            ("document".to_owned(), Some(Judging::of_document(compiled)))
        }
    };
    Ok((name, Against { baseline, profile }))
}
