//! TPM 2.0 structures, quote verification and credential making for a verifier.
//!
//! This crate is the trust boundary between bytes that a machine sends and what the verifier believes. It is
//! pure: no clock, no files, no network, no logging. Everything it reads is hostile until a signature says
//! otherwise, and every length is checked against the bytes that are there.
//!
//! The steps of a verifier, in order:
//!
//! 1. [`EndorsementKey::from_tpm2b`] and [`AttestationKey::from_tpm2b`] check what the machine says its keys
//!    are; [`EndorsementKey::matches_certificate`] and [`chain::verify_chain`] tie the endorsement key to its
//!    manufacturer.
//! 2. [`make_credential`] makes a secret that only the TPM holding both keys can open.
//! 3. [`verify_quote`] checks a quote by that attestation key; [`Quote::pcr_digest_matches`] ties it to PCR
//!    values.
//!
//! Structures and constants are those of *TPM 2.0 Library, Part 2: Structures*; section numbers in comments
//! are of revision 1.59.

mod ak;
pub mod alg;
mod attest;
mod certificate;
pub mod chain;
mod credential;
mod ek;
mod kdf;
mod pcr;
mod public;
mod quote;
mod read;
mod revocation;
mod signature;
mod verify;

pub use ak::{AkError, AttestationKey, KeyAttributes, OfflineKey};
pub use certificate::{Certificate, CertificateError};
pub use credential::{Credential, CredentialError, make_credential};
pub use ek::{EkError, EndorsementKey};
pub use pcr::{PcrSelection, PcrSet};
pub use public::{Attribute, Attributes, PublicError};
pub use quote::{Expectation, Quote, QuoteError, peek_selection, verify_quote};
pub use read::Malformed;
pub use revocation::{RevocationError, RevocationList};
