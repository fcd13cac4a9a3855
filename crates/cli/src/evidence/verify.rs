//! The verdict on a bundle: the same checks and the same conclusion as in the service, over bytes that are all there.

use serde::Serialize;
use veriboot_appraisal::{Conclude, Judgement, LogReport, PcrValues, conclude, examine, judge};
use veriboot_eventlog::HashAlg;
use veriboot_tpm::{Expectation, Quote, QuoteError, alg, verify_quote};
use veriboot_wire::{AlertReason, FactState, Facts, Finding, JudgedWith, Severity, Time, Verdict};

use super::bundle::Material;
use super::judges::Judges;
use super::key::{self, KeyReport, failing, sentence};
use veriboot_tpm::chain::Anchors;

/// What the operator asks of the evidence.
pub(super) struct Demands<'a> {
    /// The challenge that the operator knows.
    pub nonce: Option<&'a [u8]>,
    /// Roots for the key's certificate.
    pub anchors: Option<&'a Anchors>,
    /// What to judge by.
    pub judges: &'a Judges,
    /// Leave the event log out.
    pub quote_only: bool,
    /// Now, in seconds since 1970; only for the validity of certificates.
    pub at_unix_s: u64,
}

/// What `--json` prints. A contract (SPEC section 10).
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// Whether the evidence is trusted: exit code 0.
    pub trusted: bool,
    /// The same as a verdict.
    pub verdict: Verdict,
    /// The separate facts.
    pub facts: Facts,
    /// Everything that was noticed, most severe first.
    pub findings: Vec<Finding>,
    /// The attestation key; absent when it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyReport>,
    /// What the quote says; absent when it is not believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<QuoteReport>,
    /// The event log; absent when there is none or it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogSummary>,
    /// What a service once said of this evidence; absent when the bundle does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<StoredVerdict>,
}

/// The verdict that a service stored, and whether this one is the same.
#[derive(Clone, Debug, Serialize)]
pub(super) struct StoredVerdict {
    /// Id of the attestation.
    pub attestation: String,
    /// When the service judged.
    pub at: Time,
    /// Its verdict.
    pub verdict: Verdict,
    /// Codes of the findings that failed it.
    pub failing: Vec<String>,
    /// Whether verdict and codes are those of this verification.
    pub same: bool,
}

/// A believed quote.
#[derive(Clone, Debug, Serialize)]
pub(super) struct QuoteReport {
    /// qualifyingData, hex.
    pub nonce: String,
    /// `sha256:0,1,7`.
    pub selection: String,
    /// Digest over the selected PCRs, hex.
    pub pcr_digest: String,
    /// Hash of the signature and of `pcr_digest`.
    pub digest_alg: &'static str,
    /// TPM clock in milliseconds.
    pub clock_ms: u64,
    /// resetCount as signed.
    pub reset_count: u32,
    /// restartCount as signed.
    pub restart_count: u32,
    /// Whether the clock is safe.
    pub safe: bool,
    /// Firmware version of the TPM as signed, hex.
    pub firmware_version: String,
}

/// An event log.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LogSummary {
    /// SHA-256 of the whole log, hex.
    pub sha256: String,
    /// Its size.
    pub bytes: usize,
    /// Its layout, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<&'static str>,
    /// What it says about Secure Boot.
    pub secure_boot: Option<bool>,
}

