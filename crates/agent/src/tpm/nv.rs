//! The EK certificate in NV (EK Credential Profile 2.2.1.4: low-range indices).

use tpm2_protocol::basic::{TpmUint16, TpmUint32};
use tpm2_protocol::data::TpmRh;
use tpm2_protocol::frame::{TpmNvReadCommand, TpmNvReadPublicCommand};

use super::keys::EndorsementKeyType;
use super::{Tpm, TpmError, empty_password};

const RSA_2048_CERTIFICATE: u32 = 0x01c0_0002;
const ECC_P256_CERTIFICATE: u32 = 0x01c0_000a;
/// Real certificates have 700 to 2,000 bytes.
const MAX_CERTIFICATE: usize = 8192;
/// Every TPM reads at least this much at a time (TPM_PT_NV_BUFFER_MAX).
const CHUNK: usize = 512;

/// The endorsement key to use and its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// Which EK.
    pub key: EndorsementKeyType,
    /// DER, where the TPM has one.
    pub certificate: Option<Vec<u8>>,
}

impl Tpm {
    /// The EK that has a certificate (ECC first), else the ECC one where the TPM offers P-256, else the RSA one.
    ///
    /// # Errors
    /// Any [`TpmError`]; a certificate that cannot be read counts as absent.
    pub fn endorsement(&mut self) -> Result<Endorsement, TpmError> {
        let ecc = self.has_p256()?;
        let candidates = [
            (EndorsementKeyType::EccP256, ECC_P256_CERTIFICATE),
            (EndorsementKeyType::Rsa2048, RSA_2048_CERTIFICATE),
        ];
        for (key, index) in candidates {
            if key == EndorsementKeyType::EccP256 && !ecc {
                continue;
            }
            match self.nv_certificate(index) {
                Ok(Some(certificate)) => return Ok(Endorsement { key, certificate: Some(certificate) }),
                Ok(None) => {}
                Err(TpmError::Refused { code, .. }) => {
                    tracing::warn!(index = format_args!("{index:#x}"), %code, "cannot read the EK certificate");
                }
                Err(error) => return Err(error),
            }
        }
        let key = if ecc { EndorsementKeyType::EccP256 } else { EndorsementKeyType::Rsa2048 };
        Ok(Endorsement { key, certificate: None })
    }

    fn nv_certificate(&mut self, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
        let public = match self.run(&TpmNvReadPublicCommand { handles: [TpmUint32::new(index)] }, &[], 0) {
            Ok(answer) => answer,
            // TPM_RC_HANDLE: there is no such index.
            Err(TpmError::Refused { rc, .. }) if rc & 0xbf == 0x8b => return Ok(None),
            Err(error) => return Err(error),
        };
        // TPMS_NV_PUBLIC ends with dataSize.
        let mut data = public.reader();
        let nv_public = data.sized()?;
        let size = nv_public.last_chunk::<2>().map(|b| usize::from(u16::from_be_bytes(*b))).unwrap_or(0);
        if size == 0 || size > MAX_CERTIFICATE {
            return Ok(None);
        }
        let contents = match self.nv_read(index, index, size) {
            Err(TpmError::Refused { .. }) => self.nv_read(index, TpmRh::Owner.value(), size)?,
            other => other?,
        };
        Ok(der_element(&contents))
    }

    fn nv_read(&mut self, index: u32, auth: u32, size: usize) -> Result<Vec<u8>, TpmError> {
        let mut contents = Vec::new();
        while contents.len() < size {
            let count = (size - contents.len()).min(CHUNK);
            let too_long = |_| TpmError::Malformed { what: "an NV index above 64 KiB" };
            let command = TpmNvReadCommand {
                handles: [TpmUint32::new(auth), TpmUint32::new(index)],
                size: TpmUint16::new(u16::try_from(count).map_err(too_long)?),
                offset: TpmUint16::new(u16::try_from(contents.len()).map_err(too_long)?),
            };
            let answer = self.run(&command, &[empty_password()], 0)?;
            let part = answer.reader().sized()?.to_vec();
            if part.len() != count {
                return Err(TpmError::Malformed { what: "another amount of NV data than asked for" });
            }
            contents.extend(part);
        }
        Ok(contents)
    }
}

/// The first DER element; indices are often longer than the certificate in them.
fn der_element(bytes: &[u8]) -> Option<Vec<u8>> {
    let (&[0x30, first], _) = bytes.split_first_chunk::<2>()? else { return None };
    let (header, length) = match first {
        0..=0x7f => (2, usize::from(first)),
        0x81 => (3, usize::from(*bytes.get(2)?)),
        0x82 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        _ => return None,
    };
    bytes.get(..header + length).filter(|element| element.len() > 64).map(<[u8]>::to_vec)
}
