//! Whether the digest of an event is the digest of its data, for the event types where the specification says so
//! (PC Client Platform Firmware Profile 1.06, table 27; for boot loaders, what they do).

use serde::Serialize;

use crate::decode::ipl::Ipl;
use crate::decode::tagged::Tagged;
use crate::decode::variable::Variable;
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

    /// The digest that the first option gives, when `seen` is that of none of them.
    fn contradict(&self, bank: HashAlg, seen: &[u8]) -> Option<Digest> {
        let mut expected = None;
        for option in self.options.iter().flatten() {
            let digest = bank.hash(&[option]);
            if digest.as_ref() == seen {
                return None;
            }
            expected.get_or_insert(digest);
        }
        expected
    }
}

/// Holds every event of the last session, for which the digest is defined by the data, against its data, in the
/// first active bank. Digests of other banks are bound to it by the TPM.
pub fn check_digests(log: &EventLog<'_>) -> Vec<DigestMismatch> {
    log.active_banks().first().map(|bank| check_digests_of(log, *bank)).unwrap_or_default()
}

/// The same for a given bank.
pub fn check_digests_of(log: &EventLog<'_>, bank: HashAlg) -> Vec<DigestMismatch> {
    let mismatch = |event: &Event<'_>| {
        let seen = event.digest(bank)?;
        let expected = preimages(log.format, event).contradict(bank, seen)?;
        let quirk = crate::quirks::explains_mismatch(event);
        Some(DigestMismatch {
            event: event.index,
            pcr: event.pcr,
            bank,
            expected,
            seen: Digest::new(seen)?,
            quirk,
        })
    };
    log.session().iter().filter(|event| event.extends()).filter_map(mismatch).collect()
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
