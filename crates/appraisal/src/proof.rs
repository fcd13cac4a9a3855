//! Which registers of a log a quote proves.
//!
//! The quote signs one digest over all selected PCRs. Replaying the log gives the values that the PCRs should have;
//! when these give the signed digest, every selected PCR is proven at once. When they do not, the PCR values that the
//! agent sent beside the quote help, but only if they themselves give the signed digest: then they are as good as
//! signed, and each PCR is compared by itself. Without such values nothing is proven and no PCR can be named.

use std::collections::BTreeMap;

use veriboot_eventlog::{Digest, HashAlg};
use veriboot_tpm::{Quote, alg};

use crate::report::{BankReport, LogReport};

/// PCR values by bank name and index, hex: what the agent sent beside the quote. Never believed by themselves.
pub type PcrValues = BTreeMap<String, BTreeMap<u32, String>>;

/// PCR of the ExitBootServices events.
const EXIT_PCR: u32 = 5;
/// PCR of the boot phases that systemd measures.
const PHASE_PCR: u32 = 11;
/// The words that systemd-pcrphase extends PCR 11 with, in the order of a boot (systemd-pcrphase.service(8)). With
/// and without an initrd that measures; a machine may be attested between any two of them.
const PHASES: &[&[&str]] = &[
    &["enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"],
    &["sysinit", "ready", "shutdown", "final"],
];

/// What a quote proves about a log.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// Registers whose quoted value is exactly what the log says, with known suffixes; in signed order.
    pub proven: Vec<(HashAlg, u32)>,
    /// Registers whose quoted value is known and another.
    pub differing: Vec<Differing>,
    /// The signed digest could not be reached, and no authentic values say which PCR it is.
    pub unnamed: Option<Unnamed>,
    /// Quoted banks that the log does not extend.
    pub banks_missing: Vec<String>,
    /// PCR 5 holds the ExitBootServices events that the log lacks.
    pub exit_boot_services_added: bool,
    /// Boot phases that PCR 11 holds beside the log.
    pub phases: Vec<&'static str>,
}

/// A register that is not what the log says.
#[derive(Debug)]
pub(crate) struct Differing {
    pub pcr: u32,
    pub replayed: Option<Digest>,
    pub quoted: Digest,
}

/// Why differing PCRs cannot be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unnamed {
    /// No PCR values, or not all that are quoted, came with the quote.
    NoValues,
    /// PCR values came, but they are not those that the TPM signed.
    ForeignValues,
}

/// Values that a register can have when the log is the whole truth, the plain replay first.
struct Candidates {
    pcr: u32,
    bank: HashAlg,
    values: Vec<(Digest, Suffix)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suffix {
    None,
    ExitBootServices,
    Phases(&'static [&'static str]),
}

pub(crate) fn prove(quote: &Quote, log: &LogReport, values: Option<&PcrValues>) -> Proof {
    let mut proof = Proof { banks_missing: banks_missing(quote, log), ..Proof::default() };
    let replayed = |id: u16, pcr: u8| replayed(log, HashAlg::from_tpm_id(id)?, u32::from(pcr));
    if quote.pcr_digest_matches(replayed) {
        proof.proven =
            selected(quote).filter_map(|(id, pcr)| Some((HashAlg::from_tpm_id(id)?, pcr))).collect();
        return proof;
    }
    let authentic = values
        .map(decode)
        .filter(|values| quote.pcr_digest_matches(|id, pcr| values.get(&(id, u32::from(pcr))).copied()));
    match authentic {
        Some(authentic) => compare(&mut proof, quote, log, &authentic),
        None if match_with_suffixes(&mut proof, quote, log) => {}
        None => {
            let any = values.is_some_and(|v| v.values().any(|bank| !bank.is_empty()));
            proof.unnamed = Some(if any { Unnamed::ForeignValues } else { Unnamed::NoValues });
        }
    }
    proof
}

/// Registers of the signed selection, in signed order.
pub(crate) fn selected(quote: &Quote) -> impl Iterator<Item = (u16, u32)> {
    quote.selections.iter().flat_map(|s| s.pcrs.iter().map(|pcr| (s.alg, u32::from(pcr))))
}

fn banks_missing(quote: &Quote, log: &LogReport) -> Vec<String> {
    quote
        .selections
        .iter()
        .filter(|s| !s.pcrs.is_empty())
        .filter(|s| HashAlg::from_tpm_id(s.alg).and_then(|bank| log.bank(bank)).is_none())
        .map(|s| alg::bank_name(s.alg).map_or_else(|| format!("0x{:04x}", s.alg), str::to_owned))
        .collect()
}

