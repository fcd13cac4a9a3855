//! How far the attestation key of a bundle can be believed.
//!
//! A bundle names its own key, so a good signature alone shows only that whoever made the bundle had that key. What
//! ties the key to a TPM is its certificate, when it leads to a root that the operator gave; that the key signs
//! nothing but what a TPM says is in its attributes.

use serde::Serialize;
use veriboot_tpm::chain::{self, Anchors, Expiry, Policy, Purpose};
use veriboot_tpm::{Certificate, KeyAttributes, OfflineKey};
use veriboot_wire::{AlertReason, Finding, Severity};

use super::bundle::Material;

/// The key, for the report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct KeyReport {
    /// TPM name in hex, where the public area came along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `fit`, `unfit` or `unknown`: whether it is a restricted signing key that cannot leave its TPM.
    pub attributes: &'static str,
    /// Whether its certificate leads to a trusted root; absent when that was not asked or there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certified: Option<bool>,
    /// Subjects from the certificate to the root, or the certificate's subject alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificate_path: Vec<String>,
}

/// Looks at the key and its certificate.
pub(super) fn examine(
    material: &Material,
    key: &OfflineKey,
    anchors: Option<&Anchors>,
    at_unix_s: u64,
    findings: &mut Vec<Finding>,
) -> KeyReport {
    let mut report = KeyReport {
        name: Some(hex::encode(key.key.name())).filter(|name| !name.is_empty()),
        attributes: "unknown",
        certified: None,
        certificate_path: Vec::new(),
    };
    match &key.attributes {
        KeyAttributes::Fit => report.attributes = "fit",
        KeyAttributes::Unfit(error) => {
            report.attributes = "unfit";
            let message = format!("The key could have signed a made-up quote: {error}");
            findings.push(failing(error.code(), Severity::Critical, message));
        }
        KeyAttributes::Unknown => {}
    }
    let matches = match &material.certificate {
        Some(_) if material.key_from_certificate => true,
        Some(certificate) => matched(key, certificate, findings),
        None => false,
    };
    match (&material.certificate, anchors) {
        (Some(certificate), Some(anchors)) => {
            report.certificate_path = vec![certificate.subject()];
            let certified = follow(certificate, anchors, at_unix_s, &mut report, findings);
            report.certified = Some(certified && matches);
        }
        (Some(certificate), None) => {
            report.certificate_path = vec![certificate.subject()];
            findings.push(not_certified("The certificate of the key was not checked: no roots were given"));
        }
        (None, Some(_)) => {
            report.certified = Some(false);
            let message = "Roots were given, and the bundle has no certificate that could lead to them";
            let mut finding = failing("ak-certificate-missing", Severity::High, message.to_owned());
            finding.hint = Some("Add ak_certificate to the bundle, or leave out --trust.".to_owned());
            findings.push(finding);
        }
        (None, None) => {
            findings.push(not_certified("The bundle itself names the key: nothing shows whose TPM it is in"));
        }
    }
    if key.attributes == KeyAttributes::Unknown && report.certified != Some(true) {
        let mut finding = Finding::new(
            "ak-attributes-unknown",
            Severity::Medium,
            "The key came without its attributes: it may be a software key that signs anything",
        );
        finding.hint = Some("Give the key as TPM2B_PUBLIC, or its certificate with --trust.".to_owned());
        findings.push(finding);
    }
    report
}

fn matched(key: &OfflineKey, certificate: &Certificate, findings: &mut Vec<Finding>) -> bool {
    let fault = match key.key.matches_certificate(certificate) {
        Ok(true) => return true,
        Ok(false) => "The certificate is of another key than the one in the bundle".to_owned(),
        Err(error) => format!("The certificate is of no attestation key: {error}"),
    };
    let mut finding = failing("ak-certificate-mismatch", Severity::Critical, fault);
    finding.seen = Some(certificate.subject());
    findings.push(finding);
    false
}

/// Follows the certificate to a root. Expiry is reported and does not fail: evidence is looked at years later.
fn follow(
    certificate: &Certificate,
    anchors: &Anchors,
    at_unix_s: u64,
    report: &mut KeyReport,
    findings: &mut Vec<Finding>,
) -> bool {
    let policy = Policy {
        purpose: Purpose::AttestationKey,
        at_unix_s: Some(at_unix_s),
        expiry: Expiry::Warn,
        allow_sha1: false,
    };
    match chain::verify_chain(certificate, &[], anchors, &policy) {
        Ok(path) => {
            report.certificate_path = path.subjects;
            findings.extend(path.warnings.iter().map(|warning| {
                Finding::new("ak-certificate-validity", Severity::Medium, sentence(&warning.to_string()))
            }));
            true
        }
        Err(error) => {
            let message = format!("The key's certificate leads to no trusted root: {error}");
            let mut finding = failing("ak-certificate-untrusted", Severity::High, message);
            finding.seen = Some(format!("{} ({})", certificate.subject(), error.code()));
            finding.hint = Some(
                "Check that --trust has the root of the machine's provider, and its intermediate certificates."
                    .to_owned(),
            );
            findings.push(finding);
            false
        }
    }
}

fn not_certified(message: &str) -> Finding {
    let mut finding = Finding::new("ak-not-certified", Severity::Medium, message);
    finding.hint =
        Some("Compare the key with the one that was enrolled, or give roots with --trust.".to_owned());
    finding
}

/// A finding that makes the evidence untrusted because of its key.
pub(super) fn failing(code: &str, severity: Severity, message: String) -> Finding {
    let mut finding = Finding::new(code, severity, message);
    finding.reason = Some(AlertReason::QuoteUntrusted);
    finding.component = Some("attestation key".to_owned());
    finding
}

/// With a capital at the start.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
