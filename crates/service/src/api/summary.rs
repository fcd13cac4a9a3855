//! The fleet at a glance, and which service this is.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use veriboot_store::{alerts, proposals, vms};
use veriboot_wire::{AlertReason, FleetSummary, ServiceVersion, VmStatus};

use crate::auth::Viewer;
use crate::{ApiError, AppState};

/// The counts behind the summary and the metrics.
pub(crate) async fn counts(state: &AppState) -> Result<FleetSummary, ApiError> {
    let now = state.clock.now();
    state
        .read(move |tx| {
            let mut by_status: BTreeMap<String, u64> =
                VmStatus::ALL.iter().map(|s| (s.as_str().to_owned(), 0)).collect();
            for (status, count) in vms::counts_by_status(tx, None)? {
                by_status.insert(status.as_str().to_owned(), count);
            }
            let mut by_reason: BTreeMap<String, u64> =
                AlertReason::ALL.iter().map(|r| (r.as_str().to_owned(), 0)).collect();
            for (reason, count) in alerts::open_counts_by_reason(tx, None)? {
                by_reason.insert(reason.as_str().to_owned(), count);
            }
            Ok(FleetSummary {
                now,
                vms: by_status.values().sum(),
                by_status,
                open_alerts: by_reason.values().sum(),
                open_alerts_by_reason: by_reason,
                open_proposals: proposals::open_count(tx)?,
            })
        })
        .await
}

/// The fleet at a glance
///
/// VMs by status, open alerts by reason, and proposals that wait for a decision.
#[utoipa::path(get, path = "/v1/summary", tag = "fleet", responses((status = 200, body = FleetSummary)))]
pub(crate) async fn show(_: Viewer, State(state): State<AppState>) -> Result<Json<FleetSummary>, ApiError> {
    counts(&state).await.map(Json)
}

/// Which service this is
#[utoipa::path(get, path = "/v1/version", tag = "fleet", responses((status = 200, body = ServiceVersion)))]
pub(crate) async fn version(_: Viewer) -> Json<ServiceVersion> {
    Json(ServiceVersion {
        product: "veriboot".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        agent_protocols: vec![1],
    })
}
