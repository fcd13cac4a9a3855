//! What an event measures, in the closed set of words that baselines and findings use.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! component_kinds {
    ($($(#[$meta:meta])* $variant:ident = $word:literal, $title:literal;)+) => {
        /// Kind of a measured component (SPEC section 5). Spelling is a contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ComponentKind { $($(#[$meta])* #[serde(rename = $word)] $variant,)+ }

        impl ComponentKind {
            /// Every kind, in boot order as far as there is one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word in baselines and JSON: `kernel-command-line`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Plain words for people: `kernel command line`.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

component_kinds! {
    /// Version of the static root of trust.
    CrtmVersion = "crtm-version", "firmware version";
    /// Firmware code.
    Firmware = "firmware", "firmware";
    /// Hand-off, ACPI and SMBIOS tables, POST codes, platform flags.
    PlatformConfig = "platform-config", "platform configuration";
    /// The variable SecureBoot.
    SecureBootState = "secure-boot-state", "Secure Boot state";
    /// PK.
    PlatformKey = "platform-key", "platform key (PK)";
    /// KEK.
    KeyExchangeKey = "key-exchange-key", "key exchange keys (KEK)";
    /// db.
    SignatureDb = "signature-db", "allowed signatures (db)";
    /// dbx.
    RevocationDb = "revocation-db", "revoked signatures (dbx)";
    /// AuditMode, DeployedMode, dbt, dbr, vendor_db and others.
    SecureBootVariable = "secure-boot-variable", "Secure Boot variable";
    /// The certificate or hash that admitted an image.
    Authority = "authority", "authority that admitted an image";
    /// Driver from an option ROM or a disk.
    OptionRom = "option-rom", "option ROM or driver";
    /// BootOrder.
    BootOrder = "boot-order", "boot order";
    /// Boot####.
    BootEntry = "boot-entry", "boot entry";
    /// GPT of the boot disk.
    PartitionTable = "partition-table", "partition table";
    /// What firmware did.
    FirmwareAction = "firmware-action", "firmware action";
    /// ExitBootServices.
    ExitBootServices = "exit-boot-services", "exit from boot services";
    /// Boundary between firmware and what it starts.
    Separator = "separator", "separator";
    /// First-stage loader of Linux distributions.
    Shim = "shim", "shim";
    /// SBAT revocation level.
    SbatLevel = "sbat-level", "SBAT level";
    /// Machine owner keys and their state.
    MokState = "mok-state", "machine owner keys (MOK)";
    /// Boot loader.
    BootLoader = "boot-loader", "boot loader";
    /// Commands and configuration of the boot loader.
    BootLoaderConfig = "boot-loader-config", "boot loader configuration";
    /// Files that the boot loader reads, its modules included.
    BootLoaderFile = "boot-loader-file", "boot loader file";
    /// Kernel.
    Kernel = "kernel", "kernel";
    /// Initial RAM disk.
    Initrd = "initrd", "initial RAM disk (initrd)";
    /// Kernel command line.
    KernelCommandLine = "kernel-command-line", "kernel command line";
    /// Section, credential, extension or phase of a unified kernel image.
    UkiSection = "uki-section", "unified kernel image";
    /// Windows boot configuration and policy.
    WindowsPolicy = "windows-policy", "Windows boot policy";
    /// Module that the Windows loader loaded.
    WindowsModule = "windows-module", "Windows boot module";
    /// Not known.
    Unknown = "unknown", "unknown component";
}

impl fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
