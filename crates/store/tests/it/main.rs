//! Every operation on both databases, races, faults and crashes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod alerts;
mod audit;
mod baselines;
mod crash;
mod engine;
mod faults;
mod harness;
mod history;
mod keys;
mod races;
mod tokens;
mod vms;
