//! What happens to every request: an id, a bound on time and number, counters, one shape of refusals.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument as _;

use crate::journal::{Refusals, Refused};
use crate::metrics::Metrics;
use crate::problem::{IsProblem, REQUEST_ID, Told, kinds, normalise};
use crate::traceparent::Traceparent;
use crate::{ApiError, Config};

/// Largest body of every route that does not say otherwise.
pub const BODY_LIMIT_BYTES: usize = 256 * 1024;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[derive(Clone)]
struct Outer {
    slots: Arc<Semaphore>,
    timeout: Duration,
    metrics: Metrics,
    refusals: Arc<Refusals>,
}

/// Wraps a router in everything that holds for all routes.
pub(crate) fn wrap(router: Router, config: &Config, metrics: Metrics) -> Router {
    let panics = metrics.clone();
    let outer = Outer {
        slots: Arc::new(Semaphore::new(usize::try_from(config.limits.requests).unwrap_or(1024))),
        timeout: Duration::from_secs(u64::from(config.limits.request_timeout_s)),
        metrics,
        refusals: Arc::default(),
    };
    router
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .layer(CatchPanicLayer::custom(move |panic: Box<dyn Any + Send>| {
            panics.panicked();
            let what = panic
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            ApiError::internal(format!("panic: {what}")).into_response()
        }))
        .layer(from_fn_with_state(outer, around))
}

async fn around(State(outer): State<Outer>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = uuid::Uuid::now_v7().to_string();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", |m| m.as_str()).to_owned();
    let _in_flight = outer.metrics.request();
    let parent = Traceparent::of(request.headers()).map(|parent| parent.to_string());
    let span = tracing::info_span!("request", request_id = id, method, route, traceparent = parent);
    let mut response = REQUEST_ID
        .scope(
            id.clone(),
            async {
                // Liveness must not depend on load.
                let _slot = if route == "/healthz" {
                    None
                } else {
                    match outer.slots.try_acquire() {
                        Ok(slot) => Some(slot),
                        Err(_) => return overloaded(),
                    }
                };
                match tokio::time::timeout(outer.timeout, next.run(request)).await {
                    Ok(response) => normalise(response),
                    Err(_) => {
                        ApiError::new(&kinds::TIMEOUT, "the request did not finish in time").into_response()
                    }
                }
            }
            .instrument(span),
        )
        .await;
    let took = started.elapsed();
    let code = response.extensions().get::<IsProblem>().map(|p| p.0);
    let status = response.status().as_u16();
    outer.metrics.answered(method, &route, status, code, took);
    if let Some(code) = code
        && refuses_agent(&route, code, response.status())
    {
        let message = response.extensions().get::<Told>().map_or("", |told| told.0.as_str());
        outer.refusals.note(&Refused { request_id: &id, route: &route, code, message }, Instant::now());
    }
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    tracing::debug!(request_id = id, method, route, status, code, took_us, "answered");
    finish(&mut response, &id);
    response
}

/// Whether an agent was refused something. `log-needed` is how the protocol asks for a log.
fn refuses_agent(route: &str, code: &str, status: StatusCode) -> bool {
    route.starts_with("/v1/agent/") && status.is_client_error() && code != kinds::LOG_NEEDED.code
}

/// Different callers are told to come back at different times, one to eight seconds from now.
fn overloaded() -> Response {
    let mut byte = [0_u8; 1];
    let _ = getrandom::fill(&mut byte);
    let [byte] = byte;
    ApiError::new(&kinds::OVERLOADED, "too many requests are in flight")
        .retry_after_s(1 + u32::from(byte & 7))
        .into_response()
}

fn finish(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(X_REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Methods are a closed set in metrics; what clients invent is one word.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
