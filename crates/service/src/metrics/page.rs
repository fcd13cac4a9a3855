//! The page that Prometheus scrapes.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use veriboot_store::{baselines, deliveries, heartbeats, proposals};

use super::work::Waiting;
use crate::{ApiError, AppState};

/// A replica that has not beaten for so long does not count as one, milliseconds.
const LIVES_MS: i64 = 300_000;

/// Metrics for Prometheus
///
/// Text in the OpenMetrics format. Counts only, nothing about single VMs.
#[utoipa::path(get, path = "/metrics", tag = "health", security(()),
    responses((status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text")))]
pub(crate) async fn show(State(state): State<AppState>) -> Result<Response, ApiError> {
    let metrics = &state.metrics;
    let counts = crate::api::summary::counts(&state).await?;
    let now = state.clock.now();
    let (open, by_scope, waiting, replicas, outage) = state
        .read(move |tx| {
            let alive = heartbeats::replicas(tx)?
                .iter()
                .filter(|replica| (now.unix_ms() - replica.beat_at.unix_ms()).abs() <= LIVES_MS)
                .count();
            Ok((
                proposals::open_by_class(tx)?,
                baselines::counts_by_scope(tx)?,
                Waiting::read(tx)?,
                u64::try_from(alive).unwrap_or(u64::MAX),
                heartbeats::last_outage(tx)?.map(|outage| outage.until),
            ))
        })
        .await?;
    metrics.fleet.read(&counts, open.into_iter().map(|(class, count)| (class.as_str(), count)), &by_scope);
    metrics.work.read(waiting);
    let depths = state.read(|tx| Ok(deliveries::depths(tx)?)).await?;
    metrics.work.outbox(&depths, now);
    metrics.notify.depths(&depths);
    let listed = state.read(|tx| Ok(super::inventory::Listed::read(tx)?)).await?;
    metrics.inventory.set(&listed, now);
    metrics.watch.read(replicas, outage);
    metrics.database.read(state.store.queue_depths());
    metrics.traces_dropped.inc_by(crate::traces::take_dropped());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], metrics.text()?).into_response())
}
