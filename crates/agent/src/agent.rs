//! The attester: enrols this machine, answers challenges with quotes, and keeps what must survive a restart.

use std::time::{Duration, Instant};

use veriboot_wire::{
    ACCEPTS_KERNEL, ActivateRequest, Blob, Challenge, Directions, EnrollChallenge, EnrollRequest,
    EvidenceRequest, FaultReport, LogEvidence, Receipt,
};

use crate::challenge::{answerable, choose_bank};
use crate::clock;
use crate::config::AgentConfig;
use crate::error::AgentError;
use crate::event_log;
use crate::kernel::Kernel;
use crate::machine;
use crate::service::{ServiceClient, ServiceError};
use crate::settings::SettingsError;
use crate::state::{Enrolment, LastOutcome, StateDir};
use crate::text::printable;
use crate::tpm::{AkBlob, Endorsement, Tpm, TpmError};
use crate::transport::Connector;
use crate::trust;
use crate::url::ServerUrl;

/// A clock that differs from the service's by more is worth a warning: certificates are judged by it.
const CLOCK_SKEW_S: i64 = 300;
/// Reasons that are kept for `veriboot-agent status`.
const MAX_REASONS: usize = 16;

/// One agent for one TPM and one service.
pub struct Agent {
    config: AgentConfig,
    url: ServerUrl,
    connector: Box<dyn Connector>,
    state: StateDir,
    client: Option<ServiceClient>,
    challenge: Option<HeldChallenge>,
    fault_told: Option<String>,
    kernel: Kernel,
    /// Whether the service takes what the kernel says, by its last directions.
    kernel_accepted: bool,
}

/// A challenge that came with an earlier answer.
struct HeldChallenge {
    challenge: Challenge,
    until: Instant,
    vm_id: String,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("server", &self.url).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Agent {
    /// An agent for the TPM that `config` names. Opens the state folder; talks to nobody yet.
    ///
    /// # Errors
    /// A bad server URL or state folder.
    pub fn new(config: AgentConfig) -> Result<Self, AgentError> {
        let connector = Box::new(config.tpm.clone());
        Self::with_connector(config, connector)
    }

    /// An agent for a TPM that is reached in another way.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub fn with_connector(config: AgentConfig, connector: Box<dyn Connector>) -> Result<Self, AgentError> {
        let url = ServerUrl::parse(&config.server, config.insecure_http)
            .map_err(|reason| SettingsError::Value { setting: "server", reason })?;
        let state = StateDir::open(&config.state_dir)?;
        let kernel = Kernel::new(&config.kernel_root);
        Ok(Self {
            config,
            url,
            connector,
            state,
            client: None,
            challenge: None,
            fault_told: None,
            kernel,
            kernel_accepted: false,
        })
    }

    /// The state folder.
    pub fn state(&self) -> &StateDir {
        &self.state
    }

    /// The enrolment at the configured service.
    ///
    /// # Errors
    /// When the state folder cannot be read.
    pub fn enrolment(&self) -> Result<Option<Enrolment>, AgentError> {
        Ok(self.state.enrolment()?.filter(|enrolment| enrolment.server == self.url.to_string()))
    }

    /// Enrols when needed, answers one challenge, and gives the service's receipt, whatever its verdict.
    ///
    /// A refused challenge is replaced once, an unknown log is sent once, a refused token leads to one enrolment with
    /// the known EK. A TPM that cannot quote is reported as a platform fault before the error is given.
    ///
    /// # Errors
    /// Any [`AgentError`].
    pub fn attest_once(&mut self) -> Result<Receipt, AgentError> {
        let attested = self.attest();
        let kept = match &attested {
            Ok(receipt) => self.keep_receipt(receipt),
            Err(error) => {
                self.tell_fault(error);
                self.keep_error(error)
            }
        };
        if let Err(error) = kept {
            tracing::warn!(code = error.code(), %error, "cannot keep the outcome");
        }
        attested
    }

