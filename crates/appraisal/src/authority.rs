//! Who admitted what ran, as far as PCR 7 proves it.
//!
//! With Secure Boot on, firmware and shim measure the certificate or hash that admitted an image into PCR 7, each once,
//! before they start it (PC Client Platform Firmware Profile 1.06, section 3.3.4.8). Which image a certificate admitted is
//! in no digest, so one image alone is never accepted by its signer. But when [`admitted`] gives the authorities of a
//! boot, then nothing was started that none of them admitted:
//!
//! 1. Secure Boot is on, and shim was not told to skip verification;
//! 2. in PCR 7 there are, beside configuration before the separator, only authorities and shim's own state, each with data
//!    that its digest covers, whatever type the log gives the event;
//! 3. each of them is a certificate and not a bare hash.
//!
//! What an admitted image does afterwards is not shown: one that is signed and vulnerable, and not revoked, may start
//! anything. That is what the SBAT level and dbx are for.

use veriboot_eventlog::decode::signature_list::SignatureDatabase;
use veriboot_eventlog::{Digest, EventType, Format, HashAlg};

use crate::content::Content;
use crate::known_authorities::signs_for_everybody;
use crate::report::{BankReport, Entry, LogReport};
use crate::rule::Authority;
use crate::structure_checks::SECURE_BOOT_PCR;

/// Why a log does not show who admitted its images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    #[error("the registers of a confidential VM mix authorities with other measurements")]
    MixedRegisters,
    #[error("Secure Boot is not shown to be on")]
    SecureBoot,
    #[error("shim was told not to verify what it starts")]
    ShimValidation,
    #[error("event {event} in PCR 7 cannot be read as an authority")]
    Unreadable { event: u32 },
    #[error("a bare hash in {variable} admitted an image (event {event})")]
    BareHash { event: u32, variable: String },
    #[error("the log measures no authority")]
    Nobody,
}

/// The certificates that admitted everything that ran.
pub(crate) fn admitted(report: &LogReport) -> Result<Vec<&Authority>, Doubt> {
    if report.format == Some(Format::Ccel) {
        return Err(Doubt::MixedRegisters);
    }
    if report.secure_boot != Some(true) {
        return Err(Doubt::SecureBoot);
    }
    if report.shim_validation_off {
        return Err(Doubt::ShimValidation);
    }
    let mut authorities = Vec::new();
    for entry in of_images(report) {
        match &entry.content {
            Content::Authority(admission) => match &admission.certificate {
                Some(certificate) => authorities.push(certificate),
                None => {
                    let variable = admission.variable.clone();
                    return Err(Doubt::BareHash { event: entry.event, variable });
                }
            },
            Content::Sbat(_) | Content::Settings(_) | Content::Text
                if entry.event_type == EventType::EV_EFI_VARIABLE_AUTHORITY
                    || matches!(entry.content, Content::Text) => {}
            _ => return Err(Doubt::Unreadable { event: entry.event }),
        }
    }
    if authorities.is_empty() { Err(Doubt::Nobody) } else { Ok(authorities) }
}

/// What PCR 7 has after its separator, and before it whatever is not shown to be configuration: firmware that loads option
/// ROMs early measures their authorities there, and the type that a log gives them is in no digest. The separator is known
/// by its digest: one that is shown as something else must not take what follows it along.
pub(crate) fn of_images(report: &LogReport) -> impl Iterator<Item = &Entry> {
    let of = |bank: HashAlg| [bank.hash(&[&[0; 4]]), bank.hash(&[&[0xFF; 4]])];
    let known: Vec<(&BankReport, [Digest; 2])> =
        report.banks.iter().map(|bank| (bank, of(bank.replay.bank))).collect();
    let separates = move |at: usize, entry: &Entry| {
        let is = |(bank, known): &(&BankReport, [Digest; 2])| {
            bank.digests.get(at).copied().flatten().is_some_and(|digest| known.contains(&digest))
        };
        entry.event_type == EventType::EV_SEPARATOR || known.iter().any(is)
    };
    let mut after = false;
    let of_pcr = report.entries.iter().enumerate().filter(|(_, entry)| entry.pcr == SECURE_BOOT_PCR);
    of_pcr
        .filter(move |(at, entry)| {
            let first = !after && separates(*at, entry);
            after |= first;
            !first && (after || !is_configuration(entry))
        })
        .map(|(_, entry)| entry)
}

/// A variable that is no authority, or an action, by data that the digest covers.
fn is_configuration(entry: &Entry) -> bool {
    match &entry.content {
        _ if entry.event_type == EventType::EV_EFI_VARIABLE_AUTHORITY => false,
        Content::Signatures(lists) => SignatureDatabase(lists).is_well_formed(),
        Content::Settings(_) | Content::Text => true,
        _ => false,
    }
}

/// Whether shim held its second stage against an SBAT level: it measured the level before any certificate of its own
/// lists admitted something. shim does so since 15.3, and since then starts nothing itself that has no generations: no
/// kernel and no loader from before that time can take the place of the boot loader.
pub(crate) fn held_against_sbat(report: &LogReport) -> bool {
    for entry in of_images(report) {
        match &entry.content {
            Content::Sbat(_) => return true,
            Content::Authority(admission) if admission.variable == "db" => {}
            Content::Settings(_) | Content::Text => {}
            _ => return false,
        }
    }
    false
}

/// Whether only keys admitted what ran that sign for one owner. Microsoft's sign loaders of everybody, old ones included.
pub(crate) fn own_keys_only(report: &LogReport) -> bool {
    admitted(report).is_ok_and(|all| all.iter().all(|authority| !signs_for_everybody(&authority.sha256)))
}
