//! Every operation on both databases, races, faults and crashes.

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
