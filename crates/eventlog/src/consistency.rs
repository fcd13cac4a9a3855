//! Whether the digest of an event is the digest of its data, for the event types where the specification says so
//! (PC Client Platform Firmware Profile 1.06, table 27; for boot loaders, what they do).

use serde::Serialize;

use crate::decode::ipl::Ipl;
use crate::decode::tagged::Tagged;
use crate::decode::variable::Variable;
use crate::sha256::Batch;
use crate::text::guids;
use crate::{Digest, Event, EventLog, EventType, Format, HashAlg};

/// An event whose digest does not belong to its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DigestMismatch {
    /// Index of the event.
    pub event: u32,
    /// Register.
    pub pcr: u32,
    /// Bank that shows it.
    pub bank: HashAlg,
    /// Digest that the data should give.
    pub expected: Digest,
    /// Digest in the log.
    pub seen: Digest,
    /// Known vendor behaviour that explains it (`docs/quirks.md`); an unexplained mismatch means an edited log.
    pub quirk: Option<&'static str>,
}

/// What the digest of an event is taken over. Several where firmware, boot loaders or versions of the specification
/// differ; the first is what the specification says.
#[derive(Default)]
struct Preimages<'a> {
    options: [Option<&'a [u8]>; 4],
}

impl<'a> Preimages<'a> {
    fn of(options: &[&'a [u8]]) -> Self {
        let mut out = Self::default();
        for (slot, option) in out.options.iter_mut().zip(options) {
            *slot = Some(option);
        }
        out
    }

    fn first(&self) -> Option<&'a [u8]> {
        self.options.iter().flatten().copied().next()
    }

    /// Whether `seen` is the digest of an option after the first.
    fn has_later(&self, bank: HashAlg, seen: &[u8]) -> bool {
        self.options.iter().flatten().skip(1).any(|option| bank.hash(&[option]).as_ref() == seen)
    }
}

/// Holds every event of the last session, for which the digest is defined by the data, against its data, in the
/// first active bank. Digests of other banks are bound to it by the TPM.
pub fn check_digests(log: &EventLog<'_>) -> Vec<DigestMismatch> {
    log.active_banks().first().map(|bank| check_digests_of(log, *bank)).unwrap_or_default()
}

/// The same for a given bank.
pub fn check_digests_of(log: &EventLog<'_>, bank: HashAlg) -> Vec<DigestMismatch> {
    mismatches(log, bank, |_| false)
}

/// The same, but for events of which it is known that their data has their digests.
pub(crate) fn mismatches<'a>(
    log: &EventLog<'a>,
    bank: HashAlg,
    is_known: impl Fn(&Event<'a>) -> bool,
) -> Vec<DigestMismatch> {
    let checks = checks(log, bank, is_known);
    if bank != HashAlg::Sha256 {
        return checks
            .iter()
            .filter_map(|check| check.mismatch(log.format, bank, bank.hash(&[check.measured])))
            .collect();
    }
    let mut batch = Batch::with_capacity(checks.len());
    for check in &checks {
        batch.message(check.measured);
    }
    checks
        .iter()
        .zip(batch.compute())
        .filter_map(|(check, digest)| check.mismatch_of_sha256(log.format, &digest))
        .collect()
}

impl Event<'_> {
    /// Whether its digests of all banks are those of its data, where its type says what they are taken over. An event
    /// without digests has none that is.
    pub fn has_digests_of_data(&self, format: Format) -> bool {
        let preimages = preimages(format, self);
        let Some(first) = preimages.first() else { return false };
        let is_of_data = |(bank, seen): (HashAlg, &[u8])| {
            bank.hash(&[first]).as_ref() == seen || preimages.has_later(bank, seen)
        };
        self.digests.iter().next().is_some() && self.digests.iter().all(is_of_data)
    }
}

/// SHA-256 of four bytes 0, of which every boot has eight.
const SHA256_OF_SEPARATOR: [u8; 32] = [
    0xdf, 0x3f, 0x61, 0x98, 0x04, 0xa9, 0x2f, 0xdb, 0x40, 0x57, 0x19, 0x2d, 0xc4, 0x3d, 0xd7, 0x48, 0xea,
    0x77, 0x8a, 0xdc, 0x52, 0xbc, 0x49, 0x8c, 0xe8, 0x05, 0x24, 0xc0, 0x14, 0xb8, 0x11, 0x19,
];

/// Whether it is the separator that it claims to be.
fn is_separator(event: &Event<'_>, sha256: &[u8]) -> bool {
    event.event_type == EventType::EV_SEPARATOR && event.data == [0; 4] && sha256 == SHA256_OF_SEPARATOR
}

