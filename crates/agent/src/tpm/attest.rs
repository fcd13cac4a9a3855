//! Quotes and PCR values.

use std::collections::BTreeMap;

use tpm2_protocol::basic::TpmUint32;
use tpm2_protocol::data::{
    TpmAlgId, TpmCap, TpmlPcrSelection, TpmsPcrSelect, TpmsPcrSelection, TpmtSigScheme,
};
use tpm2_protocol::frame::{TpmPcrReadCommand, TpmQuoteCommand};

use super::keys::AkBlob;
use super::template::bytes;
use super::{Tpm, TpmError, empty_password};

/// Length of the nonce of the protocol; nothing else is ever signed.
pub const NONCE_BYTES: usize = 32;
/// PCRs that a challenge may select: those that only firmware, boot loader and early boot extend and that software
/// cannot reset.
pub const QUOTABLE_PCRS: std::ops::RangeInclusive<u8> = 0..=15;
/// PCRs of the PC Client profile.
const PCRS: u8 = 24;

/// PCR banks by TPM_ALG_ID, name and digest size.
const BANKS: [(TpmAlgId, &str, usize); 5] = [
    (TpmAlgId::Sha1, "sha1", 20),
    (TpmAlgId::Sha256, "sha256", 32),
    (TpmAlgId::Sha384, "sha384", 48),
    (TpmAlgId::Sha512, "sha512", 64),
    (TpmAlgId::Sm3_256, "sm3_256", 32),
];

/// Name of a bank by its TPM_ALG_ID.
pub fn bank_name(alg: u16) -> Option<&'static str> {
    BANKS.iter().find(|(id, ..)| id.value() == alg).map(|(_, name, _)| *name)
}

/// A bank and the PCRs that are allocated in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PcrBank {
    /// TPM_ALG_ID.
    pub alg: u16,
    /// One bit per PCR.
    pub allocated: u32,
}

/// What TPM2_Quote gave, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// TPMS_ATTEST.
    pub attest: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

impl Tpm {
    /// The banks in which at least one PCR is allocated.
    ///
    /// # Errors
    /// Any [`TpmError`].
    pub fn active_banks(&mut self) -> Result<Vec<PcrBank>, TpmError> {
        let answer = self.capability(TpmCap::Pcrs, 0, 1)?;
        let mut data = answer.reader();
        data.skip(5)?;
        let count = data.u32()?;
        let mut banks = Vec::new();
        for _ in 0..count.min(16) {
            let alg = data.u16()?;
            let size = data.u8()?;
            let select = data.take(usize::from(size))?;
            let allocated = select
                .iter()
                .take(4)
                .enumerate()
                .fold(0u32, |bits, (i, byte)| bits | (u32::from(*byte) << (8 * i)));
            if allocated != 0 {
                banks.push(PcrBank { alg, allocated });
            }
        }
        Ok(banks)
    }

    /// Quotes `pcrs` of one bank over a nonce of [`NONCE_BYTES`].
    ///
    /// # Errors
    /// `tpm-key-foreign` when the key is not of this TPM; any other [`TpmError`].
    pub fn quote(
        &mut self,
        ak: &AkBlob,
        nonce: &[u8; NONCE_BYTES],
        bank: u16,
        pcrs: &[u8],
    ) -> Result<Quote, TpmError> {
        let pcr_select = selection(bank, pcrs)?;
        self.with_ak(ak, |tpm, handle| {
            let answer = tpm.run(
                &TpmQuoteCommand {
                    handles: [TpmUint32::new(handle)],
                    qualifying_data: bytes(nonce)?,
                    in_scheme: TpmtSigScheme::default(),
                    pcr_select,
                },
                &[empty_password()],
                0,
            )?;
            let mut data = answer.reader();
            let attest = data.sized()?.to_vec();
            Ok(Quote { attest, signature: data.0.to_vec() })
        })
    }

    /// Reads PCRs of one bank, lower-case hex by index. Unsigned: for people and for naming a mismatch.
    ///
    /// # Errors
    /// Any [`TpmError`].
    pub fn pcr_values(&mut self, bank: u16, pcrs: &[u8]) -> Result<BTreeMap<u32, String>, TpmError> {
        let mut values = BTreeMap::new();
        // A TPM gives at most eight values at a time and says which.
        for chunk in pcrs.chunks(8) {
            let mut wanted = chunk.to_vec();
            while !wanted.is_empty() {
                let read = self.pcr_read(bank, &wanted)?;
                if read.is_empty() {
                    return Err(TpmError::Malformed { what: "no PCR values" });
                }
                wanted.retain(|pcr| !read.contains_key(&u32::from(*pcr)));
                values.extend(read);
            }
        }
        Ok(values)
    }

    fn pcr_read(&mut self, bank: u16, pcrs: &[u8]) -> Result<BTreeMap<u32, String>, TpmError> {
        let command = TpmPcrReadCommand { handles: [], pcr_selection_in: selection(bank, pcrs)? };
        let answer = self.run(&command, &[], 0)?;
        let mut data = answer.reader();
        data.skip(4)?; // pcrUpdateCounter
        let mut read = Vec::new();
        for _ in 0..data.u32()?.min(16) {
            let alg = data.u16()?;
            let size = data.u8()?;
            let select = data.take(usize::from(size))?;
            if alg == bank {
                read.extend(pcrs.iter().copied().filter(|pcr| {
                    select.get(usize::from(pcr / 8)).is_some_and(|byte| byte & (1 << (pcr % 8)) != 0)
                }));
            }
        }
        let count = data.u32()? as usize;
        if count != read.len() {
            return Err(TpmError::Malformed { what: "another number of PCR values than it says" });
        }
        read.sort_unstable();
        let mut values = BTreeMap::new();
        for pcr in read {
            values.insert(u32::from(pcr), hex::encode(data.sized()?));
        }
        Ok(values)
    }
}

impl PcrBank {
    /// Whether all of `pcrs` are allocated.
    pub fn covers(&self, pcrs: &[u8]) -> bool {
        pcrs.iter().all(|pcr| *pcr < 32 && self.allocated & (1 << pcr) != 0)
    }

    /// Name of the bank, or its TPM_ALG_ID in hex.
    pub fn name(&self) -> String {
        bank_name(self.alg).map_or_else(|| format!("0x{:04x}", self.alg), str::to_owned)
    }

    /// The allocated PCRs.
    pub fn pcrs(&self) -> Vec<u8> {
        (0..PCRS).filter(|pcr| self.covers(&[*pcr])).collect()
    }
}

fn selection(bank: u16, pcrs: &[u8]) -> Result<TpmlPcrSelection, TpmError> {
    let (hash, ..) = BANKS
        .iter()
        .find(|(id, ..)| id.value() == bank)
        .ok_or(TpmError::Malformed { what: "an unknown PCR bank" })?;
    let mut select = [0u8; 3];
    for pcr in pcrs {
        let byte =
            select.get_mut(usize::from(pcr / 8)).ok_or(TpmError::Malformed { what: "a PCR above 23" })?;
        *byte |= 1 << (pcr % 8);
    }
    let mut list = TpmlPcrSelection::default();
    let pcr_select = TpmsPcrSelect::try_from(select.as_slice()).map_err(TpmError::Command)?;
    list.try_push(TpmsPcrSelection { hash: *hash, pcr_select }).map_err(TpmError::Command)?;
    Ok(list)
}
