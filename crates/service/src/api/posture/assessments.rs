//! What became of checks on VMs and inventory items.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use veriboot_store::{Tx, assessments as store, inventory};
use veriboot_wire::{Assessment, AssessmentQuery, MAX_EXPORT_ROWS, Page, Problem};

use super::known_check;
use crate::api::{check_limit, csv, find_vm};
use crate::auth::Viewer;
use crate::extract::Query;
use crate::{ApiError, AppState};

/// List assessments
///
/// What became of each check on each VM, and on each inventory item that is no enrolled VM.
#[utoipa::path(get, path = "/v1/assessments", tag = "posture", operation_id = "list_assessments",
    params(AssessmentQuery), responses((status = 200, body = Page<Assessment>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<AssessmentQuery>,
) -> Result<Json<Page<Assessment>>, ApiError> {
    check_limit(query.limit)?;
    page(&state, query).await.map(Json)
}

/// Export assessments as CSV
///
/// The rows of the list with these filters, at most 10,000 and `limit` where it is given. The header `X-Next-Cursor` is
/// there when there are more. For JSON take the list itself.
#[utoipa::path(get, path = "/v1/assessments.csv", tag = "posture", operation_id = "export_assessments",
    params(AssessmentQuery),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 400, body = Problem)))]
pub(crate) async fn export(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<AssessmentQuery>,
) -> Result<Response, ApiError> {
    let page = |rows, cursor| {
        let part = AssessmentQuery { limit: Some(rows), cursor, ..query.clone() };
        page(&state, part)
    };
    let cursor = query.cursor.clone();
    csv::export(query.limit, MAX_EXPORT_ROWS, &Assessment::CSV_HEADER, cursor, page, Assessment::csv).await
}

async fn page(state: &AppState, query: AssessmentQuery) -> Result<Page<Assessment>, ApiError> {
    if let Some(check) = &query.check {
        known_check(check)?;
    }
    state
        .read(move |tx| {
            let resource = match &query.vm {
                Some(key) => Some(resource(tx, key, query.group.as_deref())?),
                None => None,
            };
            Ok(store::list(tx, &query, resource.as_deref())?)
        })
        .await
}

/// The id of a resource by its id, or by the name of a VM.
fn resource(tx: &mut dyn Tx, key: &str, group: Option<&str>) -> Result<String, ApiError> {
    match inventory::by_id(tx, key)? {
        // An item that is an enrolled VM is assessed as that.
        Some(item) => Ok(item.vm_id.unwrap_or(item.id)),
        None => find_vm(tx, key, group).map(|vm| vm.id),
    }
}
