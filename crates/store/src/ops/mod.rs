//! The operations: one file per table, each a synchronous function over [`crate::Tx`].

pub mod alerts;
pub mod api_tokens;
pub mod attestations;
pub mod audit;
pub mod baselines;
pub mod boots;
pub mod enrolments;
pub mod events;
pub mod join_tokens;
pub mod logs;
pub mod profiles;
pub mod proposals;
pub mod reappraisals;
pub mod reappraise_queue;
pub mod scale_sets;
pub mod settings;
pub mod signing_keys;
pub mod vms;
