//! How much evidence is taken: how often from one VM, one at a time from one VM, and how many bytes of it at once.
//!
//! An agent token is in the hands of whoever is root in the guest, so that everything behind it is bounded per VM.
//! What is counted here is lost when the service restarts and is not shared by replicas: it bounds load, and no
//! verdict depends on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::kinds;
use crate::{ApiError, Config};

/// Bodies up to this size do not count against the budget of bytes: `limits.requests` bounds them. What an agent
/// sends when its log is known is smaller, so that a few VMs with large bodies cannot keep the others out.
const SMALL_BODY_BYTES: usize = 64 * 1024;
/// Unit of the budget of bytes.
const KIB: usize = 1024;
/// VMs that are counted at once. More of them than this sending within the time of a full refill are refused.
const MAX_VMS: usize = 1 << 20;
/// VMs that are counted before those at rest are looked for.
const FIRST_SWEEP: usize = 1024;
/// When to come back while other evidence of the VM is being appraised.
const BUSY_RETRY_S: u32 = 1;

/// Admits evidence and fault reports.
#[derive(Debug)]
pub struct Admission {
    burst: f64,
    refill: Duration,
    vms: Arc<Mutex<Vms>>,
    large_kib: Arc<Semaphore>,
}

#[derive(Debug)]
struct Vms {
    by_id: HashMap<String, Pace>,
    /// Entries at which those at rest are dropped.
    sweep_at: usize,
}

/// A token bucket, and whether evidence of the VM is in flight.
#[derive(Debug)]
struct Pace {
    tokens: f64,
    counted_at: Instant,
    in_flight: bool,
}

