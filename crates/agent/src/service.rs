//! Speaks the agent protocol with the service: bounded answers, no redirects, errors that say whose fault they are.

use std::io;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use veriboot_wire::{
    ActivateRequest, Directions, EnrollChallenge, EnrollRequest, Enrolled, EvidenceRequest, Fault,
    FaultReport, Problem, ProblemDetail, Receipt,
};

use crate::clock;
use crate::error::Blame;
use crate::pace;
use crate::text::printable;
use crate::trust;
use crate::url::ServerUrl;

/// No answer of the protocol comes near this.
const MAX_ANSWER: u64 = 1024 * 1024;
/// Identifiers that become part of a path.
const MAX_ID: usize = 64;
/// Longest wait for one exchange; an evidence with a 4 MiB log fits through a slow line.
const PATIENCE: Duration = Duration::from_secs(120);

/// Why an exchange with the service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The service refused, and says why.
    #[error("the service answered {status}: {} ({})", .problem.message, .problem.code)]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its reason.
        problem: Box<ProblemDetail>,
        /// What it asked to wait.
        retry_after: Option<Duration>,
    },
    /// An error without the protocol's form: a proxy or a load balancer, or not a Veriboot service.
    #[error("the service answered {status} without a reason")]
    Status {
        /// HTTP status.
        status: u16,
        /// What it asked to wait.
        retry_after: Option<Duration>,
    },
    /// A redirect; the agent follows none, because evidence and token belong to one service.
    #[error("the service answered {status}, a redirect")]
    Redirect {
        /// HTTP status.
        status: u16,
    },
    /// An answer above the bound.
    #[error("the service's answer is longer than {MAX_ANSWER} bytes")]
    AnswerTooLong,
    /// An answer that is not of the protocol.
    #[error("the service's answer cannot be understood: {what}")]
    AnswerInvalid {
        /// What is wrong with it.
        what: String,
    },
    /// The service's certificate has expired or is not yet valid by this machine's clock.
    #[error("the service's certificate is not valid at this machine's time {now}: {reason}")]
    CertificateTime {
        /// This machine's time.
        now: String,
        /// What rustls says.
        reason: String,
    },
    /// The service's certificate is not one that this agent trusts.
    #[error("the service's certificate is not trusted: {reason}")]
    Certificate {
        /// What rustls says.
        reason: String,
    },
    /// No connection.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// The service.
        server: String,
        /// Why.
        reason: String,
    },
    /// No answer in time.
    #[error("{server} did not answer in time ({reason})")]
    TimedOut {
        /// The service.
        server: String,
        /// Which wait ended.
        reason: String,
    },
}

impl ServiceError {
    /// Stable identifier in kebab case; the service's own for its refusals.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused { problem, .. } => &problem.code,
            Self::Status { .. } => "service-error",
            Self::Redirect { .. } => "service-redirect",
            Self::AnswerTooLong => "service-answer-too-long",
            Self::AnswerInvalid { .. } => "service-answer-invalid",
            Self::CertificateTime { .. } => "service-certificate-time",
            Self::Certificate { .. } => "service-certificate-invalid",
            Self::Unreachable { .. } => "service-unreachable",
            Self::TimedOut { .. } => "service-timeout",
        }
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::Refused { problem, .. } if problem.fault == Fault::Client => Blame::Operator,
            Self::Refused { .. } | Self::Status { .. } | Self::Redirect { .. } => Blame::Service,
            Self::AnswerTooLong | Self::AnswerInvalid { .. } => Blame::Service,
            Self::CertificateTime { .. } => Blame::Machine,
            Self::Certificate { .. } | Self::Unreachable { .. } | Self::TimedOut { .. } => Blame::Network,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Refused { problem, .. } => return problem.hint.clone(),
            Self::Status { .. } => {
                "check that --server names the Veriboot service and not a proxy or a portal"
            }
            Self::Redirect { .. } => "give --server the address that it redirects to",
            Self::AnswerTooLong | Self::AnswerInvalid { .. } => {
                "check that --server names the Veriboot service; an older agent may need an update"
            }
            Self::CertificateTime { .. } => {
                "check this machine's clock, then the validity of the service's certificate"
            }
            Self::Certificate { .. } => {
                "give the service's CA with --ca or --ca-fingerprint, and a --server that is named in its certificate"
            }
            Self::Unreachable { .. } => "check name, port, firewall and HTTPS_PROXY",
            Self::TimedOut { .. } => "check the network; the agent tries again by itself",
        };
        Some(hint.to_owned())
    }

    /// How long the service asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A client of one service.
#[derive(Debug)]
pub struct ServiceClient {
    http: ureq::Agent,
    url: ServerUrl,
}

