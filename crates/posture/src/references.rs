//! Newest revisions that are known, in one place, each with its date and where it was read. All can be set otherwise in
//! the service's configuration; a release of Veriboot brings newer ones.

use veriboot_wire::PostureReferences;

use crate::MicrosoftKeys;

/// Where a reference comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name in [`PostureReferences`].
    pub name: &'static str,
    /// Date of the revision.
    pub date: &'static str,
    /// Where it was read.
    pub source: &'static str,
}

/// Where each reference comes from.
pub const SOURCES: &[Source] = &[
    Source {
        name: "dbx_revision",
        date: "2026-04-09",
        source: "Microsoft, secureboot_objects: dbx_info_msft_latest.json, dateOfAddition of entries for x64 that are not optional",
    },
    Source {
        name: "dbx_entries_aarch64",
        date: "2023-05-09",
        source: "fwupd, documentation of the plugin uefi-dbx: number of entries of each revision of Microsoft's list",
    },
    Source {
        name: "sbat_level",
        date: "2024-01-09",
        source: "shim, SbatLevel_Variable.txt: the level that revokes shim before 15.8 (CVE-2023-40547). Newer levels, up to \
                 2025112400, are set by operators and not by shim 16.1 itself",
    },
    Source { name: "agent_version", date: "this release", source: "the version of the service itself" },
];

/// A revision of Microsoft's dbx for x86-64.
#[derive(Clone, Copy, Debug)]
pub struct DbxRevision {
    /// Date of the additions: `2026-04-09`.
    pub date: &'static str,
    /// Authenticode SHA-256, lower-case hex, of an image that it revokes and that older ones do not.
    pub image: &'static str,
}

/// Revisions by which a list is recognised, oldest first; each by an image of somebody else than Microsoft. Numbers of entries say
/// nothing about age: since 2024 lists leave out boot managers of Windows, which are revoked by other means.
pub const DBX_REVISIONS: [DbxRevision; 5] = [
    DbxRevision {
        date: "2024-03-01",
        image: "bb4919d8f38dba90154f963c47be83b665076c6eb4b230b3cee91e4b7706cc12",
    },
    DbxRevision {
        date: "2025-05-07",
        image: "6b4328ebcbe46ed9118ff2d4472de329d70ba83016df7a6f50f8af923883bc54",
    },
    DbxRevision {
        date: "2025-09-02",
        image: "e14c88dc48339c0555686849a4e3f8986d558e65c4fc863a1a4f1d40478bd47c",
    },
    DbxRevision {
        date: "2026-04-02",
        image: "d013ba511aee89ba3285d1cac0c9f4f21ef4810873c2ebbffe7712bf0be8ced3",
    },
    DbxRevision {
        date: "2026-04-09",
        image: "96275dfd6282a522b011177ee049296952ac794832091f937fbbf92869028629",
    },
];

/// The references of this release. `service_version` is the version that agents have at least.
pub fn references(service_version: &str) -> PostureReferences {
    PostureReferences {
        dbx_revision: "2026-04-09".to_owned(),
        dbx_entries_aarch64: 26,
        sbat_level: 2_024_010_900,
        agent_version: service_version.to_owned(),
        ca_warning_days: 365,
    }
}

/// What is asked for, in words: of a number that the operator set, nobody knows the date.
pub(crate) fn dated(name: &str, asked: u64) -> String {
    let of_release = references("");
    let known = match name {
        "dbx_entries_aarch64" => u64::from(of_release.dbx_entries_aarch64),
        "sbat_level" => of_release.sbat_level,
        _ => return asked.to_string(),
    };
    match SOURCES.iter().find(|source| source.name == name) {
        Some(source) if known == asked => format!("{asked}, of {}", source.date),
        _ => asked.to_string(),
    }
}

