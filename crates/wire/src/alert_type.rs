//! Alert types, their reasons, and what each class of change adds: words, techniques of MITRE ATT&CK, steps.
//!
//! One table. docs/alerts.md is made from it, and every alert and incident takes its words from it. Ids of types,
//! reasons and classes are contracts; texts are not.

use crate::{
    ALERT_APPRAISAL_FAILED, ALERT_ATTESTATION_FAILED, AlertReason, ChangeClass, Severity, Technique,
};

/// A type of alert.
#[derive(Debug)]
pub struct AlertType {
    /// Stable id.
    pub id: &'static str,
    /// Headline.
    pub title: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// When it is raised, and what ends it.
    pub meaning: &'static str,
}

/// Every type of alert.
pub const ALERT_TYPES: [AlertType; 2] = [
    AlertType {
        id: ALERT_ATTESTATION_FAILED,
        title: "VM attestation failed",
        severity: Severity::Medium,
        meaning: "The VM could not show that it booted what is expected, or stopped showing anything. A later healthy \
                  attestation resolves it, except for `endorsement-lost`.",
    },
    AlertType {
        id: ALERT_APPRAISAL_FAILED,
        title: "VM cannot be appraised",
        severity: Severity::High,
        meaning: "The service failed while it appraised the VM's evidence. That says nothing about the VM, and nothing is \
                  known about it until it is mended. The next attestation that can be appraised resolves it, whatever \
                  its verdict.",
    },
];

/// A reason of an alert.
#[derive(Debug)]
pub struct ReasonWords {
    /// The reason.
    pub reason: AlertReason,
    /// Id of its type.
    pub kind: &'static str,
    /// Headline of the alert.
    pub title: &'static str,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// What to do, in one paragraph.
    pub remediation: &'static str,
    /// Ids of techniques.
    pub techniques: &'static [&'static str],
    /// Steps after those of the classes of change. `{vm}`, `{group}`, `{alert}`, `{attestation}`, `{boot}` and
    /// `{good_boot}` stand for those of the alert; a step is left out where the alert has none.
    pub steps: &'static [&'static str],
}

/// What a class of change adds to an alert.
#[derive(Debug)]
pub struct ClassWords {
    /// The class.
    pub class: ChangeClass,
    /// Whether routine updates never look like this.
    pub attack: bool,
    /// Ids of techniques; they tell more than those of the reason, and replace them.
    pub techniques: &'static [&'static str],
    /// First steps.
    pub steps: &'static [&'static str],
}

/// Techniques of MITRE ATT&CK (Enterprise) that the tables name, by id.
pub const TECHNIQUES: [(&str, &str); 14] = [
    ("T1014", "Rootkit"),
    ("T1070", "Indicator Removal"),
    ("T1195.003", "Supply Chain Compromise: Compromise Hardware Supply Chain"),
    ("T1495", "Firmware Corruption"),
    ("T1542", "Pre-OS Boot"),
    ("T1542.001", "Pre-OS Boot: System Firmware"),
    ("T1542.003", "Pre-OS Boot: Bootkit"),
    ("T1547.006", "Boot or Logon Autostart Execution: Kernel Modules and Extensions"),
    ("T1553.004", "Subvert Trust Controls: Install Root Certificate"),
    ("T1553.006", "Subvert Trust Controls: Code Signing Policy Modification"),
    ("T1557", "Adversary-in-the-Middle"),
    ("T1562", "Impair Defenses"),
    ("T1562.001", "Impair Defenses: Disable or Modify Tools"),
    ("T1601", "Modify System Image"),
];

