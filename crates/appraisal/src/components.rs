//! What was booted, in one line per component.

use std::collections::BTreeMap;

use veriboot_eventlog::{ComponentKind, HashAlg};

use crate::deviation::{is_image, readable};
use crate::report::{BankReport, LogReport};
use crate::text::shortened;

/// Characters of one value.
const MAX_CHARS: usize = 512;

/// [`components_in`] the bank with the longest digests, for a log whose bank is not known.
pub fn components(report: &LogReport) -> BTreeMap<String, String> {
    of_bank(report, report.banks.iter().max_by_key(|b| b.replay.bank.size()))
}

/// Components of a boot by plain words (`kernel`, `kernel command line`, `shim`), for `Boot.components`. Where the log
/// has text for a component it is that text, else its name and digest. `bank` is the one that the quote proves: what
/// the log says of other banks is not shown.
pub fn components_in(report: &LogReport, bank: HashAlg) -> BTreeMap<String, String> {
    of_bank(report, report.bank(bank))
}

fn of_bank(report: &LogReport, bank: Option<&BankReport>) -> BTreeMap<String, String> {
    use ComponentKind as K;
    const SHOWN: &[ComponentKind] = &[
        K::CrtmVersion,
        K::PlatformKey,
        K::KeyExchangeKey,
        K::SignatureDb,
        K::RevocationDb,
        K::Shim,
        K::SbatLevel,
        K::MokState,
        K::BootLoader,
        K::Kernel,
        K::Initrd,
        K::KernelCommandLine,
        K::UkiSection,
    ];
    let mut components = BTreeMap::new();
    let secure_boot = match report.secure_boot {
        Some(true) => "on",
        Some(false) => "off",
        None => "unknown",
    };
    components.insert("Secure Boot".to_owned(), secure_boot.to_owned());
    let digests = bank.map(|b| b.digests.as_slice()).unwrap_or_default();
    for (entry, digest) in report.entries.iter().zip(digests).filter(|(e, _)| SHOWN.contains(&e.kind)) {
        let Some(digest) = digest else { continue };
        let mut text = match &entry.value {
            Some(value) if !value.is_empty() && !is_image(entry.kind) => readable(value),
            _ if !entry.items.is_empty() => entry.items.join(", "),
            _ if entry.name.is_empty() => digest.to_string(),
            _ => format!("{} ({digest:.16}…)", entry.name),
        };
        if let Some(signer) = &entry.signer {
            text = format!("{}, signed by {signer}", shortened(&text, MAX_CHARS / 2));
        }
        // The first measurement of a kind is the one that ran first; a later one of the same kind is not lost.
        let title = entry.kind.title();
        let key = match entry.kind {
            K::MokState | K::UkiSection => format!("{title} {}", shortened(&entry.name, 60)),
            _ => title.to_owned(),
        };
        components.entry(key).or_insert_with(|| shortened(&text, MAX_CHARS));
        if components.len() >= 64 {
            break;
        }
    }
    components
}
