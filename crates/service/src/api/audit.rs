//! The audit log.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use veriboot_store::audit::{self, ChainReport};
use veriboot_wire::{AuditEntry, AuditQuery, AuditVerification, Page, Problem};

use super::{check_limit, csv as lines};
use crate::auth::Viewer;
use crate::extract::Query;
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// Rows of one export.
const MAX_EXPORT_ROWS: usize = 100_000;

/// List audit entries
///
/// Newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "list_audit", params(AuditQuery),
    responses((status = 200, body = Page<AuditEntry>), (status = 400, body = Problem)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditEntry>>, ApiError> {
    check_limit(query.limit)?;
    check_times(&query)?;
    state.read(move |tx| Ok(audit::list(tx, &query)?)).await.map(Json)
}

fn check_times(query: &AuditQuery) -> Result<(), ApiError> {
    match (query.from, query.until) {
        (Some(from), Some(until)) if until <= from => {
            Err(ApiError::new(&kinds::INVALID_QUERY, "until must be later than from"))
        }
        _ => Ok(()),
    }
}

/// Export audit entries as CSV
///
/// The rows of the list with these filters, at most 100,000 and `limit` where it is given. The header `X-Next-Cursor` is
/// there when there are more. For JSON take the list itself.
#[utoipa::path(get, path = "/v1/audit.csv", tag = "audit", operation_id = "export_audit", params(AuditQuery),
    responses((status = 200, body = String, content_type = "text/csv"), (status = 400, body = Problem)))]
pub(crate) async fn export(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<AuditQuery>,
) -> Result<Response, ApiError> {
    check_times(&query)?;
    let page = |rows, cursor| {
        let part = AuditQuery { limit: Some(rows), cursor, ..query.clone() };
        state.read(move |tx| Ok(audit::list(tx, &part)?))
    };
    let header = &AuditEntry::CSV_HEADER;
    lines::export(query.limit, MAX_EXPORT_ROWS, header, query.cursor.clone(), page, AuditEntry::csv).await
}

/// Verify the audit log
///
/// Computes every hash again.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit", operation_id = "verify_audit",
    responses((status = 200, body = AuditVerification)))]
pub(crate) async fn verify(
    _: Viewer,
    State(state): State<AppState>,
) -> Result<Json<AuditVerification>, ApiError> {
    let report = state.read(move |tx| Ok(audit::verify_chain(tx)?)).await?;
    Ok(Json(match report {
        ChainReport::Intact { entries, head } => {
            AuditVerification { intact: true, entries, broken_at: None, head: Some(head) }
        }
        ChainReport::Broken { sequence, reason } => {
            tracing::error!(sequence, reason, "the audit log was tampered with");
            AuditVerification { intact: false, entries: sequence, broken_at: Some(sequence), head: None }
        }
    }))
}
