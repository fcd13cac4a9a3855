//! Evidence whose shapes and sizes were checked.

use std::collections::BTreeMap;

use veriboot_eventlog::HashAlg;
use veriboot_wire::{EvidenceRequest, KernelReport, MAX_EVENT_LOG_BYTES, MachineInfo};

use super::{kernel, text};
use crate::ApiError;
use crate::problem::kinds;

/// A TPMS_ATTEST of a quote has about 150 bytes.
const MAX_QUOTE_BYTES: usize = 4096;
/// A TPMT_SIGNATURE by RSA-4096 has 518 bytes.
const MAX_SIGNATURE_BYTES: usize = 2048;
/// The PCRs of a PC Client TPM; other advisory values are dropped.
const MAX_PCR: u32 = 23;
/// Characters of the reason for an absent log that are kept.
const MAX_REASON_CHARS: usize = 200;

/// PCR values by bank and index, hex.
pub(super) type PcrValues = BTreeMap<String, BTreeMap<u32, String>>;

/// Evidence as it goes through the appraisal.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub nonce: Vec<u8>,
    pub quote: Vec<u8>,
    pub signature: Vec<u8>,
    pub pcrs: PcrValues,
    pub log: Option<Log>,
    pub log_absent_because: Option<String>,
    pub machine: MachineInfo,
    pub kernel: Option<KernelReport>,
}

/// An event log by content or by digest.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// Lower-case hex; computed here when the content came along.
    pub sha256: String,
    pub content: Option<Vec<u8>>,
}

impl Evidence {
    /// Takes over what has the right shape; refuses what is too large.
    pub fn read(request: EvidenceRequest) -> Result<Self, ApiError> {
        for (what, bytes, max) in [
            ("quote", request.quote.len(), MAX_QUOTE_BYTES),
            ("signature", request.signature.len(), MAX_SIGNATURE_BYTES),
        ] {
            if bytes > max {
                return Err(ApiError::new(
                    &kinds::INVALID_VALUE,
                    format!("{what} has more than {max} bytes"),
                ));
            }
        }
        let log = match request.log {
            None => None,
            Some(log) => Some(Log::read(log.sha256, log.content.map(|c| c.0))?),
        };
        Ok(Self {
            nonce: request.nonce.0,
            quote: request.quote.0,
            signature: request.signature.0,
            pcrs: pcr_values(request.pcrs),
            log,
            log_absent_because: request.log_absent_because.map(|why| text::plain(&why, MAX_REASON_CHARS)),
            machine: text::machine(&request.machine),
            kernel: request.kernel.map(kernel::bounded),
        })
    }
}

impl Log {
    fn read(sha256: String, content: Option<Vec<u8>>) -> Result<Self, ApiError> {
        if sha256.len() != 64 || !sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let message = "log.sha256 is not 64 lower-case hex digits";
            return Err(ApiError::new(&kinds::INVALID_VALUE, message));
        }
        if let Some(content) = &content {
            if content.len() > MAX_EVENT_LOG_BYTES {
                return Err(ApiError::new(&kinds::LOG_TOO_LARGE, "the event log is larger than 4 MiB"));
            }
            if sha256_hex(content) != sha256 {
                let message = "the log's content does not have the digest that was sent with it";
                return Err(ApiError::new(&kinds::LOG_DIGEST_MISMATCH, message));
            }
        }
        Ok(Self { sha256, content })
    }
}

/// SHA-256, lower-case hex.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// Advisory values: only what can be a value is kept, at most one for each PCR of each bank that there is.
fn pcr_values(sent: PcrValues) -> PcrValues {
    sent.into_iter()
        .filter_map(|(bank, values)| HashAlg::from_name(&bank).map(|alg| (bank, alg, values)))
        .map(|(bank, alg, values)| {
            let values = values
                .into_iter()
                .filter(|(pcr, value)| {
                    *pcr <= MAX_PCR
                        && value.len() == 2 * alg.size()
                        && value.bytes().all(|b| b.is_ascii_hexdigit())
                })
                .collect();
            (bank, values)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advisory_values_are_values_of_real_pcrs() {
        let mut sent: PcrValues =
            (0..10_000).map(|i| (format!("bank{i}"), [(0, "00".to_owned())].into())).collect();
        for (bank, size) in [("sha1", 20), ("sha256", 32), ("sha512", 64)] {
            let mut values: BTreeMap<_, _> = (0..10_000).map(|pcr| (pcr, "ab".repeat(size))).collect();
            values.insert(3, "ab".repeat(size + 1));
            values.insert(4, "zz".repeat(size));
            sent.insert(bank.to_owned(), values);
        }
        let kept = pcr_values(sent);
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["sha1", "sha256", "sha512"]);
        for values in kept.values() {
            assert_eq!(
                values.keys().copied().collect::<Vec<_>>(),
                [vec![0, 1, 2], (5..24).collect()].concat()
            );
        }
    }
}
