//! Who asks: API tokens and their scopes.
//!
//! A token is `vbt_` and 32 random bytes in base64url. The database has its SHA-256 only, and a token is found by
//! that hash: what an attacker can time is the comparison of hashes that he cannot choose.
//! Handlers take [`Viewer`], [`Operator`] or [`Admin`] as an argument; axum runs these before it reads a body.

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use veriboot_store::api_tokens::{self, Role};
use veriboot_wire::ApiScope;

use crate::problem::kinds;
use crate::{ApiError, AppState, StartError};

/// How an API token starts, so that secret scanners find it.
pub const API_TOKEN_PREFIX: &str = "vbt_";
/// How a join token starts.
pub const JOIN_TOKEN_PREFIX: &str = "vbj_";

/// The caller that an API token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Name of the token: the actor of the audit log.
    pub name: String,
    /// Its row.
    pub token_id: String,
    /// What it may do.
    pub scope: ApiScope,
}

/// Some caller that may read.
#[derive(Clone, Debug)]
pub struct Viewer(pub Caller);
/// Some caller that may handle alerts, baselines, VMs and join tokens.
#[derive(Clone, Debug)]
pub struct Operator(pub Caller);
/// Some caller that may handle API tokens.
#[derive(Clone, Debug)]
pub struct Admin(pub Caller);

macro_rules! extractor {
    ($name:ident) => {
        impl FromRequestParts<AppState> for $name {
            type Rejection = ApiError;
            async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
                caller(parts, state, ApiScope::$name).await.map(Self)
            }
        }
    };
}

extractor!(Viewer);
extractor!(Operator);
extractor!(Admin);

/// The token of `Authorization: Bearer TOKEN`.
///
/// # Errors
/// `unauthenticated` when the header is absent, doubled, or of another form.
pub fn bearer(parts: &Parts) -> Result<&str, ApiError> {
    let refuse = |message: &str| ApiError::new(&kinds::UNAUTHENTICATED, message);
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(|| refuse("no credential was sent"))?;
    if values.next().is_some() {
        return Err(refuse("two credentials were sent"));
    }
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && (1..=256).contains(&token.len()))
        .map(|(_, token)| token)
        .ok_or_else(|| refuse("the credential is not of the form `Bearer TOKEN`"))
}

/// SHA-256 of a whole secret, prefix included: what the database keeps of it.
pub fn secret_hash(secret: &str) -> Vec<u8> {
    digest(&SHA256, secret.as_bytes()).as_ref().to_vec()
}

/// The scope that a stored role stands for.
pub(crate) fn scope(role: Role) -> ApiScope {
    match role {
        Role::Viewer => ApiScope::Viewer,
        Role::Operator => ApiScope::Operator,
        Role::Admin => ApiScope::Admin,
    }
}

/// A new secret: the prefix and 32 random bytes in base64url.
///
/// # Errors
/// [`StartError::Internal`] when the system gives no randomness.
pub fn new_secret(prefix: &str) -> Result<String, StartError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|e| StartError::Internal(format!("no randomness: {e}")))?;
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

async fn caller(parts: &Parts, state: &AppState, needed: ApiScope) -> Result<Caller, ApiError> {
    let token = bearer(parts)?;
    let unknown = || ApiError::new(&kinds::UNAUTHENTICATED, "the token is unknown, expired or revoked");
    if !token.starts_with(API_TOKEN_PREFIX) {
        return Err(unknown());
    }
    let hash = secret_hash(token);
    let now = state.clock.now();
    let found = state.read(move |tx| Ok(api_tokens::by_secret_sha256(tx, &hash, now)?)).await?;
    let token = found.ok_or_else(unknown)?;
    let scope = scope(token.role);
    if scope < needed {
        let message = format!("this needs a token with scope {needed}; {} has {scope}", token.name);
        return Err(ApiError::new(&kinds::FORBIDDEN, message));
    }
    Ok(Caller { name: token.name, token_id: token.id, scope })
}
