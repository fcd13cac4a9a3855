//! The audit log.

use axum::Json;
use axum::extract::State;
use veriboot_store::audit::{self, ChainReport};
use veriboot_wire::{AuditEntry, AuditVerification, HistoryQuery, Page};

use super::check_limit;
use crate::auth::Viewer;
use crate::extract::Query;
use crate::{ApiError, AppState};

/// List audit entries
///
/// Newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "list_audit", params(HistoryQuery),
    responses((status = 200, body = Page<AuditEntry>)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<AuditEntry>>, ApiError> {
    check_limit(query.limit)?;
    state.read(move |tx| Ok(audit::list(tx, query.limit, query.cursor.as_deref())?)).await.map(Json)
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