    fn attest(&mut self) -> Result<Receipt, AgentError> {
        let mut enrolment = match self.enrolment()? {
            Some(enrolment) => enrolment,
            None => self.enroll()?,
        };
        let mut enrolled_again = false;
        let mut challenged_again = false;
        let mut log_sent = false;
        loop {
            let outcome = match self.current_challenge(&enrolment) {
                Ok(challenge) => match self.evidence(&challenge, log_sent) {
                    Ok(evidence) => self.submit(&evidence),
                    // The key is of another TPM, or the TPM was cleared: a new key and a new enrolment.
                    Err(AgentError::Tpm(TpmError::KeyForeign { code })) if !enrolled_again => {
                        tracing::warn!(%code, "the stored attestation key does not load; making a new one");
                        enrolled_again = true;
                        self.new_ak()?;
                        enrolment = self.enroll()?;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
                Err(error) => Err(error),
            };
            let error = match outcome {
                Ok(receipt) => return Ok(receipt),
                Err(error) => error,
            };
            match &error {
                AgentError::Service(ServiceError::Refused { status, problem, .. }) => {
                    match (*status, problem.code.as_str()) {
                        (_, "log-needed") if !log_sent => log_sent = true,
                        // Another replica, of a release that does not know it: it says so before it uses the challenge.
                        (400, "invalid-body") if self.kernel_accepted => self.kernel_accepted = false,
                        (_, "challenge-unknown" | "challenge-expired" | "challenge-used")
                            if !challenged_again =>
                        {
                            challenged_again = true;
                            self.challenge = None;
                        }
                        (401, _) | (404, "not-found") if !enrolled_again => {
                            tracing::warn!(code = %problem.code, "the service does not know this agent; enrolling again");
                            enrolled_again = true;
                            self.state.forget_enrolment()?;
                            enrolment = self.enroll()?;
                        }
                        _ => return Err(error),
                    }
                }
                _ => return Err(error),
            }
        }
    }

    /// Enrols this machine, with the AK that it has or a new one.
    ///
    /// # Errors
    /// Any [`AgentError`]. The service decides whether a join token is needed; without one only a known EK enrols.
    pub fn enroll(&mut self) -> Result<Enrolment, AgentError> {
        let (request, endorsement, ak) = match self.enroll_request() {
            // The blob was made by another TPM.
            Err(AgentError::Tpm(TpmError::KeyForeign { .. })) => {
                self.new_ak()?;
                self.enroll_request()?
            }
            other => other?,
        };
        let challenge = match self.client()?.enroll(&request) {
            Ok(challenge) => challenge,
            // Only the service knows whether this EK may come without a token; when it may not, say what is missing.
            Err(ServiceError::Refused { problem, .. })
                if request.join_token.is_none() && problem.code == "join-token-required" =>
            {
                return Err(AgentError::JoinTokenMissing);
            }
            Err(error) => return Err(error.into()),
        };
        let activation = self.activation(&endorsement, &ak, &challenge)?;
        let enrolled = self.client()?.activate(&challenge.enrolment_id, &activation)?;
        let enrolment = Enrolment {
            server: self.url.to_string(),
            vm_id: enrolled.vm_id,
            name: enrolled.name,
            agent_token: enrolled.agent_token,
            ek: endorsement.key,
        };
        if self
            .state
            .enrolment()?
            .is_none_or(|before| before.vm_id != enrolment.vm_id || before.server != enrolment.server)
        {
            // Another record may not have the log yet.
            let outcome = self.state.outcome()?;
            self.state.set_outcome(&LastOutcome { log_sha256: None, ..outcome })?;
        }
        self.state.set_enrolment(&enrolment)?;
        tracing::info!(vm = %printable(&enrolment.vm_id, 64), name = %printable(&enrolment.name, 64), "enrolled");
        self.follow(&enrolment.vm_id, enrolled.directions);
        Ok(enrolment)
    }

    /// What an enrolment starts with, the endorsement key it names, and the attestation key.
    ///
    /// # Errors
    /// Any [`AgentError`].
    pub fn enroll_request(&mut self) -> Result<(EnrollRequest, Endorsement, AkBlob), AgentError> {
        let stored = self.state.ak()?;
        let mut tpm = Tpm::open(self.connector.as_ref())?;
        let endorsement = tpm.endorsement()?;
        let ek_public = tpm.endorsement_public(endorsement.key)?;
        let ak = match stored {
            Some(ak) => {
                tpm.check_ak(&ak)?;
                ak
            }
            None => {
                let ak = tpm.create_ak(self.config.ak_algorithm)?;
                self.state.set_ak(&ak)?;
                ak
            }
        };
        let machine = machine::describe();
        let request = EnrollRequest {
            join_token: self.config.join_token.clone(),
            name: self.config.name.clone().unwrap_or_else(|| machine::vm_name(&machine.hostname)),
            machine,
            ek_public: ek_public.into(),
            ek_certificate: endorsement.certificate.clone().map(Blob),
            ak_public: ak.public.clone().into(),
        };
        Ok((request, endorsement, ak))
    }

    /// Opens the credential of an enrolment.
    ///
    /// # Errors
    /// `tpm-refused` when the credential is not for this TPM's keys.
    pub fn activation(
        &mut self,
        endorsement: &Endorsement,
        ak: &AkBlob,
        challenge: &EnrollChallenge,
    ) -> Result<ActivateRequest, AgentError> {
        let mut tpm = Tpm::open(self.connector.as_ref())?;
        let secret = tpm.activate_credential(
            endorsement.key,
            ak,
            &challenge.credential_blob,
            &challenge.encrypted_secret,
        )?;
        Ok(ActivateRequest { secret: secret.into() })
    }

    /// Asks the service for a challenge.
    ///
    /// # Errors
    /// Any [`AgentError`].
    pub fn fresh_challenge(&mut self) -> Result<Challenge, AgentError> {
        let enrolment = self.enrolment()?.ok_or(AgentError::JoinTokenMissing)?;
        let directions = self.client()?.challenge(&enrolment.vm_id, &enrolment.agent_token)?;
        let challenge = directions.challenge.clone();
        self.follow(&enrolment.vm_id, directions);
        Ok(challenge)
    }

    /// Quotes over a challenge and adds the log: by content when the service does not have it yet.
    ///
    /// # Errors
    /// `challenge-refused` when the challenge is not one of the protocol; any other [`AgentError`].
    pub fn evidence_for(&mut self, challenge: &Challenge) -> Result<EvidenceRequest, AgentError> {
        self.evidence(challenge, false)
    }

    fn evidence(&mut self, challenge: &Challenge, with_log: bool) -> Result<EvidenceRequest, AgentError> {
        let (nonce, pcrs) = answerable(challenge)?;
        let ak = self.state.ak()?.ok_or_else(|| TpmError::KeyForeign { code: "there is none".into() })?;
        let (quote, bank, values) = {
            let mut tpm = Tpm::open(self.connector.as_ref())?;
            let bank = choose_bank(&tpm.active_banks()?, &challenge.banks, &pcrs)?;
            let quote = tpm.quote(&ak, &nonce, bank.alg, &pcrs)?;
            let values = tpm.pcr_values(bank.alg, &pcrs)?;
            (quote, bank, values)
        };
        let (log, log_absent_because) = match event_log::read(&self.config.event_log) {
            Ok(content) => {
                let sha256 = hex::encode(trust::sha256(&content));
                let known = !with_log && self.state.outcome()?.log_sha256.as_deref() == Some(&sha256);
                (Some(LogEvidence { sha256, content: (!known).then_some(Blob(content)) }), None)
            }
            Err(error) => {
                tracing::warn!(code = error.code(), %error, "no event log");
                self.tell(error.code(), &error.to_string());
                (None, Some(format!("{}: {error}", error.code())))
            }
        };
        Ok(EvidenceRequest {
            nonce: challenge.nonce.clone(),
            quote: quote.attest.into(),
            signature: quote.signature.into(),
            pcrs: [(bank.name(), values)].into(),
            log,
            log_absent_because,
            machine: machine::describe(),
            kernel: if self.kernel_accepted { self.kernel.report(&self.state) } else { None },
        })
    }

    /// Sends evidence as it is. A receipt brings the next challenge.
    ///
    /// # Errors
    /// Any [`AgentError`].
    pub fn submit(&mut self, evidence: &EvidenceRequest) -> Result<Receipt, AgentError> {
        let enrolment = self.enrolment()?.ok_or(AgentError::JoinTokenMissing)?;
        let receipt = self.client()?.evidence(&enrolment.vm_id, &enrolment.agent_token, evidence)?;
        if let Some(log) = &evidence.log {
            let mut outcome = self.state.outcome()?;
            if outcome.log_sha256.as_deref() != Some(&log.sha256) {
                outcome.log_sha256 = Some(log.sha256.clone());
                self.state.set_outcome(&outcome)?;
            }
        }
        self.follow(&enrolment.vm_id, receipt.directions.clone());
        Ok(receipt)
    }

    /// Reports a platform fault.
    ///
    /// # Errors
    /// Any [`AgentError`].
    pub fn report_fault(&mut self, code: &str, message: &str) -> Result<(), AgentError> {
        let Some(enrolment) = self.enrolment()? else { return Ok(()) };
        let report =
            FaultReport { code: code.to_owned(), message: message.to_owned(), machine: machine::describe() };
        let directions = self.client()?.fault(&enrolment.vm_id, &enrolment.agent_token, &report)?;
        self.follow(&enrolment.vm_id, directions);
        Ok(())
    }

    /// The client of the service; the first use finds the CA.
    ///
    /// # Errors
    /// When there is no certificate to recognise the service by.
    pub fn client(&mut self) -> Result<&ServiceClient, AgentError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                let roots = if self.url.is_https() {
                    trust::roots(&self.config, &self.url, &self.state)?
                } else {
                    Vec::new()
                };
                ServiceClient::new(self.url.clone(), &roots)
            }
        };
        Ok(self.client.insert(client))
    }

    fn current_challenge(&mut self, enrolment: &Enrolment) -> Result<Challenge, AgentError> {
        match &self.challenge {
            Some(held) if held.vm_id == enrolment.vm_id && Instant::now() < held.until => {
                Ok(held.challenge.clone())
            }
            _ => self.fresh_challenge(),
        }
    }

    fn follow(&mut self, vm_id: &str, directions: Directions) {
        self.kernel_accepted = directions.accepts.iter().any(|word| word == ACCEPTS_KERNEL);
        let skew_s = (directions.now.unix_ms().saturating_sub(clock::now().unix_ms())) / 1000;
        if skew_s.abs() > CLOCK_SKEW_S {
            tracing::warn!(skew_s, "this machine's clock differs from the service's");
        }
        // A day bounds the sum; an earlier end costs one request.
        let lifetime = Duration::from_secs(u64::from(directions.challenge.expires_in_s.min(86_400)));
        let until = Instant::now() + lifetime;
        self.challenge =
            Some(HeldChallenge { challenge: directions.challenge, until, vm_id: vm_id.to_owned() });
    }

    fn new_ak(&mut self) -> Result<(), AgentError> {
        let ak = Tpm::open(self.connector.as_ref())?.create_ak(self.config.ak_algorithm)?;
        self.state.set_ak(&ak)?;
        self.challenge = None;
        Ok(())
    }

    /// Tells the service why there is no evidence; the error itself goes to the caller.
    fn tell_fault(&mut self, error: &AgentError) {
        match error {
            AgentError::Tpm(e) => self.tell(e.code(), &error.to_string()),
            AgentError::EventLog(e) => self.tell(e.code(), &error.to_string()),
            _ => {}
        }
    }

    /// Reports a fault once for as long as it lasts.
    fn tell(&mut self, code: &str, message: &str) {
        if self.fault_told.as_deref() == Some(code) {
            return;
        }
        match self.report_fault(code, message) {
            Ok(()) => self.fault_told = Some(code.to_owned()),
            Err(error) => tracing::warn!(code = error.code(), %error, "cannot report the fault"),
        }
    }

    fn keep_receipt(&mut self, receipt: &Receipt) -> Result<(), AgentError> {
        if receipt.findings.iter().all(|finding| !finding.code.contains("log")) {
            self.fault_told = None;
        }
        let failing = receipt.findings.iter().filter(|finding| finding.fails());
        let outcome = LastOutcome {
            at: Some(clock::now()),
            verdict: Some(receipt.verdict),
            status: Some(receipt.status),
            reasons: failing.take(MAX_REASONS).map(|finding| printable(&finding.message, 512)).collect(),
            error: None,
            log_sha256: self.state.outcome()?.log_sha256,
        };
        Ok(self.state.set_outcome(&outcome)?)
    }

    fn keep_error(&self, error: &AgentError) -> Result<(), AgentError> {
        let mut outcome = self.state.outcome()?;
        outcome.error = Some(format!("{}: {error}", error.code()));
        Ok(self.state.set_outcome(&outcome)?)
    }
}
