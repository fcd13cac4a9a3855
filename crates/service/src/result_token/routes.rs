//! How relying parties find the keys.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Discovery, JwkSet, discovery, published};
use crate::{ApiError, AppState};

/// Relying parties may keep what they read for this long; an old key stays published for longer.
const CACHE: &str = "public, max-age=300";

/// Routes below `/.well-known`.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(openid_configuration)).routes(routes!(jwks))
}

/// OpenID Connect discovery document
#[utoipa::path(get, path = "/.well-known/openid-configuration", tag = "results", security(()),
    responses((status = 200, description = "Issuer and key set", body = Discovery)))]
async fn openid_configuration(State(state): State<AppState>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, CACHE)], Json(discovery(&state.public_url)))
}

/// Keys that sign attestation results
///
/// The active key first, then those whose tokens may still be valid.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "results", security(()),
    responses((status = 200, description = "JSON Web Key Set", body = JwkSet)))]
async fn jwks(State(state): State<AppState>) -> Result<impl IntoResponse, ApiError> {
    let keys = published(&state.store, state.clock.now()).await?;
    Ok(([(header::CACHE_CONTROL, CACHE)], Json(keys)))
}
