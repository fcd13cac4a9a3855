//! Policy conditions (SPEC section 5): CEL expressions over the story of a boot, the findings of its appraisal and the VM.
//!
//! Pure. A [`Policy`] is compiled once from the conditions of a profile; [`Boot`] is read once from a log; evaluating one
//! for the other costs some microseconds and is bounded in steps and memory whatever the log says. A condition holds when
//! it is true. Everything else, absent data and errors included, is a finding of the condition's severity.
//!
//! [`lint`](fn@lint) finds conditions that cannot be used, that say nothing, or that data can be kept from.

mod boot;
mod check;
mod code;
mod command_line;
mod condition;
mod document;
mod evaluate;
mod fact;
pub mod limits;
mod lint;
mod problem;
mod proven;
mod samples;
mod syntax;
mod variables;

pub use boot::Boot;
pub use condition::{
    Compiled, Evaluated, POLICY_CONDITION, POLICY_CONDITION_ERROR, POLICY_DATA_ABSENT, Policy, Subject, Vm,
    is_of_a_condition, judge,
};
pub use document::{DocumentError, read_conditions};
pub use fact::{Fact, Record};
pub use lint::{Linted, lint};
pub use problem::{Level, PROBLEMS, Problem};
pub use variables::{Basis, ROOT, Schema, Type, Variable, variables};
