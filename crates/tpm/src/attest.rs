//! What TPMS_ATTEST says (Part 2, section 10.12.12), for quotes only.

use crate::pcr::{PcrSelection, read_selections};
use crate::quote::QuoteError;
use crate::read::Reader;

/// TPM_GENERATED_VALUE (section 6.2): a restricted key never signs foreign data that starts with it.
const TPM_GENERATED: u32 = 0xFF54_4347;
/// TPM_ST_ATTEST_QUOTE (section 6.9).
const ST_ATTEST_QUOTE: u16 = 0x8018;
/// The largest TPM2B_NAME and TPM2B_DATA: a TPMT_HA of SHA-512.
const MAX_HA_BYTES: usize = 66;
/// The largest TPM2B_DIGEST.
const MAX_DIGEST_BYTES: usize = 64;

/// A TPMS_ATTEST of type quote, as read and not yet believed.
pub(crate) struct Attest<'a> {
    pub(crate) qualified_signer: &'a [u8],
    pub(crate) extra_data: &'a [u8],
    pub(crate) clock: u64,
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
    pub(crate) safe: bool,
    pub(crate) firmware_version: u64,
    pub(crate) selections: Vec<PcrSelection>,
    pub(crate) pcr_digest: &'a [u8],
}

impl<'a> Attest<'a> {
    /// Reads the whole of `bytes`; anything after the structure is an error.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, QuoteError> {
        let mut reader = Reader::new(bytes);
        let magic = reader.u32("magic")?;
        if magic != TPM_GENERATED {
            return Err(QuoteError::NotTpmGenerated { magic });
        }
        let kind = reader.u16("type")?;
        if kind != ST_ATTEST_QUOTE {
            return Err(QuoteError::NotAQuote { kind });
        }
        let qualified_signer = reader.sized(MAX_HA_BYTES, "qualifiedSigner")?;
        let extra_data = reader.sized(MAX_HA_BYTES, "extraData")?;
        let clock = reader.u64("clockInfo.clock")?;
        let reset_count = reader.u32("clockInfo.resetCount")?;
        let restart_count = reader.u32("clockInfo.restartCount")?;
        let safe = match reader.u8("clockInfo.safe")? {
            0 => false,
            1 => true,
            _ => return Err(reader.fault("clockInfo.safe is neither YES nor NO").into()),
        };
        let firmware_version = reader.u64("firmwareVersion")?;
        let selections = read_selections(&mut reader)?;
        let pcr_digest = reader.sized(MAX_DIGEST_BYTES, "pcrDigest")?;
        reader.finish("trailing bytes").map_err(|at| QuoteError::TrailingBytes { offset: at.offset })?;
        Ok(Self {
            qualified_signer,
            extra_data,
            clock,
            reset_count,
            restart_count,
            safe,
            firmware_version,
            selections,
            pcr_digest,
        })
    }
}
