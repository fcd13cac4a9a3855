//! Links between items and enrolled VMs, made by operators.

use axum::Json;
use axum::extract::State;
use serde_json::json;
use veriboot_store::inventory::{self as store, Linked};
use veriboot_store::{Tx, vms::VmRow};
use veriboot_wire::{
    InventoryItem, InventoryItemDetail, InventoryLink, InventoryLinkFailed, InventoryLinkSuggested,
    InventoryLinked, InventoryQuery, InventorySuggestion, MatchedBy, Problem, Time,
};

use super::super::{audit, check_comment, find_vm};
use super::items::{detail, find, tag};
use crate::auth::{Caller, Operator};
use crate::etag::{ETagged, IfMatch};
use crate::extract::{Json as Body, Path};
use crate::problem::kinds;
use crate::{ApiError, AppState, posture, silence};

/// Pairs that one call links.
const MAX_LINKED: usize = 1000;
/// Pairs that one transaction links.
const BATCH: usize = 100;

/// Refuses a link that what is known contradicts.
fn check(tx: &mut dyn Tx, item: &InventoryItem, vm: &VmRow) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::new(&kinds::INVENTORY_LINK_REFUSED, message));
    let name = &item.facts.name;
    if item.matched_by == Some(MatchedBy::VerifiedIdentity) && item.vm_id.as_ref() != Some(&vm.id) {
        return refuse(format!("{name} declares the endorsement key of another enrolled VM"));
    }
    if item.facts.ek_sha256.as_ref().is_some_and(|ek| *ek != vm.ek_sha256) {
        return refuse(format!("{name} declares another endorsement key than that of {}", vm.name));
    }
    let other = store::items_for_vm(tx, &vm.id)?
        .into_iter()
        .find(|other| other.source == item.source && other.id != item.id && other.gone_at.is_none());
    match other {
        Some(other) => refuse(format!("{} of the same source is {} already", other.facts.name, vm.name)),
        None => Ok(()),
    }
}

/// Assesses the item, the VM that it was and the one that it is.
fn assess(tx: &mut dyn Tx, before: &InventoryItem, now: Time) -> Result<(), ApiError> {
    posture::refresh_items(tx, std::slice::from_ref(&before.id), now)?;
    posture::refresh_vms(tx, before.vm_id.as_slice(), now)?;
    Ok(())
}

fn written(
    tx: &mut dyn Tx,
    caller: &Caller,
    item: &InventoryItem,
    vm: &VmRow,
    how: Linked<'_>,
    comment: Option<&str>,
    now: Time,
) -> Result<(), ApiError> {
    check(tx, item, vm)?;
    if store::link(tx, &item.id, &vm.id, how, &caller.name, now)? {
        let detail = json!({
            "source": item.source, "key": item.facts.key, "name": item.facts.name, "vm_id": vm.id, "vm_name": vm.name,
            "matched_by": how.matched_by(), "agreed_by": how.agreed_by(), "replaces": item.vm_id, "comment": comment,
        });
        audit(tx, now, caller, "inventory.link", &item.id, &detail)?;
        assess(tx, item, now)?;
        silence::let_go(tx, std::slice::from_ref(&vm.id), now)?;
    }
    Ok(())
}

