//! Evidence that cannot be judged by what holds now leaves no VM healthy.

use veriboot_store::baselines::CurrentBaseline;
use veriboot_store::{StoreError, events, judges, vms};
use veriboot_wire::{Time, VmStatus};

use super::ReappraiseError;
use super::record::stands;
use crate::attest::appraise::appraisal_failed;
use crate::attest::examine::Broken;
use crate::attest::profiles::JudgingProfile;
use crate::{AppState, alerts, journal, status};

/// Evidence of a VM that cannot be judged by what holds now.
#[derive(Clone)]
pub(super) struct Unjudged {
    pub vm: vms::VmRow,
    pub baseline: Option<CurrentBaseline>,
    pub profile: JudgingProfile,
    pub reopen_window_s: u32,
    pub now: Time,
}

impl Unjudged {
    /// Takes the VM's health back and raises the alert.
    pub async fn note(self, state: &AppState, error: &Broken) -> ReappraiseError {
        tracing::error!(vm = self.vm.id, %error, "appraisal failed");
        let before = self.vm.clone();
        match state.store.write(move |tx| self.record(tx)).await {
            Ok(None) => ReappraiseError::Overtaken,
            Ok(Some((status, alerts))) => {
                alerts.raised.iter().for_each(|reason| state.metrics.alert_raised(*reason));
                let code = Some(appraisal_failed().code);
                journal::attested(&journal::Attested {
                    before: &before,
                    status,
                    code: code.as_deref(),
                    learned: None,
                    alerts: &alerts,
                });
                ReappraiseError::Broken(error.to_string())
            }
            Err(error) => error.into(),
        }
    }

    /// `None` when the VM attested meanwhile, or when what judges it is another one; nothing is written then.
    fn record(
        &self,
        tx: &mut dyn veriboot_store::Tx,
    ) -> Result<Option<(VmStatus, alerts::AlertChanges)>, StoreError> {
        let Some(vm) = vms::by_id(tx, &self.vm.id)? else { return Ok(None) };
        let judges = judges::for_vm(tx, vm.place())?;
        if !stands(&vm, &self.vm, &judges, self.baseline.as_ref(), &self.profile) {
            return Ok(None);
        }
        if !vm.monitoring || vm.status == VmStatus::Unmonitored {
            return Ok(Some((vm.status, alerts::AlertChanges::default())));
        }
        let finding = appraisal_failed();
        let last = vm.last_attestation_id.as_deref();
        events::hold(tx, |tx| {
            let changes =
                alerts::appraisal_failed(tx, &vm.id, &finding, last, self.reopen_window_s, self.now)?;
            // What is known to be wrong stays known.
            if vm.status == VmStatus::Unhealthy || !status::follows_evidence(&vm) {
                return Ok(Some((vm.status, changes)));
            }
            status::set(tx, &vm, VmStatus::Error, Some(&finding.message), self.now)?;
            Ok(Some((VmStatus::Error, changes)))
        })
    }
}
