//! The guest attestation agent.