/// Link an item to an enrolled VM
///
/// Says that they are the same machine, which its evidence cannot show. Refused where endorsement keys show otherwise.
#[utoipa::path(put, path = "/v1/inventory/items/{id}/link", tag = "inventory", operation_id = "link_inventory_item",
    params(("id" = String, Path, description = "Id of the item"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the item that was looked at")),
    request_body = InventoryLink,
    responses((status = 200, body = InventoryItemDetail), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn link(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Path(id): Path<String>,
    Body(request): Body<InventoryLink>,
) -> Result<ETagged<Json<InventoryItemDetail>>, ApiError> {
    check_comment(request.comment.as_deref())?;
    let now = state.clock.now();
    let detail = state
        .write(move |tx| {
            let item = find(tx, &id)?;
            if_match.check(Some(&tag(&item)))?;
            let vm = find_vm(tx, &request.vm, request.group.as_deref())?;
            written(tx, &caller, &item, &vm, Linked::ByHand, request.comment.as_deref(), now)?;
            let item = find(tx, &id)?;
            detail(tx, item)
        })
        .await?;
    Ok(ETagged::new(tag(&detail.row.item), Json(detail)))
}

/// Take the link of an item back
///
/// What declares the endorsement key of an enrolled VM stays that VM.
#[utoipa::path(delete, path = "/v1/inventory/items/{id}/link", tag = "inventory", operation_id = "unlink_inventory_item",
    params(("id" = String, Path, description = "Id of the item"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the item that was looked at")),
    responses((status = 200, body = InventoryItemDetail), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem)))]
pub(crate) async fn unlink(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Path(id): Path<String>,
) -> Result<ETagged<Json<InventoryItemDetail>>, ApiError> {
    let now = state.clock.now();
    let detail = state
        .write(move |tx| {
            let item = find(tx, &id)?;
            if_match.check(Some(&tag(&item)))?;
            if !store::unlink(tx, &id, &caller.name, now)? {
                let message = match item.matched_by {
                    Some(MatchedBy::VerifiedIdentity) => {
                        format!("{} is its VM by endorsement key, which nobody linked", item.facts.name)
                    }
                    _ => format!("{} is not linked", item.facts.name),
                };
                return Err(ApiError::new(&kinds::WRONG_STATE, message));
            }
            let told = json!({ "source": item.source, "key": item.facts.key, "vm_id": item.vm_id });
            audit(tx, now, &caller, "inventory.unlink", &id, &told)?;
            assess(tx, &item, now)?;
            let item = find(tx, &id)?;
            detail(tx, item)
        })
        .await?;
    Ok(ETagged::new(tag(&detail.row.item), Json(detail)))
}

/// Link all items that can be only one VM
///
/// Links every item without an agent that has exactly one candidate among the enrolled VMs of its group, which agrees with it
/// in its name and in machine UUID, scale set or platform, or in machine UUID and scale set, and in nothing differs.
/// `by_hand_because` of the other suggestions says why they are left. `dry_run` lists what would be linked. At most 1000 at
/// once. They are linked in batches: when a later one fails, `failed` says so beside those that were linked.
#[utoipa::path(post, path = "/v1/inventory/links", tag = "inventory", operation_id = "link_suggested_inventory",
    request_body = InventoryLinkSuggested,
    responses((status = 200, body = InventoryLinked), (status = 400, body = Problem)))]
pub(crate) async fn link_suggested(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Body(request): Body<InventoryLinkSuggested>,
) -> Result<Json<InventoryLinked>, ApiError> {
    check_comment(request.comment.as_deref())?;
    let InventoryLinkSuggested { source, group, dry_run, comment } = request;
    let found = find_all(&state, source, group).await?;
    let mut answer =
        InventoryLinked { dry_run, linked: Vec::new(), left: found.left, more: found.more, failed: None };
    if dry_run {
        answer.linked = found.pairs.into_iter().map(|(_, suggestion)| suggestion).collect();
        return Ok(Json(answer));
    }
    let shared = &state;
    let write = |batch: Vec<Pair>| {
        let (work, now) = ((caller.clone(), comment.clone(), batch), shared.clock.now());
        async move {
            let links = move |tx: &mut dyn Tx| {
                let (caller, comment, batch) = &work;
                let mut linked = Vec::new();
                for (item_id, suggestion) in batch {
                    // Looked at once more: it may be another's by now.
                    let item = find(tx, item_id)?;
                    let Candidate::Only(only) = candidate(tx, &item)? else { continue };
                    let (vm, again) = *only;
                    if again.vm_id == suggestion.vm_id {
                        let how = Linked::Suggested(&again.by);
                        written(tx, caller, &item, &vm, how, comment.as_deref(), now)?;
                        linked.push(again);
                    }
                }
                Ok(linked)
            };
            shared.write(links).await
        }
    };
    in_batches(&found.pairs, answer, write).await.map(Json)
}

/// An item by its id, and the VM that it is suggested to be.
type Pair = (String, InventorySuggestion);

/// Links one batch after the other. What an earlier one linked is linked whatever becomes of a later one, so that the answer
/// says both.
async fn in_batches<F>(
    pairs: &[Pair],
    mut answer: InventoryLinked,
    write: impl Fn(Vec<Pair>) -> F,
) -> Result<InventoryLinked, ApiError>
where
    F: Future<Output = Result<Vec<InventorySuggestion>, ApiError>>,
{
    let mut tried = 0;
    for batch in pairs.chunks(BATCH) {
        match write(batch.to_vec()).await {
            Ok(linked) => {
                tried += batch.len();
                answer.left += u64::try_from(batch.len().saturating_sub(linked.len())).unwrap_or(0);
                answer.linked.extend(linked);
            }
            Err(error) if tried == 0 => return Err(error),
            Err(error) => {
                error.log();
                let items = u64::try_from(pairs.len().saturating_sub(tried)).unwrap_or(0);
                answer.failed = Some(InventoryLinkFailed { items, error: error.problem().error });
                break;
            }
        }
    }
    Ok(answer)
}

