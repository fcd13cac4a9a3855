//! Refusals: one shape for the caller, the cause for the log.
//!
//! Every answer with status 4xx or 5xx is a [`wire::Problem`](veriboot_wire::Problem). What the caller reads
//! comes from a row of [`kinds`] and a message that never holds internal causes; the cause is logged once,
//! under the request id that the caller is given too. A handler returns [`ApiError`]; everything that does not
//! come from a handler (unknown path, wrong method, oversized body, time-out) is turned into one by
//! [`normalise`].

pub mod kinds;

use std::error::Error;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use veriboot_store::StoreError;
use veriboot_wire::{Fault, Problem, ProblemDetail};

pub use kinds::Kind;

tokio::task_local! {
    /// The id of the request that this task answers; set by the outermost layer.
    pub(crate) static REQUEST_ID: String;
}

/// A refusal on its way to the caller.
#[derive(Debug)]
pub struct ApiError {
    kind: &'static Kind,
    message: String,
    hint: Option<String>,
    retry_after_s: Option<u32>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// A refusal of this kind. `message` is for the caller: no secrets, no internals.
    pub fn new(kind: &'static Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, retry_after_s: kind.retry_after_s, cause: None }
    }

    /// Replaces the kind's hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says when trying again makes sense.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// What really happened: logged once with the request id, never sent.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Something inside of the service failed that the caller has no part in.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(&kinds::INTERNAL, "the service failed to answer this request").cause(cause)
    }

    /// Stable identifier.
    pub fn code(&self) -> &'static str {
        self.kind.code
    }

    /// What the caller is told.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What the caller is told, in one line: for what no caller waits for.
    pub(crate) fn told(&self) -> String {
        format!("{} [{}]", self.message, self.kind.code)
    }

    /// HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(crate) fn problem(&self) -> Problem {
        Problem {
            error: ProblemDetail {
                code: self.kind.code.to_owned(),
                message: self.message.clone(),
                fault: self.kind.fault,
                hint: self
                    .hint
                    .clone()
                    .or_else(|| (!self.kind.hint.is_empty()).then(|| self.kind.hint.to_owned())),
                retry_after_s: self.retry_after_s,
                request_id: REQUEST_ID.try_with(Clone::clone).ok(),
            },
        }
    }

    pub(crate) fn log(&self) {
        let request_id = REQUEST_ID.try_with(Clone::clone).unwrap_or_default();
        let cause = self.cause.as_deref().map(chain).unwrap_or_default();
        if self.kind.fault == Fault::Service {
            tracing::error!(request_id, code = self.kind.code, cause, "{}", self.message);
        } else {
            tracing::debug!(request_id, code = self.kind.code, cause, "{}", self.message);
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Busy | StoreError::Locked | StoreError::Contended => &kinds::DATABASE_BUSY,
            StoreError::Closed => &kinds::STOPPING,
            StoreError::BadCursor => &kinds::INVALID_CURSOR,
            StoreError::CommitUnknown { .. } => &kinds::DATABASE_COMMIT_UNKNOWN,
            StoreError::Unavailable { .. } | StoreError::ReadOnly { .. } | StoreError::Full { .. } => {
                &kinds::DATABASE_UNAVAILABLE
            }
            StoreError::Limit { .. } => &kinds::TOO_MANY,
            StoreError::Conflict { .. } | StoreError::Corrupt { .. } | StoreError::Failed { .. } => {
                &kinds::INTERNAL
            }
        };
        let message = match kind.code {
            "internal" => "the service failed to answer this request".to_owned(),
            _ => error.to_string(),
        };
        let cause = error.cause().map(|cause| format!("{}: {cause}", error.code()));
        Self::new(kind, message).cause(cause.unwrap_or_else(|| format!("{}: {error}", error.code())))
    }
}

/// The error and everything below it, on one line.
pub(crate) fn chain(error: &(dyn Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(e) = next {
        let s = e.to_string();
        if !text.ends_with(&s) {
            text.push_str(": ");
            text.push_str(&s);
        }
        next = e.source();
    }
    text
}

/// Marks an answer whose body is a [`Problem`] already.
#[derive(Clone, Copy)]
pub(crate) struct IsProblem(pub(crate) &'static str);

/// The sentence in that [`Problem`].
#[derive(Clone)]
pub(crate) struct Told(pub(crate) String);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let problem = self.problem();
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"veriboot\""));
        }
        response.extensions_mut().insert(IsProblem(self.kind.code));
        response.extensions_mut().insert(Told(self.message));
        response
    }
}

/// Turns an error answer that no handler made (framework rejections, layers) into a [`Problem`].
pub(crate) fn normalise(response: Response) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error())
        || response.extensions().get::<IsProblem>().is_some()
    {
        return response;
    }
    let error = match status {
        StatusCode::NOT_FOUND => ApiError::new(&kinds::NO_SUCH_ROUTE, "there is no such path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::new(&kinds::METHOD_NOT_ALLOWED, "this path does not take that method")
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            ApiError::new(&kinds::BODY_TOO_LARGE, "the body is larger than this path takes")
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => {
            ApiError::new(&kinds::TIMEOUT, "the request did not finish in time")
        }
        s if s.is_client_error() => ApiError::new(&kinds::BAD_REQUEST, "the request cannot be understood"),
        s => ApiError::internal(format!("a layer answered {s}")),
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut answer = error.into_response();
    if let Some(allow) = allow {
        answer.headers_mut().insert(header::ALLOW, allow);
    }
    answer
}
