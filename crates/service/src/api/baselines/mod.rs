//! Baselines: what is expected. One file per thing that can be done with them.

pub(crate) mod accept;
pub(crate) mod apply;
pub(crate) mod compare;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod preview;
pub(crate) mod reappraisals;
pub(crate) mod retire;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use veriboot_appraisal::Baseline;
use veriboot_store::baselines::{self, BaselineRow};
use veriboot_store::{StoreError, Tx};
use veriboot_wire::{BaselineDetail, BaselineQuery, BaselineSummary, Page, Problem};

use super::{check_limit, no_such};
use crate::auth::Viewer;
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
/// One version with its whole document. The answer's `ETag` is its version; `If-Match` takes it where a change replaces
/// the current one.
#[utoipa::path(get, path = "/v1/baselines/{id}", tag = "baselines", operation_id = "show_baseline",
    params(("id" = String, Path, description = "Id of the version")),
    responses((status = 200, body = BaselineDetail), (status = 404, body = Problem)))]
pub(crate) async fn show(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let row =
        state.read(move |tx| baselines::by_id(tx, &id)?.ok_or_else(|| no_such("baseline", &id))).await?;
    let document = serde_json::from_str(&row.document).map_err(ApiError::internal)?;
    let etag = version_tag(row.summary.version);
    let mut response = Json(BaselineDetail { summary: row.summary, document }).into_response();
    response.headers_mut().insert(header::ETAG, etag);
    Ok(response)
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

/// `ETag` of a version.
pub(crate) fn version_tag(version: u32) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// The version that a change shall replace, out of its body or `If-Match`; `None` when there shall be none.
pub(crate) fn expected_version(headers: &HeaderMap, body: Option<u32>) -> Result<Option<u32>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(body) };
    let version = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse::<u32>().ok())
        .ok_or_else(|| super::invalid("If-Match must be one version in double quotes, as ETag gives it"))?;
    match body {
        Some(body) if body != version => {
            Err(super::invalid("If-Match and expected_version name different versions"))
        }
        _ => Ok(Some(version)),
    }
}

/// Refuses a change that was decided on another state than the present one: nothing is overwritten unseen.
pub(crate) fn check_version(expected: Option<u32>, found: Option<u32>) -> Result<(), ApiError> {
    if expected == found {
        return Ok(());
    }
    let message = match (expected, found) {
        (Some(expected), Some(found)) => {
            format!("version {expected} was to be replaced, and version {found} is the current one by now")
        }
        (Some(expected), None) => {
            format!("version {expected} was to be replaced, and there is no current one")
        }
        (None, Some(found)) => format!("there was to be none yet, and version {found} is the current one"),
        (None, None) => String::new(),
    };
    Err(ApiError::new(&kinds::VERSION_CONFLICT, message))
}
