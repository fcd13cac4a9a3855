//! Liveness, readiness and the OpenAPI document.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use veriboot_store::settings;
use veriboot_wire::Problem;

use crate::{ApiError, AppState, metrics};

/// Row that readiness writes and reads back.
const PROBE: &str = "readiness-probe";

/// Whether the service is well.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Always `ok`; anything else is a problem with status 503.
    status: &'static str,
}

/// Routes that need no credential and change nothing.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(metrics::show))
        .routes(routes!(openapi))
}

/// Liveness
///
/// The process answers. Says nothing about the database: restarting the service would not cure that.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses((status = 200, body = Health)))]
async fn live() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Readiness
///
/// A row was written, committed and read back.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, body = Problem)))]
async fn ready(State(state): State<AppState>) -> Result<Json<Health>, ApiError> {
    let stamp = state.clock.now_us().to_be_bytes().to_vec();
    state.write(move |tx| Ok(settings::set(tx, PROBE, &stamp)?)).await?;
    let found = state.read(move |tx| Ok(settings::value(tx, PROBE)?)).await?;
    match found {
        Some(_) => Ok(Json(Health { status: "ok" })),
        None => Err(ApiError::internal("the readiness probe's row is gone")),
    }
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "health", security(()), responses((status = 200, body = Object)))]
async fn openapi(State(state): State<AppState>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], state.openapi.clone()).into_response()
}