/// Every reason, in the order of [`AlertReason::ALL`].
pub const REASONS: [ReasonWords; 6] = [
    ReasonWords {
        reason: AlertReason::BaselineDeviation,
        kind: ALERT_ATTESTATION_FAILED,
        title: "VM booted something other than its trusted baseline",
        meaning: "What was measured differs from the trusted baseline, or breaks the profile: untrusted components may \
                  have been loaded.",
        remediation: "Look at the component that changed. If it comes from an update or a change that you made, accept the \
                      boot as the new baseline (`veriboot baseline accept`). If not, isolate the VM, keep its disk for \
                      analysis, and redeploy it from a trusted image.",
        techniques: &["T1542", "T1601"],
        steps: &[
            "See what differs from the last healthy boot: `veriboot boot diff {good_boot} {boot}`.",
            "Keep the evidence: `veriboot evidence export {attestation} --output {vm}.json`; `veriboot evidence verify \
             {vm}.json` judges it without the service.",
            "If the change is yours, trust exactly this boot: `veriboot baseline accept {vm} --group {group} --boot {boot} \
             -m \"why\"`. The alert is resolved at once.",
            "If nobody made it, isolate the VM from the network, keep a snapshot of its disk, revoke the credentials that it \
             held, and redeploy it from a trusted image.",
        ],
    },
    ReasonWords {
        reason: AlertReason::QuoteUntrusted,
        kind: ALERT_ATTESTATION_FAILED,
        title: "VM attestation cannot be trusted: the quote is not from this VM's TPM",
        meaning: "The quote cannot be shown to come from this VM's vTPM now: its signature, key, challenge, selection or \
                  counters are wrong. Traffic to the vTPM may be intercepted.",
        remediation: "Traffic to the vTPM may be intercepted, or another TPM answers in its place. Check on the hypervisor \
                      which vTPM the VM has and whether the VM was cloned or set back to a snapshot. Enrol it again only \
                      when its TPM was replaced on purpose.",
        techniques: &["T1557", "T1542", "T1562"],
        steps: &[
            "Believe nothing that this attestation says about the VM: the findings name what is wrong with the quote.",
            "Ask whoever runs the hypervisor whether {vm} was cloned, migrated or set back to a snapshot since {since}, and \
             which vTPM is attached to it.",
            "Keep the evidence: `veriboot evidence export {attestation} --output {vm}.json`.",
            "If nobody did, treat the host and the VM as compromised: isolate the VM and redeploy it with a new vTPM.",
            "If its TPM was replaced on purpose, remove the record (`veriboot vm delete {vm} --group {group}`) and enrol it \
             with a new join token.",
        ],
    },
    ReasonWords {
        reason: AlertReason::LogMismatch,
        kind: ALERT_ATTESTATION_FAILED,
        title: "VM event log does not match its TPM",
        meaning: "The event log does not replay to the quoted PCRs, was edited, or is missing: what it tells about the boot \
                  is not proven.",
        remediation: "Do not believe what the event log says about this boot. Reboot the VM and attest again; if the \
                      mismatch stays, isolate the VM and compare its log with the one of an earlier boot (`veriboot log \
                      diff`).",
        techniques: &["T1014", "T1542", "T1070"],
        steps: &[
            "Do not believe what the event log says about this boot: a rootkit that hides would write the log that you \
             expect.",
            "Keep the evidence: `veriboot evidence export {attestation} --output {vm}.json`, then `veriboot evidence verify \
             {vm}.json` names the PCR that does not match.",
            "Reboot {vm} from its own disk and wait for the next attestation. A mismatch that is gone came from the running \
             system; look for what extended the PCR there.",
            "If it stays, isolate the VM and redeploy it from a trusted image. Firmware that writes a log of its own kind is \
             told by the findings; accept nothing by hand.",
        ],
    },
    ReasonWords {
        reason: AlertReason::AgentSilent,
        kind: ALERT_ATTESTATION_FAILED,
        title: "VM stopped attesting",
        meaning: "The agent stopped reporting for longer than it may: the VM is off, cut off, or somebody silenced the agent.",
        remediation: "Check that the VM runs and that its agent does (`systemctl status veriboot-agent`), and whether it \
                      reaches this service. A VM that was deleted can be removed (`veriboot vm delete`). Declare maintenance \
                      before the next planned work.",
        techniques: &["T1562", "T1562.001"],
        steps: &[
            "Check on the hypervisor whether {vm} runs. If it was deleted: `veriboot vm delete {vm} --group {group}`.",
            "On the VM: `systemctl status veriboot-agent` and `journalctl -u veriboot-agent --since -1h`. An agent that was \
             stopped, masked or removed by hand is a sign of an attack: look at who was logged in.",
            "See whether the VM reaches the service: the agent's log names the host that does not answer.",
            "Planned work needs no alert: `veriboot maintenance declare --vm {vm} --group {group} --for 2h -m \"why\"`.",
        ],
    },
    ReasonWords {
        reason: AlertReason::EndorsementLost,
        kind: ALERT_ATTESTATION_FAILED,
        title: "VM's TPM is no longer endorsed",
        meaning: "The TPM or TEE endorsement is no longer valid: its certificate was revoked, or has expired where \
                  `endorsement.expired` is `refuse`, or the TPM's firmware is older than before. A healthy attestation \
                  ends the alert only when the endorsement is verified again. (Another TPM is another identity: it cannot answer for this VM, which falls silent.)",
        remediation: "Find out what changed about the TPM: its firmware set back, or its certificate revoked or expired. \
                      Update the platform, then enrol the VM again.",
        techniques: &["T1542", "T1195.003"],
        steps: &[
            "See what is said about the TPM: `veriboot alert show {alert}` lists the findings with what was expected.",
            "Ask whoever runs the platform whether the TPM of {vm} had its firmware set back, or its certificate revoked \
             or not renewed.",
            "Update the platform's firmware, then remove the record (`veriboot vm delete {vm} --group {group}`) and enrol \
             the VM again.",
            "Where no roots of endorsement certificates are named, resolve this alert by hand once it is understood: no attestation \
             does.",
        ],
    },
    ReasonWords {
        reason: AlertReason::AppraisalFailed,
        kind: ALERT_APPRAISAL_FAILED,
        title: "Evidence of the VM cannot be appraised",
        meaning: "The service failed while it appraised the evidence: a stored key, log or baseline cannot be read back, or \
                  there is a fault in the service. Nothing is known about the VM.",
        remediation: "This is a fault of the service or its database, not of the VM; but until it is mended nothing is known \
                      about the VM. Find the cause in the service's log under the VM's id.",
        techniques: &["T1562"],
        steps: &[
            "Find the cause in the service's log: search for `appraisal failed` and the VM's id {vm_id}.",
            "If a stored baseline cannot be read, apply or accept another version: `veriboot baseline history` shows them.",
            "If other VMs have this alert too, look at the database first: `/readyz` says whether it answers.",
            "Treat {vm} as unverified until it is healthy: evidence that breaks the service may have been made to.",
        ],
    },
];

