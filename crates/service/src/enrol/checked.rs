//! What a request to enrol has to be, before the database is asked.

use veriboot_tpm::{AkError, AttestationKey, EkError, EndorsementKey};
use veriboot_wire::EnrollRequest;

use crate::ApiError;
use crate::attest::text;
use crate::problem::kinds;

const MAX_PUBLIC_BYTES: usize = 2048;
const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// Keys and names that passed every check that needs no database.
pub(super) struct Checked {
    pub ek: EndorsementKey,
    pub ek_sha256: String,
    pub ak_name: Vec<u8>,
}

/// Everything about the request that can be checked without the database.
pub(super) fn check(request: &EnrollRequest) -> Result<Checked, ApiError> {
    if !text::is_name(&request.name) {
        return Err(ApiError::new(&kinds::NAME_INVALID, "the name is not one that a VM can have"));
    }
    let too_long = |what: &str, max: usize| {
        ApiError::new(&kinds::INVALID_VALUE, format!("{what} has more than {max} bytes"))
    };
    for (what, bytes, max) in [
        ("ek_public", request.ek_public.len(), MAX_PUBLIC_BYTES),
        ("ak_public", request.ak_public.len(), MAX_PUBLIC_BYTES),
        ("ek_certificate", request.ek_certificate.as_ref().map_or(0, |c| c.len()), MAX_CERTIFICATE_BYTES),
        ("join_token", request.join_token.as_ref().map_or(0, String::len), 256),
    ] {
        if bytes > max {
            return Err(too_long(what, max));
        }
    }
    let ek = EndorsementKey::from_tpm2b(&request.ek_public)
        .map_err(|e: EkError| ApiError::new(&kinds::EK_UNSUPPORTED, e.to_string()))?;
    let ak = AttestationKey::from_tpm2b(&request.ak_public).map_err(|e| {
        let kind = if matches!(e, AkError::Attribute { .. }) {
            &kinds::AK_ATTRIBUTES
        } else {
            &kinds::AK_UNSUPPORTED
        };
        ApiError::new(kind, e.to_string())
    })?;
    if let Some(certificate) = &request.ek_certificate {
        match ek.matches_certificate(certificate) {
            Ok(true) => {}
            Ok(false) => {
                let message = "the endorsement certificate is for another key";
                return Err(ApiError::new(&kinds::EK_CERTIFICATE_MISMATCH, message));
            }
            Err(e) => return Err(ApiError::new(&kinds::EK_CERTIFICATE_MALFORMED, e.to_string())),
        }
    }
    let ek_sha256 = hex::encode(ek.sha256_of_public());
    Ok(Checked { ek, ek_sha256, ak_name: ak.name().to_vec() })
}
