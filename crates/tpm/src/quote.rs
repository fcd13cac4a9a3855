//! Whether a quote can be believed, and what it says.

use crate::Malformed;
use crate::ak::AttestationKey;
use crate::alg::{Hash, bank_digest_size};
use crate::attest::Attest;
use crate::pcr::{PcrSelection, Shown};
use crate::signature::Signature;

/// What a quote must answer. `None` means that it is not checked, which only offline work may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expectation<'a> {
    /// The challenge that qualifyingData must be equal to. An empty challenge is never met.
    pub nonce: Option<&'a [u8]>,
    /// The selection that was asked for. A TPM returns the banks in the order in which they were asked and
    /// clears the bits of PCRs that it does not have (Part 3, TPM2_Quote), so the signed selection must be
    /// equal, bank by bank, in order: any difference means that something else was quoted.
    pub selection: Option<&'a [PcrSelection]>,
}

/// What a verified quote says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// qualifyingData.
    pub nonce: Vec<u8>,
    /// The signed selection, in signed order.
    pub selections: Vec<PcrSelection>,
    /// Digest over the selected PCR values.
    pub pcr_digest: Vec<u8>,
    /// Hash of the signature scheme and of `pcr_digest`, a TPM_ALG_ID. It can differ from the bank.
    pub digest_alg: u16,
    /// TPM clock in milliseconds.
    pub clock_ms: u64,
    /// TPM resets. Obfuscated, yet the same from quote to quote, for keys outside of the endorsement
    /// hierarchy (Part 1, section 36.7).
    pub reset_count: u32,
    /// TPM restarts and resumes since the last reset; obfuscated likewise.
    pub restart_count: u32,
    /// Whether the clock was never ahead of this value before.
    pub safe: bool,
    /// Firmware version of the TPM; obfuscated likewise.
    pub firmware_version: u64,
    /// Qualified name of the key that signed.
    pub qualified_signer: Vec<u8>,
}

/// Why a quote is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// Not a TPMS_ATTEST.
    #[error("the quote is malformed: {0}")]
    Malformed(#[from] Malformed),
    /// Bytes follow the TPMS_ATTEST.
    #[error("the quote has bytes after its end, from byte {offset} on")]
    TrailingBytes {
        /// Where the structure ends.
        offset: usize,
    },
    /// The structure does not start with TPM_GENERATED_VALUE: not made by a TPM.
    #[error("the quote does not start with TPM_GENERATED_VALUE but with 0x{magic:08x}")]
    NotTpmGenerated {
        /// What it starts with.
        magic: u32,
    },
    /// Made by a TPM, but it is no quote: a certification, a time or NV attestation.
    #[error("the structure is of type 0x{kind:04x}, not a quote")]
    NotAQuote {
        /// Its TPM_ST.
        kind: u16,
    },
    /// Not a TPMT_SIGNATURE.
    #[error("the signature is malformed: {0}")]
    SignatureMalformed(Malformed),
    /// A signature scheme other than RSASSA, RSAPSS and ECDSA.
    #[error("signature scheme 0x{scheme:04x} is not accepted: RSASSA, RSAPSS and ECDSA are")]
    SchemeRefused {
        /// Its TPM_ALG_ID.
        scheme: u16,
    },
    /// A hash other than SHA-256, SHA-384 and SHA-512.
    #[error("signature hash 0x{hash:04x} is not accepted: SHA-256, SHA-384 and SHA-512 are")]
    HashRefused {
        /// Its TPM_ALG_ID.
        hash: u16,
    },
    /// Scheme or hash are not those that the key is bound to.
    #[error("scheme or hash of the signature is not the one of the attestation key")]
    SchemeMismatch,
    /// The signature is not by this key over this quote.
    #[error("the signature does not verify with the attestation key")]
    SignatureInvalid,
    /// pcrDigest has another size than the hash of the scheme.
    #[error("the PCR digest has {size} bytes, which is not the size of the signature's hash")]
    DigestSize {
        /// Its size in bytes.
        size: usize,
    },
    /// qualifyingData is not the challenge.
    #[error("the quote does not answer the challenge")]
    NonceMismatch,
    /// The signed selection is not the one that was asked for.
    #[error("the quote covers {seen}, asked was {asked}")]
    SelectionMismatch {
        /// What was asked, as `sha256:0,1,7`.
        asked: String,
        /// What the quote covers.
        seen: String,
    },
    /// What was asked proves nothing: no bank, an unknown bank, no PCR, or PCRs above 15, which software can
    /// reset.
    #[error("a quote of {asked} proves nothing: name a known bank and PCRs from 0 to 15")]
    SelectionUnusable {
        /// What was asked.
        asked: String,
    },
}

