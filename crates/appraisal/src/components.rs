//! What was booted, in one line per component.

use std::collections::BTreeMap;

use veriboot_eventlog::ComponentKind;

use crate::deviation::{is_image, readable};
use crate::report::LogReport;
use crate::text::shortened;

/// Characters of one value.
const MAX_CHARS: usize = 512;

/// Components of a boot by plain words (`kernel`, `kernel command line`, `shim`), for `Boot.components`. Where the log
/// has text for a component it is that text, else its name and digest.
pub fn components(report: &LogReport) -> BTreeMap<String, String> {
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
    let digests = report.banks.iter().max_by_key(|b| b.replay.bank.size()).map(|b| b.digests.as_slice());
    for (at, entry) in report.entries.iter().enumerate().filter(|(_, e)| SHOWN.contains(&e.kind)) {
        let digest = digests.and_then(|d| d.get(at)).copied().flatten();
        let mut text = match (&entry.value, digest) {
            (Some(value), _) if !value.is_empty() && !is_image(entry.kind) => readable(value),
            _ if !entry.items.is_empty() => entry.items.join(", "),
            (_, Some(digest)) if entry.name.is_empty() => digest.to_string(),
            (_, Some(digest)) => format!("{} ({digest:.16}…)", entry.name),
            (_, None) => entry.name.clone(),
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