/// A certificate of 2011 that Secure Boot rests on, and the one that takes its place.
#[derive(Clone, Copy, Debug)]
pub struct Authority2011 {
    /// SHA-256 of the old certificate, lower-case hex.
    pub old: &'static str,
    /// Name of the old certificate.
    pub old_name: &'static str,
    /// End of the old certificate, Unix time in seconds.
    pub ends_at_s: i64,
    /// The same as a date.
    pub ends_on: &'static str,
    /// SHA-256 of the new certificate.
    pub new: &'static str,
    /// Name of the new certificate.
    pub new_name: &'static str,
    /// What the list is called that has it.
    pub list: &'static str,
    /// Whether a log shows the old one.
    pub has_old: fn(&MicrosoftKeys) -> bool,
    /// Whether a log shows the new one.
    pub has_new: fn(&MicrosoftKeys) -> bool,
}

/// The certificates, by the order of their ends; read from the certificates themselves in event logs of real machines.
pub const AUTHORITIES_OF_2011: [Authority2011; 3] = [
    Authority2011 {
        old: "a1117f516a32cefcba3f2d1ace10a87972fd6bbe8fe0d0b996e09e65d802a503",
        old_name: "Microsoft Corporation KEK CA 2011",
        ends_at_s: 1_782_334_289,
        ends_on: "2026-06-24",
        new: "3cd3f0309edae228767a976dd40d9f4affc4fbd5218f2e8cc3c9dd97e8ac6f9d",
        new_name: "Microsoft Corporation KEK 2K CA 2023",
        list: "KEK",
        has_old: |keys| keys.kek_2011,
        has_new: |keys| keys.kek_2023,
    },
    Authority2011 {
        old: "48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507",
        old_name: "Microsoft Corporation UEFI CA 2011",
        ends_at_s: 1_782_595_965,
        ends_on: "2026-06-27",
        new: "f6124e34125bee3fe6d79a574eaa7b91c0e7bd9d929c1a321178efd611dad901",
        new_name: "Microsoft UEFI CA 2023",
        list: "db",
        has_old: |keys| keys.uefi_2011,
        has_new: |keys| keys.uefi_2023,
    },
    Authority2011 {
        old: "e8e95f0733a55e8bad7be0a1413ee23c51fcea64b3c8fa6a786935fddcc71961",
        old_name: "Microsoft Windows Production PCA 2011",
        ends_at_s: 1_792_435_902,
        ends_on: "2026-10-19",
        new: "076f1fea90ac29155ebf77c17682f75f1fdd1be196da302dc8461e350a9ae330",
        new_name: "Windows UEFI CA 2023",
        list: "db",
        has_old: |keys| keys.windows_2011,
        has_new: |keys| keys.windows_2023,
    },
];

/// Whether a version of numbers and dots is older than another; `None` when one of them cannot be read. What follows a
/// `-` or `+` does not count.
pub fn is_older(version: &str, than: &str) -> Option<bool> {
    Some(numbers(version)? < numbers(than)?)
}

fn numbers(version: &str) -> Option<[u32; 3]> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let version = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = [0; 3];
    let mut parts = version.split('.');
    for number in &mut numbers {
        match parts.next() {
            Some(part) => *number = part.parse().ok()?,
            None => break,
        }
    }
    if version.is_empty() || parts.next().is_some() { None } else { Some(numbers) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(is_older("0.9.0", "0.10.0"), Some(true));
        assert_eq!(is_older("0.10.0", "0.9.12"), Some(false));
        assert_eq!(is_older("1.2", "1.2.0"), Some(false));
        assert_eq!(is_older("1.2.3-rc1", "1.2.3"), Some(false));
        for unread in ["", "one", "1.2.3.4", "1..2", "99999999999.0"] {
            assert_eq!(is_older(unread, "1.0.0"), None, "{unread}");
        }
    }

    #[test]
    fn every_authority_is_known_by_name() {
        for authority in AUTHORITIES_OF_2011 {
            for (sha256, name) in [(authority.old, authority.old_name), (authority.new, authority.new_name)] {
                let known = veriboot_appraisal::KNOWN_AUTHORITIES.iter().find(|k| k.sha256 == sha256);
                assert_eq!(known.map(|k| k.subject), Some(name));
            }
            let end = veriboot_wire::Time::from_unix_ms(authority.ends_at_s * 1000).to_string();
            assert!(end.starts_with(authority.ends_on), "{end}");
        }
    }
}
