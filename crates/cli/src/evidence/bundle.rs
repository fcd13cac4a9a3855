//! What a bundle holds, decoded; everything that cannot be decoded is exit code 2.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use veriboot_tpm::{AkError, AttestationKey, Certificate, OfflineKey};
use veriboot_wire::EvidenceBundle;

use crate::error::CliError;

/// The largest bundle that is read: a log of the largest size that an agent may send, in base64, and a baseline of the
/// largest size, twice, once of them in base64.
pub(super) const MAX_BUNDLE_BYTES: usize = 48 * 1024 * 1024;
/// The largest file of roots that is read.
pub(super) const MAX_TRUST_BYTES: usize = 4 * 1024 * 1024;
/// The longest challenge: what a TPM2B_DATA can hold.
const MAX_NONCE_BYTES: usize = 66;

/// A bundle whose parts are bytes.
pub(super) struct Material {
    /// The attestation key, or why it is none that can be accepted.
    pub key: Result<OfflineKey, AkError>,
    /// Its certificate.
    pub certificate: Option<Certificate>,
    /// Whether the key came only with its certificate.
    pub key_from_certificate: bool,
    /// The challenge that the bundle claims.
    pub nonce: Option<Vec<u8>>,
    /// Quote, signature, PCR values, event log and TEE evidence as they came.
    pub bundle: EvidenceBundle,
}

impl Material {
    /// Decodes a bundle.
    pub fn read(content: &[u8]) -> Result<Self, CliError> {
        let bundle: EvidenceBundle = serde_json::from_slice(content).map_err(|error| {
            CliError::usage("bundle-unreadable", format!("the bundle is not evidence in JSON: {error}")).hint(
                "A bundle is one JSON object with at least ak_public or ak_certificate, quote and signature.",
            )
        })?;
        for (name, part) in [("quote", &bundle.quote), ("signature", &bundle.signature)] {
            if part.is_empty() {
                return Err(CliError::usage("bundle-incomplete", format!("the bundle has no {name}")).hint(
                    "Add what the TPM answered to the quote: TPMS_ATTEST and TPMT_SIGNATURE, both in base64.",
                ));
            }
        }
        let certificate = bundle.ak_certificate.as_ref().map(|der| {
            Certificate::from_der(der)
                .map_err(|error| CliError::usage(error.code(), format!("ak_certificate: {error}")))
        });
        let certificate = certificate.transpose()?;
        let (key, key_from_certificate) = match (&bundle.ak_public, &certificate) {
            (Some(text), _) => (AttestationKey::from_any(&key_bytes(text)?), false),
            (None, Some(certificate)) => (AttestationKey::from_certificate(certificate), true),
            (None, None) => {
                return Err(CliError::usage("bundle-incomplete", "the bundle names no attestation key")
                    .hint("Add ak_public or ak_certificate."));
            }
        };
        if let Err(error) = &key
            && matches!(error.code(), "ak-malformed" | "ak-certificate-malformed" | "ak-form-unknown")
        {
            return Err(CliError::usage(error.code(), error.to_string()));
        }
        let nonce = bundle.nonce.as_deref().map(read_nonce).transpose()?;
        Ok(Self { key, certificate, key_from_certificate, nonce, bundle })
    }
}

/// PEM stays as it is; everything else is base64.
fn key_bytes(text: &str) -> Result<Vec<u8>, CliError> {
    if text.trim_start().starts_with("-----BEGIN") {
        return Ok(text.as_bytes().to_vec());
    }
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(compact).map_err(|error| {
        CliError::usage("ak-form-unknown", format!("ak_public is neither PEM nor base64: {error}"))
    })
}

/// A challenge in hex.
pub(super) fn read_nonce(text: &str) -> Result<Vec<u8>, CliError> {
    let refuse = |message: String| {
        CliError::usage("nonce-unreadable", message)
            .hint("Give the bytes that were to be signed in hex, two digits each, without 0x and separators.")
    };
    let nonce = hex::decode(text.trim()).map_err(|error| refuse(format!("the nonce is not hex: {error}")))?;
    if nonce.len() > MAX_NONCE_BYTES {
        return Err(refuse(format!("a nonce has at most {MAX_NONCE_BYTES} bytes, not {}", nonce.len())));
    }
    Ok(nonce)
}

/// The content of a file (`-`: standard input) of at most `limit` bytes.
pub(super) fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, CliError> {
    let unreadable = |error: std::io::Error| CliError::unreadable("file-unreadable", path, &error);
    let mut content = Vec::new();
    let room = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(room).read_to_end(&mut content).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(room).read_to_end(&mut content).map_err(unreadable)?;
    }
    if content.len() > limit {
        let message = format!("{} has more than {} MiB", path.display(), limit >> 20);
        return Err(CliError::usage("file-too-large", message)
            .hint("give what `veriboot evidence export` wrote, or the certificates alone"));
    }
    Ok(content)
}