/// An event whose digest is defined by its data, and what the specification says that it is taken over.
pub(crate) struct Check<'l, 'a> {
    event: &'l Event<'a>,
    seen: &'a [u8],
    pub measured: &'a [u8],
}

/// All events to hold against their data in a bank, but those of which it is known that they have its digest.
pub(crate) fn checks<'l, 'a>(
    log: &'l EventLog<'a>,
    bank: HashAlg,
    is_known: impl Fn(&Event<'a>) -> bool,
) -> Vec<Check<'l, 'a>> {
    let session = log.session();
    let mut checks = Vec::with_capacity(session.len());
    checks.extend(session.iter().filter(|event| event.extends()).filter_map(|event| {
        let seen = event.digest(bank)?;
        if (bank == HashAlg::Sha256 && is_separator(event, seen)) || is_known(event) {
            return None;
        }
        Some(Check { event, seen, measured: preimages(log.format, event).first()? })
    }));
    checks
}

impl Check<'_, '_> {
    /// The mismatch, when the digest of the event is neither this one of its data nor that of another form of it.
    pub(crate) fn mismatch_of_sha256(&self, format: Format, of_data: &[u8; 32]) -> Option<DigestMismatch> {
        if self.seen == of_data {
            return None;
        }
        self.mismatch(format, HashAlg::Sha256, Digest::new(of_data)?)
    }

    fn mismatch(&self, format: Format, bank: HashAlg, expected: Digest) -> Option<DigestMismatch> {
        let event = self.event;
        if expected.as_ref() == self.seen || preimages(format, event).has_later(bank, self.seen) {
            return None;
        }
        let quirk = crate::quirks::explains_mismatch(event);
        let seen = Digest::new(self.seen)?;
        Some(DigestMismatch { event: event.index, pcr: event.pcr, bank, expected, seen, quirk })
    }
}

fn preimages<'a>(format: Format, event: &Event<'a>) -> Preimages<'a> {
    let data = event.data;
    match event.event_type {
        // Lenovo firmware of the TPM 1.2 time measured the content alone (quirk `variable-content-only`).
        EventType::EV_EFI_VARIABLE_DRIVER_CONFIG if format == Format::Tcg12 => match Variable::parse(data) {
            Some(variable) => Preimages::of(&[data, variable.data]),
            None => Preimages::of(&[data]),
        },
        EventType::EV_S_CRTM_VERSION
        | EventType::EV_SEPARATOR
        | EventType::EV_EFI_ACTION
        | EventType::EV_ACTION
        | EventType::EV_EFI_GPT_EVENT
        | EventType::EV_EFI_VARIABLE_DRIVER_CONFIG
        | EventType::EV_EFI_HCRTM_EVENT => Preimages::of(&[data]),
        EventType::EV_EFI_VARIABLE_BOOT | EventType::EV_EFI_VARIABLE_BOOT2 => match Variable::parse(data) {
            Some(variable) => Preimages::of(&[variable.data, data]),
            None => Preimages::default(),
        },
        EventType::EV_EFI_VARIABLE_AUTHORITY => authority(data),
        EventType::EV_IPL => ipl(data),
        EventType::EV_EVENT_TAG => match Tagged::parse(data) {
            Tagged::Windows { .. } => Preimages::of(&[data]),
            _ => Preimages::default(),
        },
        _ => Preimages::default(),
    }
}

fn authority(data: &[u8]) -> Preimages<'_> {
    match Variable::parse(data) {
        // Up to the end of the variable: shim logs bytes after it that it does not measure (quirk 11).
        Some(variable) => {
            let measured = data.get(..data.len() - variable.rest.len()).unwrap_or(data);
            // shim before 15.3 logs one byte more than it measures, for variables of any vendor.
            let without_stray = data.split_last().map_or(measured, |(_, head)| head);
            if variable.vendor == guids::SHIM_LOCK {
                Preimages::of(&[measured, data, without_stray, variable.data])
            } else {
                Preimages::of(&[measured, data, without_stray])
            }
        }
        None => Preimages::default(),
    }
}

/// GRUB measures commands and command lines without prefix and NUL; the GRUB of Red Hat and its kin with the NUL.
fn ipl(data: &[u8]) -> Preimages<'_> {
    match Ipl::measured_text(data) {
        Some((text, Some(with_nul))) => Preimages::of(&[text, with_nul]),
        Some((text, None)) => Preimages::of(&[text]),
        None => Preimages::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_a_separator() {
        assert_eq!(HashAlg::Sha256.hash(&[&[0; 4]]).as_ref(), SHA256_OF_SEPARATOR);
    }
}
