//! Join tokens: admission of VMs.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use veriboot_store::{Tx, join_tokens, new_id};
use veriboot_wire::{HistoryQuery, JoinToken, JoinTokenRequest, NewJoinToken, Page, Problem, Time};

use super::{audit, check_comment, check_limit, check_name, check_range, no_such};
use crate::auth::{self, Operator, Viewer};
use crate::extract::{Json as Body, Path, Query};
use crate::{ApiError, AppState, install};

const DAY_S: u32 = 86_400;
const YEAR_S: u32 = 31_536_000;
const MAX_USES: u32 = 1_000_000;

/// List join tokens
///
/// Newest first; never with their secrets.
#[utoipa::path(get, path = "/v1/join-tokens", tag = "join-tokens", operation_id = "list_join_tokens",
    params(HistoryQuery), responses((status = 200, body = Page<JoinToken>)))]
pub(crate) async fn list(
    _: Viewer,
    State(state): State<AppState>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<JoinToken>>, ApiError> {
    check_limit(query.limit)?;
    state.read(move |tx| Ok(join_tokens::list(tx, query.limit, query.cursor.as_deref())?)).await.map(Json)
}

/// A join token that is not stored yet.
pub(crate) fn prepare(
    request: JoinTokenRequest,
    created_by: &str,
    now: Time,
) -> Result<(JoinToken, String), ApiError> {
    let group = request.group.unwrap_or_else(|| "default".to_owned());
    check_name("group", &group)?;
    if let Some(scale_set) = &request.scale_set {
        check_name("scale_set", scale_set)?;
    }
    if let Some(image) = &request.image {
        check_name("image", image)?;
    }
    check_comment(request.comment.as_deref())?;
    let uses_left = check_range("uses", request.uses.unwrap_or(1), 1, MAX_USES)?;
    let lifetime_s = check_range("expires_in_s", request.expires_in_s.unwrap_or(DAY_S), 60, YEAR_S)?;
    let secret = auth::new_secret(auth::JOIN_TOKEN_PREFIX).map_err(ApiError::internal)?;
    let token = JoinToken {
        id: new_id(now),
        group,
        scale_set: request.scale_set,
        image: request.image,
        uses_left,
        expires_at: now.plus_s(i64::from(lifetime_s)),
        created_at: now,
        created_by: created_by.to_owned(),
        comment: request.comment,
        revoked: false,
    };
    Ok((token, secret))
}

/// Stores what [`prepare`] made.
pub(crate) fn store(tx: &mut dyn Tx, token: &JoinToken, secret: &str) -> Result<(), ApiError> {
    Ok(join_tokens::insert(tx, token, &auth::secret_hash(secret))?)
}

/// Make a join token
///
/// The answer holds the secret, this once, and the line that installs an agent with it.
#[utoipa::path(post, path = "/v1/join-tokens", tag = "join-tokens", operation_id = "create_join_token",
    request_body = JoinTokenRequest,
    responses((status = 201, body = NewJoinToken), (status = 400, body = Problem), (status = 403, body = Problem)))]
pub(crate) async fn create(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Body(request): Body<JoinTokenRequest>,
) -> Result<(StatusCode, Json<NewJoinToken>), ApiError> {
    let now = state.clock.now();
    let (token, secret) = prepare(request, &caller.name, now)?;
    let (row, secret_to_store) = (token.clone(), secret.clone());
    state
        .write(move |tx| {
            store(tx, &row, &secret_to_store)?;
            let detail = json!({
                "group": row.group, "scale_set": row.scale_set, "image": row.image, "uses": row.uses_left,
                "expires_at": row.expires_at, "comment": row.comment,
            });
            audit(tx, now, &caller, "join-token.create", &row.id, &detail)
        })
        .await?;
    let install = install::command(&state, &secret);
    Ok((StatusCode::CREATED, Json(NewJoinToken { token, secret, install })))
}

/// Revoke a join token
///
/// VMs that joined with it stay.
#[utoipa::path(delete, path = "/v1/join-tokens/{id}", tag = "join-tokens", operation_id = "revoke_join_token",
    params(("id" = String, Path, description = "Id of the join token")),
    responses((status = 204), (status = 404, body = Problem)))]
pub(crate) async fn revoke(
    Operator(caller): Operator,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    state
        .write(move |tx| {
            let token = join_tokens::by_id(tx, &id)?.ok_or_else(|| no_such("join token", &id))?;
            // Revoking twice is what a retried request looks like: the wish is fulfilled.
            if join_tokens::revoke(tx, &token.id)? {
                let detail = json!({ "group": token.group, "uses_left": token.uses_left });
                audit(tx, now, &caller, "join-token.revoke", &token.id, &detail)?;
            }
            Ok(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
