//! From bytes to facts that depend on these bytes alone, each kept by its digest or id.

use std::sync::{Arc, PoisonError};

use veriboot_appraisal::{
    Baseline, CompiledBaseline, Judgement, LogReport, Memo, Profile, boot_key, examine_known, examine_with,
    judge,
};
use veriboot_eventlog::{Digest, HashAlg};
use veriboot_store::{baselines, logs};
use veriboot_tpm::{
    AttestationKey, Expectation, PcrSelection, Quote, QuoteError, peek_selection, verify_quote,
};

use super::evidence::{Evidence, Log, sha256_hex};
use super::work::{self, LONG_LOG_BYTES};
use super::{AttestState, BootKeyKey, JudgementKey, weight};
use crate::problem::kinds;
use crate::{ApiError, AppState};

/// Why evidence that is well-formed could not be appraised. Whose fault it is does not matter for the verdict:
/// what could not be appraised is not healthy.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The enrolled key cannot be read back.
    #[error("the enrolled attestation key cannot be used: {0}")]
    Key(#[from] veriboot_tpm::AkError),
    /// The stored log is not what it was.
    #[error("the stored event log {0} does not have its digest")]
    StoredLog(String),
    /// The stored baseline cannot be read back.
    #[error("the baseline cannot be used: {0}")]
    Baseline(String),
    /// The profile cannot be read back.
    #[error("the profile cannot be used: {0}")]
    Profile(String),
    /// Something panicked.
    #[error("appraisal panicked")]
    Panicked,
}

/// An examined log. What was examined for this evidence is not kept before its quote is believed: anybody who got
/// hold of an agent token could push what others need out of memory.
#[derive(Clone, Debug)]
pub(super) struct Examined {
    pub report: Arc<LogReport>,
    /// Set when it is not in memory for the next evidence.
    fresh: Option<Fresh>,
}

/// What there is to be learned from a log that was not in memory.
#[derive(Clone, Debug)]
struct Fresh {
    content: Arc<Vec<u8>>,
    /// Indices of events that the memo does not have.
    unknown: Arc<Vec<u32>>,
}

impl Examined {
    /// Keeps it for evidence to come.
    pub fn keep(&self, state: &AppState) {
        let Some(fresh) = &self.fresh else { return };
        let weight = weight::report(&self.report);
        state.attest.logs.put(self.report.sha256.clone(), Arc::clone(&self.report), weight);
        // Whoever reads it is not waited for: another log with these events comes.
        let _ = teach(state, &fresh.content, &fresh.unknown);
    }
}

/// Has the memo learn events of a log. `false` when somebody had it.
fn teach(state: &AppState, log: &[u8], unknown: &[u32]) -> bool {
    if unknown.is_empty() {
        return true;
    }
    let Ok(mut memo) = state.attest.memo.try_write() else { return false };
    // What panics here is a fault that costs time and no verdict.
    let _ = guarded(|| memo.learn(log, unknown));
    state.metrics.memo(memo.len(), memo.bytes());
    true
}

/// Has the memo learn from a stored log of an accepted boot, as from one that an agent sends: a long one teaches nothing.
/// `false` when somebody had the memo.
pub(super) fn learn_stored(state: &AppState, sha256: &str, log: &[u8]) -> bool {
    let examined =
        guarded(|| examine_with(log, &state.attest.memo.read().unwrap_or_else(PoisonError::into_inner)));
    match examined {
        Ok(examined) if examined.report.sha256 == sha256 => teach(state, log, &examined.unknown),
        _ => true,
    }
}

/// The log of the evidence, examined. `None` when the evidence has none.
pub(super) async fn examined(
    state: &AppState,
    log: Option<&Log>,
) -> Result<Result<Option<Examined>, Broken>, ApiError> {
    let Some(log) = log else { return Ok(Ok(None)) };
    if let Some(report) = state.attest.logs.get(&log.sha256) {
        return Ok(Ok(Some(Examined { report, fresh: None })));
    }
    let content = match bytes_of(state, log).await? {
        Ok(content) => Arc::new(content),
        Err(broken) => return Ok(Err(broken)),
    };
    let long = content.len() > LONG_LOG_BYTES;
    let (bytes, memo, metrics) =
        (Arc::clone(&content), Arc::clone(&state.attest.memo), state.metrics.clone());
    // It was held against the bytes when they came, or when they were read.
    let sha256 = Digest::from_hex(&log.sha256);
    let examined = move || match long {
        // Nobody waits for a long log to be done with the memo.
        true => (examine_known(&bytes, sha256, &Memo::new(0)).report, Vec::new()),
        false => {
            let memo = memo.read().unwrap_or_else(PoisonError::into_inner);
            let examined = examine_known(&bytes, sha256, &memo);
            metrics.remembered(examined.known, examined.unknown.len());
            (examined.report, examined.unknown)
        }
    };
    let examined = work::run(&state.attest.long_work, long, examined).await;
    Ok(examined.map(|(report, unknown)| {
        let fresh = Some(Fresh { content, unknown: Arc::new(unknown) });
        Some(Examined { report: Arc::new(report), fresh })
    }))
}

