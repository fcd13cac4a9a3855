//! PCR 10 of a Linux kernel: before anything else, IMA extends it with the digest of the boot PCRs, its
//! `boot_aggregate` (Linux, security/integrity/ima/ima_init.c).
//!
//! No firmware log holds this event, but the log determines it. A kernel whose policy measures nothing else leaves PCR
//! 10 at exactly this value.

use crate::linux::linux_release;
use crate::{Digest, EventLog, HashAlg, Replay, replay};

use super::PCR_IMA;

/// What PCR 10 holds after the kernel's `boot_aggregate`, for a log that shows Linux taking over from the firmware and
/// does not touch PCR 10. It is a prediction: a kernel without IMA leaves 0, one with a policy extends further.
pub fn ima_boot_aggregate(log: &EventLog<'_>, replayed: &Replay) -> Option<Digest> {
    if !replayed.active || replayed.extended.contains(&PCR_IMA) {
        return None;
    }
    let release = linux_release(log)?;
    let banks = log.active_banks();
    let (alg, upto) = match banks.contains(&HashAlg::Sha256) {
        true => (HashAlg::Sha256, 10),
        false => (HashAlg::Sha1, 8),
    };
    let source = if replayed.bank == alg { None } else { Some(replay(log, alg)) };
    let source = source.as_ref().unwrap_or(replayed);
    if !source.active {
        return None;
    }
    let values: Vec<&[u8]> = (0..upto).filter_map(|pcr| source.pcrs.get(&pcr)).map(AsRef::as_ref).collect();
    let aggregate = alg.hash(&values);

    // Templates `ima-ng` (d-ng, n-ng) and `ima-sig` (and an empty signature), each field after its length in
    // little-endian. The second is what Debian and Red Hat build today's kernels with.
    let mut digest = Vec::with_capacity(48);
    digest.extend_from_slice(alg.name().as_bytes());
    digest.extend_from_slice(b":\0");
    digest.extend_from_slice(aggregate.as_ref());
    let name = b"boot_aggregate\0";
    let lengths =
        [u32::try_from(digest.len()).ok()?.to_le_bytes(), u32::try_from(name.len()).ok()?.to_le_bytes()];
    let [digest_len, name_len] = &lengths;
    let signature: &[u8] = if release.is_recent() { &[0; 4] } else { &[] };
    let template: [&[u8]; 5] = [digest_len, &digest, name_len, name, signature];

    // Kernels before 5.8 extend every bank with the SHA-1 digest, padded with zero bytes.
    let extend = if release.is_recent() {
        replayed.bank.hash(&template)
    } else {
        let short = HashAlg::Sha1.hash(&template);
        let mut padded = [0_u8; Digest::MAX];
        padded.iter_mut().zip(short.as_ref()).for_each(|(to, from)| *to = *from);
        Digest::new(padded.get(..replayed.bank.size())?)?
    };
    Some(replayed.bank.extend(replayed.pcrs.get(&PCR_IMA)?, extend.as_ref()))
}