/// Every class of change, in the order of [`ChangeClass::ALL`].
pub const CLASSES: [ClassWords; 15] = [
    ClassWords {
        class: ChangeClass::KernelUpdate,
        attack: false,
        techniques: &["T1542.003", "T1601"],
        steps: &[
            "On {vm}, see which package the kernel is of: `dpkg -S /boot/vmlinuz-*` or `rpm -qf /boot/vmlinuz-*`, and \
             whether its files are the package's: `dpkg --verify` or `rpm -V`.",
            "An update that is rolled out to more VMs can be predicted before: `veriboot baseline predict`.",
        ],
    },
    ClassWords {
        class: ChangeClass::InitrdChange,
        attack: false,
        techniques: &["T1542.003", "T1547.006"],
        steps: &[
            "An initrd is made on the machine and signed by nobody: compare its content with that of another VM \
             (`lsinitramfs` or `lsinitrd`), hooks and kernel modules first.",
        ],
    },
    ClassWords {
        class: ChangeClass::CmdlineChange,
        attack: true,
        techniques: &["T1542.003", "T1562"],
        steps: &[
            "Read the parameters that were added: `init=`, `rd.break`, `module.sig_enforce=0`, `lockdown=` and `ima_` \
             switch defences off.",
            "See who edited `/etc/default/grub`, `/etc/kernel/cmdline` or the loader entry on {vm}; a parameter that is in \
             no file was typed at the console.",
        ],
    },
    ClassWords {
        class: ChangeClass::BootloaderUpdate,
        attack: false,
        techniques: &["T1542.003"],
        steps: &[
            "Compare the boot loader on the EFI partition of {vm} with the one of its package: `dpkg --verify \
             grub-efi-amd64-signed` or `rpm -V grub2-efi-x64`.",
        ],
    },
    ClassWords {
        class: ChangeClass::ShimUpdate,
        attack: false,
        techniques: &["T1542.003", "T1553.006"],
        steps: &[
            "Compare shim on the EFI partition of {vm} with the one of its package; an older shim brings back holes that \
             were revoked.",
        ],
    },
    ClassWords {
        class: ChangeClass::SbatUpdate,
        attack: false,
        techniques: &["T1542.003", "T1553.006"],
        steps: &[
            "See whether the SBAT level went up (an update) or down (a downgrade attack): the finding has both.",
        ],
    },
    ClassWords {
        class: ChangeClass::DbxUpdate,
        attack: false,
        techniques: &["T1542.003", "T1553.006"],
        steps: &[
            "See whether the revocation list grew (an update: `fwupdmgr get-history`) or lost entries: a list that lost \
             entries lets revoked boot loaders run again.",
        ],
    },
    ClassWords {
        class: ChangeClass::SecureBootKeyChange,
        attack: true,
        techniques: &["T1553.004", "T1542.001"],
        steps: &[
            "See which key was added to PK, KEK or db (`mokutil --db` on {vm}): whoever holds its private half can sign \
             what boots.",
            "Ask whoever runs the platform whether it changed the keys; the 2023 certificates of Microsoft are recognised \
             by name in the findings.",
        ],
    },
    ClassWords {
        class: ChangeClass::MokChange,
        attack: true,
        techniques: &["T1553.004", "T1547.006"],
        steps: &[
            "List the machine owner keys on {vm} (`mokutil --list-enrolled`) and remove one that nobody knows.",
        ],
    },
    ClassWords {
        class: ChangeClass::FirmwareUpdate,
        attack: false,
        techniques: &["T1542.001", "T1495"],
        steps: &[
            "Ask whoever runs the platform whether it updated the firmware of the VM, and compare with other VMs of the same \
             host: `veriboot boot list {vm} --group {group}`.",
        ],
    },
    ClassWords {
        class: ChangeClass::BootOrderChange,
        attack: false,
        techniques: &["T1542.003"],
        steps: &[
            "List the boot entries on {vm} (`efibootmgr -v`): an entry for a removable disk, a network boot or a file that \
             is of no package is to be explained.",
        ],
    },
    ClassWords {
        class: ChangeClass::SecureBootDisabled,
        attack: true,
        techniques: &["T1553.006", "T1542.003"],
        steps: &[
            "Find out who switched Secure Boot off: the platform's activity log has it for clouds, the console of the \
             hypervisor else.",
            "Switch it on again and reboot; until then anything can boot unsigned.",
        ],
    },
    ClassWords {
        class: ChangeClass::RuntimeExtend,
        attack: true,
        techniques: &["T1014", "T1070"],
        steps: &[
            "Something in the running system of {vm} extended a PCR: look at what opened `/dev/tpm0` or `/dev/tpmrm0`.",
        ],
    },
    ClassWords {
        class: ChangeClass::UnknownComponent,
        attack: true,
        techniques: &["T1542.003", "T1014"],
        steps: &[
            "Find the program that the finding names on the EFI partition of {vm}, and who put it there; keep a copy for \
             analysis.",
        ],
    },
    ClassWords {
        class: ChangeClass::WindowsPolicyChange,
        attack: true,
        techniques: &["T1553.006", "T1562.001"],
        steps: &[
            "Look at the boot configuration of {vm} (`bcdedit /enum all`): test signing, debugging and switched off code \
             integrity let unsigned drivers run.",
        ],
    },
];

