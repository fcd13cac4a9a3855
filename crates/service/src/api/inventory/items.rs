//! Items, their changes, and enrolled VMs that no source lists.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;
use veriboot_store::{Tx, inventory as store};
use veriboot_wire::{
    InventoryChange, InventoryChangeQuery, InventoryItem, InventoryItemDetail, InventoryQuery, InventoryRow,
    Page, Problem, UnlistedVm, csv_record,
};

use super::super::{check_limit, csv as lines, no_such};
use crate::auth::Viewer;
use crate::etag::{ETag, ETagged};
use crate::extract::{Path, Query};
use crate::{ApiError, AppState, inventory};

/// Rows of one export.
const MAX_EXPORT_ROWS: usize = 200_000;
/// Changes that an item shows.
const SHOWN_CHANGES: u32 = 20;

const CSV_HEADER: [&str; 20] = [
    "id",
    "source",
    "key",
    "name",
    "group",
    "scale_set",
    "platform",
    "os",
    "region",
    "power",
    "security_type",
    "confidential_kind",
    "secure_boot",
    "vtpm",
    "machine_uuid",
    "cloud_id",
    "vm_id",
    "matched_by",
    "first_seen_at",
    "gone_at",
];

pub(super) fn tag(item: &InventoryItem) -> ETag {
    ETag::of_revision(item.revision)
}

/// List items of the inventory
///
/// VMs that sources list, with the enrolled VM that each is, and what contradicts it. Ordered by group, name and id, or as `sort` says; those
/// that are gone are left out unless they are asked for.
#[utoipa::path(get, path = "/v1/inventory/items", tag = "inventory", operation_id = "list_inventory",
    params(InventoryQuery), responses((status = 200, body = Page<InventoryRow>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<InventoryQuery>,
) -> Result<Json<Page<InventoryRow>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            let page = store::list(tx, &query)?;
            Ok(Page { items: inventory::rows(tx, page.items)?, next_cursor: page.next_cursor })
        })
        .await
        .map(Json)
}

/// Export items of the inventory as CSV
///
/// The rows of the list with these filters, at most 200,000 and `limit` where it is given. The header `X-Next-Cursor` is
/// there when there are more. For JSON take the list itself.
#[utoipa::path(get, path = "/v1/inventory/items.csv", tag = "inventory", operation_id = "export_inventory",
    params(InventoryQuery),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 400, body = Problem)))]
pub(crate) async fn export(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<InventoryQuery>,
) -> Result<Response, ApiError> {
    let page = |rows, cursor| {
        let part = InventoryQuery { limit: Some(rows), cursor, ..query.clone() };
        state.read(move |tx| Ok(store::list(tx, &part)?))
    };
    lines::export(query.limit, MAX_EXPORT_ROWS, &CSV_HEADER, query.cursor.clone(), page, csv).await
}

fn csv(item: &InventoryItem) -> String {
    let f = &item.facts;
    let or = |text: &Option<String>| text.clone().unwrap_or_default();
    let (first, gone) = (item.first_seen_at.to_string(), item.gone_at.map(|at| at.to_string()));
    let cells: [String; 20] = [
        item.id.clone(),
        item.source.clone(),
        f.key.clone(),
        f.name.clone(),
        f.group.clone(),
        or(&f.scale_set),
        f.platform.clone(),
        or(&f.os),
        or(&f.region),
        f.power.to_string(),
        f.security_type.to_string(),
        or(&f.confidential_kind),
        f.secure_boot.to_string(),
        f.vtpm.to_string(),
        or(&f.machine_uuid),
        or(&f.cloud_id),
        or(&item.vm_id),
        item.matched_by.map(|by| by.to_string()).unwrap_or_default(),
        first,
        gone.unwrap_or_default(),
    ];
    csv_record(cells.iter().map(String::as_str))
}

pub(super) fn find(tx: &mut dyn Tx, id: &str) -> Result<InventoryItem, ApiError> {
    store::by_id(tx, id)?.ok_or_else(|| no_such("inventory item", id))
}

pub(super) fn detail(tx: &mut dyn Tx, item: InventoryItem) -> Result<InventoryItemDetail, ApiError> {
    let suggestions = store::suggestions_for_item(tx, &item)?;
    let query = InventoryChangeQuery {
        item: Some(item.id.clone()),
        limit: Some(SHOWN_CHANGES),
        ..Default::default()
    };
    let changes = store::changes(tx, &query)?.items;
    let row =
        inventory::rows(tx, vec![item])?.pop().ok_or_else(|| ApiError::internal("an item is no row"))?;
    Ok(InventoryItemDetail { row, suggestions, changes })
}

/// Show an item of the inventory
///
/// With the enrolled VMs that it may be, and its last changes. The answer's `ETag` is for linking it.
#[utoipa::path(get, path = "/v1/inventory/items/{id}", tag = "inventory", operation_id = "show_inventory_item",
    params(("id" = String, Path, description = "Id of the item")),
    responses((status = 200, body = InventoryItemDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<ETagged<Json<InventoryItemDetail>>, ApiError> {
    let detail = state
        .read(move |tx| {
            let item = find(tx, &id)?;
            detail(tx, item)
        })
        .await?;
    Ok(ETagged::new(tag(&detail.row.item), Json(detail)))
}

/// List changes of the inventory
///
/// Newest first. Nothing is ever removed from this list.
#[utoipa::path(get, path = "/v1/inventory/changes", tag = "inventory", operation_id = "list_inventory_changes",
    params(InventoryChangeQuery), responses((status = 200, body = Page<InventoryChange>), (status = 400, body = Problem)))]
pub(crate) async fn changes(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<InventoryChangeQuery>,
) -> Result<Json<Page<InventoryChange>>, ApiError> {
    check_limit(query.limit)?;
    state.read(move |tx| Ok(store::changes(tx, &query)?)).await.map(Json)
}

/// Which enrolled VMs.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UnlistedQuery {
    /// Only this group.
    pub group: Option<String>,
    /// Rows of the page, 1 to 1000; 100 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// List enrolled VMs that are not in the inventory
///
/// Those that no source lists now, ordered by group, then name.
#[utoipa::path(get, path = "/v1/inventory/unlisted", tag = "inventory", operation_id = "list_unlisted_vms",
    params(UnlistedQuery), responses((status = 200, body = Page<UnlistedVm>), (status = 400, body = Problem)))]
pub(crate) async fn unlisted(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<UnlistedQuery>,
) -> Result<Json<Page<UnlistedVm>>, ApiError> {
    check_limit(query.limit)?;
    state
        .read(move |tx| {
            Ok(store::unlisted(tx, query.group.as_deref(), query.limit, query.cursor.as_deref())?)
        })
        .await
        .map(Json)
}
