//! Baselines: what a trusted boot measures, as events and components and never as PCR totals.

mod compiled;
mod difference;
mod document;
mod event_type;
mod first_version;
mod flaws;
mod further;
mod govern;
mod learn;
mod merge;
mod nearest;
mod read;
mod varying;

pub use compiled::CompiledBaseline;
pub use difference::diff_baselines;
pub use document::{
    BASELINE_SCHEMA, Baseline, MAX_BASELINE_BYTES, MAX_BASELINE_MEASUREMENTS, MAX_BOOTS, Merged, Reference,
    ReferenceBoot, Source, SourceFile, Unlisted, Varies,
};
pub use flaws::Flaw;
pub(crate) use govern::governs;
pub use learn::LearnError;
pub(crate) use nearest::best;
pub use read::BaselineError;
