//! Every operation on both databases, races, faults and crashes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod absence;
mod alert_life;
mod alerts;
mod alerts_at_once;
mod assessments;
mod audit;
mod baselines;
mod crash;
mod deliveries;
mod engine;
mod events;
mod faults;
mod harness;
mod heartbeats;
mod history;
mod inventory;
mod judged_again;
mod keys;
mod maintenance;
mod monitoring;
mod plans;
mod proposals;
mod races;
mod scale_sets;
mod tokens;
mod vms;
