//! What the PCRs must hold when exactly the events of a log were extended.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Digest, Event, EventLog, EventType, Format, HashAlg, Warning};

/// Registers that software can read from a TPM of the PC Client profile.
pub const PCR_COUNT: u32 = 24;
/// PCRs that only a dynamic launch resets to zero; 0xFF… before (PC Client Platform TPM Profile 1.06, table 5).
const DYNAMIC_PCRS: std::ops::RangeInclusive<u32> = 17..=22;
/// Registers of a confidential VM: RTMR 0 to 3.
const CONFIDENTIAL_REGISTERS: std::ops::RangeInclusive<u32> = 1..=4;
/// Signature of the EV_NO_ACTION event that gives the locality of TPM2_Startup.
const STARTUP_LOCALITY: &[u8] = b"StartupLocality\0";

/// The registers of one bank after replay.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The bank.
    pub bank: HashAlg,
    /// Value of every register: PCR 0 to 23, or 1 to 4 for a confidential VM. Registers that the log does not touch
    /// have their reset value.
    pub pcrs: BTreeMap<u32, Digest>,
    /// Registers that the log extends.
    pub extended: BTreeSet<u32>,
    /// Whether the log extends this bank at all. An inactive bank says nothing and must not be compared.
    pub active: bool,
    /// Locality of TPM2_Startup, where the log has it (quirk 2: 3 starts PCR 0 at 0x00…03).
    pub startup_locality: Option<u8>,
    /// What was unusual for this bank.
    pub warnings: Vec<Warning>,
}

impl Replay {
    /// Value of PCR 5 if the two ExitBootServices events happened after the log was saved (quirk 7), when PCR 5 was
    /// extended and the log has no such event.
    pub fn pcr5_with_exit_boot_services(&self, log: &EventLog<'_>) -> Option<Digest> {
        if !self.extended.contains(&5) || log.session().iter().any(is_exit_boot_services) {
            return None;
        }
        let mut value = *self.pcrs.get(&5)?;
        for action in [EXIT_BOOT_SERVICES_INVOCATION, EXIT_BOOT_SERVICES_SUCCESS] {
            value = self.bank.extend(&value, self.bank.hash(&[action]).as_ref());
        }
        Some(value)
    }
}

pub(crate) const EXIT_BOOT_SERVICES_INVOCATION: &[u8] = b"Exit Boot Services Invocation";
pub(crate) const EXIT_BOOT_SERVICES_SUCCESS: &[u8] = b"Exit Boot Services Returned with Success";

fn is_exit_boot_services(event: &Event<'_>) -> bool {
    event.event_type == EventType::EV_EFI_ACTION && event.data.starts_with(EXIT_BOOT_SERVICES_INVOCATION)
}

impl<'a> EventLog<'a> {
    /// The events of the last session: those that explain the registers.
    pub fn session(&self) -> &[Event<'a>] {
        self.events.get(self.session_start..).unwrap_or_default()
    }

    /// Banks that events of the last session carry digests for, in header order, each with its replay.
    pub fn active_banks(&self) -> Vec<HashAlg> {
        self.banks.iter().copied().filter(|bank| is_active(self, *bank)).collect()
    }
}

fn is_active(log: &EventLog<'_>, bank: HashAlg) -> bool {
    log.session().iter().any(|event| event.extends() && event.digest(bank).is_some())
}

/// Replays the last session of a log into one bank.
///
/// Not replayed: EV_NO_ACTION, PCR index 0xFFFFFFFF, and indices that the profile does not have; the last are warned
/// about. An extending event without a digest for an active bank is warned about as well: the bank cannot match.
pub fn replay(log: &EventLog<'_>, bank: HashAlg) -> Replay {
    let active = is_active(log, bank);
    let mut warnings = Vec::new();
    if !active {
        warnings.push(Warning::at(
            "inactive-bank",
            None,
            format!("the log names the {bank} bank and never extends it; it is not compared"),
        ));
    }
    let startup_locality = startup_locality(log);
    let mut registers = reset_values(log, bank, startup_locality);
    let mut touched = [false; 32];
    for event in log.session().iter().filter(|event| event.extends()) {
        let slot = usize::try_from(event.pcr).unwrap_or(usize::MAX);
        let Some((register, touched)) =
            registers.get_mut(slot).and_then(Option::as_mut).zip(touched.get_mut(slot))
        else {
            if warnings.len() < crate::limits::MAX_WARNINGS {
                warnings.push(Warning::at(
                    "pcr-out-of-range",
                    Some(event),
                    format!("an event for register {}, which does not exist; not replayed", event.pcr),
                ));
            }
            continue;
        };
        match event.digest(bank) {
            Some(digest) => {
                *register = bank.extend(register, digest);
                *touched = true;
            }
            None if active && warnings.len() < crate::limits::MAX_WARNINGS => warnings.push(Warning::at(
                "digest-missing",
                Some(event),
                format!("an event for register {} has no {bank} digest", event.pcr),
            )),
            None => {}
        }
    }
    Replay {
        bank,
        pcrs: (0..).zip(registers).filter_map(|(i, value)| Some((i, value?))).collect(),
        extended: (0..).zip(touched).filter(|(_, touched)| *touched).map(|(i, _)| i).collect(),
        active,
        startup_locality,
        warnings,
    }
}

fn reset_values(log: &EventLog<'_>, bank: HashAlg, locality: Option<u8>) -> [Option<Digest>; 32] {
    let mut registers = [None; 32];
    let zero = Digest::zero(bank);
    let dynamic_launch = log.session().iter().any(|e| e.extends() && DYNAMIC_PCRS.contains(&e.pcr));
    for (index, register) in (0_u32..).zip(registers.iter_mut()) {
        *register = match log.format {
            Format::Ccel => CONFIDENTIAL_REGISTERS.contains(&index).then_some(zero),
            Format::Tcg12 | Format::Tcg2 if index >= PCR_COUNT => None,
            Format::Tcg12 | Format::Tcg2 if DYNAMIC_PCRS.contains(&index) && !dynamic_launch => {
                Some(Digest::repeat(0xFF, bank.size()))
            }
            Format::Tcg12 | Format::Tcg2 if index == 0 => Some(zero.with_last(locality.unwrap_or(0))),
            Format::Tcg12 | Format::Tcg2 => Some(zero),
        };
    }
    registers
}

/// Locality of TPM2_Startup, from the EV_NO_ACTION event (PC Client Platform Firmware Profile 1.06, section 10.4.5.3).
/// Values other than 0, 3 and 4 do not exist; they are ignored. An H-CRTM measures at locality 4.
pub(crate) fn startup_locality(log: &EventLog<'_>) -> Option<u8> {
    log.session().iter().find_map(|e| match e.event_type {
        EventType::EV_NO_ACTION => {
            let locality = *e.data.strip_prefix(STARTUP_LOCALITY)?.first()?;
            matches!(locality, 0 | 3 | 4).then_some(locality)
        }
        EventType::EV_EFI_HCRTM_EVENT => Some(4),
        _ => None,
    })
}
