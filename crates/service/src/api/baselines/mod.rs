//! Baselines: what is expected. One file per thing that can be done with them.

pub(crate) mod accept;
pub(crate) mod accept_preview;
pub(crate) mod apply;
pub(crate) mod compare;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod preview;
pub(crate) mod reappraisals;
pub(crate) mod retire;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use veriboot_appraisal::Baseline;
use veriboot_store::baselines::{self, BaselineRow};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{BaselineChanged, BaselineDetail, BaselineQuery, BaselineSummary, Page, Problem};

use super::{check_limit, no_such};
use crate::auth::Viewer;
use crate::etag::{ETag, ETagged};
use crate::extract::{Path, Query};
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// Largest body of the routes that take a document: one of the largest size in base64, and room for the rest.
pub(crate) const DOCUMENT_LIMIT_BYTES: usize = 24 * 1024 * 1024;

/// List baselines
///
/// Ordered by name, then version descending; only the versions that judge now unless asked otherwise.
#[utoipa::path(get, path = "/v1/baselines", tag = "baselines", operation_id = "list_baselines",
    params(BaselineQuery), responses((status = 200, body = Page<BaselineSummary>)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<BaselineQuery>,
) -> Result<Json<Page<BaselineSummary>>, ApiError> {
    check_limit(query.limit)?;
    state.read(move |tx| Ok(baselines::list(tx, &query)?)).await.map(Json)
}

/// Show a baseline
///
/// One version with its whole document. The answer's `ETag` is its name and version: give it as `If-Match` to replace or retire
/// exactly this one.
#[utoipa::path(get, path = "/v1/baselines/{id}", tag = "baselines", operation_id = "show_baseline",
    params(("id" = String, Path, description = "Id of the version")),
    responses((status = 200, body = BaselineDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<ETagged<Json<BaselineDetail>>, ApiError> {
    let row =
        state.read(move |tx| baselines::by_id(tx, &id)?.ok_or_else(|| no_such("baseline", &id))).await?;
    let document = serde_json::from_str(&row.document).map_err(ApiError::internal)?;
    let tag = ETag::of_version(&row.summary.name, row.summary.version);
    Ok(ETagged::new(tag, Json(BaselineDetail { summary: row.summary, document })))
}

/// The version that this id names, or this `name@version`, or the newest version of this name.
pub(crate) fn find(tx: &mut dyn Tx, key: &str) -> Result<Option<BaselineRow>, StoreError> {
    if !key.contains('/') {
        return baselines::by_id(tx, key);
    }
    match key.rsplit_once('@') {
        Some((name, version)) => match version.parse() {
            Ok(version) => baselines::by_name(tx, name, Some(version)),
            Err(_) => Ok(None),
        },
        None => baselines::by_name(tx, key, None),
    }
}

/// The content of a stored version. One that was changed behind the service's back is not shown as if it were good.
pub(crate) async fn believed(state: &AppState, row: BaselineRow) -> Result<Baseline, ApiError> {
    let shared = state.clone();
    let read = move || {
        shared.attest.baseline_signer().verify_baseline(&row).map_err(|e| e.to_string())?;
        Baseline::from_json(row.document.as_bytes()).map_err(|e| e.to_string())
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(ApiError::internal)?;
    read.map_err(|cause| {
        ApiError::new(&kinds::BASELINE_BROKEN, "the stored baseline cannot be used").cause(cause)
    })
}

/// What became of a change, with the `ETag` of the version that judges now.
pub(crate) fn tagged(changed: BaselineChanged) -> Response {
    match &changed.baseline {
        Some(baseline) => {
            let tag = ETag::of_version(&baseline.name, baseline.version);
            ETagged::new(tag, Json(changed)).into_response()
        }
        None => Json(changed).into_response(),
    }
}