/// The words of a reason.
pub fn reason_words(reason: AlertReason) -> &'static ReasonWords {
    // The tables are complete and in order, which a test holds; the first row stands in so that nothing can panic.
    REASONS.iter().find(|row| row.reason == reason).unwrap_or(const { &REASONS[0] })
}

/// What a class adds.
pub fn class_words(class: ChangeClass) -> &'static ClassWords {
    CLASSES.iter().find(|row| row.class == class).unwrap_or(const { &CLASSES[0] })
}

/// How much an alert of this type matters.
pub fn type_severity(kind: &str) -> Severity {
    ALERT_TYPES.iter().find(|row| row.id == kind).map_or(Severity::Medium, |row| row.severity)
}

/// Techniques that such an alert may show: those of its classes of change, else those of its reason.
pub fn techniques(reason: AlertReason, classes: &[ChangeClass]) -> Vec<Technique> {
    let mut ids: Vec<&str> = Vec::new();
    if reason == AlertReason::BaselineDeviation {
        ids.extend(classes.iter().flat_map(|class| class_words(*class).techniques.iter().copied()));
    }
    if ids.is_empty() {
        ids.extend(reason_words(reason).techniques.iter().copied());
    }
    let listed = TECHNIQUES.iter().filter(|(id, _)| ids.contains(id));
    listed.map(|(id, name)| Technique { id: (*id).to_owned(), name: (*name).to_owned() }).collect()
}

