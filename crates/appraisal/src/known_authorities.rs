//! Certificates that admit images on machines as they are delivered: facts, each with where it can be looked up.
//!
//! Who is not in the list is not distrusted, but unknown: a rule can name it by its SHA-256. Vendors are left out whose
//! certificate could not be shown.

use veriboot_eventlog::Digest;

use crate::rule::Authority;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityRole {
    /// In db: signs loaders, drivers and shims of everybody, or of Windows.
    Everybody,
    /// In db or inside a vendor's shim: signs the vendor's own loaders and kernels.
    Vendor,
    /// In KEK: may change db and dbx.
    KeyExchange,
    /// PK: may change KEK.
    Platform,
}

impl AuthorityRole {
    /// In words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Everybody => "db, signs for everybody",
            Self::Vendor => "db or shim, signs the vendor's own",
            Self::KeyExchange => "KEK",
            Self::Platform => "PK",
        }
    }
}

/// A certificate that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownAuthority {
    /// SHA-256 over the certificate (DER), lower-case hex.
    pub sha256: &'static str,
    /// Common name.
    pub subject: &'static str,
    /// Whose it is.
    pub who: &'static str,
    /// What it is for.
    pub role: AuthorityRole,
    /// Where the certificate was read.
    pub source: &'static str,
}

const PACKAGE: &str = "package virt-firmware 26.10 (PyPI), folder certs";
const PACKAGE_AND_LOGS: &str =
    "package virt-firmware 26.10 (PyPI), folder certs; event logs of real machines";
const LOGS: &str = "event logs of real machines";
const SHIM: &str =
    "Debian's package shim-signed 1.51; package virt-firmware 26.10 (PyPI), folder certs; event logs";

macro_rules! known {
    ($($sha256:literal $role:ident $who:literal $subject:literal $source:ident;)+) => {
        &[$(KnownAuthority {
            sha256: $sha256,
            subject: $subject,
            who: $who,
            role: AuthorityRole::$role,
            source: $source,
        },)+]
    };
}

