//! Which challenges are answered, and with which PCR bank.

use veriboot_wire::Challenge;

use crate::error::AgentError;
use crate::text::printable;
use crate::tpm::{NONCE_BYTES, PcrBank, QUOTABLE_PCRS, TpmError};

/// The challenge as the TPM takes it, when it is one of the protocol: 32 bytes over PCRs 0 to 15. Anything else would
/// make the AK sign what some other verifier asked.
pub(crate) fn answerable(challenge: &Challenge) -> Result<([u8; NONCE_BYTES], Vec<u8>), AgentError> {
    let refused = |reason: String| AgentError::ChallengeRefused { reason };
    let nonce = <[u8; NONCE_BYTES]>::try_from(&challenge.nonce[..]).map_err(|_| {
        refused(format!("its nonce has {} bytes instead of {NONCE_BYTES}", challenge.nonce.len()))
    })?;
    if challenge.pcrs.is_empty() || challenge.pcrs.len() > QUOTABLE_PCRS.count() {
        return Err(refused(format!("it selects {} PCRs", challenge.pcrs.len())));
    }
    let mut pcrs = Vec::new();
    for pcr in &challenge.pcrs {
        match u8::try_from(*pcr) {
            Ok(small) if QUOTABLE_PCRS.contains(&small) && !pcrs.contains(&small) => pcrs.push(small),
            _ => return Err(refused(format!("it selects PCR {pcr} (or selects it twice)"))),
        }
    }
    if challenge.banks.is_empty() || challenge.banks.len() > 8 {
        return Err(refused(format!("it names {} PCR banks", challenge.banks.len())));
    }
    pcrs.sort_unstable();
    Ok((nonce, pcrs))
}

/// The first bank that the service accepts and that is active for all of these PCRs.
pub(crate) fn choose_bank(active: &[PcrBank], accepted: &[String], pcrs: &[u8]) -> Result<PcrBank, TpmError> {
    let found =
        accepted.iter().find_map(|name| active.iter().find(|bank| bank.name() == *name && bank.covers(pcrs)));
    found.cloned().ok_or_else(|| TpmError::BankInactive {
        asked: printable(&accepted.join(", "), 128),
        active: active.iter().map(PcrBank::name).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests {
    use veriboot_wire::Blob;

    use super::*;

    fn challenge() -> Challenge {
        Challenge {
            nonce: Blob(vec![7; 32]),
            expires_in_s: 60,
            banks: vec!["sha256".into(), "sha384".into()],
            pcrs: (0..16).collect(),
        }
    }

    #[test]
    fn the_ak_is_no_oracle() {
        assert!(answerable(&challenge()).is_ok());
        let refused = |change: &dyn Fn(&mut Challenge)| {
            let mut lying = challenge();
            change(&mut lying);
            assert_eq!(answerable(&lying).unwrap_err().code(), "challenge-refused");
        };
        for length in [0, 1, 20, 31, 33, 64, 4096] {
            refused(&|c| c.nonce = Blob(vec![0; length]));
        }
        refused(&|c| c.pcrs = vec![]);
        refused(&|c| c.pcrs = vec![16]);
        refused(&|c| c.pcrs = vec![23]);
        refused(&|c| c.pcrs = vec![u32::MAX]);
        refused(&|c| c.pcrs = vec![256]);
        refused(&|c| c.pcrs = vec![0, 0]);
        refused(&|c| c.pcrs = vec![0; 1_000_000]);
        refused(&|c| c.banks = vec![]);
    }

    #[test]
    fn the_first_accepted_active_bank_is_quoted() {
        let bank = |alg, allocated| PcrBank { alg, allocated };
        let accepted = challenge().banks;
        let all = 0x00ff_ffff;
        let both = [bank(0x4, all), bank(0xc, all), bank(0xb, all)];
        assert_eq!(choose_bank(&both, &accepted, &[0, 15]).unwrap().alg, 0xb);
        assert_eq!(choose_bank(&[bank(0xb, 0x7f), bank(0xc, all)], &accepted, &[0, 15]).unwrap().alg, 0xc);
        assert_eq!(choose_bank(&[bank(0x4, all)], &accepted, &[0]).unwrap_err().code(), "tpm-bank-inactive");
    }
}