/// The bytes of a log: those that came with the evidence, or those that are stored under its digest.
///
/// # Errors
/// `log-needed` when neither are there.
pub(super) async fn bytes_of(state: &AppState, log: &Log) -> Result<Result<Vec<u8>, Broken>, ApiError> {
    if let Some(content) = &log.content {
        return Ok(Ok(content.clone()));
    }
    let sha256 = log.sha256.clone();
    let stored = state.store.read(move |tx| logs::content(tx, &sha256)).await?;
    let Some(content) = stored else {
        return Err(ApiError::new(&kinds::LOG_NEEDED, "the event log with this digest is not known"));
    };
    Ok(match sha256_hex(&content) == log.sha256 {
        true => Ok(content),
        false => Err(Broken::StoredLog(log.sha256.clone())),
    })
}

/// Runs pure code; a panic in it is a fault of this service and never a pass.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Broken> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|_| Broken::Panicked)
}

impl AttestState {
    /// The key of a VM, parsed. The bytes are the cache key, so that the key that was checked is the key used.
    pub(super) fn key(&self, ak_public: &[u8]) -> Result<AttestationKey, Broken> {
        if let Some(key) = self.keys.get(ak_public) {
            return Ok(key);
        }
        let key = AttestationKey::from_tpm2b(ak_public)?;
        self.keys.put(ak_public.to_vec(), key.clone(), 1);
        Ok(key)
    }

    /// Verifies the quote against the enrolled key, the challenge, and one of the selections that were asked for.
    pub(super) fn verify(
        &self,
        ak_public: &[u8],
        evidence: &Evidence,
    ) -> Result<Result<Quote, QuoteError>, Broken> {
        let key = self.key(ak_public)?;
        guarded(|| {
            let asked: Vec<_> = self.asked(&evidence.quote).into_iter().collect();
            let expect = Expectation { nonce: Some(&evidence.nonce), selection: Some(&asked) };
            verify_quote(&key, &evidence.quote, &evidence.signature, &expect)
        })
    }

    /// The PCRs that a quote must cover. Which bank the agent took is its choice among those that were asked for. What is
    /// signed must then be exactly that one; a selection that was not asked for is compared with the preferred one and
    /// fails.
    pub(super) fn asked(&self, quote: &[u8]) -> Option<PcrSelection> {
        let claimed = peek_selection(quote).unwrap_or_default();
        let found = self.selections.iter().find(|asked| claimed.as_slice() == [**asked]);
        found.or(self.selections.first()).copied()
    }

    /// Judges a log for the bank of a quote.
    pub(super) fn judge(
        &self,
        report: &LogReport,
        bank: HashAlg,
        baseline: Option<(&str, &CompiledBaseline)>,
        (profile_key, profile): (&str, &Profile),
    ) -> Result<Arc<Judgement>, Broken> {
        let key = JudgementKey {
            log_sha256: report.sha256.clone(),
            bank: bank.tpm_id(),
            baseline_id: baseline.map(|(id, _)| id.to_owned()),
            profile: profile_key.to_owned(),
        };
        if let Some(judgement) = self.judgements.get(&key) {
            return Ok(judgement);
        }
        let judgement = Arc::new(guarded(|| judge(report, bank, baseline.map(|(_, b)| b), profile))?);
        self.judgements.put(key, Arc::clone(&judgement), weight::judgement(&judgement));
        Ok(judgement)
    }

    /// What a log boots, as far as the profile enforces it: SHA-256 in hex.
    pub(super) fn boot_key(
        &self,
        report: &LogReport,
        bank: HashAlg,
        (profile_key, profile): (&str, &Profile),
    ) -> Result<Option<String>, Broken> {
        let key = BootKeyKey {
            log_sha256: report.sha256.clone(),
            bank: bank.tpm_id(),
            profile: profile_key.to_owned(),
        };
        if let Some(known) = self.boot_keys.get(&key) {
            return Ok(known);
        }
        let made = guarded(|| boot_key(report, bank, profile))?.map(|digest| digest.to_string());
        self.boot_keys.put(key, made.clone(), 1);
        Ok(made)
    }

    /// A stored baseline, verified and compiled. Versions are immutable, so its id names its content.
    pub(super) fn baseline(&self, row: &baselines::BaselineRow) -> Result<Arc<CompiledBaseline>, Broken> {
        self.baseline_signer.verify_baseline(row).map_err(|e| Broken::Baseline(e.to_string()))?;
        let baseline =
            Baseline::from_json(row.document.as_bytes()).map_err(|e| Broken::Baseline(e.to_string()))?;
        let baseline = Arc::new(baseline.compile());
        self.baselines.put(row.summary.id.clone(), Arc::clone(&baseline), weight::baseline(&baseline));
        Ok(baseline)
    }
}

/// The bank that a believed quote covers.
pub(super) fn bank_of(quote: &Quote) -> Option<HashAlg> {
    quote.selections.first().and_then(|selection| HashAlg::from_tpm_id(selection.alg))
}
