//! What became of checks on VMs and inventory items.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use veriboot_store::{Tx, assessments as store, inventory};
use veriboot_wire::{Assessment, AssessmentQuery, MAX_EXPORT_ROWS, MAX_PAGE_ROWS, Page, Problem, csv_record};

use super::known_check;
use crate::api::{check_limit, find_vm, invalid};
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
    Query(mut query): Query<AssessmentQuery>,
) -> Result<Response, ApiError> {
    let mut left = query.limit.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(MAX_EXPORT_ROWS);
    if !(1..=MAX_EXPORT_ROWS).contains(&left) {
        return Err(invalid(format!("limit must be 1 to {MAX_EXPORT_ROWS}")));
    }
    let mut text = csv_record(Assessment::CSV_HEADER);
    let next = loop {
        let rows = u32::try_from(left).unwrap_or(MAX_PAGE_ROWS).min(MAX_PAGE_ROWS);
        let part = page(&state, AssessmentQuery { limit: Some(rows), ..query.clone() }).await?;
        part.items.iter().for_each(|assessment| text.push_str(&assessment.csv()));
        left = left.saturating_sub(part.items.len());
        match part.next_cursor {
            Some(next) if left > 0 => query.cursor = Some(next),
            next => break next,
        }
    };
    let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present")];
    let mut response = (kind, text).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
        response.headers_mut().insert("x-next-cursor", next);
    }
    Ok(response)
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
