//! What can go wrong in the agent: one enum per part, each with a stable code and what to do next.

use std::time::Duration;

use crate::event_log::EventLogError;
use crate::service::ServiceError;
use crate::settings::SettingsError;
use crate::state::StateError;
use crate::tpm::TpmError;
use crate::trust::TrustError;

/// Why the agent could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Flags, environment or configuration file.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The event log.
    #[error(transparent)]
    EventLog(#[from] EventLogError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate that the service is to be recognised by.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The service refused, or could not be understood or reached.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The service asked for something that an attestation never needs.
    #[error("the service sent a challenge that this agent does not answer: {reason}")]
    ChallengeRefused {
        /// What is wrong with it.
        reason: String,
    },
    /// There is no enrolment and no join token to start one.
    #[error("this VM is not enrolled and no join token is set")]
    JoinTokenMissing,
}

impl AgentError {
    /// Stable identifier in kebab case. Refusals by the service carry the service's own code.
    pub fn code(&self) -> &str {
        match self {
            Self::Settings(e) => e.code(),
            Self::Tpm(e) => e.code(),
            Self::EventLog(e) => e.code(),
            Self::State(e) => e.code(),
            Self::Trust(e) => e.code(),
            Self::Service(e) => e.code(),
            Self::ChallengeRefused { .. } => "challenge-refused",
            Self::JoinTokenMissing => "join-token-missing",
        }
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Settings(_) | Self::JoinTokenMissing => Blame::Operator,
            Self::Trust(e) => e.blame(),
            Self::Tpm(_) | Self::EventLog(_) | Self::State(_) => Blame::Machine,
            Self::Service(e) => e.blame(),
            Self::ChallengeRefused { .. } => Blame::Service,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Settings(e) => e.hint(),
            Self::Tpm(e) => Some(e.hint()),
            Self::EventLog(e) => Some(e.hint()),
            Self::State(e) => Some(e.hint()),
            Self::Trust(e) => Some(e.hint()),
            Self::Service(e) => e.hint(),
            Self::ChallengeRefused { .. } => Some(
                "check that --server names your Veriboot service; an older agent may need an update".into(),
            ),
            Self::JoinTokenMissing => Some(
                "make one with `veriboot token create` and give it with --join-token, join-token-file or \
                 VERIBOOT_AGENT_JOIN_TOKEN"
                    .into(),
            ),
        }
    }

    /// How long the service asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Service(e) => e.retry_after(),
            _ => None,
        }
    }
}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Whoever set the agent up.
    Operator,
    /// This machine: TPM, firmware, disk, clock.
    Machine,
    /// What lies between this machine and the service.
    Network,
    /// The service.
    Service,
}

impl Blame {
    /// The word in messages and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "configuration",
            Self::Machine => "machine",
            Self::Network => "network",
            Self::Service => "service",
        }
    }
}
