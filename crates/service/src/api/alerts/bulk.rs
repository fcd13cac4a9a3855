//! Many alerts move on at once, in bounded transactions.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use veriboot_store::alerts::{self, Changed, OpenAlert};
use veriboot_wire::{AlertAction, AlertBulk, AlertQuery, AlertsChanged, MAX_BULK_ALERTS, Problem, counted};

use super::change::leads_to;
use crate::api::{audit, check_comment, invalid};
use crate::auth::{Caller, Operator};
use crate::extract::Json as Body;
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// Alerts that one transaction changes.
const BATCH: usize = 200;
/// Ids that an answer names.
const MAX_SKIPPED: usize = 100;
/// Alerts that an answer describes.
const SAMPLE: usize = 10;

/// What is done, and who does it.
#[derive(Clone)]
pub(super) struct Bulk {
    pub caller: Caller,
    pub action: AlertAction,
    pub comment: Option<String>,
    /// What selected the alerts, for the audit log.
    pub selected_by: Value,
}

/// Acknowledge, resolve or dismiss several alerts
///
/// Those that are named by id, or the open ones that a filter finds. With a filter, make a dry run first and give its
/// count as `expected`. Alerts are changed in batches: each batch is one transaction with its entry in the audit log.
#[utoipa::path(post, path = "/v1/alerts/bulk", tag = "alerts", operation_id = "change_alerts", request_body = AlertBulk,
    responses((status = 200, body = AlertsChanged), (status = 400, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn change(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Body(request): Body<AlertBulk>,
) -> Result<Json<AlertsChanged>, ApiError> {
    check_comment(request.comment.as_deref())?;
    let AlertBulk { action, ids, filter, comment, dry_run, expected } = request;
    match (ids, filter) {
        (Some(mut ids), None) => {
            if ids.is_empty() || ids.len() > MAX_BULK_ALERTS {
                return Err(invalid(format!("ids must be 1 to {MAX_BULK_ALERTS} ids of alerts")));
            }
            ids.sort_unstable();
            ids.dedup();
            let bulk = Bulk { caller, action, comment, selected_by: json!("ids") };
            if dry_run { look(&state, ids).await } else { run(&state, &bulk, ids).await }
        }
        (None, Some(filter)) => {
            let selected_by = serde_json::to_value(&filter).map_err(ApiError::internal)?;
            if selected_by.as_object().is_some_and(|members| members.values().all(Value::is_null)) {
                return Err(
                    invalid("filter must name something").hint("give at least one member of the filter")
                );
            }
            let found = found(&state, filter.into()).await?;
            let matched = u64::try_from(found.len()).unwrap_or(u64::MAX);
            let sample = found.iter().take(SAMPLE).map(|a| format!("{} {}", a.vm_name, a.reason)).collect();
            if dry_run {
                return Ok(Json(AlertsChanged { matched, changed: 0, skipped: Vec::new(), sample, dry_run }));
            }
            match expected {
                None => {
                    return Err(invalid("expected is needed with a filter")
                        .hint("make a dry run first and give its count"));
                }
                Some(expected) if expected != matched => {
                    let message = format!(
                        "the filter finds {} by now, and {expected} were expected",
                        counted(matched, "open alert")
                    );
                    return Err(ApiError::new(&kinds::COUNT_DIFFERS, message));
                }
                Some(_) => {}
            }
            let bulk = Bulk { caller, action, comment, selected_by };
            let ids = found.into_iter().map(|alert| alert.id).collect();
            run(&state, &bulk, ids).await.map(|done| AlertsChanged { sample, ..done })
        }
        _ => Err(invalid("either ids or filter must be given")),
    }
    .map(Json)
}

/// Open alerts that a filter finds, at most as many as one action may change.
pub(super) async fn found(state: &AppState, query: AlertQuery) -> Result<Vec<OpenAlert>, ApiError> {
    let most = u32::try_from(MAX_BULK_ALERTS).unwrap_or(u32::MAX);
    let found = state.read(move |tx| Ok(alerts::open_ids(tx, &query, most.saturating_add(1))?)).await?;
    if found.len() > MAX_BULK_ALERTS {
        let message = format!("the filter finds more than {MAX_BULK_ALERTS} open alerts");
        return Err(invalid(message).hint("narrow it: one group, scale set, reason or incident at a time"));
    }
    Ok(found)
}

/// What a change of these alerts would come to.
async fn look(state: &AppState, ids: Vec<String>) -> Result<AlertsChanged, ApiError> {
    let mut answer =
        AlertsChanged { matched: 0, changed: 0, skipped: Vec::new(), sample: Vec::new(), dry_run: true };
    for batch in ids.chunks(BATCH) {
        let batch = batch.to_vec();
        let seen = state
            .read(move |tx| {
                batch
                    .iter()
                    .map(|id| Ok((id.clone(), alerts::by_id(tx, id)?)))
                    .collect::<Result<Vec<_>, ApiError>>()
            })
            .await?;
        for (id, alert) in seen {
            match alert.filter(|alert| alert.closed_at.is_none()) {
                Some(alert) => {
                    answer.matched += 1;
                    if answer.sample.len() < SAMPLE {
                        answer.sample.push(format!("{} {}", alert.vm_name, alert.reason));
                    }
                }
                None if answer.skipped.len() < MAX_SKIPPED => answer.skipped.push(id),
                None => {}
            }
        }
    }
    Ok(answer)
}

/// Changes these alerts, batch after batch.
pub(super) async fn run(state: &AppState, bulk: &Bulk, ids: Vec<String>) -> Result<AlertsChanged, ApiError> {
    let mut answer =
        AlertsChanged { matched: 0, changed: 0, skipped: Vec::new(), sample: Vec::new(), dry_run: false };
    for batch in ids.chunks(BATCH) {
        let (work, now) = ((bulk.clone(), batch.to_vec()), state.clock.now());
        let (changed, skipped) = state
            .write(move |tx| {
                let (bulk, batch) = &work;
                let (to, action) = leads_to(bulk.action);
                let (mut changed, mut skipped) = (Vec::new(), Vec::new());
                for id in batch {
                    let comment = bulk.comment.as_deref();
                    match alerts::change_state(tx, id, to, &bulk.caller.name, comment, now)? {
                        Changed::Done(alert) => changed.push(alert.id),
                        Changed::Unknown | Changed::Closed(_) => skipped.push(id.clone()),
                    }
                }
                if !changed.is_empty() {
                    let detail = json!({
                        "selected_by": bulk.selected_by, "count": changed.len(), "alerts": changed,
                        "comment": bulk.comment,
                    });
                    audit(tx, now, &bulk.caller, action, "several", &detail)?;
                }
                Ok((changed.len(), skipped))
            })
            .await?;
        let changed = u64::try_from(changed).unwrap_or(u64::MAX);
        answer.matched += changed;
        answer.changed += changed;
        let room = MAX_SKIPPED.saturating_sub(answer.skipped.len());
        answer.skipped.extend(skipped.into_iter().take(room));
    }
    let (by, action) = (&bulk.caller.name, bulk.action);
    tracing::info!(by, %action, alerts = answer.changed, "alerts changed");
    Ok(answer)
}
