//! Baselines for others: signed envelopes, bare documents, and the keys to check them.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use veriboot_store::baselines;
use veriboot_wire::{BaselineExport, BaselineKey, ExportFormat, Problem};

use super::apply::off_the_network;
use super::believed;
use crate::api::no_such;
use crate::auth::Viewer;
use crate::etag::{ETag, ETagged};
use crate::extract::{Path, Query};
use crate::{ApiError, AppState};

/// Export a baseline
///
/// A DSSE envelope that this service signs, to be imported elsewhere; or the bare document as JSON or TOML.
#[utoipa::path(get, path = "/v1/baselines/{id}/export", tag = "baselines", operation_id = "export_baseline",
    params(("id" = String, Path, description = "Id of the version"), BaselineExport),
    responses((status = 200, description = "The envelope or the document", body = String),
        (status = 404, body = Problem), (status = 500, body = Problem)))]
pub(crate) async fn export(
    _: Viewer,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<BaselineExport>,
) -> Result<Response, ApiError> {
    let row =
        state.read(move |tx| baselines::by_id(tx, &id)?.ok_or_else(|| no_such("baseline", &id))).await?;
    let tag = ETag::of_version(&row.summary.name, row.summary.version);
    let baseline = believed(&state, row).await?;
    let signer = state.attest.baseline_signer().clone();
    let (kind, text) = off_the_network(move || match query.format.unwrap_or_default() {
        // A version of an older schema leaves in the present one.
        ExportFormat::Dsse => {
            let document = baseline.to_json().map_err(ApiError::internal)?;
            Ok((
                "application/vnd.dsse.envelope.v1+json",
                signer.export(&document).map_err(ApiError::internal)?,
            ))
        }
        ExportFormat::Json => Ok((
            "application/json",
            serde_json::to_string_pretty(&baseline).map_err(ApiError::internal)? + "\n",
        )),
        ExportFormat::Toml => Ok(("application/toml", baseline.to_toml().map_err(ApiError::internal)?)),
    })
    .await?;
    let mut response = text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(ETagged::new(tag, response).into_response())
}

/// List the keys of baselines
///
/// The keys whose signed baselines are imported here: those of this service, which others put into their
/// `baseline_trusted_keys`, and those that this service trusts.
#[utoipa::path(get, path = "/v1/baseline-keys", tag = "baselines", operation_id = "list_baseline_keys",
    responses((status = 200, body = Vec<BaselineKey>)))]
pub(crate) async fn keys(_: Viewer, State(state): State<AppState>) -> Json<Vec<BaselineKey>> {
    Json(state.attest.baseline_signer().keys())
}