fn replayed(log: &LogReport, bank: HashAlg, pcr: u32) -> Option<Digest> {
    log.bank(bank)?.replay.pcrs.get(&pcr).copied()
}

/// Values that are hex of the right size; everything else counts as not sent.
fn decode(values: &PcrValues) -> BTreeMap<(u16, u32), Digest> {
    let banks = [alg::SHA1, alg::SHA256, alg::SHA384, alg::SHA512, alg::SM3_256, 0x0027, 0x0028, 0x0029];
    let mut decoded = BTreeMap::new();
    for id in banks {
        let Some(bank) = alg::bank_name(id).and_then(|name| values.get(name)) else { continue };
        for (pcr, hex) in bank.range(0..32) {
            if let Some(digest) = Digest::from_hex(hex) {
                decoded.insert((id, *pcr), digest);
            }
        }
    }
    decoded
}

fn compare(proof: &mut Proof, quote: &Quote, log: &LogReport, authentic: &BTreeMap<(u16, u32), Digest>) {
    for (id, pcr) in selected(quote) {
        let Some(quoted) = authentic.get(&(id, pcr)).copied() else { continue };
        let bank = HashAlg::from_tpm_id(id).and_then(|bank| Some((bank, log.bank(bank)?)));
        // A bank that the log does not extend is its own finding; nothing can be said about its registers.
        let Some((bank, bank_report)) = bank else { continue };
        let candidates = candidates(bank, bank_report, pcr);
        match candidates.values.iter().find(|(value, _)| *value == quoted) {
            Some((_, suffix)) => {
                proof.proven.push((bank, pcr));
                proof.note(*suffix);
            }
            None => proof.differing.push(Differing {
                pcr,
                replayed: bank_report.replay.pcrs.get(&pcr).copied(),
                quoted,
            }),
        }
    }
}

/// Without authentic values: whether the digest is reached when PCR 5 and PCR 11 have a known suffix in every bank.
fn match_with_suffixes(proof: &mut Proof, quote: &Quote, log: &LogReport) -> bool {
    let phase_prefixes = std::iter::once(Suffix::None).chain(phase_prefixes().map(Suffix::Phases));
    for phases in phase_prefixes {
        for exit in [Suffix::None, Suffix::ExitBootServices] {
            let value = |id: u16, pcr: u8| {
                let (bank, pcr) = (HashAlg::from_tpm_id(id)?, u32::from(pcr));
                let wanted = match pcr {
                    EXIT_PCR => exit,
                    PHASE_PCR => phases,
                    _ => Suffix::None,
                };
                let candidates = candidates(bank, log.bank(bank)?, pcr);
                candidates.values.iter().find(|(_, suffix)| *suffix == wanted).map(|(value, _)| *value)
            };
            if quote.pcr_digest_matches(value) {
                proof.proven =
                    selected(quote).filter_map(|(id, pcr)| Some((HashAlg::from_tpm_id(id)?, pcr))).collect();
                proof.note(exit);
                proof.note(phases);
                return true;
            }
        }
    }
    false
}

impl Proof {
    fn note(&mut self, suffix: Suffix) {
        match suffix {
            Suffix::None => {}
            Suffix::ExitBootServices => self.exit_boot_services_added = true,
            Suffix::Phases(words) => self.phases = words.to_vec(),
        }
    }
}

fn phase_prefixes() -> impl Iterator<Item = &'static [&'static str]> {
    PHASES.iter().flat_map(|path| (1..=path.len()).filter_map(|n| path.get(..n)))
}

fn candidates(bank: HashAlg, report: &BankReport, pcr: u32) -> Candidates {
    let mut candidates = Candidates { pcr, bank, values: Vec::new() };
    let Some(plain) = report.replay.pcrs.get(&pcr).copied() else { return candidates };
    candidates.values.push((plain, Suffix::None));
    if let Some(value) = report.pcr5_after_exit.filter(|_| pcr == EXIT_PCR) {
        candidates.values.push((value, Suffix::ExitBootServices));
    }
    candidates.add_phases(plain);
    candidates
}

impl Candidates {
    fn add_phases(&mut self, plain: Digest) {
        if self.pcr != PHASE_PCR {
            return;
        }
        for words in phase_prefixes() {
            let value = words.iter().fold(plain, |value, word| {
                self.bank.extend(&value, self.bank.hash(&[word.as_bytes()]).as_ref())
            });
            self.values.push((value, Suffix::Phases(words)));
        }
    }
}
