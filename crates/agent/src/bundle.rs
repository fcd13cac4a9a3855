//! Evidence for `veriboot evidence verify`: everything in one file, with no service involved.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use veriboot_wire::EvidenceBundle;

use crate::config::AkAlgorithm;
use crate::error::AgentError;
use crate::event_log;
use crate::state::StateDir;
use crate::tpm::{AkBlob, NONCE_BYTES, QUOTABLE_PCRS, Tpm, TpmError};
use crate::transport::Connector;

/// Banks in order of preference.
const BANKS: [&str; 4] = ["sha256", "sha384", "sha512", "sm3_256"];

/// Quotes PCRs 0 to 15 over `nonce` (random when absent), and adds all PCR values of all active banks and the log.
///
/// With a state folder the stored AK quotes; without one, or without a key in it, a key made for this purpose.
///
/// # Errors
/// Any [`AgentError`]; a missing log is left out and logged.
pub fn evidence_bundle(
    connector: &dyn Connector,
    state: Option<&StateDir>,
    ak_algorithm: AkAlgorithm,
    log: &Path,
    nonce: Option<[u8; NONCE_BYTES]>,
) -> Result<EvidenceBundle, AgentError> {
    let nonce = match nonce {
        Some(nonce) => nonce,
        None => {
            let mut random = [0; NONCE_BYTES];
            getrandom::fill(&mut random)
                .map_err(|e| TpmError::Io { source: std::io::Error::other(e.to_string()) })?;
            random
        }
    };
    let stored = match state {
        Some(state) => state.ak()?,
        None => None,
    };
    let mut tpm = Tpm::open(connector)?;
    let ak: AkBlob = match stored {
        Some(ak) => ak,
        None => tpm.create_ak(ak_algorithm)?,
    };
    let wanted: Vec<u8> = QUOTABLE_PCRS.collect();
    let active = tpm.active_banks()?;
    let bank = BANKS
        .iter()
        .find_map(|name| active.iter().find(|bank| bank.name() == *name && bank.covers(&wanted)))
        .ok_or_else(|| TpmError::BankInactive {
            asked: BANKS.join(", "),
            active: active.iter().map(|bank| bank.name()).collect::<Vec<_>>().join(", "),
        })?;
    let quote = tpm.quote(&ak, &nonce, bank.alg, &wanted)?;
    let mut pcrs = std::collections::BTreeMap::new();
    for bank in &active {
        pcrs.insert(bank.name(), tpm.pcr_values(bank.alg, &bank.pcrs())?);
    }
    let event_log = match event_log::read(log) {
        Ok(content) => Some(content.into()),
        Err(error) => {
            tracing::warn!(code = error.code(), %error, "the bundle has no event log");
            None
        }
    };
    Ok(EvidenceBundle {
        ak_public: Some(STANDARD.encode(&ak.public)),
        quote: quote.attest.into(),
        signature: quote.signature.into(),
        nonce: Some(hex::encode(nonce)),
        pcrs,
        event_log,
        ..EvidenceBundle::default()
    })
}
