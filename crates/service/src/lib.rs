//! The attestation service.
