//! Closed sets of words that stand for a decision. Their spelling is a contract.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Declares an enum whose variants have one spelling in JSON, in the database and on the terminal.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        pub enum $name { $($(#[$vmeta])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| UnknownWord {
                    allowed: &[$($word,)+],
                    word: text.chars().take(64).collect(),
                })
            }
        }
    };
}

pub(crate) use words;

/// A word outside of the closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not one of {}", .word.escape_debug(), .allowed.join(", "))]
pub struct UnknownWord {
    /// The words of the set.
    pub allowed: &'static [&'static str],
    /// What was given, cut to 64 characters.
    pub word: String,
}

words! {
    /// Health of a VM.
    VmStatus {
        /// Never attested.
        Pending = "pending",
        /// The last attestation was accepted.
        Healthy = "healthy",
        /// The last attestation was refused.
        Unhealthy = "unhealthy",
        /// Nothing heard for longer than the allowed silence.
        Stale = "stale",
        /// Platform fault: TPM, agent or log.
        Error = "error",
        /// Integrity monitoring is off.
        Unmonitored = "unmonitored",
    }
}

words! {
    /// Value of one separate fact about a VM.
    FactState {
        /// Shown to hold.
        Valid = "valid",
        /// Shown not to hold.
        Invalid = "invalid",
        /// Nothing could be shown.
        Unknown = "unknown",
        /// The fact does not apply to this VM.
        NotApplicable = "not-applicable",
    }
}

impl FactState {
    /// As people speak of what can be switched: `on`, `off`, `unknown`, `-`.
    pub const fn as_switch(self) -> &'static str {
        match self {
            Self::Valid => "on",
            Self::Invalid => "off",
            Self::Unknown => "unknown",
            Self::NotApplicable => "-",
        }
    }
}

words! {
    /// How much a finding matters. Only `high` and `critical` make an attestation fail.
    Severity {
        /// Worth knowing, nothing to do.
        Info = "info",
        /// Improve when convenient.
        Low = "low",
        /// Look at it.
        Medium = "medium",
        /// The attestation fails.
        High = "high",
        /// The attestation fails, and the evidence itself cannot be believed.
        Critical = "critical",
    }
}

words! {
    /// Outcome of one appraisal.
    Verdict {
        /// Accepted.
        Healthy = "healthy",
        /// Refused.
        Unhealthy = "unhealthy",
    }
}

words! {
    /// Why "VM attestation failed" was raised.
    AlertReason {
        /// What was measured differs from the trusted baseline or breaks the profile.
        BaselineDeviation = "baseline-deviation",
        /// The quote cannot be shown to come from this VM's TPM.
        QuoteUntrusted = "quote-untrusted",
        /// The event log does not replay to the quoted PCRs.
        LogMismatch = "log-mismatch",
        /// The agent stopped reporting.
        AgentSilent = "agent-silent",
        /// The TPM or TEE endorsement is no longer valid.
        EndorsementLost = "endorsement-lost",
        /// The service could not appraise the evidence: nothing is known about the VM.
        AppraisalFailed = "appraisal-failed",
    }
}

words! {
    /// Life cycle of an alert.
    AlertState {
        /// Raised, nobody works on it.
        Active = "active",
        /// Somebody works on it.
        InProgress = "in-progress",
        /// The cause is gone.
        Resolved = "resolved",
        /// Closed on purpose although the cause may remain.
        Dismissed = "dismissed",
    }
}

words! {
    /// Order of a list of alerts.
    AlertSort {
        /// By the first time that it was raised, newest first.
        Newest = "newest",
        /// By severity, then newest first.
        Severity = "severity",
        /// By how often it was raised, then newest first.
        Count = "count",
    }
}

words! {
    /// Order of a list of VMs.
    VmSort {
        /// By group, then name.
        Name = "name",
        /// By first enrolment, newest first.
        Enrolled = "enrolled",
    }
}

words! {
    /// Order of a list of incidents.
    IncidentSort {
        /// By when it began, newest first.
        Newest = "newest",
        /// By when one of its alerts was raised last, newest first.
        Active = "active",
    }
}

words! {
    /// Order of a list of items of the inventory.
    InventorySort {
        /// By group, then name.
        Name = "name",
        /// By when the source said something else of it last, newest first.
        Changed = "changed",
    }
}

words! {
    /// What people do with alerts.
    AlertAction {
        /// Somebody works on it.
        Acknowledge = "acknowledge",
        /// The cause is gone.
        Resolve = "resolve",
        /// It is closed on purpose although the cause may remain.
        Dismiss = "dismiss",
    }
}

words! {
    /// Life of an incident.
    IncidentState {
        /// At least one of its alerts is active or in progress.
        Open = "open",
        /// All of its alerts are closed.
        Closed = "closed",
    }
}

words! {
    /// Life of a suppression rule.
    SuppressionState {
        /// It dismisses what it matches.
        Active = "active",
        /// Its time is over; it matches nothing any more.
        Expired = "expired",
        /// Somebody ended it.
        Ended = "ended",
    }
}

words! {
    /// Why a suppression rule hides more than one should.
    SuppressionBreadth {
        /// Nothing narrows it: it hides every alert (of a type).
        Everything = "everything",
        /// Only the group narrows it: it hides every alert of the group.
        WholeGroup = "whole-group",
        /// Only the reason narrows it: it hides that reason in the whole fleet.
        WholeReason = "whole-reason",
    }
}

words! {
    /// Life of a maintenance window.
    MaintenanceState {
        /// Its time has not come yet.
        Planned = "planned",
        /// It holds now.
        Active = "active",
        /// Its time is over, or somebody ended it.
        Over = "over",
    }
}

