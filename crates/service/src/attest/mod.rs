//! Appraisal of evidence that arrives over the wire.
//!
//! Data flows one way: [`evidence`] checks shapes and sizes, [`examine`] turns bytes into facts that depend on
//! nothing but those bytes, [`appraise`] concludes from them and what the database says, [`record`] writes the
//! outcome in one transaction. docs/attestation.md is the order of the checks.

mod admission;
mod appraise;
mod bounds;
mod bundle;
pub mod cache;
mod conditions;
mod difference;
mod evidence;
mod examine;
mod judges;
mod kernel;
mod learn;
mod preview;
mod profiles;
mod proven;
mod reappraise;
mod record;
mod remember;
pub mod text;
mod weight;
mod work;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, Semaphore};
use veriboot_appraisal::{CompiledBaseline, Judgement, LogReport, Memo, Profile};
use veriboot_store::{Store, settings};
use veriboot_tpm::{AttestationKey, PcrSelection, alg};
use veriboot_wire::{ACCEPTS_KERNEL, Blob, Challenge, Directions, Finding, Time};

use crate::baseline_signing::BaselineSigner;
use crate::challenge::{CHALLENGE_KEY_BYTES, Challenges, Life};
use crate::endorsement::EndorsementTrust;
use crate::metrics::Stages;
use crate::result_token::{self, Appraised, Issuer, Signer, TokenError};
use crate::{ApiError, AppState, Clock, Config, StartError};

pub(crate) use conditions::{dry_run_boot, long_work, seen_by_conditions};

pub use admission::{Admission, Admitted};
pub use appraise::appraise;
pub(crate) use bundle::bundle;
pub(crate) use difference::difference;
pub(crate) use judges::{Judging, content_of, judging};
pub(crate) use learn::scope_of;
pub(crate) use preview::{Against, preview};
pub(crate) use profiles::named as named_profile;
pub(crate) use proven::{NotProven, ProveBy, Proven, StoredEvidence, prove_again};
pub(crate) use reappraise::MAX_TOGETHER;
pub use reappraise::{Again, ReappraiseError, judge_again, reappraise};
pub(crate) use remember::run as remember;

use cache::Cache;
use conditions::Conditions;

/// Name of the setting that holds the key of the challenges.
const CHALLENGE_KEY: &str = "challenge-key";
/// Banks that a quote may cover, in order of preference. SHA-1 is not among them.
const BANKS: [u16; 2] = [alg::SHA256, alg::SHA384];
/// The PCRs that software cannot reset (PC Client Platform TPM Profile, table 5).
const PCRS: std::ops::Range<u32> = 0..16;
/// Bytes of memory for examinations of event logs ([`weight`]).
const LOG_CACHE_BYTES: usize = 96 * 1024 * 1024;
/// Bytes of memory for events that many logs have in common: some hundred kinds of machines.
const MEMO_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of memory for judgements.
const JUDGEMENT_CACHE_BYTES: usize = 48 * 1024 * 1024;
/// Bytes of memory for baselines.
const BASELINE_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Profiles that are kept in parsed form.
const PROFILE_CACHE_ENTRIES: usize = 256;
/// Keys of boots that are kept.
const BOOT_KEY_CACHE_ENTRIES: usize = 65_536;
/// Bytes of memory for differences of logs.
const DIFFERENCE_CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Attestation keys that are kept in parsed form.
const KEY_CACHE_ENTRIES: usize = 65_536;

async fn endorsement_trust(config: &Config, clock: &Clock) -> Result<EndorsementTrust, StartError> {
    let (config, now) = (config.endorsement.clone(), clock.now());
    tokio::task::spawn_blocking(move || EndorsementTrust::read(&config, now))
        .await
        .map_err(|e| StartError::Internal(format!("reading the roots of endorsements failed: {e}")))?
}

/// What a judgement depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct JudgementKey {
    log_sha256: String,
    bank: u16,
    baseline_id: Option<String>,
    profile: String,
}

/// What the key of a boot depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct BootKeyKey {
    log_sha256: String,
    bank: u16,
    profile: String,
}

/// Digests of two logs that were compared.
type LogPair = (String, String);

/// What appraisal keeps in memory: keys and caches. Nothing here is ever trusted more than the database: entries
/// are found by digest or by the id of something immutable.
#[derive(Debug)]
pub struct AttestState {
    challenges: Challenges,
    signer: Signer,
    issuer: Issuer,
    baseline_signer: BaselineSigner,
    /// Groups without an assigned profile that may run without Secure Boot.
    measured_only_groups: BTreeSet<String>,
    /// Healthy boots that a first baseline is learned from.
    learn_boots: u32,
    selections: Vec<PcrSelection>,
    logs: Cache<String, Arc<LogReport>>,
    /// Events of logs whose quotes were believed. Read for as long as a short log is examined.
    memo: Arc<RwLock<Memo>>,
    judgements: Cache<JudgementKey, Arc<Judgement>>,
    boot_keys: Cache<BootKeyKey, Option<String>>,
    differences: Cache<LogPair, Arc<Vec<Finding>>>,
    baselines: Cache<String, Arc<CompiledBaseline>>,
    profiles: Cache<String, Arc<Profile>>,
    keys: Cache<Vec<u8>, AttestationKey>,
    /// Policy conditions of profiles.
    conditions: Conditions,
    admission: Admission,
    /// What shows that TPMs are genuine.
    pub(crate) endorsement: Arc<EndorsementTrust>,
    /// Where the time goes.
    stages: Stages,
    /// Slots for long work, fewer than there are cores.
    long_work: Arc<Semaphore>,
    /// Held while VMs that were judged again are written.
    judging_again: Mutex<()>,
    /// VMs that are written in one transaction then, as far as that went well lately.
    judged_together: AtomicUsize,
}

