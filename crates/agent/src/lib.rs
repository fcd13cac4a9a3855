//! The guest attestation agent.
//!
//! [`Agent`] enrols a machine by its TPM and answers the service's challenges with quotes (SPEC sections 3 and 4).
//! The library is blocking and single-threaded on purpose: one exchange every few minutes needs no runtime.

mod agent;
mod bundle;
mod challenge;
mod clock;
mod config;
mod error;
pub mod event_log;
mod kernel;
pub mod machine;
pub mod pace;
mod run;
mod service;
mod settings;
mod state;
mod text;
pub mod tpm;
mod transport;
mod trust;
mod url;

pub use self::agent::Agent;
pub use self::bundle::evidence_bundle;
pub use self::config::{AgentConfig, AkAlgorithm, DEFAULT_EVENT_LOG, DEFAULT_STATE_DIR, Trust};
pub use self::error::{AgentError, Blame};
pub use self::run::{Stop, attest_forever};
pub use self::service::{ServiceClient, ServiceError};
pub use self::settings::{DEFAULT_CONFIG, LogFormat, Settings, SettingsError};
pub use self::state::{Enrolment, LastOutcome, StateDir, StateError, StateLock};
pub use self::text::printable;
pub use self::transport::{Connector, TpmAddress, Transport};
pub use self::trust::TrustError;
pub use self::url::ServerUrl;