/// The right to send one piece of evidence; given back when dropped.
#[derive(Debug)]
pub struct Admitted {
    vms: Arc<Mutex<Vms>>,
    vm_id: String,
    _large: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// With the limits of the configuration.
    pub fn new(config: &Config) -> Self {
        let limits = &config.limits;
        // An agent that keeps to the interval is never refused, however short the interval is.
        let refill = Duration::from_secs(u64::from(limits.evidence_refill_s))
            .min(Duration::from_secs(u64::from(config.interval_s)) / 2);
        let kib = usize::try_from(limits.evidence_mib).unwrap_or(usize::MAX).saturating_mul(KIB);
        Self {
            burst: f64::from(limits.evidence_burst),
            refill,
            vms: Arc::new(Mutex::new(Vms { by_id: HashMap::new(), sweep_at: FIRST_SWEEP })),
            large_kib: Arc::new(Semaphore::new(kib.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Admits a body of evidence of at most `body_bytes` of this VM, before it is read.
    ///
    /// # Errors
    /// `too-often`, `evidence-in-flight`, or `overloaded`; each says when to come back.
    pub fn evidence(&self, vm_id: &str, body_bytes: usize, now: Instant) -> Result<Admitted, ApiError> {
        self.count(vm_id, true, now)?;
        let mut admitted = Admitted { vms: Arc::clone(&self.vms), vm_id: vm_id.to_owned(), _large: None };
        if body_bytes > SMALL_BODY_BYTES {
            let kib = u32::try_from(body_bytes.div_ceil(KIB)).unwrap_or(u32::MAX);
            let permit = Arc::clone(&self.large_kib).try_acquire_many_owned(kib).map_err(|_| {
                ApiError::new(&kinds::OVERLOADED, "more evidence is on its way than memory is set aside for")
            })?;
            admitted._large = Some(permit);
        }
        Ok(admitted)
    }

    /// Admits something small that is written to the record of this VM.
    ///
    /// # Errors
    /// `too-often`.
    pub fn report(&self, vm_id: &str, now: Instant) -> Result<(), ApiError> {
        self.count(vm_id, false, now)
    }

    fn count(&self, vm_id: &str, evidence: bool, now: Instant) -> Result<(), ApiError> {
        let mut vms = self.vms.lock().unwrap_or_else(PoisonError::into_inner);
        if vms.by_id.len() >= vms.sweep_at {
            self.sweep(&mut vms, now);
        }
        if vms.by_id.len() >= MAX_VMS && !vms.by_id.contains_key(vm_id) {
            return Err(ApiError::new(&kinds::OVERLOADED, "too many VMs report at the same time"));
        }
        let pace = vms.by_id.entry(vm_id.to_owned()).or_insert(Pace {
            tokens: self.burst,
            counted_at: now,
            in_flight: false,
        });
        pace.tokens = self.refilled(pace, now);
        pace.counted_at = now;
        if evidence && pace.in_flight {
            let message = "other evidence of this VM is being appraised";
            return Err(ApiError::new(&kinds::EVIDENCE_IN_FLIGHT, message).retry_after_s(BUSY_RETRY_S));
        }
        if pace.tokens < 1.0 {
            let wait = self.refill.mul_f64(1.0 - pace.tokens);
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            let message = "this VM reports far more often than it is asked to";
            return Err(ApiError::new(&kinds::TOO_OFTEN, message).retry_after_s(seconds));
        }
        pace.tokens -= 1.0;
        pace.in_flight |= evidence;
        Ok(())
    }

    fn refilled(&self, pace: &Pace, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(pace.counted_at);
        (pace.tokens + passed.as_secs_f64() / self.refill.as_secs_f64()).min(self.burst)
    }

    /// Drops what is as good as new. Work is shared by the insertions since the last time.
    fn sweep(&self, vms: &mut Vms, now: Instant) {
        vms.by_id.retain(|_, pace| pace.in_flight || self.refilled(pace, now) < self.burst);
        vms.sweep_at = vms.by_id.len().saturating_mul(2).max(FIRST_SWEEP);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut vms = self.vms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pace) = vms.by_id.get_mut(&self.vm_id) {
            pace.in_flight = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(burst: u32, refill_s: u32, interval_s: u32) -> Admission {
        let mut config = Config { interval_s, ..Config::default() };
        config.limits.evidence_burst = burst;
        config.limits.evidence_refill_s = refill_s;
        config.limits.evidence_mib = 16;
        Admission::new(&config)
    }

    fn code<T>(result: Result<T, ApiError>) -> &'static str {
        result.map_or_else(|e| e.code(), |_| "admitted")
    }

    #[test]
    fn one_vm_after_its_burst_waits_and_no_other_does() {
        let (admission, start) = (admission(5, 10, 300), Instant::now());
        for _ in 0..5 {
            assert_eq!(code(admission.evidence("a", 100, start)), "admitted");
        }
        assert_eq!(code(admission.evidence("a", 100, start)), "too-often");
        assert_eq!(code(admission.report("a", start)), "too-often");
        assert_eq!(code(admission.evidence("b", 100, start)), "admitted");
        assert_eq!(code(admission.evidence("a", 100, start + Duration::from_secs(9))), "too-often");
        assert_eq!(code(admission.evidence("a", 100, start + Duration::from_secs(10))), "admitted");
        assert_eq!(code(admission.evidence("a", 100, start + Duration::from_secs(10))), "too-often");
        // However long it rests, it has one burst.
        let later = start + Duration::from_secs(86_400);
        assert_eq!((0..9).filter(|_| admission.report("a", later).is_ok()).count(), 5);
    }

    #[test]
    fn an_agent_at_its_interval_is_never_refused() {
        let (admission, start) = (admission(4, 3600, 1), Instant::now());
        // At nine tenths of the interval, as the agent's jitter has it.
        for round in 0..1000_u32 {
            let now = start + Duration::from_millis(900) * round;
            assert_eq!(code(admission.evidence("a", 100, now)), "admitted", "{round}");
            // Now and then the log is asked for.
            if round % 5 == 0 {
                assert_eq!(code(admission.evidence("a", 100, now)), "admitted", "{round}");
            }
        }
    }

    #[test]
    fn one_at_a_time() {
        let (admission, now) = (admission(30, 10, 300), Instant::now());
        let first = admission.evidence("a", 100, now).unwrap();
        assert_eq!(code(admission.evidence("a", 100, now)), "evidence-in-flight");
        assert_eq!(code(admission.report("a", now)), "admitted", "a fault is no evidence");
        let other = admission.evidence("b", 100, now);
        drop(first);
        assert_eq!(code(admission.evidence("a", 100, now)), "admitted");
        assert_eq!(code(other), "admitted");
    }

    #[test]
    fn bytes_in_flight_are_bounded_and_small_bodies_pass() {
        let (admission, now) = (admission(30, 10, 300), Instant::now());
        let large = 8 * 1024 * 1024;
        let held: Vec<_> = ["a", "b"].map(|vm| admission.evidence(vm, large, now).unwrap()).into();
        assert_eq!(code(admission.evidence("c", large, now)), "overloaded");
        assert_eq!(code(admission.evidence("c", SMALL_BODY_BYTES + 1, now)), "overloaded");
        assert_eq!(
            code(admission.evidence("c", SMALL_BODY_BYTES, now)),
            "admitted",
            "and not left in flight"
        );
        drop(held);
        assert_eq!(code(admission.evidence("c", large, now)), "admitted");
    }

    #[test]
    fn vms_at_rest_are_forgotten() {
        let (admission, start) = (admission(5, 10, 300), Instant::now());
        let held = admission.evidence("held", 100, start).unwrap();
        for vm in 0..100_000_u32 {
            let now = start + Duration::from_secs(u64::from(vm / 100));
            assert_eq!(code(admission.report(&vm.to_string(), now)), "admitted");
        }
        assert!(admission.vms.lock().unwrap().by_id.len() <= 2 * FIRST_SWEEP + 2);
        assert_eq!(code(admission.evidence("held", 100, start)), "evidence-in-flight");
        drop(held);
    }
}
