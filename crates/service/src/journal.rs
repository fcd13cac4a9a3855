//! What happened to VMs, in the log: one line each, with the fields `vm`, `name` and `group` to search by. The id of
//! the request is in the span around it. No line has a secret.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use veriboot_store::proposals::Followed;
use veriboot_store::vms::VmRow;
use veriboot_wire::VmStatus;

use crate::alerts::AlertChanges;

/// Refusals that are written in one window, of strangers and of enrolled agents each.
const REFUSALS: u32 = 20;
/// How long a window is.
const WINDOW: Duration = Duration::from_secs(60);
/// Longest text of a refusal.
const MAX_CHARS: usize = 200;

/// An attestation that changed something that people look at.
pub(crate) struct Attested<'a> {
    /// The VM's record before.
    pub before: &'a VmRow,
    /// Its status now.
    pub status: VmStatus,
    /// Code of the finding that explains it best.
    pub code: Option<&'a str>,
    /// The baseline that was learned from it.
    pub learned: Option<&'a str>,
    /// What it did to alerts.
    pub alerts: &'a AlertChanges,
}

/// First verdict, changes of the status, baselines, alerts.
pub(crate) fn attested(attested: &Attested<'_>) {
    let Attested { before: VmRow { id: vm, name, group, .. }, status, code, .. } = attested;
    if attested.before.last_attestation_id.is_none() {
        tracing::info!(vm, name, group, %status, code, "first verdict");
    } else if attested.before.status != *status {
        tracing::info!(vm, name, group, %status, before = %attested.before.status, code, "status changed");
    }
    if let Some(baseline) = attested.learned {
        tracing::info!(vm, name, group, baseline, "baseline learned");
    }
    for (reason, alert) in &attested.alerts.opened {
        tracing::info!(vm, name, group, %reason, alert, code, "alert raised");
    }
    for (reason, alert) in &attested.alerts.suppressed {
        tracing::info!(vm, name, group, %reason, alert, code, "alert dismissed by a suppression rule");
    }
    for alert in &attested.alerts.resolved {
        tracing::info!(vm, name, group, alert, "alert resolved");
    }
}

/// Proposals that came or went with an attestation.
pub(crate) fn followed(vm: &VmRow, followed: &Followed) {
    let VmRow { id: vm, name, group, .. } = vm;
    if let (true, Some(proposal)) = (followed.opened, &followed.member_of) {
        tracing::info!(vm, name, group, proposal, "proposal opened");
    }
    if let Some(proposal) = &followed.withdrawn {
        tracing::info!(vm, name, group, proposal, "proposal withdrawn: no VM shows it any more");
    }
}

/// Refusals of the agent protocol. Whoever causes them decides how many there are, not how long the log becomes: what
/// is beyond a bound is counted and told with the next one that is written.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    strangers: Window,
    agents: Window,
}

/// One answer that refuses.
pub(crate) struct Refused<'a> {
    pub request_id: &'a str,
    pub route: &'a str,
    pub code: &'a str,
    pub message: &'a str,
}

impl Refusals {
    /// Writes a refusal, or counts it. Enrolment and wrong credentials are open to strangers, who have a bound of their
    /// own so that they hide nothing about enrolled VMs.
    pub(crate) fn note(&self, refused: &Refused<'_>, now: Instant) {
        let Refused { request_id, route, code, message } = refused;
        let stranger = *code == "unauthenticated" || route.contains("/enroll");
        let window = if stranger { &self.strangers } else { &self.agents };
        let Some(unwritten) = window.admit(now) else { return };
        // Debug form: what a caller may have put in stays on one line.
        let why: String = message.chars().take(MAX_CHARS).collect();
        tracing::warn!(request_id, route, code, ?why, unwritten, "an agent was refused");
    }
}

#[derive(Debug, Default)]
struct Window(Mutex<Option<Counted>>);

#[derive(Debug)]
struct Counted {
    since: Instant,
    written: u32,
    unwritten: u64,
}

impl Window {
    /// How many were not written before this one; `None` when this one is not written either.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = window.get_or_insert(Counted { since: now, written: 0, unwritten: 0 });
        if now.saturating_duration_since(counted.since) >= WINDOW {
            counted.since = now;
            counted.written = 0;
        }
        if counted.written >= REFUSALS {
            counted.unwritten = counted.unwritten.saturating_add(1);
            return None;
        }
        counted.written += 1;
        Some(std::mem::take(&mut counted.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_later() {
        let (window, start) = (Window::default(), Instant::now());
        let written = (0..1000).filter(|_| window.admit(start).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(window.admit(start + WINDOW), Some(980));
        assert_eq!(window.admit(start + WINDOW), Some(0));
    }
}
