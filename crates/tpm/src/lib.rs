//! TPM 2.0 structures, quote verification and credential making for a verifier.
