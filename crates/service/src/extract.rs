//! Extractors whose refusals are problems, and that refuse what they do not know.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::DeserializeOwned;

use crate::ApiError;
use crate::problem::kinds;

/// A JSON body. The route's body limit holds; nesting is limited to 128 by the parser.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body that may be empty, which stands for the default.
#[derive(Debug)]
pub struct OptionalJson<T>(pub T);

/// The query string.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// The parameters of the path, each at most 256 bytes.
#[derive(Debug)]
pub struct Path<T>(pub T);

async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<(bool, Bytes), ApiError> {
    let json = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|v| {
        v.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    });
    if request.headers().contains_key(header::CONTENT_ENCODING) {
        let message = "compressed bodies are not taken";
        return Err(ApiError::new(&kinds::UNSUPPORTED_MEDIA_TYPE, message).hint("send the body as it is"));
    }
    let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ApiError::new(&kinds::BODY_TOO_LARGE, "the body is larger than this path takes")
        } else {
            ApiError::new(&kinds::BAD_REQUEST, "the body did not arrive").cause(rejection.body_text())
        }
    })?;
    Ok((json, bytes))
}

fn decode<T: DeserializeOwned>(json: bool, bytes: &[u8]) -> Result<T, ApiError> {
    if !json {
        return Err(ApiError::new(&kinds::UNSUPPORTED_MEDIA_TYPE, "the body is not declared as JSON"));
    }
    serde_json::from_slice(bytes).map_err(|e| {
        // What serde says can quote the body (an unknown word); it is cut and has no control characters.
        let reason: String = e.to_string().chars().filter(|c| !c.is_control()).take(200).collect();
        ApiError::new(&kinds::INVALID_BODY, format!("the body cannot be used: {reason}"))
    })
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (json, bytes) = body(request, state).await?;
        decode(json, &bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (json, bytes) = body(request, state).await?;
        if bytes.is_empty() { Ok(Self(T::default())) } else { decode(json, &bytes).map(Self) }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => {
                let reason: String =
                    rejection.body_text().chars().filter(|c| !c.is_control()).take(200).collect();
                Err(ApiError::new(&kinds::INVALID_QUERY, reason))
            }
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if parts.uri.path().split('/').any(|segment| segment.len() > 256) {
            return Err(ApiError::new(&kinds::NOT_FOUND, "nothing has so long a name"));
        }
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(ApiError::new(&kinds::BAD_REQUEST, "the path cannot be understood")
                .cause(rejection.body_text())),
        }
    }
}