/// All of them.
pub const KNOWN_AUTHORITIES: &[KnownAuthority] = known! {
    "e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961" Everybody "Microsoft" "Microsoft Windows Production PCA 2011" PACKAGE_AND_LOGS;
    "48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507" Everybody "Microsoft" "Microsoft Corporation UEFI CA 2011" PACKAGE_AND_LOGS;
    "076f1fea90ac29155ebf77c17682f75f1fdd1be196da302dc8461e350a9ae330" Everybody "Microsoft" "Windows UEFI CA 2023" PACKAGE;
    "f6124e34125bee3fe6d79a574eaa7b91c0e7bd9d929c1a321178efd611dad901" Everybody "Microsoft" "Microsoft UEFI CA 2023" PACKAGE;
    "e5be3e64c6e66a281457ecdece0d6d0787577aad2a3a0144262c10c14ba8d8f1" Everybody "Microsoft" "Microsoft Option ROM UEFI CA 2023" PACKAGE;
    "df545bf919a2439c36983b54cdfc903dfa4f37d3996d8d84b4c31eec6f3c163e" Everybody "Microsoft" "Microsoft Root Certificate Authority 2010" LOGS;
    "a1117f516a32cefcba3f2d1ace10a87972fd6bbe8fe0d0b996e09e65d802a503" KeyExchange "Microsoft" "Microsoft Corporation KEK CA 2011" PACKAGE_AND_LOGS;
    "3cd3f0309edae228767a976dd40d9f4affc4fbd5218f2e8cc3c9dd97e8ac6f9d" KeyExchange "Microsoft" "Microsoft Corporation KEK 2K CA 2023" PACKAGE;
    "2f569e8edaf9657dc4951c29598725255c7f821472db71374211fe44d082546f" Platform "Microsoft" "Windows OEM Devices PK" PACKAGE;
    "079646974bce09b1f04da67bd722d1fb0947ae4c4010bccdbba52d5b23cbf1a2" Vendor "Debian" "Debian Secure Boot CA" SHIM;
    "5fb05ed84c5170d542ed6a7b7487dd57b8faedb02f7e107b0409e1d22cac4169" Platform "Debian" "Debian UEFI Secure Boot (PK/KEK key)" LOGS;
    "ed1fe72cb9ca31c9af5b757afcd733323d675825032e6ced7fe1ae9eb767998c" Vendor "Canonical" "Canonical Ltd. Master Certificate Authority" PACKAGE_AND_LOGS;
    "258c6e9c3b21a5d7f121636070127d4194d1b66c2bd67dbaa734d34fa8147b17" Platform "Canonical" "Ubuntu OVMF Secure Boot (PK/KEK key)" LOGS;
    "a3b384810d48f1666d5df01c0684c5f5325b57ef5dee5223d9bf66aeefef332e" Vendor "Fedora" "fedoraca" PACKAGE;
    "9996c73616ee42f13396c9abfb4b646b538c3c80940474b710afdbe53bf17d32" Vendor "Red Hat" "Red Hat Secure Boot (CA key 1)" PACKAGE_AND_LOGS;
    "40175d4c7c5ab4bd753a493f47952f1d8dcf1c219b836968a693e48bd4766135" Vendor "Red Hat" "Red Hat Secure Boot CA 5" PACKAGE_AND_LOGS;
    "72568059455c1774b3668b5fd67ba3578551925adfa52b6999cad549f52e46d6" Vendor "Red Hat" "Red Hat Secure Boot CA 8" PACKAGE;
    "c9acbb9ef9054cf8ff920da618813187fbaf35ea1da6bb760b2ca0595e977654" Vendor "Red Hat" "Red Hat UEFI CA 2024" PACKAGE;
    "7f122fab825041c2b0c67696bb151db6f39fed7df2d1104107f5b892b354ef5c" Platform "Red Hat" "Red Hat Secure Boot (PK/KEK key 1)" PACKAGE_AND_LOGS;
    "c8644a61601db420d50911810f3831388b6f02363cf63bda77513cc003b81bc5" Vendor "CentOS" "CentOS Secure Boot (CA key 1)" PACKAGE;
    "f1fdf7ae3924a187e0f30a502271cb8369f5f26b8032f026aef6fce7a113d1c4" Vendor "CentOS" "CentOS Secure Boot CA 2" PACKAGE_AND_LOGS;
    "3d9dd4d7d86e24f8e81d71e9a3f8eb6675e2eccce7e8fa2b6f79c31c01047244" Vendor "CentOS" "CentOS Secure Boot CA 8" PACKAGE;
    "a7b8c851deb2acba7c7d0e6ec091c93440f942c65d776fdcb58016f8fd1674b0" Vendor "Google" "UEFI DB Key v10" LOGS;
    "2fa7df82773db7eedb5cbaa88e20d885e4c19f1f24ee8e9930192893c258d0a4" Vendor "Google" "UEFI DB Key v20250203" LOGS;
    "7b033db44e666c2e8d6b32bdc7f52db729041ba06e05977c7ab25306a4600bcd" KeyExchange "Google" "UEFI Key Exchange Key v10" LOGS;
    "e76a7b739876acbb3835e70a121192244f895e5bb033793e7470d196eed2b6bd" KeyExchange "Google" "UEFI Key Exchange Key v20250203" LOGS;
    "7d75af8ed5cea65bf6f08f8e3cd52394bc18674e56772d86b32847aad84cb675" Platform "Google" "UEFI Platform Key v10" LOGS;
    "c187832602dbada644d18fb43a5aab2ed71854f0a3ef678c0debfc96608b1eeb" Platform "Google" "UEFI Platform Key v20250203" LOGS;
    "d1d217acf60ba4e4a890210322d006d673c0b82de9d65ad7f2d55897635429e2" Platform "Google Compute Engine" "newpk" LOGS;
};

/// The entry of a certificate.
pub fn known_authority(sha256: &Digest) -> Option<&'static KnownAuthority> {
    let hex = sha256.to_string();
    KNOWN_AUTHORITIES.iter().find(|known| known.sha256 == hex)
}

/// Whether the holder of this key signs loaders that others make, so that its signature says little about which one ran.
pub(crate) fn signs_for_everybody(sha256: &Digest) -> bool {
    known_authority(sha256).is_some_and(|known| known.role == AuthorityRole::Everybody)
}

/// The certificates of some roles, as a rule lists them.
pub(crate) fn with_roles(roles: &[AuthorityRole]) -> Vec<Authority> {
    let of_role = KNOWN_AUTHORITIES.iter().filter(|known| roles.contains(&known.role));
    of_role
        .filter_map(|known| {
            Some(Authority { sha256: Digest::from_hex(known.sha256)?, subject: known.subject.to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fingerprint_is_a_sha256_and_there_once() {
        for (at, known) in KNOWN_AUTHORITIES.iter().enumerate() {
            assert_eq!(Digest::from_hex(known.sha256).unwrap().as_ref().len(), 32, "{}", known.subject);
            assert!(!KNOWN_AUTHORITIES[..at].iter().any(|other| other.sha256 == known.sha256));
        }
        let all = [
            AuthorityRole::Everybody,
            AuthorityRole::Vendor,
            AuthorityRole::KeyExchange,
            AuthorityRole::Platform,
        ];
        assert_eq!(with_roles(&all).len(), KNOWN_AUTHORITIES.len());
    }
}
