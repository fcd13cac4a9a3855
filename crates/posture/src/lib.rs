//! Is a virtual machine configured as it should be? Checks, assessments, recommendations and the score.
//!
//! Pure: facts, references and the time are arguments. [`assess`] makes one check on one resource; what the checks say
//! about themselves stands in one document, [`checks`] (checks.json), from which docs/checks.md, the API and the CLI take
//! their words. [`LogFacts`] is what posture asks of an event log, small enough to be stored with each VM.

mod assess;
mod check_id;
mod checks;
mod document;
mod facts;
mod log_facts;
mod markdown;
mod outcome;
mod references;
mod score;

pub use assess::{assess, assess_all};
pub use check_id::CheckId;
pub use document::{check, checks};
pub use facts::{ItemFacts, ResourceFacts, VmFacts};
pub use log_facts::{LogFacts, MicrosoftKeys};
pub use markdown::markdown;
pub use outcome::Outcome;
pub use references::{
    AUTHORITIES_OF_2011, Authority2011, DBX_REVISIONS, DbxRevision, SOURCES, Source, is_older, references,
};
pub use score::{Tally, score};
