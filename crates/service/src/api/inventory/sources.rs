//! Sources: list, show, change, stop using.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use veriboot_store::inventory::{self as store, NewSource};
use veriboot_wire::{InventorySource, InventorySourcePut, Page, Problem};

use super::super::{audit, check_comment, check_limit, check_name, no_such};
use crate::auth::{Operator, Viewer};
use crate::etag::{ETag, ETagged, IfMatch, OnlyNew};
use crate::extract::{Json as Body, Path, Query};
use crate::{ApiError, AppState, inventory};

/// Which sources.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SourcesQuery {
    /// `true`: also those that are no longer used.
    pub all: Option<bool>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

fn tag(source: &InventorySource) -> ETag {
    ETag::of_revision(source.revision)
}

/// List sources of the inventory
///
/// Ordered by name, with when each was last synced and why the last look failed.
#[utoipa::path(get, path = "/v1/inventory/sources", tag = "inventory", operation_id = "list_inventory_sources",
    params(SourcesQuery), responses((status = 200, body = Page<InventorySource>)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<SourcesQuery>,
) -> Result<Json<Page<InventorySource>>, ApiError> {
    check_limit(query.limit)?;
    let all = query.all == Some(true);
    state
        .read(move |tx| Ok(store::list_sources(tx, all, query.limit, query.cursor.as_deref())?))
        .await
        .map(Json)
}

/// Show a source of the inventory
///
/// The answer's `ETag` names what an operator says about it.
#[utoipa::path(get, path = "/v1/inventory/sources/{name}", tag = "inventory", operation_id = "show_inventory_source",
    params(("name" = String, Path, description = "Name of the source")),
    responses((status = 200, body = InventorySource), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(name): Path<String>,
) -> Result<ETagged<Json<InventorySource>>, ApiError> {
    let wanted = name.clone();
    let source = state.read(move |tx| Ok(store::source(tx, &wanted)?)).await?;
    let source = source.ok_or_else(|| no_such("inventory source", &name))?;
    Ok(ETagged::new(tag(&source), Json(source)))
}

/// Make or change a source of the inventory
///
/// What holds for its next documents; what is absent is taken away. A source that was no longer used is used again. A sync
/// makes a source by itself where there is nothing to say about it. `If-None-Match: *` only makes one, `If-Match: *` only
/// changes one.
#[utoipa::path(put, path = "/v1/inventory/sources/{name}", tag = "inventory", operation_id = "put_inventory_source",
    params(("name" = String, Path, description = "Name of the source"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the source that was looked at, or `*`: any, but there must be one"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: refused when there is one of this name")),
    request_body = InventorySourcePut,
    responses((status = 200, body = InventorySource), (status = 400, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn put(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    only_new: OnlyNew,
    Path(name): Path<String>,
    Body(request): Body<InventorySourcePut>,
) -> Result<ETagged<Json<InventorySource>>, ApiError> {
    check_name("name", &name)?;
    check_comment(request.comment.as_deref())?;
    if let Some(group) = &request.group {
        check_name("group", group)?;
    }
    let now = state.clock.now();
    let source = state
        .write(move |tx| {
            let present = store::source(tx, &name)?;
            let present_tag = present.as_ref().map(tag);
            if_match.check(present_tag.as_ref())?;
            only_new.check(present_tag.as_ref())?;
            let new = NewSource {
                name: &name,
                format: request.format,
                group: request.group.as_deref(),
                comment: request.comment.as_deref(),
                by: &caller.name,
                at: now,
            };
            store::put_source(tx, &new)?;
            let detail = json!({
                "format": request.format, "group": request.group, "comment": request.comment, "new": present.is_none(),
            });
            audit(tx, now, &caller, "inventory.source.put", &name, &detail)?;
            store::source(tx, &name)?.ok_or_else(|| no_such("inventory source", &name))
        })
        .await?;
    Ok(ETagged::new(tag(&source), Json(source)))
}

/// Stop using a source of the inventory
///
/// Its items are gone; nothing is deleted. VMs that only it listed are `not in the inventory`, and are expected to attest
/// as before.
#[utoipa::path(delete, path = "/v1/inventory/sources/{name}", tag = "inventory", operation_id = "retire_inventory_source",
    params(("name" = String, Path, description = "Name of the source"),
        ("If-Match" = Option<String>, Header, description = "`ETag` of the source that was looked at")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem), (status = 412, body = Problem)))]
pub(crate) async fn retire(
    Operator(caller): Operator,
    State(state): State<AppState>,
    if_match: IfMatch,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    state
        .write(move |tx| {
            let present = store::source(tx, &name)?.ok_or_else(|| no_such("inventory source", &name))?;
            if_match.check(Some(&tag(&present)))?;
            inventory::check_used(&present)?;
            inventory::retire(tx, &name, &caller.name, now).map(drop)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