impl QuoteError {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "quote-malformed",
            Self::TrailingBytes { .. } => "quote-trailing-bytes",
            Self::NotTpmGenerated { .. } => "quote-not-tpm-generated",
            Self::NotAQuote { .. } => "quote-not-a-quote",
            Self::SignatureMalformed(_) => "quote-signature-malformed",
            Self::SchemeRefused { .. } => "quote-scheme-refused",
            Self::HashRefused { .. } => "quote-hash-refused",
            Self::SchemeMismatch => "quote-scheme-mismatch",
            Self::SignatureInvalid => "quote-signature-invalid",
            Self::DigestSize { .. } => "quote-digest-size",
            Self::NonceMismatch => "quote-nonce-mismatch",
            Self::SelectionMismatch { .. } => "quote-selection-mismatch",
            Self::SelectionUnusable { .. } => "quote-selection-unusable",
        }
    }
}

/// Verifies a quote. When this returns a [`Quote`], all of this holds:
///
/// 1. `quote` is one whole TPMS_ATTEST with TPM_GENERATED_VALUE and of type quote, nothing before or after;
/// 2. `signature` is one whole TPMT_SIGNATURE with the scheme and the hash that `ak` is bound to (for a key
///    without a scheme: RSASSA, RSAPSS or ECDSA as the key type has it), the hash being SHA-256, SHA-384 or
///    SHA-512, and it verifies over `quote`;
/// 3. pcrDigest has the size of that hash;
/// 4. qualifyingData is `expect.nonce`, where given;
/// 5. the signed selection is `expect.selection`, where given, and that selection names known banks and only
///    PCRs from 0 to 15.
///
/// That the digest belongs to certain PCR values is the next step: [`Quote::pcr_digest_matches`].
pub fn verify_quote(
    ak: &AttestationKey,
    quote: &[u8],
    signature: &[u8],
    expect: &Expectation<'_>,
) -> Result<Quote, QuoteError> {
    let attest = Attest::read(quote)?;
    let signature = Signature::read(signature)?;
    ak.verify(quote, &signature)?;
    if attest.pcr_digest.len() != signature.hash.size() {
        return Err(QuoteError::DigestSize { size: attest.pcr_digest.len() });
    }
    if let Some(nonce) = expect.nonce
        && (nonce.is_empty() || nonce != attest.extra_data)
    {
        return Err(QuoteError::NonceMismatch);
    }
    if let Some(asked) = expect.selection {
        check_selection(asked, &attest.selections)?;
    }
    Ok(Quote {
        nonce: attest.extra_data.to_vec(),
        selections: attest.selections,
        pcr_digest: attest.pcr_digest.to_vec(),
        digest_alg: signature.hash.id(),
        clock_ms: attest.clock,
        reset_count: attest.reset_count,
        restart_count: attest.restart_count,
        safe: attest.safe,
        firmware_version: attest.firmware_version,
        qualified_signer: attest.qualified_signer.to_vec(),
    })
}

fn check_selection(asked: &[PcrSelection], seen: &[PcrSelection]) -> Result<(), QuoteError> {
    if asked.is_empty() || !asked.iter().all(PcrSelection::is_askable) {
        return Err(QuoteError::SelectionUnusable { asked: Shown(asked).to_string() });
    }
    if asked != seen {
        return Err(QuoteError::SelectionMismatch {
            asked: Shown(asked).to_string(),
            seen: Shown(seen).to_string(),
        });
    }
    Ok(())
}

/// The selection that a quote claims, before anything about it is believed: to choose which of several
/// acceptable selections to expect. The choice must come from the verifier's own list, never from this.
pub fn peek_selection(quote: &[u8]) -> Result<Vec<PcrSelection>, QuoteError> {
    Ok(Attest::read(quote)?.selections)
}

impl Quote {
    /// Whether the quoted digest is the digest of these PCR values (Part 3, TPM2_Quote: concatenated in the
    /// order of the selection, ascending within a bank, hashed with the hash of the signature scheme).
    ///
    /// `value` gives the value of a PCR of a bank (TPM_ALG_ID). A missing value, a value of another size
    /// than its bank's digests, an unknown bank or a selection of nothing make this false.
    pub fn pcr_digest_matches<V: AsRef<[u8]>>(&self, value: impl Fn(u16, u8) -> Option<V>) -> bool {
        let Some(hash) = Hash::from_id(self.digest_alg) else { return false };
        // Sixteen registers of one bank, most of the time.
        let mut values = Vec::with_capacity(16 * 32);
        let mut count = 0_usize;
        for selection in &self.selections {
            let size = bank_digest_size(selection.alg);
            for pcr in selection.pcrs.iter() {
                match value(selection.alg, pcr) {
                    Some(value) if Some(value.as_ref().len()) == size => {
                        values.extend_from_slice(value.as_ref());
                    }
                    _ => return false,
                }
                count += 1;
            }
        }
        count > 0 && aws_lc_rs::digest::digest(hash.algorithm(), &values).as_ref() == self.pcr_digest
    }

    /// Whether the quote covers PCRs that software can reset (16 and above): their values prove nothing.
    pub fn covers_resettable(&self) -> bool {
        self.selections.iter().any(|s| !s.pcrs.minus(crate::PcrSet::STATIC).is_empty())
    }

    /// The selection as people write it: `sha256:0,1,7`.
    pub fn selection_text(&self) -> String {
        Shown(&self.selections).to_string()
    }
}
