//! API tokens of people and machines.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::json;
use veriboot_store::api_tokens::{self, ApiTokenRow, Role};
use veriboot_store::{Constraint, StoreError, Tx, new_id};
use veriboot_wire::{ApiScope, ApiToken, ApiTokenRequest, HistoryQuery, NewApiToken, Page, Problem};

use super::{audit, check_limit, check_name, check_range, invalid, no_such};
use crate::auth::{self, Admin};
use crate::extract::{Json as Body, Path, Query};
use crate::problem::kinds;
use crate::{ApiError, AppState};

const TEN_YEARS_S: u32 = 315_360_000;
/// Names that the audit log gives a meaning of their own.
const RESERVED: [&str; 1] = ["service"];

fn wire(row: ApiTokenRow) -> ApiToken {
    ApiToken {
        id: row.id,
        name: row.name,
        scope: auth::scope(row.role),
        created_at: row.created_at,
        created_by: row.created_by,
        expires_at: row.expires_at,
        revoked: row.revoked,
    }
}

/// List API tokens
///
/// Newest first; never with their secrets.
#[utoipa::path(get, path = "/v1/api-tokens", tag = "api-tokens", operation_id = "list_api_tokens",
    params(HistoryQuery), responses((status = 200, body = Page<ApiToken>), (status = 403, body = Problem)))]
pub(crate) async fn list(
    _: Admin,
    State(state): State<AppState>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Page<ApiToken>>, ApiError> {
    check_limit(query.limit)?;
    let page = state.read(move |tx| Ok(api_tokens::list(tx, query.limit, query.cursor.as_deref())?)).await?;
    Ok(Json(Page { items: page.items.into_iter().map(wire).collect(), next_cursor: page.next_cursor }))
}

/// Stores a token; a name that a working token has is `name-in-use`.
pub(crate) fn store(tx: &mut dyn Tx, row: &ApiTokenRow, secret: &str) -> Result<(), ApiError> {
    api_tokens::insert(tx, row, &auth::secret_hash(secret)).map_err(|e| match e {
        StoreError::Conflict { constraint: Constraint::ApiTokenName } => {
            ApiError::new(&kinds::NAME_IN_USE, "another API token has this name")
        }
        other => other.into(),
    })
}

/// Make an API token
///
/// The answer holds the secret, this once.
#[utoipa::path(post, path = "/v1/api-tokens", tag = "api-tokens", operation_id = "create_api_token",
    request_body = ApiTokenRequest,
    responses((status = 201, body = NewApiToken), (status = 400, body = Problem), (status = 403, body = Problem),
              (status = 409, body = Problem)))]
pub(crate) async fn create(
    Admin(caller): Admin,
    State(state): State<AppState>,
    Body(request): Body<ApiTokenRequest>,
) -> Result<(StatusCode, Json<NewApiToken>), ApiError> {
    check_name("name", &request.name)?;
    if RESERVED.contains(&request.name.as_str()) {
        return Err(invalid("this name is reserved"));
    }
    let lifetime_s =
        request.expires_in_s.map(|s| check_range("expires_in_s", s, 60, TEN_YEARS_S)).transpose()?;
    let now = state.clock.now();
    let secret = auth::new_secret(auth::API_TOKEN_PREFIX).map_err(ApiError::internal)?;
    let row = ApiTokenRow {
        id: new_id(now),
        name: request.name,
        role: match request.scope {
            ApiScope::Viewer => Role::Viewer,
            ApiScope::Operator => Role::Operator,
            ApiScope::Admin => Role::Admin,
        },
        created_at: now,
        created_by: caller.name.clone(),
        expires_at: lifetime_s.map(|s| now.plus_s(i64::from(s))),
        revoked: false,
    };
    let token = wire(row.clone());
    let to_store = secret.clone();
    state
        .write(move |tx| {
            store(tx, &row, &to_store)?;
            let detail =
                json!({ "name": row.name, "scope": row.role.as_str(), "expires_at": row.expires_at });
            audit(tx, now, &caller, "api-token.create", &row.id, &detail)
        })
        .await?;
    Ok((StatusCode::CREATED, Json(NewApiToken { token, secret })))
}

/// Revoke an API token
///
/// It stops working at once. The last admin token that works cannot be revoked.
#[utoipa::path(delete, path = "/v1/api-tokens/{id}", tag = "api-tokens", operation_id = "revoke_api_token",
    params(("id" = String, Path, description = "Id of the API token")),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn revoke(
    Admin(caller): Admin,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let now = state.clock.now();
    state
        .write(move |tx| {
            let token = api_tokens::by_id(tx, &id)?.ok_or_else(|| no_such("API token", &id))?;
            if api_tokens::revoke(tx, &token.id)? {
                if api_tokens::count_admins(tx, now)? == 0 {
                    return Err(ApiError::new(&kinds::LAST_ADMIN, "this is the last admin token that works"));
                }
                let detail = json!({ "name": token.name, "scope": token.role.as_str() });
                audit(tx, now, &caller, "api-token.revoke", &token.id, &detail)?;
            }
            Ok(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