/// What an item may be, where many are linked at once.
enum Candidate {
    /// Nothing that is known.
    None,
    /// Somebody has to look at it.
    ByHand,
    /// This VM.
    Only(Box<(VmRow, InventorySuggestion)>),
}

fn candidate(tx: &mut dyn Tx, item: &InventoryItem) -> Result<Candidate, ApiError> {
    let mut suggestions = store::suggestions_for_item(tx, item)?;
    let only = match (suggestions.pop(), suggestions.is_empty()) {
        (None, _) => return Ok(Candidate::None),
        (Some(only), true) if only.by_hand_because.is_none() => only,
        _ => return Ok(Candidate::ByHand),
    };
    let vm = find_vm(tx, &only.vm_id, None)?;
    // What a link by hand would be refused for is left alone.
    Ok(match check(tx, item, &vm) {
        Ok(()) => Candidate::Only(Box::new((vm, only))),
        Err(_) => Candidate::ByHand,
    })
}

/// Items that can be one VM only, by id, with what is suggested.
#[derive(Default)]
struct Found {
    pairs: Vec<Pair>,
    left: u64,
    more: bool,
}

/// Looks at every item without an agent, a page at a time, so that nobody who writes waits for it.
async fn find_all(
    state: &AppState,
    source: Option<String>,
    group: Option<String>,
) -> Result<Found, ApiError> {
    let mut query = InventoryQuery {
        source,
        group,
        matched: Some(false),
        limit: Some(veriboot_wire::MAX_PAGE_ROWS),
        ..InventoryQuery::default()
    };
    let mut found = Found::default();
    loop {
        let (part, room) = (query.clone(), MAX_LINKED.saturating_sub(found.pairs.len()));
        let (page, next) = state
            .read(move |tx| {
                let mut page = Found::default();
                let items = store::list(tx, &part)?;
                for item in &items.items {
                    match candidate(tx, item)? {
                        Candidate::None => {}
                        Candidate::ByHand => page.left += 1,
                        Candidate::Only(..) if page.pairs.len() >= room => {
                            page.more = true;
                            break;
                        }
                        Candidate::Only(only) => page.pairs.push((item.id.clone(), only.1)),
                    }
                }
                Ok((page, items.next_cursor))
            })
            .await?;
        found.pairs.extend(page.pairs);
        found.left += page.left;
        found.more = page.more;
        query.cursor = next;
        if found.more || query.cursor.is_none() {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use veriboot_store::StoreError;

    use super::*;

    fn pairs(count: usize) -> Vec<Pair> {
        let pair = |n| {
            let suggestion = json!({
                "item_id": format!("item-{n}"), "item_name": "web", "source": "lab", "vm_id": format!("vm-{n}"),
                "vm_name": "web", "vm_group": "default", "by": ["name"], "only_one": true,
            });
            (format!("item-{n}"), serde_json::from_value(suggestion).unwrap())
        };
        (0..count).map(pair).collect()
    }

    fn empty() -> InventoryLinked {
        InventoryLinked { dry_run: false, linked: Vec::new(), left: 2, more: false, failed: None }
    }

    #[tokio::test]
    async fn what_was_linked_is_told_when_a_later_batch_fails() {
        let calls = Cell::new(0);
        let failing_at = |failing: usize| {
            calls.set(0);
            let calls = &calls;
            move |batch: Vec<Pair>| {
                calls.set(calls.get() + 1);
                let fails = calls.get() == failing;
                async move {
                    // The last of each batch is another's by now.
                    let linked = batch.into_iter().rev().skip(1).map(|(_, suggestion)| suggestion);
                    if fails { Err(StoreError::Busy.into()) } else { Ok(linked.collect()) }
                }
            }
        };
        let pairs = pairs(2 * BATCH + 50);
        let done = in_batches(&pairs, empty(), failing_at(0)).await.unwrap();
        assert_eq!((done.linked.len(), done.left, done.failed), (2 * BATCH + 47, 5, None));
        let done = in_batches(&pairs, empty(), failing_at(2)).await.unwrap();
        assert_eq!((done.linked.len(), done.left), (BATCH - 1, 3));
        let failed = done.failed.unwrap();
        let rest = u64::try_from(BATCH + 50).unwrap();
        assert_eq!((failed.items, failed.error.code.as_str()), (rest, "database-busy"));
        assert_eq!(calls.get(), 2, "what follows a failure is not tried");
        // Nothing was done: a refusal like any other.
        let refused = in_batches(&pairs, empty(), failing_at(1)).await.unwrap_err();
        assert_eq!(refused.code(), "database-busy");
    }
}