words! {
    /// Class of a deviation from the baseline.
    ChangeClass {
        /// Another kernel.
        KernelUpdate = "kernel-update",
        /// Another initial RAM disk.
        InitrdChange = "initrd-change",
        /// Another kernel command line.
        CmdlineChange = "cmdline-change",
        /// Another boot loader or boot loader configuration.
        BootloaderUpdate = "bootloader-update",
        /// Another shim.
        ShimUpdate = "shim-update",
        /// Another SBAT revocation level.
        SbatUpdate = "sbat-update",
        /// Another revocation list.
        DbxUpdate = "dbx-update",
        /// PK, KEK or db differ.
        SecureBootKeyChange = "secure-boot-key-change",
        /// Machine owner keys differ.
        MokChange = "mok-change",
        /// Other firmware code or option ROM.
        FirmwareUpdate = "firmware-update",
        /// Boot entries, their order, or platform configuration differ.
        BootOrderChange = "boot-order-change",
        /// Secure Boot was switched off.
        SecureBootDisabled = "secure-boot-disabled",
        /// A PCR was extended after boot.
        RuntimeExtend = "runtime-extend",
        /// Something that the baseline does not know at all.
        UnknownComponent = "unknown-component",
        /// Windows boot configuration or policy differs.
        WindowsPolicyChange = "windows-policy-change",
    }
}

words! {
    /// What a profile does with a deviation of a class.
    ChangeAction {
        /// The attestation fails.
        Fail = "fail",
        /// The VM stays healthy and marked, and an operator is asked.
        Propose = "propose",
        /// It is reported and accepted.
        Accept = "accept",
    }
}

words! {
    /// Security type of a VM.
    SecurityType {
        /// No vTPM and Secure Boot by configuration.
        Standard = "standard",
        /// vTPM and Secure Boot.
        TrustedLaunch = "trusted-launch",
        /// Hardware TEE (SEV-SNP, TDX).
        Confidential = "confidential",
    }
}

words! {
    /// What a baseline, a profile or a set of rules applies to. More specific scopes win: VM, scale set, image, group.
    ScopeKind {
        /// One VM.
        Vm = "vm",
        /// A uniform scale set.
        ScaleSet = "scale-set",
        /// The VMs of a group that were made from one image.
        Image = "image",
        /// A group.
        Group = "group",
    }
}

words! {
    /// Life of a proposal.
    ProposalState {
        /// VMs show the change, and nobody decided yet. They stay healthy.
        Open = "open",
        /// The change is part of the baseline.
        Approved = "approved",
        /// The change is refused: VMs that show it are unhealthy.
        Rejected = "rejected",
        /// The baseline got another version before anybody decided.
        Superseded = "superseded",
        /// No VM shows the change any more.
        Withdrawn = "withdrawn",
    }
}

words! {
    /// Whether most members of a scale set booted the same.
    Majority {
        /// More than half of the compared members did; the others are odd.
        Found = "found",
        /// No boot is that of more than half; nobody is called odd.
        None = "none",
        /// Fewer than three members can be compared; nobody is called odd.
        TooFew = "too-few",
    }
}

words! {
    /// How a version of a baseline came about.
    BaselineOrigin {
        /// The service learned it from healthy boots.
        Learned = "learned",
        /// An operator accepted what a VM booted.
        Accepted = "accepted",
        /// An operator gave the document.
        Applied = "applied",
        /// An operator gave a document that a trusted key had signed.
        Imported = "imported",
        /// An operator approved a proposal.
        Approved = "approved",
    }
}

words! {
    /// How a document is written.
    DocumentFormat {
        /// JSON.
        Json = "json",
        /// TOML.
        Toml = "toml",
    }
}

words! {
    /// What an API token may do. Each scope includes those before it.
    ApiScope {
        /// Read everything but secrets.
        Viewer = "viewer",
        /// Also handle alerts, baselines, VMs and join tokens.
        Operator = "operator",
        /// Also handle API tokens.
        Admin = "admin",
    }
}

words! {
    /// How a notification target is told.
    TargetKind {
        /// CloudEvents 1.0 by HTTP POST, signed.
        Webhook = "webhook",
        /// Alerts to a Prometheus Alertmanager (API v2).
        Alertmanager = "alertmanager",
        /// Mail by SMTP.
        Email = "email",
        /// Syslog (RFC 5424) over TCP or TLS.
        Syslog = "syslog",
        /// Findings of OCSF 1.x, as JSON, to a file or by HTTP POST.
        Ocsf = "ocsf",
    }
}

words! {
    /// What became of a notification.
    DeliveryState {
        /// It waits for its turn, or for another attempt.
        Waiting = "waiting",
        /// The target took it.
        Delivered = "delivered",
        /// Given up; it stays until it is replayed or its retention ends.
        Dead = "dead",
    }
}

words! {
    /// Outcome of a check on a resource.
    AssessmentStatus {
        /// It holds.
        Healthy = "healthy",
        /// It does not hold.
        Unhealthy = "unhealthy",
        /// It is not about this resource, or nothing shows whether it is.
        NotApplicable = "not-applicable",
    }
}

words! {
    /// What an assessment is about.
    ResourceKind {
        /// An enrolled VM.
        Vm = "vm",
        /// An entry of the inventory that is no enrolled VM.
        InventoryItem = "inventory-item",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_told_what_is_known() {
        let said = |word: &str| word.parse::<Severity>().map_err(|e| e.to_string());
        assert_eq!(said("high"), Ok(Severity::High));
        assert_eq!(said("bogus").unwrap_err(), "`bogus` is not one of info, low, medium, high, critical");
        assert!(said("\u{1b}[2J\u{202e}").unwrap_err().starts_with("`\\u{1b}[2J\\u{202e}`"));
        assert!(said(&"x".repeat(1000)).unwrap_err().len() < 200);
    }
}