/// Whether no routine update explains such an alert: evidence that cannot be believed, or a change of a class that
/// updates do not make.
pub fn looks_like_attack(reason: AlertReason, classes: &[ChangeClass]) -> bool {
    match reason {
        AlertReason::QuoteUntrusted | AlertReason::LogMismatch => true,
        AlertReason::BaselineDeviation => {
            classes.is_empty() || classes.iter().any(|class| class_words(*class).attack)
        }
        AlertReason::AgentSilent | AlertReason::EndorsementLost | AlertReason::AppraisalFailed => false,
    }
}

/// Steps for one alert: `values` are names in braces with what stands for them. A step with a name that has no value is
/// left out.
pub fn steps(reason: AlertReason, classes: &[ChangeClass], values: &[(&str, Option<&str>)]) -> Vec<String> {
    let of_classes = classes
        .iter()
        .filter(|_| reason == AlertReason::BaselineDeviation)
        .flat_map(|class| class_words(*class).steps.iter());
    of_classes.chain(reason_words(reason).steps).filter_map(|step| filled(step, values)).collect()
}

fn filled(step: &str, values: &[(&str, Option<&str>)]) -> Option<String> {
    let mut text = String::with_capacity(step.len());
    let mut rest = step;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        let value = values.iter().find(|(known, _)| *known == name).and_then(|(_, value)| *value)?;
        text.push_str(before);
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_complete() {
        let reasons: Vec<_> = REASONS.iter().map(|row| row.reason).collect();
        assert_eq!(reasons, AlertReason::ALL);
        let classes: Vec<_> = CLASSES.iter().map(|row| row.class).collect();
        assert_eq!(classes, ChangeClass::ALL);
        let known = |ids: &[&str]| ids.iter().all(|id| TECHNIQUES.iter().any(|(known, _)| known == id));
        for row in &REASONS {
            assert!(known(row.techniques) && row.steps.len() > 2, "{}", row.reason);
            assert!(ALERT_TYPES.iter().any(|kind| kind.id == row.kind));
        }
        for row in &CLASSES {
            assert!(
                known(row.techniques) && !row.techniques.is_empty() && !row.steps.is_empty(),
                "{}",
                row.class
            );
        }
    }

    #[test]
    fn every_name_in_a_step_is_one_that_alerts_have() {
        let names = ["vm", "vm_id", "group", "alert", "attestation", "boot", "good_boot", "since"];
        let values = names.map(|name| (name, Some("x")));
        for reason in AlertReason::ALL {
            let said = steps(*reason, ChangeClass::ALL, &values);
            let classes = if *reason == AlertReason::BaselineDeviation {
                CLASSES.iter().map(|row| row.steps.len()).sum()
            } else {
                0
            };
            assert_eq!(said.len(), classes + reason_words(*reason).steps.len(), "{reason}");
            assert!(said.iter().all(|step| !step.contains(['{', '}'])));
        }
    }

    #[test]
    fn a_class_tells_more_than_its_reason() {
        let ids = |reason, classes: &[ChangeClass]| -> Vec<String> {
            techniques(reason, classes).into_iter().map(|t| t.id).collect()
        };
        assert_eq!(
            ids(AlertReason::BaselineDeviation, &[ChangeClass::FirmwareUpdate]),
            ["T1495", "T1542.001"]
        );
        assert_eq!(ids(AlertReason::BaselineDeviation, &[]), ["T1542", "T1601"]);
        assert_eq!(ids(AlertReason::AgentSilent, &[]), ["T1562", "T1562.001"]);
        assert!(looks_like_attack(
            AlertReason::BaselineDeviation,
            &[ChangeClass::KernelUpdate, ChangeClass::MokChange]
        ));
        assert!(!looks_like_attack(AlertReason::BaselineDeviation, &[ChangeClass::KernelUpdate]));
    }
}
