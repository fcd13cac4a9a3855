//! All that a log must be hashed for, in one go.

use crate::consistency::{Check, DigestMismatch, checks, mismatches};
use crate::replay::{Plan, Replay, replay};
use crate::sha256::Batch;
use crate::{Digest, Event, EventLog, HashAlg};

/// Digest, replay and digest checks of a log.
#[derive(Clone, Debug)]
pub struct Hashes {
    /// SHA-256 over the bytes of the log.
    pub sha256: Digest,
    /// Replay of each active bank, in header order.
    pub replays: Vec<Replay>,
    /// Events whose digest does not belong to their data, in each active bank after the other.
    pub mismatches: Vec<DigestMismatch>,
}

/// What SHA-256 over `bytes`, [`replay`] and [`crate::check_digests_of`] give for all active banks of `log`, which was read from
/// `bytes`. Faster than the three, one after the other: what is hashed with SHA-256 is hashed two at a time.
pub fn hashes(bytes: &[u8], log: &EventLog<'_>) -> Hashes {
    hashes_knowing(bytes, log, None, |_| false)
}

/// [`hashes`], when the caller has computed SHA-256 over the bytes before, or knows of some events that their data has their
/// digests in every bank: it has seen the same bytes of data and of digests under the same type, and there was no mismatch.
pub fn hashes_knowing<'a>(
    bytes: &[u8],
    log: &EventLog<'a>,
    sha256: Option<Digest>,
    is_known: impl Fn(&Event<'a>) -> bool,
) -> Hashes {
    let banks = log.active_banks();
    if !banks.contains(&HashAlg::Sha256) {
        return Hashes {
            sha256: sha256.unwrap_or_else(|| HashAlg::Sha256.hash(&[bytes])),
            replays: banks.iter().map(|bank| replay(log, *bank)).collect(),
            mismatches: banks.iter().flat_map(|bank| mismatches(log, *bank, &is_known)).collect(),
        };
    }
    let plan = Plan::of(log, HashAlg::Sha256);
    let digests = plan.sha256();
    let chains = plan.chains(&digests);
    let checks = checks(log, HashAlg::Sha256, &is_known);
    let mut batch = Batch::with_capacity(1 + chains.len() + checks.len());
    if sha256.is_none() {
        batch.message(bytes);
    }
    for chain in &chains {
        chain.add_to(&mut batch);
    }
    for check in &checks {
        batch.message(check.measured);
    }
    let mut results = batch.compute().into_iter();

    let sha256 = sha256.or_else(|| results.next().and_then(|sha256| Digest::new(&sha256)));
    let values: Vec<(u8, [u8; 32])> = chains.iter().map(|chain| chain.slot).zip(results.by_ref()).collect();
    let mut of_sha256 = Some(plan.finish(&values));
    let mut hashes = Hashes {
        sha256: sha256.unwrap_or_else(|| HashAlg::Sha256.hash(&[bytes])),
        replays: Vec::with_capacity(banks.len()),
        mismatches: Vec::new(),
    };
    for bank in banks {
        match of_sha256.take_if(|replay| replay.bank == bank) {
            Some(replay) => {
                hashes.replays.push(replay);
                let mismatch = |(check, of_data): (&Check<'_, '_>, [u8; 32])| {
                    check.mismatch_of_sha256(log.format, &of_data)
                };
                hashes.mismatches.extend(checks.iter().zip(results.by_ref()).filter_map(mismatch));
            }
            None => {
                hashes.replays.push(replay(log, bank));
                hashes.mismatches.extend(mismatches(log, bank, &is_known));
            }
        }
    }
    hashes
}
