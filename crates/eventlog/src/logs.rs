//! All logs of one boot together: firmware first, then user space, then IMA.
//!
//! Firmware explains PCR 0 to 9 and what systemd-stub measured into PCR 11 to 13; systemd extends PCR 11 and 15 later,
//! IMA extends PCR 10. Only together do they explain registers that were quoted from a running system.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use crate::ima::{self, BootAggregate, Extend, ImaList};
use crate::limits::MAX_WARNINGS;
use crate::linux::linux_release;
use crate::userspace::{self, UserSpaceLog};
use crate::{Digest, EventLog, HashAlg, PCR_COUNT, Registers, Warning, replay};

/// What some bytes are, by their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogKind {
    /// A log of the firmware, or nothing that is known: [`crate::parse`] says which.
    Firmware,
    /// A measurement list of Linux IMA, binary or ASCII: [`ima::parse`].
    Ima,
    /// Records of user space: [`userspace::parse`].
    UserSpace,
}

impl LogKind {
    /// The word for it: `firmware`, `ima`, `user-space`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firmware => "firmware",
            Self::Ima => "ima",
            Self::UserSpace => "user-space",
        }
    }
}

impl Serialize for LogKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Which reader these bytes are for. Looks at the first bytes only.
pub fn recognise(bytes: &[u8]) -> LogKind {
    // A firmware log starts with PCR and type, both far below the values that text gives.
    let start = bytes.get(..bytes.len().min(8_192)).unwrap_or_default();
    if userspace::looks_like(start) {
        LogKind::UserSpace
    } else if ima::looks_like(start) {
        LogKind::Ima
    } else {
        LogKind::Firmware
    }
}

/// The logs of one boot; each may be absent.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootLogs<'l, 'a> {
    /// Log of the firmware and of what it started.
    pub firmware: Option<&'l EventLog<'a>>,
    /// What systemd measured.
    pub user_space: Option<&'l UserSpaceLog<'a>>,
    /// What IMA measured.
    pub ima: Option<&'l ImaList<'a>>,
}

/// The registers of one bank after all logs.
#[derive(Clone, Debug)]
pub struct CombinedReplay {
    /// The bank.
    pub bank: HashAlg,
    /// Every register, with its value after all logs.
    pub pcrs: BTreeMap<u32, Digest>,
    /// Who extended each register; registers that nobody extended are not in it.
    pub extended: BTreeMap<u32, BTreeSet<LogKind>>,
    /// What IMA's first entry says about the registers of the boot; `None` without a list.
    pub boot_aggregate: Option<BootAggregate>,
    /// Entries that IMA marked as violations.
    pub violations: usize,
    /// What was unusual in the replay, in log order.
    pub warnings: Vec<Warning>,
}

impl BootLogs<'_, '_> {
    /// Banks worth replaying: those that firmware extends; without its log those of user space; without that SHA-1
    /// and SHA-256.
    pub fn banks(&self) -> Vec<HashAlg> {
        if let Some(banks) = self.firmware.map(EventLog::active_banks).filter(|banks| !banks.is_empty()) {
            return banks;
        }
        let records = self.user_space.map(|log| log.records.as_slice()).unwrap_or_default();
        let named: BTreeSet<HashAlg> =
            records.iter().flat_map(|r| r.digests.iter().map(|(alg, _)| *alg)).collect();
        if !named.is_empty() {
            return named.into_iter().collect();
        }
        let shown = self.ima.map_or(HashAlg::Sha1, |list| list.digest_alg);
        BTreeSet::from([HashAlg::Sha1, HashAlg::Sha256, shown]).into_iter().collect()
    }

    /// Replays all logs into one bank.
    pub fn replay(&self, bank: HashAlg) -> CombinedReplay {
        let mut out = CombinedReplay {
            bank,
            pcrs: (0..PCR_COUNT).map(|pcr| (pcr, reset_value(bank, pcr))).collect(),
            extended: BTreeMap::new(),
            boot_aggregate: None,
            violations: 0,
            warnings: Vec::new(),
        };
        if let Some(log) = self.firmware {
            let replayed = replay(log, bank);
            out.pcrs = replayed.pcrs.into_iter().collect();
            for pcr in replayed.extended {
                out.extended.entry(pcr).or_default().insert(LogKind::Firmware);
            }
            out.warnings.extend(replayed.warnings);
        }
        if let Some(log) = self.user_space {
            out.user_space(log);
        }
        if let Some(list) = self.ima {
            out.ima(list, self.ima_extends());
            out.boot_aggregate = Some(self.boot_aggregate(list));
        }
        out.warnings.truncate(4 * MAX_WARNINGS);
        out
    }

    /// Linux before 5.8, where firmware's log names it, pads the SHA-1 digest for other banks.
    pub fn ima_extends(&self) -> Extend {
        match self.firmware.and_then(linux_release) {
            Some(release) if !release.is_recent() => Extend::PaddedSha1,
            _ => Extend::OwnDigest,
        }
    }

    fn boot_aggregate(&self, list: &ImaList<'_>) -> BootAggregate {
        let Some(log) = self.firmware else { return ima::check_boot_aggregate(list, |_, _| None) };
        let mut replays: BTreeMap<HashAlg, Registers> = BTreeMap::new();
        for bank in log.active_banks() {
            replays.insert(bank, replay(log, bank).pcrs);
        }
        ima::check_boot_aggregate(list, |bank, pcr| replays.get(&bank)?.get(&pcr).copied())
    }
}

impl CombinedReplay {
    fn user_space(&mut self, log: &UserSpaceLog<'_>) {
        let bank = self.bank;
        for record in &log.records {
            let Some(pcr) = record.pcr else { continue };
            let at =
                |code, message| Warning { code, event: Some(record.index), offset: record.offset, message };
            let Some(register) = self.pcrs.get_mut(&pcr) else {
                let message =
                    format!("a record of user space for register {pcr}, which does not exist; not replayed");
                if self.warnings.len() < 2 * MAX_WARNINGS {
                    self.warnings.push(at("pcr-out-of-range", message));
                }
                continue;
            };
            match record.digest(bank) {
                Some(digest) => {
                    *register = bank.extend(register, digest.as_ref());
                    self.extended.entry(pcr).or_default().insert(LogKind::UserSpace);
                }
                None if self.warnings.len() < 2 * MAX_WARNINGS => {
                    let message = format!("a record of user space for register {pcr} has no {bank} digest");
                    self.warnings.push(at("digest-missing", message));
                }
                None => {}
            }
        }
    }

    fn ima(&mut self, list: &ImaList<'_>, extend: Extend) {
        let replayed = ima::replay(list, self.bank, extend, |pcr| self.pcrs.get(&pcr).copied());
        self.violations = replayed.violations;
        self.warnings.extend(replayed.warnings);
        for (pcr, value) in replayed.pcrs {
            let by = self.extended.entry(pcr).or_default();
            if by.contains(&LogKind::UserSpace) {
                self.warnings.push(Warning {
                    code: "order-unknown",
                    event: None,
                    offset: 0,
                    message: format!(
                        "user space and IMA both extended register {pcr}; in which order is not known, so its value \
                         here may not be the right one"
                    ),
                });
            }
            by.insert(LogKind::Ima);
            self.pcrs.insert(pcr, value);
        }
    }
}

fn reset_value(bank: HashAlg, pcr: u32) -> Digest {
    match pcr {
        17..=22 => Digest::repeat(0xFF, bank.size()),
        _ => Digest::zero(bank),
    }
}
