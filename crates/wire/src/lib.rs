//! Wire types: what agent, service and CLI say to each other over HTTPS.
//!
//! Everything is JSON. Times are RFC 3339 in UTC with milliseconds, digests and nonces that a person may
//! compare are lower-case hex, TPM structures and logs are base64 ([`Blob`]), durations are whole seconds
//! and end in `_s`. Unknown members are ignored in answers and refused in requests.

mod agent;
mod alert;
mod alert_type;
mod attestation;
mod audit;
mod baseline;
mod blob;
mod bundle;
mod code;
mod counted;
mod csv;
mod event;
mod finding;
mod incident;
mod inventory;
mod kernel;
mod maintenance;
mod monitoring;
mod notification;
mod page;
mod policy;
mod posture;
mod problem;
mod profile;
mod proposal;
mod scale_set;
mod summary;
mod suppression;
mod time;
mod token;
mod vm;

pub use agent::*;
pub use alert::*;
pub use alert_type::*;
pub use attestation::*;
pub use audit::*;
pub use baseline::*;
pub use blob::Blob;
pub use bundle::*;
pub use code::*;
pub use counted::counted;
pub use csv::csv_record;
pub use event::*;
pub use finding::*;
pub use incident::*;
pub use inventory::*;
pub use kernel::*;
pub use maintenance::*;
pub use monitoring::*;
pub use notification::*;
pub use page::*;
pub use policy::*;
pub use posture::*;
pub use problem::*;
pub use profile::*;
pub use proposal::*;
pub use scale_set::*;
pub use summary::*;
pub use suppression::*;
pub use time::Time;
pub use token::*;
pub use vm::*;
