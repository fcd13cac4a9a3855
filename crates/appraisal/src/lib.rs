//! From evidence to a verdict: findings, baselines, judgement and conclusion.
//!
//! Pure: bytes, keys and earlier state are arguments; nothing here reads a clock, a file or a socket.
//!
//! 1. [`examine`] reads an event log into a [`LogReport`], which depends on the bytes of the log alone.
//! 2. [`judge`] holds a report against a [`Profile`] and a [`CompiledBaseline`], which gives a [`Judgement`].
//! 3. [`conclude`] puts quote, report and judgement together into an [`Outcome`]: verdict, facts and findings.
//!
//! The first two can be cached by their inputs, so that a quote over a known log costs a signature check and a replay
//! that was done before. Every finding has a code out of one table, [`CODES`]; docs/findings.md explains them.

mod alert;
mod align;
mod authority;
mod baseline;
mod boot_key;
mod class;
mod cmdline;
mod code;
mod components;
mod conclude;
mod content;
mod counters;
mod deviation;
mod diff;
mod endorsed;
mod enforcement;
mod envelope;
mod image_chain;
mod judge;
mod judged_with;
mod known_authorities;
mod lists;
mod memo;
mod profile;
mod proof;
mod proposal;
mod rejection;
mod report;
mod rule;
mod settings;
mod structure_checks;
mod text;
mod weigher;

pub use alert::{alert_remediation, alert_title, primary};
pub use baseline::{
    BASELINE_SCHEMA, Baseline, BaselineError, CompiledBaseline, Flaw, LearnError, MAX_BASELINE_BYTES,
    MAX_BASELINE_MEASUREMENTS, MAX_BOOTS, Merged, Reference, ReferenceBoot, Source, SourceFile, Unlisted,
    Varies, diff_baselines,
};
pub use boot_key::boot_key;
pub use class::ChangeRule;
pub use cmdline::dangerous_parameters;
pub use code::{CODES, Code};
pub use components::{components, components_in};
pub use conclude::{Conclude, Outcome, PreviousBoot, conclude};
pub use content::{Admission, Content, SignatureId, Signatures};
pub use envelope::{
    BASELINE_PAYLOAD_TYPE, Envelope, EnvelopeError, EnvelopeKey, KeyAlgorithm, KeyError, MAX_ENVELOPE_BYTES,
    MAX_SIGNATURES, SignError, Verified, VerifyingKey, pae,
};
pub use judge::{Judgement, compare, judge};
pub use known_authorities::{AuthorityRole, KNOWN_AUTHORITIES, KnownAuthority, known_authority};
pub use memo::Memo;
pub use profile::{
    Condition, Enforcement, Learn, MAX_CONDITIONS, MAX_PROFILE_BYTES, Profile, ProfileError,
    SecureBootDemand, default_enforcement,
};
pub use proof::PcrValues;
pub use proposal::{MAX_PROPOSED, Proposed};
pub use rejection::{Booted, Rejected};
pub use report::{
    BankReport, Component, Entry, Examined, LogReport, MAX_EVENTS, examine, examine_known, examine_with,
};
pub use rule::{
    Authority, MAX_RULE_DIGESTS, MAX_RULE_MEMBERS, MAX_RULES, Minimum, Parameters, Pattern, Rule, RuleError,
    Says, StateFlag, Switch,
};
pub use text::is_shown_as_it_is;
