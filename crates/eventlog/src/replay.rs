//! What the PCRs must hold when exactly the events of a log were extended.

use std::collections::BTreeSet;

use crate::sha256::Batch;
use crate::{Digest, Event, EventLog, EventType, Format, HashAlg, Registers, Warning};

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
    pub pcrs: Registers,
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
    let plan = Plan::of(log, bank);
    if bank != HashAlg::Sha256 {
        return plan.one_by_one();
    }
    let digests = plan.sha256();
    let chains = plan.chains(&digests);
    let mut batch = Batch::with_capacity(chains.len());
    for chain in &chains {
        chain.add_to(&mut batch);
    }
    let values: Vec<(u8, [u8; 32])> = chains.iter().map(|chain| chain.slot).zip(batch.compute()).collect();
    plan.finish(&values)
}

/// Everything of a replay but the hashing.
pub(crate) struct Plan<'a> {
    bank: HashAlg,
    active: bool,
    startup_locality: Option<u8>,
    resets: Resets,
    /// The register and the digest of each extend, in log order.
    extends: Vec<(u8, &'a [u8])>,
    warnings: Vec<Warning>,
}

/// Registers that an index can name.
const SLOTS: usize = 32;
/// Registers that a log has at most.
const REGISTERS: usize = 24;

/// Digests of the SHA-256 bank, those of one register after those of another.
pub(crate) struct ByRegister<'a> {
    digests: Vec<&'a [u8; 32]>,
    /// Where those of a register end.
    ends: [usize; SLOTS],
}

/// The extends of one register of the SHA-256 bank.
pub(crate) struct Chain<'d, 'a> {
    pub slot: u8,
    start: [u8; 32],
    digests: &'d [&'a [u8; 32]],
}

impl Chain<'_, '_> {
    pub(crate) fn add_to<'t>(&'t self, batch: &mut Batch<'t>) {
        batch.register(&self.start, self.digests);
    }
}

impl<'a> Plan<'a> {
    pub(crate) fn of(log: &EventLog<'a>, bank: HashAlg) -> Self {
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
        let resets = Resets::of(log, bank, startup_locality);
        let mut extends = Vec::with_capacity(log.session().len());
        for event in log.session().iter().filter(|event| event.extends()) {
            let Some(slot) = u8::try_from(event.pcr).ok().filter(|slot| resets.exists(*slot)) else {
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
                Some(digest) => extends.push((slot, digest)),
                None if active && warnings.len() < crate::limits::MAX_WARNINGS => warnings.push(Warning::at(
                    "digest-missing",
                    Some(event),
                    format!("an event for register {} has no {bank} digest", event.pcr),
                )),
                None => {}
            }
        }
        Self { bank, active, startup_locality, resets, extends, warnings }
    }

    /// Extends in log order.
    pub(crate) fn one_by_one(self) -> Replay {
        let mut values = [None; SLOTS];
        for (slot, digest) in &self.extends {
            if let Some(value) = values.get_mut(usize::from(*slot)) {
                let before = value.or_else(|| self.resets.value(*slot));
                *value = before.map(|before| self.bank.extend(&before, digest));
            }
        }
        self.replayed(|slot| values.get(usize::from(slot)).copied().flatten())
    }

    /// The digests of a plan for the SHA-256 bank, by register.
    pub(crate) fn sha256(&self) -> ByRegister<'a> {
        let mut ends = [0; SLOTS];
        for (slot, _) in &self.extends {
            if let Some(count) = ends.get_mut(usize::from(*slot)) {
                *count += 1;
            }
        }
        // From counts to where each register starts; putting the digests in their places moves that to where it ends.
        let mut before = 0;
        for end in &mut ends {
            before += std::mem::replace(end, before);
        }
        const NOTHING: [u8; 32] = [0; 32];
        let mut digests = vec![&NOTHING; before];
        for (slot, digest) in &self.extends {
            if let Some(end) = ends.get_mut(usize::from(*slot))
                && let (Some(place), Some(digest)) = (digests.get_mut(*end), digest.first_chunk())
            {
                *place = digest;
                *end += 1;
            }
        }
        ByRegister { digests, ends }
    }

    /// What is to be computed for each register that is extended, longest first.
    pub(crate) fn chains<'d>(&self, by_register: &'d ByRegister<'a>) -> Vec<Chain<'d, 'a>> {
        let mut start = 0;
        let of_slot = |(slot, end): (u8, &usize)| {
            let digests = by_register.digests.get(start..*end).unwrap_or_default();
            start = *end;
            if digests.is_empty() {
                return None;
            }
            Some(Chain { slot, start: *self.resets.value(slot)?.as_ref().first_chunk()?, digests })
        };
        let mut chains: Vec<Chain<'_, '_>> = (0..).zip(&by_register.ends).filter_map(of_slot).collect();
        chains.sort_by_key(|chain| std::cmp::Reverse(chain.digests.len()));
        chains
    }

    /// The replay with the values of the registers that are extended.
    pub(crate) fn finish(self, extended: &[(u8, [u8; 32])]) -> Replay {
        self.replayed(|slot| {
            let (_, value) = extended.iter().find(|(of, _)| *of == slot)?;
            Digest::new(value)
        })
    }

    /// The replay, given the value of each register that is extended.
    fn replayed(self, extended: impl Fn(u8) -> Option<Digest>) -> Replay {
        let touched = self.extends.iter().fold(0_u32, |all, (slot, _)| all | (1 << (slot & 31)));
        let is_touched = |slot: &u8| touched & (1 << (slot & 31)) != 0;
        let value = |slot: u8| {
            let value = Some(slot).filter(is_touched).and_then(&extended);
            Some((u32::from(slot), value.or_else(|| self.resets.value(slot))?))
        };
        Replay {
            bank: self.bank,
            pcrs: Registers::rising((0..).take(SLOTS).filter_map(value), REGISTERS),
            extended: (0..).take(SLOTS).filter(is_touched).map(u32::from).collect(),
            active: self.active,
            startup_locality: self.startup_locality,
            warnings: self.warnings,
        }
    }
}

/// Which registers there are, and what they hold before the first extend.
#[derive(Clone, Copy)]
struct Resets {
    format: Format,
    bank: HashAlg,
    locality: u8,
    dynamic_launch: bool,
}

impl Resets {
    fn of(log: &EventLog<'_>, bank: HashAlg, locality: Option<u8>) -> Self {
        let dynamic_launch = log.session().iter().any(|e| e.extends() && DYNAMIC_PCRS.contains(&e.pcr));
        Self { format: log.format, bank, locality: locality.unwrap_or(0), dynamic_launch }
    }

    fn exists(&self, slot: u8) -> bool {
        match self.format {
            Format::Ccel => CONFIDENTIAL_REGISTERS.contains(&u32::from(slot)),
            Format::Tcg12 | Format::Tcg2 => u32::from(slot) < PCR_COUNT,
        }
    }

    fn value(&self, slot: u8) -> Option<Digest> {
        if !self.exists(slot) {
            return None;
        }
        let zero = Digest::zero(self.bank);
        Some(match (self.format, slot) {
            (Format::Ccel, _) => zero,
            (_, 0) => zero.with_last(self.locality),
            (_, slot) if DYNAMIC_PCRS.contains(&u32::from(slot)) && !self.dynamic_launch => {
                Digest::repeat(0xFF, self.bank.size())
            }
            _ => zero,
        })
    }
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
