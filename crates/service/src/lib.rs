//! The attestation service: verifier, inventory, alerts and the REST API over HTTPS.
//!
//! [`serve`] runs it; [`Server`] is the same in pieces, for tests. Handlers are in [`mod@agent_api`] (what agents say)
//! and `api` (what operators ask); both work on [`AppState`]. Every refusal is an [`ApiError`].

#![cfg_attr(test, allow(clippy::string_slice))]

pub mod agent_api;
pub mod alerts;
#[cfg(test)]
mod alerts_doc;
pub mod attest;
pub mod auth;
pub mod baseline_signing;
pub mod challenge;
pub mod enrol;
pub mod extract;
pub mod heartbeat;
pub mod inventory;
pub mod members;
pub mod monitoring;
pub mod notify;
pub mod posture;
pub mod problem;
pub mod reappraisals;
pub mod result_token;
pub mod silence;
pub mod tls;
pub mod traces;

mod announce;
mod api;
mod background;
#[cfg(test)]
mod blessed;
mod clock;
mod config;
mod endorsement;
#[cfg(test)]
mod errors_doc;
mod etag;
mod files;
mod gate;
mod health;
mod install;
mod journal;
mod metrics;
mod middleware;
mod odd_one_out;
mod openapi;
mod proposals;
mod server;
mod start_error;
mod state;
mod status;
mod traceparent;

pub use announce::{Announcement, FIRST_ADMIN, FirstStart};
pub use clock::Clock;
pub use config::{
    Config, ConfigError, Limits, LogConfig, LogFormat, NotificationConfig, SETTINGS, Setting, TlsConfig,
    TokenConfig, TracesConfig, ValueType,
};
pub use install::AgentDownload;
pub use metrics::Metrics;
pub use middleware::BODY_LIMIT_BYTES;
pub use openapi::json as openapi_json;
pub use problem::ApiError;
pub use server::{ServeOptions, Server, serve};
pub use start_error::StartError;
pub use state::{AppState, Shared};

/// All routes, without what [`middleware::wrap`] adds.
fn router(state: AppState) -> axum::Router {
    let (router, _) = openapi::routes().split_for_parts();
    router.with_state(state)
}