impl ServiceClient {
    /// A client that accepts certificates under `roots` only. Proxies come from HTTPS_PROXY and NO_PROXY.
    pub fn new(url: ServerUrl, roots: &[CertificateDer<'static>]) -> Self {
        let roots: Vec<Certificate<'static>> =
            roots.iter().map(|c| Certificate::from_der(c).to_owned()).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&roots))
            .unversioned_rustls_crypto_provider(trust::provider())
            .build();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .https_only(url.is_https())
            .max_redirects(0)
            .max_redirects_will_error(false)
            .tls_config(tls)
            .user_agent(concat!("veriboot-agent/", env!("CARGO_PKG_VERSION")))
            .input_buffer_size(16 * 1024)
            .output_buffer_size(16 * 1024)
            .max_response_header_size(16 * 1024)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(Duration::from_secs(15))
            .timeout_global(Some(PATIENCE))
            .timeout_connect(Some(Duration::from_secs(20)))
            .build();
        Self { http: config.new_agent(), url }
    }

    /// Starts an enrolment.
    ///
    /// # Errors
    /// Any [`ServiceError`]; so for every call.
    pub fn enroll(&self, request: &EnrollRequest) -> Result<EnrollChallenge, ServiceError> {
        self.post("/v1/agent/enroll", None, Some(request))
    }

    /// Shows that EK and AK live in one TPM.
    ///
    /// # Errors
    /// See [`Self::enroll`].
    pub fn activate(&self, enrolment_id: &str, request: &ActivateRequest) -> Result<Enrolled, ServiceError> {
        self.post(&format!("/v1/agent/enroll/{}/activate", id(enrolment_id)?), None, Some(request))
    }

    /// Asks for a challenge.
    ///
    /// # Errors
    /// See [`Self::enroll`].
    pub fn challenge(&self, vm_id: &str, token: &str) -> Result<Directions, ServiceError> {
        self.post(&format!("/v1/agent/vms/{}/challenge", id(vm_id)?), Some(token), None::<&()>)
    }

    /// Sends evidence.
    ///
    /// # Errors
    /// See [`Self::enroll`].
    pub fn evidence(
        &self,
        vm_id: &str,
        token: &str,
        request: &EvidenceRequest,
    ) -> Result<Receipt, ServiceError> {
        self.post(&format!("/v1/agent/vms/{}/evidence", id(vm_id)?), Some(token), Some(request))
    }

    /// Reports a platform fault.
    ///
    /// # Errors
    /// See [`Self::enroll`].
    pub fn fault(&self, vm_id: &str, token: &str, report: &FaultReport) -> Result<Directions, ServiceError> {
        self.post(&format!("/v1/agent/vms/{}/fault", id(vm_id)?), Some(token), Some(report))
    }

    fn post<T: Serialize, R: DeserializeOwned>(
        &self,
        path: &str,
        token: Option<&str>,
        body: Option<&T>,
    ) -> Result<R, ServiceError> {
        let mut request = self.http.post(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let sent = match body {
            Some(body) => request.send_json(body),
            None => request.send_empty(),
        };
        let mut response = sent.map_err(|e| self.failed(e))?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        if status.is_redirection() {
            return Err(ServiceError::Redirect { status: status.as_u16() });
        }
        let body = response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        match body {
            Ok(body) if status == StatusCode::OK => {
                serde_json::from_slice(&body).map_err(|e| ServiceError::AnswerInvalid { what: e.to_string() })
            }
            Ok(body) => Err(refusal(status, &body, retry_after)),
            // The body of an error is worth less than its status and Retry-After.
            Err(_) if !status.is_success() => {
                Err(ServiceError::Status { status: status.as_u16(), retry_after })
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: ureq::Error) -> ServiceError {
        let server = self.url.to_string();
        match error {
            ureq::Error::BodyExceedsLimit(_) => ServiceError::AnswerTooLong,
            ureq::Error::Rustls(e) => tls_error(&e),
            ureq::Error::Timeout(which) => ServiceError::TimedOut { server, reason: which.to_string() },
            ureq::Error::Io(e) => io_error(server, &e),
            ureq::Error::Protocol(e) => ServiceError::AnswerInvalid { what: e.to_string() },
            other => ServiceError::Unreachable { server, reason: other.to_string() },
        }
    }
}

fn io_error(server: String, error: &io::Error) -> ServiceError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => tls_error(tls),
        None => ServiceError::Unreachable { server, reason: error.to_string() },
    }
}

fn tls_error(error: &rustls::Error) -> ServiceError {
    use rustls::CertificateError as C;
    let reason = error.to_string();
    match error {
        rustls::Error::InvalidCertificate(
            C::Expired | C::NotValidYet | C::ExpiredContext { .. } | C::NotValidYetContext { .. },
        ) => ServiceError::CertificateTime { now: clock::now().to_string(), reason },
        _ => ServiceError::Certificate { reason },
    }
}

fn refusal(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> ServiceError {
    let status = status.as_u16();
    match serde_json::from_slice::<Problem>(body) {
        Ok(Problem { error }) => {
            let asked = error.retry_after_s.map(|s| Duration::from_secs(s.into()));
            let problem = ProblemDetail {
                code: printable(&error.code, 64),
                message: printable(&error.message, 512),
                hint: error.hint.as_deref().map(|hint| printable(hint, 512)),
                ..error
            };
            ServiceError::Refused { status, problem: Box::new(problem), retry_after: retry_after.or(asked) }
        }
        Err(_) => ServiceError::Status { status, retry_after },
    }
}

/// Identifiers of the service become part of a path, so only plain ones are used.
fn id(text: &str) -> Result<&str, ServiceError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > MAX_ID || !text.chars().all(plain) {
        return Err(ServiceError::AnswerInvalid { what: "an identifier that is not one".to_owned() });
    }
    Ok(text)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    pace::retry_after(headers.get("retry-after")?.to_str().ok()?, clock::now())
}
