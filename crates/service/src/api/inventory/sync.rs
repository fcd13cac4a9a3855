//! A document that an operator, or a job, posts.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, State};
use axum::http::{HeaderMap, header};
use tokio::sync::Semaphore;
use veriboot_inventory::{Options, merge, read};
use veriboot_store::inventory as store;
use veriboot_wire::{InventorySyncQuery, InventorySynced, Problem};

use super::super::check_name;
use crate::auth::Operator;
use crate::extract::{Path, Query};
use crate::inventory::{Look, apply, check_used, unreadable};
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// Documents that are taken in at the same time: each may be large.
static READING: Semaphore = Semaphore::const_new(2);

/// Sync a source of the inventory
///
/// The body is the document as its tool printed it; `format` names it, or it is recognised. What is missing in a complete
/// document is gone, and stays in the history. The same document again changes nothing. `dry_run` says what would change.
/// Give `exported_at`: without it nobody knows whether a machine that the document calls stopped was started since, and its
/// silence is told.
#[utoipa::path(post, path = "/v1/inventory/sources/{name}/sync", tag = "inventory", operation_id = "sync_inventory",
    params(("name" = String, Path, description = "Name of the source; it is made when it is new"), InventorySyncQuery),
    request_body(content = String, content_type = "application/octet-stream", description = "The export, at most 64 MiB"),
    responses((status = 200, body = InventorySynced), (status = 409, body = Problem), (status = 413, body = Problem),
        (status = 422, body = Problem)))]
pub(crate) async fn sync(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(name): Path<String>,
    Query(query): Query<InventorySyncQuery>,
    headers: HeaderMap,
    request: axum::extract::Request,
) -> Result<Json<InventorySynced>, ApiError> {
    check_name("name", &name)?;
    if headers.contains_key(header::CONTENT_ENCODING) {
        let message = "compressed bodies are not taken";
        return Err(ApiError::new(&kinds::UNSUPPORTED_MEDIA_TYPE, message).hint("send the body as it is"));
    }
    let _turn = READING.acquire().await.map_err(ApiError::internal)?;
    let bytes = Bytes::from_request(request, &state).await.map_err(|rejection| {
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::new(&kinds::INVENTORY_TOO_LARGE, "the export has more than 64 MiB")
        } else {
            ApiError::new(&kinds::BAD_REQUEST, "the body did not arrive").cause(rejection.body_text())
        }
    })?;
    let wanted = name.clone();
    let source = state.read(move |tx| Ok(store::source(tx, &wanted)?)).await?;
    if let Some(source) = &source {
        check_used(source)?;
    }
    let known = source.is_some();
    let format = query.format.or(source.as_ref().and_then(|source| source.format));
    let group = source.and_then(|source| source.group);
    let listing = tokio::task::spawn_blocking(move || {
        let listing = read(&bytes, &Options { format, group: group.as_deref() })?;
        merge(vec![listing])
    })
    .await
    .map_err(ApiError::internal)?
    .map_err(|error| unreadable(&error));
    let dry_run = query.dry_run == Some(true);
    let done = match listing {
        Ok(listing) => {
            let look = Look {
                source: name.clone(),
                listing,
                complete: query.complete.unwrap_or(true),
                dry_run,
                allow_shrink: query.allow_shrink == Some(true),
                by: caller.name,
                exported_at: query.exported_at,
                document_sha256: None,
            };
            apply(&state, look).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &done
        && known
        && !dry_run
        && error.status().is_client_error()
    {
        // Who posts may be a job whose output nobody reads: the source says it too.
        let (told, at) = (error.told(), state.clock.now());
        state.write(move |tx| Ok(store::failed(tx, &name, &told, at)?)).await?;
    }
    done.map(Json)
}
