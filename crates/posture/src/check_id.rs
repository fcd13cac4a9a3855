//! The checks by name.

use std::fmt;
use std::str::FromStr;

macro_rules! check_ids {
    ($($(#[$meta:meta])* $variant:ident = $word:literal,)+) => {
        /// A check of SPEC section 6.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckId { $($(#[$meta])* $variant,)+ }

        impl CheckId {
            /// Every check, most important first: the order of the document.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its stable id.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

check_ids! {
    /// Status is healthy.
    AttestationHealthy = "attestation-healthy",
    /// Secure Boot is on.
    SecureBootEnabled = "secure-boot-enabled",
    /// There is a vTPM.
    VtpmEnabled = "vtpm-enabled",
    /// The agent is enrolled.
    AgentInstalled = "agent-installed",
    /// The TPM is shown to be genuine.
    EndorsementVerified = "endorsement-verified",
    /// The kernel takes signed modules only.
    KernelModulesSigned = "kernel-modules-signed",
    /// dbx is recent.
    DbxCurrent = "dbx-current",
    /// The SBAT level is recent.
    SbatCurrent = "sbat-current",
    /// The certificates of 2023 are there.
    SecureBootCa2023 = "secure-boot-ca-2023",
    /// The agent is as new as the service asks for.
    AgentCurrent = "agent-current",
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for CheckId {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|id| id.as_str() == text).ok_or(())
    }
}