impl AttestState {
    /// Loads the keys, making them on the first start. `issuer` is the public URL of the service.
    ///
    /// # Errors
    /// [`StartError`] when the database does not answer.
    pub async fn open(
        store: &Store,
        config: &Config,
        clock: &Clock,
        issuer: &str,
    ) -> Result<Self, StartError> {
        let mut fresh = [0_u8; CHALLENGE_KEY_BYTES];
        getrandom::fill(&mut fresh).map_err(|e| StartError::Internal(format!("no randomness: {e}")))?;
        // Replicas that start at once agree on one key.
        let key = store.write(move |tx| settings::value_or_insert(tx, CHALLENGE_KEY, &fresh)).await?;
        let key: [u8; CHALLENGE_KEY_BYTES] = key.try_into().map_err(|_| {
            StartError::Internal("the challenge key in the database has the wrong size".into())
        })?;
        let lifetime_s =
            config.tokens.lifetime_s.unwrap_or_else(|| result_token::default_lifetime_s(config.interval_s));
        Ok(Self {
            challenges: Challenges::new(&key),
            signer: Signer::open(store, clock).await?,
            issuer: Issuer {
                url: issuer.to_owned(),
                audience: config.tokens.audience.clone(),
                lifetime_s: lifetime_s.min(result_token::MAX_LIFETIME_S),
            },
            baseline_signer: BaselineSigner::open(store, clock, &config.baseline_trusted_keys).await?,
            learn_boots: config.learn_boots,
            measured_only_groups: config.measured_only_groups.iter().cloned().collect(),
            selections: BANKS.iter().filter_map(|bank| PcrSelection::new(*bank, PCRS)).collect(),
            logs: Cache::new(LOG_CACHE_BYTES),
            memo: Arc::new(RwLock::new(Memo::new(MEMO_BYTES))),
            judgements: Cache::new(JUDGEMENT_CACHE_BYTES),
            boot_keys: Cache::new(BOOT_KEY_CACHE_ENTRIES),
            differences: Cache::new(DIFFERENCE_CACHE_BYTES),
            baselines: Cache::new(BASELINE_CACHE_BYTES),
            profiles: Cache::new(PROFILE_CACHE_ENTRIES),
            keys: Cache::new(KEY_CACHE_ENTRIES),
            conditions: Conditions::default(),
            admission: Admission::new(config),
            endorsement: Arc::new(endorsement_trust(config, clock).await?),
            stages: Stages::default(),
            long_work: Arc::new(Semaphore::new(work::slots())),
            judging_again: Mutex::new(()),
            judged_together: AtomicUsize::new(MAX_TOGETHER),
        })
    }

    /// Measures its stages into these.
    #[must_use]
    pub fn measured(self, stages: Stages) -> Self {
        Self { stages, ..self }
    }

    /// Forgets everything that can be read again from the database.
    pub fn forget(&self) {
        self.logs.clear();
        *self.memo.write().unwrap_or_else(PoisonError::into_inner) = Memo::new(MEMO_BYTES);
        self.judgements.clear();
        self.boot_keys.clear();
        self.differences.clear();
        self.baselines.clear();
        self.profiles.clear();
        self.keys.clear();
        self.conditions.forget();
    }

    /// Bytes that events of earlier logs take.
    fn memo_bytes(&self) -> usize {
        self.memo.read().unwrap_or_else(PoisonError::into_inner).bytes()
    }

    /// How much evidence is taken.
    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// What signs stored versions of baselines and profiles.
    pub fn baseline_signer(&self) -> &BaselineSigner {
        &self.baseline_signer
    }

    /// Who issues results, for whom and for how long.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// Keys that sign results.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The signed result of an appraisal; `None` for one that is not healthy.
    ///
    /// # Errors
    /// [`TokenError`] when signing fails.
    pub fn token(&self, appraised: &Appraised<'_>) -> Result<Option<String>, TokenError> {
        result_token::claims(&self.issuer, appraised).map(|claims| self.signer.sign(&claims)).transpose()
    }
}

/// What the agent of a VM does now that it asked. `challenge_used_us` is the last challenge that the VM used.
pub(crate) fn directions(
    state: &AppState,
    vm_id: &str,
    challenge_used_us: i64,
    interval_s: u32,
    now: Time,
) -> Result<Directions, ApiError> {
    directed(state, vm_id, challenge_used_us, Life::Asked, interval_s, now)
}

/// What the agent of a VM does next time, after evidence for the challenge `challenge_used_us` was taken.
fn next_directions(
    state: &AppState,
    vm_id: &str,
    challenge_used_us: i64,
    interval_s: u32,
    now: Time,
) -> Result<Directions, ApiError> {
    directed(state, vm_id, challenge_used_us, Life::Riding, interval_s, now)
}

fn directed(
    state: &AppState,
    vm_id: &str,
    challenge_used_us: i64,
    life: Life,
    interval_s: u32,
    now: Time,
) -> Result<Directions, ApiError> {
    let nonce = state
        .attest
        .challenges
        .issue(vm_id, challenge_used_us, now, life)
        .map_err(|e| ApiError::internal(e.to_string()))?;
    Ok(Directions {
        challenge: Challenge {
            nonce: Blob(nonce.to_vec()),
            expires_in_s: life.lifetime_s(interval_s),
            banks: BANKS.iter().filter_map(|bank| alg::bank_name(*bank)).map(str::to_owned).collect(),
            pcrs: PCRS.collect(),
        },
        interval_s,
        now,
        accepts: vec![ACCEPTS_KERNEL.to_owned()],
    })
}