/// Verifies.
pub(super) fn verify(material: &Material, demands: &Demands<'_>) -> Report {
    let mut findings = Vec::new();
    let key = match &material.key {
        Ok(key) => key,
        Err(error) => {
            let message = sentence(&format!("{error}"));
            return refused(failing(error.code(), Severity::Critical, message));
        }
    };
    let key_report = key::examine(material, key, demands.anchors, demands.at_unix_s, &mut findings);
    let quote = quote(material, demands, &mut findings);
    let bundle = &material.bundle;
    let log = bundle.event_log.as_deref().filter(|_| !demands.quote_only).map(examine);
    let judges = demands.judges;
    let judgement = match (&quote, &log) {
        (Ok(quote), Some(log)) => {
            bank_to_judge(quote, log).map(|bank| judge(log, bank, judges.baseline.as_ref(), &judges.profile))
        }
        _ => None,
    };
    let concluded = |judgement: Option<&Judgement>| {
        let outcome = conclude(Conclude {
            quote: quote.as_ref(),
            pcr_values: Some(&bundle.pcrs),
            report: log.as_ref(),
            log_absent_because: bundle.log_absent_because.as_deref(),
            judgement,
            profile: &judges.profile,
            previous: judges.previous.as_ref(),
        });
        let outcome = match &judges.endorsement_invalid {
            Some(why) => outcome.endorsed(FactState::Invalid, Some(why.as_str())),
            None => outcome,
        };
        match demands.quote_only {
            true => outcome,
            false => {
                let bank = judgement.map(|judgement| judgement.bank);
                judges.conditions(outcome, bundle.event_log.as_deref().zip(log.as_ref()), bank)
            }
        }
    };
    let mut outcome = concluded(judgement.as_ref());
    if let (Verdict::Healthy, Some(judgement), Some(rejection)) =
        (outcome.verdict, &judgement, &judges.rejection)
        && judgement.proposed.is_some()
    {
        outcome = concluded(Some(&judgement.rejected(rejection)));
    }
    if let Ok(quote) = &quote {
        values(quote, &bundle.pcrs, demands, &mut findings);
        banks(quote, &mut findings);
    }
    if demands.quote_only {
        left_out(&mut outcome.findings);
    } else if judges.log_not_kept && bundle.event_log.is_none() {
        not_kept(&mut outcome.findings);
    }
    findings.extend(judges.findings.iter().cloned());
    if bundle.tee.is_some() {
        findings.push(Finding::new(
            "tee-not-verified",
            Severity::Medium,
            "The bundle has evidence of a hardware TEE, which was not verified",
        ));
    }
    findings.append(&mut outcome.findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let trusted = !findings.iter().any(Finding::fails);
    let verdict = if trusted { Verdict::Healthy } else { Verdict::Unhealthy };
    let stored = bundle.judged_with.as_ref().map(|with| stored(with, verdict, &findings));
    Report {
        trusted,
        verdict,
        facts: Facts {
            endorsement: match key_report.certified {
                _ if outcome.facts.endorsement == FactState::Invalid => FactState::Invalid,
                Some(true) => FactState::Valid,
                Some(false) => FactState::Invalid,
                None => outcome.facts.endorsement,
            },
            tee: if bundle.tee.is_some() { FactState::Unknown } else { FactState::NotApplicable },
            ..outcome.facts
        },
        findings,
        key: Some(key_report),
        quote: quote.ok().map(|quote| said(&quote)),
        log: log.map(|log| LogSummary {
            sha256: log.sha256.clone(),
            bytes: log.bytes,
            format: log.format.map(|format| format.as_str()),
            secure_boot: log.secure_boot,
        }),
        stored,
    }
}

fn stored(with: &JudgedWith, verdict: Verdict, findings: &[Finding]) -> StoredVerdict {
    let mut failing: Vec<&str> = findings.iter().filter(|f| f.fails()).map(|f| f.code.as_str()).collect();
    failing.sort_unstable();
    failing.dedup();
    StoredVerdict {
        attestation: with.attestation.clone(),
        at: with.at,
        verdict: with.verdict,
        failing: with.failing.clone(),
        same: verdict == with.verdict && with.failing.iter().map(String::as_str).eq(failing),
    }
}

fn refused(finding: Finding) -> Report {
    Report {
        trusted: false,
        verdict: Verdict::Unhealthy,
        facts: Facts { quote: FactState::Invalid, ..Facts::UNKNOWN },
        findings: vec![finding],
        key: None,
        quote: None,
        log: None,
        stored: None,
    }
}

/// Verifies the quote against the key, the challenge of the operator and the one that the bundle claims.
fn quote(
    material: &Material,
    demands: &Demands<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Quote, QuoteError> {
    let Ok(key) = &material.key else { return Err(QuoteError::SignatureInvalid) };
    let bundle = &material.bundle;
    let asked = demands.judges.asked.map(|asked| [asked]);
    let nonce = demands.nonce.or(material.nonce.as_deref());
    let expect = Expectation { nonce, selection: asked.as_ref().map(<[_; 1]>::as_slice) };
    let quote = verify_quote(&key.key, &bundle.quote, &bundle.signature, &expect)?;
    if material.nonce.as_ref().is_some_and(|claimed| *claimed != quote.nonce) {
        return Err(QuoteError::NonceMismatch);
    }
    if demands.nonce.is_none() {
        let mut finding = Finding::new(
            "nonce-not-checked",
            Severity::Low,
            match quote.nonce.as_slice() {
                [] => "The quote answers no challenge: nothing shows when it was made",
                _ => "The challenge is the bundle's own: nothing shows that the quote is fresh",
            },
        );
        finding.seen = Some(hex::encode(&quote.nonce));
        finding.hint = Some("Give the challenge that you asked with: --nonce HEX.".to_owned());
        findings.push(finding);
    }
    Ok(quote)
}

/// The strongest quoted bank that the log extends, or the first that is quoted.
fn bank_to_judge(quote: &Quote, log: &LogReport) -> Option<HashAlg> {
    let quoted = || quote.selections.iter().filter_map(|s| HashAlg::from_tpm_id(s.alg));
    let preference = [HashAlg::Sha384, HashAlg::Sha512, HashAlg::Sha256, HashAlg::Sm3_256, HashAlg::Sha1];
    preference
        .into_iter()
        .find(|bank| log.bank(*bank).is_some() && quoted().any(|b| b == *bank))
        .or_else(|| quoted().next())
}

/// PCR values that the bundle shows: those of the signed selection must be the signed ones; others are hearsay.
fn values(quote: &Quote, shown: &PcrValues, demands: &Demands<'_>, findings: &mut Vec<Finding>) {
    if shown.values().all(|bank| bank.is_empty()) {
        return;
    }
    let decoded = |bank: u16, pcr: u8| {
        let values = shown.get(alg::bank_name(bank)?)?;
        hex::decode(values.get(&u32::from(pcr))?).ok()
    };
    let selected = || quote.selections.iter().flat_map(|s| s.pcrs.iter().map(|pcr| (s.alg, pcr)));
    let all_there = selected().all(|(bank, pcr)| decoded(bank, pcr).is_some());
    if quote.pcr_digest_matches(decoded) {
        let is_selected = |bank: &str, pcr: u32| {
            selected().any(|(b, p)| alg::bank_name(b) == Some(bank) && u32::from(p) == pcr)
        };
        let extra = shown.iter().flat_map(|(bank, values)| values.keys().map(move |pcr| (bank, *pcr)));
        let extra = extra.filter(|(bank, pcr)| !is_selected(bank, *pcr)).count();
        if extra > 0 {
            findings.push(Finding::new(
                "pcr-values-unsigned",
                Severity::Low,
                format!(
                    "The bundle shows {extra} PCR values that the quote does not cover; they prove nothing"
                ),
            ));
        }
        return;
    }
    let mut finding = if all_there {
        let message = "The PCR values in the bundle are not those that the TPM signed";
        Finding::new("pcr-values-mismatch", Severity::Critical, message)
    } else {
        let severity = if demands.quote_only { Severity::High } else { Severity::Medium };
        let message =
            "The bundle does not show all PCRs that the quote covers, so none of its values is proven";
        Finding::new("pcr-values-incomplete", severity, message)
    };
    // What an agent says beside its quote is not believed anyway: the quote stands without it.
    if demands.judges.values_are_advisory && !demands.quote_only {
        finding.severity = Severity::Medium;
    }
    if finding.fails() {
        finding.reason = Some(AlertReason::QuoteUntrusted);
    }
    finding.component = Some("PCR values".to_owned());
    finding.expected = Some(quote.selection_text());
    findings.push(finding);
}

fn banks(quote: &Quote, findings: &mut Vec<Finding>) {
    if quote.selections.iter().all(|s| s.alg == alg::SHA1 || s.pcrs.is_empty()) {
        findings.push(Finding::new(
            "quote-sha1-bank",
            Severity::Medium,
            "Only the SHA-1 bank is quoted: collisions of SHA-1 can be made, so its PCRs are weak evidence",
        ));
    }
    if quote.covers_resettable() {
        findings.push(Finding::new(
            "quote-resettable-pcrs",
            Severity::Info,
            "The quote covers PCRs above 15, which software can reset: their values prove nothing",
        ));
    }
}

/// Without a log nothing but the quote was asked: what conclude says about the missing log does not fail.
fn left_out(findings: &mut [Finding]) {
    for finding in findings.iter_mut().filter(|f| f.code == "log-missing") {
        "No event log was looked at: the quote alone was judged".clone_into(&mut finding.message);
        finding.severity = Severity::Medium;
        finding.reason = None;
        finding.hint = None;
    }
}

/// The log was there when the service judged and is not kept: that does not make the evidence worse, when it fails by
/// something else. Without a failure the missing log stays one, whatever the bundle says.
fn not_kept(findings: &mut [Finding]) {
    let fails_by_else = findings.iter().any(|f| f.fails() && f.code != "log-missing");
    for finding in findings.iter_mut().filter(|f| f.code == "log-missing") {
        "The service no longer had the event log: what it showed is not judged here"
            .clone_into(&mut finding.message);
        finding.hint = None;
        if fails_by_else {
            finding.severity = Severity::Medium;
            finding.reason = None;
        }
    }
}

fn said(quote: &Quote) -> QuoteReport {
    QuoteReport {
        nonce: hex::encode(&quote.nonce),
        selection: quote.selection_text(),
        pcr_digest: hex::encode(&quote.pcr_digest),
        digest_alg: alg::bank_name(quote.digest_alg).unwrap_or_default(),
        clock_ms: quote.clock_ms,
        reset_count: quote.reset_count,
        restart_count: quote.restart_count,
        safe: quote.safe,
        firmware_version: format!("0x{:016x}", quote.firmware_version),
    }
}
